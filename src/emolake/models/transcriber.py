"""Speech to text: Whisper's transcripts of clips, several at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.tokenizers import check_type, load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_AT_ONCE = 8  # clips of 30 s; more are hardly faster, and take more memory
_CLOSE = 0.01  # between the logits of two tokens; a batch changes one by some 1e-5


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
        self._options = {
            "num_beams": 1,
            "do_sample": False,
            "max_new_tokens": max_new_tokens,
            "return_timestamps": False,
        }
        self.max_samples = int(self._extractor.n_samples)

    def transcripts(self, clips: Sequence[torch.Tensor]) -> list[str]:
        """Return the transcripts of clips, each [samples] float32, by greedy decoding: those of each clip alone.

        The choice of a token hangs on the last bits of its score where another token's is as high, and a batch
        changes these; a clip with such a choice is transcribed again by itself.
        """
        found: list[str] = []
        for start in range(0, len(clips), _AT_ONCE):
            together = clips[start : start + _AT_ONCE]
            texts, margins = self._decoded(together)
            least = _CLOSE if len(together) > 1 else 0.0
            for clip, text, margin in zip(together, texts, margins, strict=True):
                found.append(text if margin >= least else self._alone(clip))
        return found

    def _alone(self, clip: torch.Tensor) -> str:
        """Return the transcript of one clip, all by transformers: it goes on after what a timestamp has ended."""
        tokens = self.model.generate(  # type: ignore[operator]
            self._features([clip]), **self._options, **self._generation
        )
        return str(self._tokenizer.decode(tokens[0], skip_special_tokens=True)).strip()

    def _decoded(self, clips: Sequence[torch.Tensor]) -> tuple[list[str], list[float]]:
        """Return the transcripts of clips in one batch, and each one's smallest margin of a token over the next.

        The margin is less than 0 where the text has timestamps although none were asked for.
        """
        states = self.model.get_encoder()(self._features(clips))
        config: Any = self.model.generation_config
        margins = _Margins(len(clips), config.eos_token_id, self.model.device)
        generation: dict[str, Any] = dict(self._generation)
        if "task" in generation and "language" not in generation:
            generation["language"] = self._languages(states, margins)
        tokens = self.model.generate(  # type: ignore[operator]
            encoder_outputs=states,  # computed once, for the language and for the text
            logits_processor=LogitsProcessorList([margins]),
            force_unique_generate_call=True,
            **self._options,
            **generation,
        )
        timed = (tokens > config.no_timestamps_token_id).any(dim=1)
        texts = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [text.strip() for text in texts], margins.smallest.masked_fill(timed, -1.0).tolist()

    def _features(self, clips: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the log-mel of clips, [B, bands, frames], padded to 30 s."""
        device = self.model.device
        features: torch.Tensor = self._extractor(
            [clip.numpy() for clip in clips],
            sampling_rate=speech_encoder.SAMPLING_RATE,
            return_tensors="pt",
            device=str(device),
        ).input_features
        return features.to(device)

    def _languages(self, states: Any, margins: "_Margins") -> list[str]:
        """Return the most likely language of each clip, by the encoder's states, as transformers' detect_language."""
        generation: Any = self.model.generation_config
        names, tokens = zip(*generation.lang_to_id.items(), strict=True)
        count = len(states.last_hidden_state)
        start = torch.full((count, 1), generation.decoder_start_token_id, device=self.model.device)
        logits = self.model(encoder_outputs=states, decoder_input_ids=start, use_cache=False).logits[:, -1]
        of_languages = logits[:, list(tokens)]
        margins.observe(of_languages)
        return [names[place] for place in of_languages.argmax(dim=1).tolist()]


class _Margins(LogitsProcessor):
    """Notes by how much the best token of a clip won, in the choice where that was least; changes no score."""

    def __init__(self, clips: int, end: int | Sequence[int], device: torch.device) -> None:
        self.smallest = torch.full((clips,), torch.inf, device=device)
        self._going_on = torch.ones(clips, dtype=torch.bool, device=device)
        self._end = torch.tensor(end, device=device).reshape(-1)

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Observe the scores [B, tokens] of one step, after all other processors."""
        self.observe(scores)
        self._going_on &= ~torch.isin(scores.argmax(dim=-1), self._end)
        return scores

    def observe(self, scores: torch.Tensor) -> None:
        """Note the margins of one choice for every clip that has not ended."""
        if scores.shape[1] < 2:
            return
        best = scores.float().topk(2, dim=-1).values
        margin = torch.where(self._going_on, best[:, 0] - best[:, 1], torch.inf)
        self.smallest = torch.minimum(self.smallest, margin)


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
