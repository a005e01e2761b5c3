"""Self-supervised speech encoders of transformers (wav2vec 2.0, HuBERT, WavLM): their files, loading, batches.

The waveform is normalised over a clip's own samples, and a batch is masked or not padded at all, whichever leaves
every member's states as they are when it is alone.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from emolake.errors import ConfigurationError
from emolake.models.protocol import Batching

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

SAMPLING_RATE = 16_000
MODEL_TYPES = ("hubert", "wav2vec2", "wavlm")
MODEL_TYPES_AND_WHISPER = (*MODEL_TYPES, "whisper")
# Heads of other tasks that published encoders were saved with: pre-training, recognition of speech.
OTHER_HEADS = ("quantizer.", "project_q.", "project_hid.", "lm_head.", "proj_out.")
MIN_SAMPLES = 400  # one frame of the convolutions; fewer raise inside them
HUGGING_FACE_EPS = 1e-7  # of transformers' feature extractor; S3PRL's own hubert expert uses 1e-5
FILES = (
    "config.json",
    "preprocessor_config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*.safetensors",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
)


def read_json(path: Path) -> Mapping[str, Any]:
    """Return a JSON object; raises ConfigurationError when the file is missing or something else."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"there is no {path}; give a folder in transformers' layout") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds {type(content).__name__}, expected an object")
    return content


def weight_files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that a load reads, by name; raises ConfigurationError without weights."""
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not weights:
        raise ConfigurationError(
            f"{folder} has neither model.safetensors nor pytorch_model.bin; give a whole checkpoint"
        )
    named = [
        folder / "config.json",
        folder / "preprocessor_config.json",
        folder / "model.safetensors.index.json",
        folder / "pytorch_model.bin.index.json",
        *weights,
    ]
    return {path.name: path for path in named if path.is_file()}


def encoder_config(folder: Path, kinds: tuple[str, ...] = MODEL_TYPES) -> Mapping[str, Any]:
    """Return an encoder's `config.json`; raises ConfigurationError when it is of none of these kinds."""
    config = read_json(folder / "config.json")
    if config.get("model_type") not in kinds:
        raise ConfigurationError(
            f"{folder} is a {config.get('model_type')!r} model; expected one of {', '.join(kinds)}"
        )
    return config


def is_normalised(folder: Path) -> bool:
    """Return whether an encoder takes normalised waves, by its `preprocessor_config.json`."""
    return bool(read_json(folder / "preprocessor_config.json").get("do_normalize", True))


def check_rate(folder: Path, rate: object) -> None:
    """Raise ConfigurationError when a model takes another sampling rate than SAMPLING_RATE."""
    if rate != SAMPLING_RATE:
        raise ConfigurationError(f"{folder} takes {rate} Hz, expected {SAMPLING_RATE} Hz; use a 16 kHz model")


def batching(config: Mapping[str, Any]) -> Batching:
    """Return what leaves the encoder's states as they are: group norm over time takes in the padding, mask or not."""
    return Batching.EQUAL_LENGTH if config.get("feat_extract_norm", "group") == "group" else Batching.MASKED


def load_exactly(
    loader: Any,
    folder: Path,
    *,
    other_heads: tuple[str, ...] = (),
    new_heads: tuple[str, ...] = (),
    **arguments: Any,
) -> "PreTrainedModel":
    """Load transformers weights in float32 and eval mode, refusing weights that are missing or left over.

    Pickled weights are loaded only where there are no others, and then as tensors and nothing else.

    Args:
        loader: an Auto class of transformers.
        folder: a local folder.
        other_heads: prefixes of weights that may be left over, being another task's.
        new_heads: prefixes of weights that may be missing or of another shape, and are then random: to be trained.
        arguments: passed to `from_pretrained`.

    Raises:
        ConfigurationError: the weights do not fit the configuration's network exactly.
    """
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # what its report of the load contains is an error here, raised below
    try:
        model, info = loader.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=any(folder.glob("*.safetensors")),
            weights_only=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=bool(new_heads),
            **arguments,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError, KeyError, UnpicklingError) as error:
        raise ConfigurationError(
            f"{folder} cannot be loaded by transformers: {str(error).splitlines()[0]}"
        ) from error
    allowed = {"unexpected_keys": other_heads, "missing_keys": new_heads, "mismatched_keys": new_heads}
    problems = {
        kind: odd
        for kind, names in info.items()
        if (odd := {name for name in names if not _name_of(name).startswith(allowed.get(kind, ()))})
    }
    if problems:
        listed = "; ".join(
            f"{kind}: {', '.join(map(str, sorted(names, key=str)[:5]))}" for kind, names in problems.items()
        )
        raise ConfigurationError(
            f"the weights in {folder} do not fit its config.json: {listed}; use a complete checkpoint"
        )
    model.eval()
    loaded: PreTrainedModel = model
    return loaded


def _name_of(key: Any) -> str:
    """Return a weight's name; transformers lists mismatched weights with their shapes."""
    return str(key[0]) if isinstance(key, tuple) else str(key)


def load_part(loader: Any, folder: Path) -> Any:
    """Load a tokenizer or feature extractor with an Auto class of transformers.

    Raises:
        ConfigurationError: the folder has no such files, or they are broken.
    """
    try:
        return loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        # The library of the tokenizers raises the base class itself for files that are none.
        if not isinstance(error, OSError | ValueError) and type(error) is not Exception:
            raise
        what = str(error).partition("\n")[0]
        raise ConfigurationError(
            f"{folder} has no usable files for {loader.__name__}: {what}; give a complete folder"
        ) from error


def normalised(waves: "torch.Tensor", lengths: "torch.Tensor", eps: float | None) -> "torch.Tensor":
    """Return waves [B, T] normalised each over its own `lengths` [B] samples, or as they are where `eps` is None."""
    from emolake.audio.features import normalise_waveform

    return waves if eps is None else normalise_waveform(waves, lengths, eps)


def frame_counts(lengths: "torch.Tensor", config: Any) -> "torch.Tensor":
    """Return how many frames the convolutions give for each length in samples."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        lengths = (lengths - kernel) // stride + 1
    return lengths
