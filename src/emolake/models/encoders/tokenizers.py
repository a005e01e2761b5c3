"""Tokenizers of transformers, and the folders of models that read or write text: Whisper and BERT."""

from pathlib import Path
from typing import Any

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder

TOKENIZER_FILES = (
    "added_tokens.json", "generation_config.json", "merges.txt", "normalizer.json", "processor_config.json",
    "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip


def model_files(folder: Path) -> dict[str, Path]:
    """Return all that a load reads of a large model, by name."""
    tokenizer = {name: folder / name for name in TOKENIZER_FILES if (folder / name).is_file()}
    return speech_encoder.weight_files(folder) | tokenizer


def check_type(folder: Path, expected: str) -> None:
    """Raise ConfigurationError unless a folder holds a model of this type."""
    found = speech_encoder.read_json(folder / "config.json").get("model_type")
    if found != expected:
        raise ConfigurationError(f"{folder} is a {found!r} model; expected a {expected!r} model")


def load_tokenizer(folder: Path, vocabularies: tuple[str, ...]) -> Any:
    """Load a tokenizer whose vocabulary is one of the files `vocabularies`; without it transformers makes an empty one.

    Raises:
        ConfigurationError: the folder has none of them, or no usable files.
    """
    from transformers import AutoTokenizer

    if not any((folder / name).is_file() for name in vocabularies):
        raise ConfigurationError(f"{folder} has no {' or '.join(vocabularies)}; give a complete folder")
    return speech_encoder.load_part(AutoTokenizer, folder)
