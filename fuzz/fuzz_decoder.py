"""Fuzzes the decoder: any bytes under any ending are decoded, or are a bad recording; nothing else is ever raised.

In the fuzzer's own process, so that a crash of a C decoder is found; the product decodes in a child process.
"""

import sys
import tempfile
from itertools import islice
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["emolake"], enable_loader_override=False):
    from emolake.errors import BadRecordingError
    from emolake.tasks.decode import AudioReader

import av
import numpy as np

ENDINGS = ("wav", "flac", "mp3", "m4a", "opus", "ogg", "webm", "amr", "aiff", "au", "caf", "w64", "bin")
# Seconds of audio that are looked at: a header may promise hours of silence.
BLOCKS = 64

av.logging.set_level(av.logging.PANIC)
FOLDER = Path(tempfile.mkdtemp(prefix="emolake-fuzz-"))


def one(content: bytes) -> None:
    """Try one file: its first byte chooses the ending."""
    path = FOLDER / f"recording.{ENDINGS[content[0] % len(ENDINGS)] if content else 'wav'}"
    path.write_bytes(content[1:])
    try:
        with AudioReader(path) as reader:
            samples = 0
            for block in islice(reader.blocks(), BLOCKS):
                assert block.dtype == np.float32
                assert block.shape[1] == reader.channels
                assert len(block)
                assert np.isfinite(block).all()
                samples += len(block)
            if samples < BLOCKS * reader.options.sampling_rate // 2:
                assert reader.outcome.resampled == samples
                assert reader.outcome.duration_s > 0
    except BadRecordingError as error:
        assert error.message  # noqa: PT017 - what is asserted is the message, not that it is raised


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
