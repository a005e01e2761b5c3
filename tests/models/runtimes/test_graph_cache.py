"""The cache of graphs: an entry is whole or absent, a broken one is exported again, the folder keeps to its bound."""

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import JsonValue

from emolake.models.runtimes.graph_cache import GRAPH_FILE, GraphCache, GraphRefusedError

PLENTY = 10**9


class Writer:
    """Writes a graph of some bytes, and counts how often."""

    def __init__(self, content: bytes = b"graph") -> None:
        self.content = content
        self.calls = 0

    def __call__(self, folder: Path) -> Mapping[str, JsonValue]:
        self.calls += 1
        (folder / GRAPH_FILE).write_bytes(self.content)
        return {}


def test_a_graph_is_written_once(tmp_path: Path) -> None:
    writer = Writer()
    path = GraphCache(tmp_path, max_bytes=PLENTY).get({"model": "a"}, writer)
    assert GraphCache(tmp_path, max_bytes=PLENTY).get({"model": "a"}, writer) == path
    assert (path.read_bytes(), writer.calls) == (b"graph", 1)
    assert GraphCache(tmp_path, max_bytes=PLENTY).get({"model": "b"}, writer) != path


@pytest.mark.parametrize("name", [GRAPH_FILE, "about.json"])
def test_a_changed_byte_is_found_and_the_graph_made_again(tmp_path: Path, name: str) -> None:
    cache, writer = GraphCache(tmp_path, max_bytes=PLENTY), Writer(b"a graph")
    path = cache.get({"model": "a"}, writer)
    content = bytearray((path.parent / name).read_bytes())
    content[0] ^= 1
    (path.parent / name).write_bytes(content)
    assert cache.get({"model": "a"}, writer).read_bytes() == b"a graph"
    assert writer.calls == 2


def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path, max_bytes=PLENTY)

    def broken(folder: Path) -> Mapping[str, JsonValue]:
        (folder / GRAPH_FILE).write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.get({"model": "a"}, broken)
    assert not list(tmp_path.iterdir())
    assert not cache.holds({"model": "a"})


def test_of_two_that_export_at_once_both_read_one_entry(tmp_path: Path) -> None:
    both = Barrier(2)

    def write(folder: Path) -> Mapping[str, JsonValue]:
        both.wait(timeout=30)
        (folder / GRAPH_FILE).write_bytes(b"graph")
        return {}

    with ThreadPoolExecutor(2) as pool:
        cache = GraphCache(tmp_path, max_bytes=PLENTY)
        paths = list(pool.map(lambda _: cache.get({"model": "a"}, write), range(2)))
    assert paths[0] == paths[1]
    assert [each.name for each in tmp_path.iterdir()] == [paths[0].parent.name]


def test_the_entry_unused_for_longest_makes_room(tmp_path: Path) -> None:
    writer = Writer(b"g" * 10_000)
    for age, name in ((300, "a"), (200, "b"), (100, "c")):
        about = GraphCache(tmp_path, max_bytes=PLENTY).get({"model": name}, writer).parent / "about.json"
        os.utime(about, (about.stat().st_mtime - age,) * 2)
    cache = GraphCache(tmp_path, max_bytes=25_000)
    cache.get({"model": "a"}, writer)  # the oldest entry, and now the one used last
    cache.get({"model": "d"}, writer)
    assert [name for name in "abcd" if cache.holds({"model": name})] == ["a", "d"]


def test_an_entry_larger_than_the_bound_is_kept_while_it_is_needed(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path, max_bytes=10)
    assert cache.get({"model": "a"}, Writer(b"g" * 1000)).is_file()


def test_a_refusal_is_remembered(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path, max_bytes=PLENTY)

    def refuse(folder: Path) -> Mapping[str, JsonValue]:
        raise GraphRefusedError("it answers otherwise")

    assert cache.refusal({"model": "a"}) is None
    with pytest.raises(GraphRefusedError, match="it answers otherwise"):
        cache.get({"model": "a"}, refuse)
    assert cache.refusal({"model": "a"}) == "it answers otherwise"
    with pytest.raises(GraphRefusedError, match="it answers otherwise"):
        cache.get({"model": "a"}, Writer())
    assert cache.refusal({"model": "b"}) is None


def test_a_folder_that_cannot_be_is_a_refusal_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = GraphCache(tmp_path / "file" / "graphs", max_bytes=PLENTY)
    with pytest.raises(
        GraphRefusedError, match=r"file/graphs cannot be written; correct inference\.graph_cache"
    ):
        cache.get({"model": "a"}, Writer())
