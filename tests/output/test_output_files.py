"""Files that are named with -o: other people's are kept, and what is written is whole or not there."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from emolake.errors import ConfigurationError
from emolake.output.output_files import check_output, has_ending, is_page
from emolake.output.output_files import output_file as written

PAGE = b"<!DOCTYPE html>\n<html>"


@contextmanager
def output_file(
    path: Path, *, may_replace: Callable[[Path], bool], force: bool = False
) -> Iterator[BinaryIO]:
    """What commands do: check first, and write when the work is done."""
    check_output(path, may_replace=may_replace, force=force)
    with written(path) as file:
        yield file


def test_a_file_and_its_folder_are_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    for content in (PAGE, PAGE + b"again"):
        with output_file(path, may_replace=is_page) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("content", [b"[source]\n", b"x", b"\x00" * 20])
def test_a_file_of_another_kind_is_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "emolake.toml"
    path.write_bytes(content)
    for may_replace in (is_page, has_ending(".csv")):
        with (
            pytest.raises(ConfigurationError, match="is not what this command writes"),
            output_file(path, may_replace=may_replace),
        ):
            pytest.fail("nothing is to be written")
    assert path.read_bytes() == content
    with output_file(path, may_replace=is_page, force=True) as file:
        file.write(PAGE)
    assert path.read_bytes() == PAGE


def test_an_empty_file_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "made-by-mktemp"
    for may_replace in (is_page, has_ending(".csv")):
        path.write_bytes(b"")
        with output_file(path, may_replace=may_replace) as file:
            file.write(PAGE)
        assert path.read_bytes() == PAGE


def test_a_failure_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    with pytest.raises(ZeroDivisionError), output_file(path, may_replace=has_ending(".csv")) as file:
        file.write(b"b\n")
        1 / 0  # noqa: B018
    assert path.read_text() == "a\n1\n"
    assert [each.name for each in tmp_path.iterdir()] == ["a.csv"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    link, target = tmp_path / "link.csv", tmp_path / "target.csv"
    link.symlink_to(target)
    with output_file(link, may_replace=has_ending(".csv")) as file:
        file.write(b"a\n")
    assert link.is_symlink()
    assert target.read_bytes() == b"a\n"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("folder", "folder is a folder; name a file"),
        ("file/a.csv", "file is a file"),
        ("file/b/a.csv", r"cannot be written \(Not a directory\)"),
    ],
)
def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path: Path, path: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigurationError, match=said), output_file(tmp_path / path, may_replace=is_page):
        pytest.fail("nothing can be written")
