"""Presence: what a whole listing lacks is marked, and nothing else ever is."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.pipeline.presence import Presence
from emolake.source.folder import FolderSource
from emolake.source.pattern import KeyPattern
from emolake.source.policy import Policy
from emolake.tasks.commit import commit_shard
from emolake.tasks.plan import plan_day

from made_lake import DAY, KEY, Call, shard_rows, sqlite_warehouse

PATTERN = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", ZoneInfo("UTC"))


class OurCall(Call):
    """A call of the folder below."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"file://{self.folder}/{self.key}"


@pytest.fixture(scope="module")
def shared_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as lake:
        yield lake


@pytest.fixture
def lake(shared_lake: Lake, tmp_path: Path) -> Lake:
    for table in ("recordings", "analyses", "segments"):
        shared_lake.connection.execute(f"DELETE FROM lake.{table}")
    OurCall.folder = tmp_path / "calls"
    put("a.wav")
    put("b.wav")
    commit(shared_lake, ["a.wav", "b.wav"])
    return shared_lake


def key_of(name: str, day=DAY) -> str:
    return f"{day:%Y/%m/%d}/oslo/{name}"


def path_of(name: str, day=DAY) -> Path:
    return OurCall.folder / key_of(name, day)


def put(name: str, day=DAY) -> None:
    path_of(name, day).parent.mkdir(parents=True, exist_ok=True)
    path_of(name, day).write_bytes(b"sound")


def commit(lake: Lake, names, day=DAY, **values) -> None:
    rows = shard_rows([OurCall(key_of(name, day), day=day, **values) for name in names])
    commit_shard(lake, rows, key=KEY, run_id="run-1", message="made", force=True)


def look(lake: Lake, pattern: KeyPattern = PATTERN, meanwhile=lambda: None) -> tuple[int, int]:
    source = FolderSource(OurCall.folder)
    presence = Presence(lake, source, pattern, DAY)
    for chunk in plan_day(source, pattern, lake, DAY, key=KEY, policy=Policy()):
        presence.see(chunk.listed)
    meanwhile()
    return presence.settle("run-2")


def marked(lake: Lake) -> list[str]:
    return [
        uri.rpartition("/")[2]
        for (uri,) in lake.rows("SELECT uri FROM recordings WHERE deleted_at IS NOT NULL ORDER BY uri")
    ]


def test_what_is_absent_is_marked_once_and_unmarked_when_it_is_back(lake: Lake) -> None:
    assert look(lake) == (0, 0)
    path_of("a.wav").unlink()
    assert look(lake) == (1, 0)
    assert marked(lake) == ["a.wav"]
    before = lake.latest_snapshot()
    assert look(lake) == (0, 0)
    assert lake.latest_snapshot() == before
    put("a.wav")
    assert look(lake) == (0, 1)
    assert marked(lake) == []
    assert lake.rows("SELECT count(*) FROM recordings") == [(2,)]


def test_a_listing_that_fails_half_way_marks_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    path_of("a.wav").unlink()
    source = FolderSource(OurCall.folder)
    whole = source.list

    def broken(prefix):
        yield from whole(prefix)
        raise OSError("the connection broke")

    monkeypatch.setattr(source, "list", broken)
    presence = Presence(lake, source, PATTERN, DAY)
    with pytest.raises(OSError, match="broke"):
        for chunk in plan_day(source, PATTERN, lake, DAY, key=KEY, policy=Policy()):
            presence.see(chunk.listed)
    assert marked(lake) == []


def test_a_whole_day_may_be_gone_but_not_the_whole_source(lake: Lake) -> None:
    put("c.wav", DAY - timedelta(days=1))
    for name in ("a.wav", "b.wav"):
        path_of(name).unlink()
    assert look(lake) == (2, 0)
    lake.connection.execute("UPDATE lake.recordings SET deleted_at = NULL")
    path_of("c.wav", DAY - timedelta(days=1)).unlink()
    assert look(lake) == (0, 0)  # a share that is not mounted


def test_what_another_run_commits_meanwhile_is_not_absent(lake: Lake) -> None:
    assert look(lake, meanwhile=lambda: commit(lake, ["late.wav"])) == (0, 0)
    put("late.wav")
    path_of("a.wav").unlink()
    look(lake, meanwhile=lambda: commit(lake, ["a.wav"]))  # it came back, and was analysed at once
    assert marked(lake) == []


def test_another_source_and_what_the_pattern_leaves_out_are_not_judged(lake: Lake) -> None:
    rows = shard_rows([Call(key_of("elsewhere.wav"))])
    commit_shard(lake, rows, key=KEY, run_id="run-1", message="made")
    assert look(lake) == (0, 0)
    assert look(lake, KeyPattern("{date:%Y/%m/%d}/lisbon/{call_id}.{ext}", ZoneInfo("UTC"))) == (0, 0)
    assert marked(lake) == []


def test_a_new_version_takes_the_mark_away(lake: Lake) -> None:
    path_of("a.wav").unlink()
    look(lake)
    commit(lake, ["a.wav"], version="v2")
    assert marked(lake) == []


def test_both_catalogs_mark(warehouse, tmp_path: Path) -> None:
    OurCall.folder = tmp_path / "calls"
    put("a.wav")
    put("b.wav")
    with open_lake(warehouse) as lake:
        commit(lake, ["a.wav", "b.wav"])
        path_of("b.wav").unlink()
        assert look(lake) == (1, 0)
        assert marked(lake) == ["b.wav"]
        put("b.wav")
        assert look(lake) == (0, 1)
        assert marked(lake) == []
