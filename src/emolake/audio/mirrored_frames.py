"""The frames of Silero's Fourier transform, whose mirrored samples are added and subtracted beforehand."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

FRAME = 256
"""Samples of a frame."""
FRAMES = 4
"""Frames of a chunk behind its context; the last one reaches beyond them, where the chunk is mirrored."""
_HOP = 128


def folded(chunks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums [n * 4, 128] and the differences [n * 4, 127] of the mirrored samples in the frames of chunks.

    The window is zero at the first sample of a frame, and the sample in the middle mirrors itself.

    Args:
        chunks: [n, 576] float32, each behind its context.
    """
    beyond = _HOP * (FRAMES - 1) + FRAME - chunks.shape[1]
    whole = np.concatenate([chunks, chunks[:, -2 : -2 - beyond : -1]], axis=1)
    chunk, sample = whole.strides
    frames = as_strided(whole, (len(whole), FRAMES, FRAME), (chunk, _HOP * sample, sample), writeable=False)
    half = FRAME // 2
    ahead, back = frames[:, :, 1:half], frames[:, :, :half:-1]
    sums = np.empty((len(whole), FRAMES, half), np.float32)
    np.add(ahead, back, out=sums[:, :, :-1])
    sums[:, :, -1] = frames[:, :, half]
    return sums.reshape(-1, half), (ahead - back).reshape(-1, half - 1)
