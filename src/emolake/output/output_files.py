"""Files that a person names with -o: what somebody else wrote there is kept, and a file is whole or as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from emolake.atomic import replacing
from emolake.errors import ConfigurationError

_PAGE = b"<!doctype html"


def is_page(path: Path) -> bool:
    """Return whether a file is an HTML page, or empty."""
    with path.open("rb") as file:
        found = file.read(len(_PAGE))
    return not found or found.lower() == _PAGE


def has_ending(*endings: str) -> Callable[[Path], bool]:
    """Return what says whether a file is called as such output is, or is empty.

    >>> has_ending(".csv")(Path("emolake.toml"))
    False
    """

    def is_called_so(path: Path) -> bool:
        return path.suffix.lower() in endings or (path.is_file() and path.stat().st_size == 0)

    return is_called_so


def check_output(path: Path, *, may_replace: Callable[[Path], bool], force: bool = False) -> None:
    """Refuse a path that must not be written, before the work for it is done.

    Args:
        path: the file.
        may_replace: whether a file that is there looks like what is written, so that no one misses it.
        force: replace whatever file is there.

    Raises:
        ConfigurationError: the path is a folder, or cannot be written, or is a file of another kind.
    """
    try:
        if path.is_dir():
            raise ConfigurationError(f"{path} is a folder; name a file")
        if path.parent.exists() and not path.parent.is_dir():
            raise ConfigurationError(f"{path.parent} is a file and no folder; name another file")
        if not force and path.is_file() and not may_replace(path):
            raise ConfigurationError(
                f"{path} is there, and is not what this command writes; name another file, or replace it with --force"
            )
    except OSError as error:
        raise _unwritable(path, error) from error


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write, which takes the place of `path` when the block ends without an error.

    Its folder is made where it is not there. A device or a pipe is written as it is.

    Raises:
        ConfigurationError: the path cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            with path.open("wb") as file:
                yield file
            return
        target = path.resolve()  # a link stays one
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as file:
            yield file
    except OSError as error:
        if error.filename is None:  # of what is written into it
            raise
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"{path} cannot be written ({error.strerror}); name another file, or correct the permissions"
    )
