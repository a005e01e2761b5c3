"""Write the decoder's first corpus: a fifth of a second of a tone in every codec that `emolake.demo.encode` writes."""

import sys
from pathlib import Path

import numpy as np

from emolake.demo.encode import CODECS, write_audio
from fuzz.fuzz_decoder import ENDINGS


def write_seeds(folder: Path) -> None:
    """Write one file a codec, with the byte for its ending before it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, codec in CODECS.items():
        rate = codec.rates_hz[0] if codec.rates_hz else 8000
        tone = 0.1 * np.sin(np.arange(rate // 5) * (2 * np.pi * 440 / rate))
        path = folder / f"{name}.{codec.extension}"
        write_audio(path, tone[:, None].astype(np.float32), rate, name)
        ending = codec.extension if codec.extension in ENDINGS else "bin"
        path.write_bytes(bytes([ENDINGS.index(ending)]) + path.read_bytes())


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
