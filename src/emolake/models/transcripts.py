"""What is said in a clip: Whisper's transcripts, and a folder that keeps them."""

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from pydantic import JsonValue

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.speech_encoder import load_part

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLING_RATE: Final = 16_000
TOKENIZER_FILES = (
    "added_tokens.json", "generation_config.json", "merges.txt", "normalizer.json", "processor_config.json",
    "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip

log = logging.getLogger(__name__)


class Transcriber:
    """Whisper with its feature extractor and tokenizer."""

    def __init__(self, folder: Path, *, language: str | None, max_new_tokens: int) -> None:
        """Load from a folder; `language` is a two-letter code, or None to have it guessed clip by clip."""
        from transformers import AutoFeatureExtractor, AutoModelForSpeechSeq2Seq

        check_type(folder, "whisper")
        # Without it transformers makes one up, and decodes with other rules.
        speech_encoder.read_json(folder / "generation_config.json")
        self.model = speech_encoder.load_exactly(AutoModelForSpeechSeq2Seq, folder)
        self._extractor = load_part(AutoFeatureExtractor, folder)
        self._tokenizer = load_tokenizer(folder, ("tokenizer.json", "vocab.json"))
        self._generation = _generation_options(self.model, language, folder)
        self._max_new_tokens = max_new_tokens
        self.max_samples = int(self._extractor.n_samples)

    def transcript(self, clip: torch.Tensor) -> str:
        """What is said in a clip [samples] float32, by greedy decoding."""
        device = self.model.device
        features = self._extractor(
            clip.numpy(),
            sampling_rate=SAMPLING_RATE,
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


class TranscriptCache:
    """Transcripts in a folder that other processes and models may share: one small text file for each clip."""

    def __init__(self, folder: Path, files: Mapping[str, Path], recipe: Mapping[str, JsonValue]) -> None:
        """Open an existing folder for transcripts of the model in `files`, decoded as `recipe` says."""
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(
                f"transcript_cache is {folder}, which is no folder that can be written to; create it, or leave it out"
            )
        self._folder = folder
        digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode())
        for name, path in sorted(files.items()):
            with path.open("rb") as file:
                digest.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
        self._model = digest.digest()

    def read(self, clip: bytes) -> str | None:
        """Return the transcript of a clip by the hash of its samples, or None; a broken one is as good as none."""
        path = self._path(clip)
        try:
            return path.read_bytes().decode("utf-8")
        except FileNotFoundError:
            return None
        except UnicodeDecodeError:
            log.warning("the transcript %s is broken and is made again", path)
            return None

    def write(self, clip: bytes, transcript: str) -> None:
        """Keep a transcript; whoever reads sees all of it or nothing."""
        path = self._path(clip)
        path.parent.mkdir(exist_ok=True)
        # Readable for its owner alone: what was said is as private as the recording.
        descriptor, name = tempfile.mkstemp(suffix=".partial", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(transcript.encode("utf-8"))
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)

    def _path(self, clip: bytes) -> Path:
        key = hashlib.sha256(self._model + clip).hexdigest()
        return self._folder / key[:2] / f"{key[2:]}.txt"


def model_files(folder: Path) -> dict[str, Path]:
    """All that a load reads of a large model, by name."""
    tokenizer = {name: folder / name for name in TOKENIZER_FILES if (folder / name).is_file()}
    return speech_encoder.weight_files(folder) | tokenizer


def check_type(folder: Path, expected: str) -> None:
    """Raise ConfigurationError unless a folder holds a model of this type."""
    found = speech_encoder.read_json(folder / "config.json").get("model_type")
    if found != expected:
        raise ConfigurationError(f"{folder} is a {found!r} model; expected a {expected!r} model")


def load_tokenizer(folder: Path, vocabularies: tuple[str, ...]) -> Any:
    """Load a tokenizer that lies in one of the files `vocabularies`; without any transformers gives an empty one."""
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in vocabularies):
        raise ConfigurationError(f"{folder} has no {' or '.join(vocabularies)}; give a complete folder")
    return load_part(AutoTokenizer, folder)


def _generation_options(model: "PreTrainedModel", language: str | None, folder: Path) -> dict[str, str]:
    """What the decoder is told; English-only models know neither languages nor tasks."""
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
