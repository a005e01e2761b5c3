"""From waves to mean scores of sound events: the patches of each clip, scored by torch or by an ONNX file."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from emolake.audio.features import valid_mask
from emolake.errors import ConfigurationError
from emolake.models.families.yamnet_network import (
    BANDS,
    FRAMES,
    PATCH_HOP,
    PATCH_SAMPLES,
    log_mel_patches,
    patch_counts,
)

_PATCHES_PER_CALL = 64  # bounds the memory of a long segment


def mean_scores(
    waves: torch.Tensor,
    lengths: torch.Tensor,
    score: Callable[[torch.Tensor], torch.Tensor],
    columns: list[int],
) -> torch.Tensor:
    """Return each clip's mean score of the events in `columns`, [B, columns] float64 on the CPU.

    `score` takes patches [N, 96, 64] to scores [N, events], 0 to 1; `waves` [B, T] have `lengths` [B] samples.
    """
    counts = patch_counts(lengths)
    # What is beyond a clip's own length is its own padding as well: zeros, whatever the batch.
    size = PATCH_SAMPLES + PATCH_HOP * (int(counts.max()) - 1)
    padded = nn.functional.pad(waves, (0, size - waves.shape[1])) * valid_mask(lengths, size)
    valid = valid_mask(counts, int(counts.max()))
    own = padded.unfold(1, PATCH_SAMPLES, PATCH_HOP)[valid]
    blocks = [score(log_mel_patches(block))[:, columns] for block in own.split(_PATCHES_PER_CALL)]
    scores = torch.zeros(*valid.shape, len(columns), device=padded.device)
    scores[valid] = torch.cat(blocks)
    return (scores.sum(dim=1) / counts[:, None]).to("cpu", torch.float64)


class OnnxScores:
    """The network of an ONNX file, patches [N, 96, 64] to scores [N, events], run by onnxruntime on the CPU."""

    def __init__(self, path: Path, events: int) -> None:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import (
            Fail,
            InvalidGraph,
            InvalidProtobuf,
            NoSuchFile,
        )

        try:
            self._session: onnxruntime.InferenceSession = onnxruntime.InferenceSession(
                str(path), providers=["CPUExecutionProvider"]
            )
        except (Fail, InvalidGraph, InvalidProtobuf, NoSuchFile) as error:
            raise ConfigurationError(
                f"{path} cannot be read as ONNX: {str(error).splitlines()[0]}"
            ) from error
        inputs = self._session.get_inputs()
        outputs = [each.name for each in self._session.get_outputs() if list(each.shape[1:]) == [events]]
        if len(inputs) != 1 or list(inputs[0].shape[1:]) != [FRAMES, BANDS] or not outputs:
            raise ConfigurationError(
                f"{path} takes {[each.shape for each in inputs]} and gives "
                f"{[each.shape for each in self._session.get_outputs()]}; "
                f"expected patches [N, {FRAMES}, {BANDS}] and scores [N, {events}]"
            )
        self._input, self._output = inputs[0].name, outputs[0]

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        """Return scores [N, events] of patches [N, 96, 64] on the CPU."""
        return torch.from_numpy(self._session.run([self._output], {self._input: patches.numpy()})[0])
