"""Entries on disk are whole or absent, keep to their bound, and leave alone what nobody but a person has put there."""

import os
from pathlib import Path

import pytest

from emolake.errors import ConfigurationError
from emolake.models import disk_cache
from emolake.models.disk_cache import AgedEntry, DiskCache, empty, surplus_entries

OWN = (
    "notes.txt", "features.npy", "half.partial", "tmpnotes.partial", "ab/notes.txt", "ab/half.partial", "music/a.npy",
    f"ab/{'0' * 61}.npy", f"zz/{'0' * 62}.npy", f"music/ab/{'0' * 62}.npy", f"{'0' * 62}.npy", f"ab/{'0' * 62}",
)  # fmt: skip
"""Files of a person whose names resemble those of a cache."""


@pytest.fixture
def own_files(tmp_path: Path) -> list[Path]:
    """Files of a person in the folder of a cache, unused for years."""
    paths = [tmp_path / name for name in OWN]
    for path in paths:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(b"mine" * 5000)
        os.utime(path, (1e9, 1e9))
    return paths


def cache(
    folder: Path, *, ending: str = ".npy", max_bytes: int | None = None, mode: int = 0o644
) -> DiskCache:
    return DiskCache(folder, b"recipe", ending=ending, option="cache", max_bytes=max_bytes, mode=mode)


def add(to: DiskCache, content: bytes, entry: bytes = b"entry") -> Path:
    with to.adding(content) as file:
        file.write(entry)
    return to.path(content)


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_an_entry_is_read_back_and_has_the_permissions_that_were_asked_for(tmp_path: Path, mode: int) -> None:
    kept = cache(tmp_path, mode=mode)
    path = add(kept, b"clip", b"\x00entry\xff")
    assert (kept.read(b"clip"), kept.read(b"other")) == (b"\x00entry\xff", None)
    assert path.stat().st_mode & 0o777 == mode
    assert DiskCache(tmp_path, b"other recipe", ending=".npy", option="cache").read(b"clip") is None


def test_an_entry_of_another_user_is_read_though_it_cannot_be_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = cache(tmp_path)
    add(kept, b"clip")

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refused)
    assert kept.read(b"clip") == b"entry"


def test_a_write_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    kept = cache(tmp_path)
    with pytest.raises(OSError, match="No space"), kept.adding(b"clip") as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert kept.read(b"clip") is None


def test_what_a_person_keeps_there_is_neither_swept_nor_emptied(
    tmp_path: Path, own_files: list[Path]
) -> None:
    kept = cache(tmp_path, max_bytes=1)
    add(kept, b"clip")
    assert kept.read(b"clip") is None  # the bound is below one entry
    assert all(path.exists() for path in own_files)
    assert empty(tmp_path) == 0
    assert all(path.exists() for path in own_files)


def test_emptying_removes_every_entry_of_any_recipe_and_kind(tmp_path: Path, own_files: list[Path]) -> None:
    add(cache(tmp_path), b"clip")
    add(cache(tmp_path, ending=".txt", mode=0o600), b"clip")
    add(DiskCache(tmp_path, b"other", ending=".json", option="cache"), b"clip")
    (tmp_path / "tmp0a1b2c3d.partial").write_bytes(b"half")  # of a process that was killed
    (tmp_path / "ab" / "tmp0a1b2c3d.partial").write_bytes(b"half")
    assert empty(tmp_path) == 5
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(own_files)


def test_without_a_bound_only_partial_files_left_behind_are_swept(tmp_path: Path) -> None:
    old, young = tmp_path / "tmp0a1b2c3d.partial", tmp_path / "tmp_abcdefg.partial"
    for path in (old, young):
        path.touch()
    first = add(cache(tmp_path, ending=".txt"), b"first")
    for path in (old, first):
        os.utime(path, (1e9, 1e9))
    add(cache(tmp_path, ending=".txt"), b"second")
    assert (old.exists(), young.exists(), first.exists()) == (False, True, True)


def test_a_bound_is_that_of_one_kind_of_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_cache, "_WRITES_BETWEEN_SWEEPS", 1)
    text = add(cache(tmp_path, ending=".txt"), b"clip")
    os.utime(text, (1e9, 1e9))
    bounded = cache(tmp_path, max_bytes=2 * 4096)
    for number in range(5):
        add(bounded, bytes([number]))
    assert text.exists()
    assert len(list(tmp_path.glob("*/*.npy"))) <= 2


def test_what_goes_is_unused_for_longest_and_never_what_is_kept() -> None:
    entries = [AgedEntry(used, 10, Path(name)) for used, name in ((3, "c"), (1, "a"), (2, "b"))]
    assert surplus_entries(entries, most=30, down_to=10) == []
    assert surplus_entries(entries, most=29, down_to=20) == [Path("a")]
    assert surplus_entries(entries, most=29, down_to=5) == [Path("a"), Path("b"), Path("c")]
    assert surplus_entries(entries, most=29, down_to=10, kept=Path("a")) == [Path("b"), Path("c")]


def test_a_folder_that_is_not_there_is_refused_with_the_key_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match="features is .*nowhere, which is no folder; create it, or leave f"
    ):
        DiskCache(tmp_path / "nowhere", b"", ending=".npy", option="features")
