"""FunASR's network of emotion2vec: imported without its noise, and filled from model.pt exactly."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from emolake.errors import ConfigurationError


def funasr_class() -> Any:
    """Import FunASR's network; its import configures the root logger and prints, neither of which stays."""
    try:
        with quiet_import():
            from funasr.models.emotion2vec.model import Emotion2vec as Network
    except ImportError as error:
        raise ConfigurationError(
            f'the family emotion2vec needs FunASR ({error}); pip install "emolake[emotion2vec]"'
        ) from error
    return Network


@contextmanager
def quiet_import() -> Iterator[None]:
    """Undo what the import of FunASR does to the root logger, and let it print to standard error."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    try:
        with redirect_stdout(sys.stderr):  # stdout is for rows
            yield
    finally:
        root.setLevel(level)
        root.handlers[:] = handlers


def fill_from_pickle(
    network: torch.nn.Module, path: Path, scope_map: object, unused: tuple[str, ...]
) -> None:
    """Put model.pt into the network under FunASR's names; every weight must have its place, and fit."""
    state = _unpickled(path)
    prefixes = ("module.", *_dropped_prefixes(scope_map))
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found: dict[str, torch.Tensor] = {}
    left_over: list[str] = []
    for name, tensor in state.items():
        stripped = next((name.removeprefix(each) for each in prefixes if name.startswith(each)), name)
        if stripped in expected and stripped not in found:
            found[stripped] = tensor
        elif not name.startswith(unused or ("\0",)):
            left_over.append(name)
    problems = {
        "missing": sorted(expected.keys() - found.keys()),
        "left over": sorted(left_over),
        "of another shape": [name for name, tensor in found.items() if tuple(tensor.shape) != expected[name]],
        "not finite": [name for name, tensor in found.items() if not tensor.isfinite().all()],
    }
    listed = "; ".join(f"{kind}: {', '.join(names[:5])}" for kind, names in problems.items() if names)
    if listed:
        raise ConfigurationError(
            f"the weights in {path} do not fit its config.yaml and tokens.txt: {listed}; use a complete checkpoint, "
            "or name weights that only training needs in unused_weights"
        )
    network.load_state_dict({name: tensor.float() for name, tensor in found.items()})


def _dropped_prefixes(scope_map: object) -> list[str]:
    """Return what FunASR's scope_map, pairs of prefix in the file and prefix in the network, takes off the names."""
    if scope_map is None:
        return []
    pairs = scope_map.split(",") if isinstance(scope_map, str) else scope_map
    if (
        not isinstance(pairs, list)
        or len(pairs) % 2
        or any(str(each).casefold() != "none" for each in pairs[1::2])
    ):
        raise ConfigurationError(
            f"scope_map {scope_map!r} renames weights; expected prefixes that are taken off"
        )
    return [str(each) for each in pairs[::2] if str(each).casefold() != "none"]


def _unpickled(path: Path) -> Mapping[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ConfigurationError(
            f"{path} is no checkpoint that can be read without running code: {str(error).splitlines()[0]}"
        ) from error
    for nested in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(nested), dict):
            state = state[nested]
    if not isinstance(state, dict) or not all(isinstance(each, torch.Tensor) for each in state.values()):
        raise ConfigurationError(
            f"{path} holds something else than named tensors; expected FunASR's model.pt"
        )
    found: Mapping[str, torch.Tensor] = state
    return found


def receptive_field(convolutions: list[tuple[int, int, int]]) -> int:
    """Return the fewest samples that give one frame, of (channels, kernel, stride) from the waveform on."""
    samples = 1
    for _, kernel, stride in reversed(convolutions):
        samples = (samples - 1) * stride + kernel
    return samples
