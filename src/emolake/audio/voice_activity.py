"""Voice activity by Silero's network, run by onnxruntime from the file that the `silero-vad` wheel carries.

The package is looked up and never imported: importing it sets torch to one thread for the whole process. The
file for sequences is used: its answers are those of the streaming one, and a call takes many chunks.
"""

import hashlib
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from emolake.audio.mirrored_frames import folded
from emolake.errors import ConfigurationError

if TYPE_CHECKING:
    import onnxruntime as ort

SAMPLING_RATE = 16_000
CHUNK = 512
"""Samples of one decision, 32 ms."""
HYSTERESIS = 0.15
"""Speech ends below the threshold that began it less this, as in Silero's own segmentation."""
_CONTEXT = 64
"""Samples of the chunk before, in front of each chunk; without them the network finds no speech."""
_STATE = 128
_CHUNKS_PER_CALL = 128
"""What a call takes at most, 4 s of audio: more leaves the processor's caches."""
_MODEL = "silero_vad_16k_sequence.onnx"


def model_path() -> Path:
    """Find Silero's ONNX file in the installed wheel; raise ConfigurationError where it is missing."""
    spec = find_spec("silero_vad")
    for folder in (spec.submodule_search_locations if spec else None) or []:
        path = Path(folder) / "data" / _MODEL
        if path.is_file():
            return path
    raise ConfigurationError(
        f"voice activity needs {_MODEL} of the package silero-vad, and it is not installed; "
        "install it with: pip install silero-vad"
    )


class SpeechDetector:
    """The network, loaded once; it is safe to share among threads, since the streams hold the state."""

    sampling_rate = SAMPLING_RATE

    def __init__(self) -> None:
        # Heavy, and the constants of this module are needed where no network is.
        import onnxruntime as ort

        from emolake.audio.voice_activity_graph import matrix_form

        self._path = model_path()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        graph = matrix_form(self._path)
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the network's file: another file decides otherwise what is speech."""
        return hashlib.sha256(self._path.read_bytes()).hexdigest()

    def stream(self) -> "SpeechStream":
        """Return a stream with a fresh state: one for each channel of each recording."""
        return SpeechStream(self._session)


class SpeechStream:
    """Probabilities of speech along one channel; how the samples are cut into pushes does not change them."""

    def __init__(self, session: "ort.InferenceSession") -> None:
        self._session = session
        self._h = np.zeros((1, 1, _STATE), np.float32)
        self._c = np.zeros((1, 1, _STATE), np.float32)
        # The context of the next chunk, and behind it the samples that do not fill a chunk yet.
        self._pending = np.zeros(_CONTEXT, np.float32)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Take samples [n] float32 at 16 kHz; return one probability for each chunk that they complete."""
        pending = np.concatenate([self._pending, samples])
        chunks = (len(pending) - _CONTEXT) // CHUNK
        used = chunks * CHUNK
        self._pending = pending[used:].copy()
        if chunks == 0:
            return np.empty(0, np.float32)
        frames = sliding_window_view(pending[: used + _CONTEXT], _CONTEXT + CHUNK)[::CHUNK]
        calls = range(0, chunks, _CHUNKS_PER_CALL)
        return np.concatenate([self._run(frames[call : call + _CHUNKS_PER_CALL]) for call in calls])

    def flush(self) -> np.ndarray:
        """Return the probability of the last chunk, filled up with zeros; empty where the samples end with one."""
        left = len(self._pending) - _CONTEXT
        return self.push(np.zeros(CHUNK - left, np.float32)) if left else np.empty(0, np.float32)

    def _run(self, chunks: np.ndarray) -> np.ndarray:
        """Return the probabilities [n] of chunks [n, 576], each behind its context."""
        sums, differences = folded(chunks)
        probabilities, self._h, self._c = self._session.run(
            None, {"sums": sums, "differences": differences, "h": self._h, "c": self._c}
        )
        return np.asarray(probabilities, np.float32)
