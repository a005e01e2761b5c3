"""Speech to text: Whisper's transcript of a clip."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.tokenizers import check_type, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Transcriber:
    """Whisper with its feature extractor and tokenizer."""

    def __init__(self, folder: Path, *, language: str | None, max_new_tokens: int) -> None:
        """Load from a folder; `language` is a two-letter code, or None to have it guessed clip by clip."""
        from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq

        check_type(folder, "whisper")
        # Without it transformers makes one up, and decodes with other rules.
        speech_encoder.read_json(folder / "generation_config.json")
        self.model = speech_encoder.load_exactly(AutoModelForSpeechSeq2Seq, folder)
        self._extractor = speech_encoder.load_part(AutoFeatureExtractor, folder)
        self._tokenizer = load_tokenizer(folder, ("tokenizer.json", "vocab.json"))
        self._generation = _generation_options(self.model, language, folder)
        self._max_new_tokens = max_new_tokens
        self.max_samples = int(self._extractor.n_samples)

    def transcript(self, clip: torch.Tensor) -> str:
        """Return the transcript of a clip [samples] float32, by greedy decoding."""
        device = self.model.device
        features = self._extractor(
            clip.numpy(),
            sampling_rate=speech_encoder.SAMPLING_RATE,
            return_tensors="pt",
            return_attention_mask=True,
            device=str(device),
        )
        tokens = self.model.generate(  # type: ignore[operator]
            features.input_features.to(device),
            attention_mask=features.attention_mask.to(device),
            num_beams=1,
            do_sample=False,
            max_new_tokens=self._max_new_tokens,
            return_timestamps=False,
            **self._generation,
        )
        return str(self._tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()


def _generation_options(model: "PreTrainedModel", language: str | None, folder: Path) -> dict[str, str]:
    """Return the decoder's language and task; English-only models know neither."""
    generation: Any = model.generation_config
    languages: Mapping[str, int] = getattr(generation, "lang_to_id", None) or {}
    options = {"task": "transcribe"} if getattr(generation, "is_multilingual", False) else {}
    if language is None:
        return options
    if f"<|{language}|>" not in languages:
        codes = sorted(name.strip("<|>") for name in languages)
        known = ", ".join(codes) or "none: it is an English-only model"
        raise ConfigurationError(
            f"language is {language!r}, and {folder} knows {known}; correct language, or leave it out"
        )
    return {**options, "language": language}
