"""Planning: every key is work, done, or named; a million keys lie in no memory; shards are bounded and repeatable."""

import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_plan import figures_of, work_of

from emolake.audio.containers.formats import is_audio
from emolake.lake.connect import open_lake
from emolake.schemas.records import Listing, SourceObject
from emolake.source.folder import FolderSource
from emolake.source.pattern import KeyPattern
from emolake.source.policy import Policy
from emolake.source.store import Listed
from emolake.tasks import plan as tasks_plan
from emolake.tasks.commit import commit_shard
from emolake.tasks.plan import estimated_seconds, list_day, plan_day, recording_id, shards

from made_lake import DAY, KEY, Call, shard_rows, sqlite_warehouse

UTC_ZONE = ZoneInfo("UTC")
PATTERN = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", UTC_ZONE)


class Made(FolderSource):
    """A source of generated keys without files; the version of each is v1 unless `versions` names another."""

    def __init__(self, keys, versions=None):
        self.uri = "s3://calls"
        self.keys = keys
        self.versions = versions or {}

    def list(self, prefix: str) -> Iterator[Listed]:
        for key in self.keys():
            if key.startswith(prefix):
                yield Listed(key, self.versions.get(key, "v1"), 32_000)

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        raise AssertionError("a leading date needs no folders")

    def object_uri(self, key: str) -> str:
        return f"s3://calls/{key}"


def plan(source, lake, *, day=DAY, force=False, pattern=PATTERN, key=KEY) -> tuple[list[str], Listing]:
    chunks = list(plan_day(source, pattern, lake, day, key=key, policy=Policy(), force=force))
    return [item.key for item in work_of(chunks)], figures_of(chunks)


def test_a_folder_is_planned_by_day(tmp_path):
    names = ["2026/11/20/oslo/a 1+#é.wav", "2026/11/20/berlin/b.MP3", "2026/11/19/oslo/c.wav",
             "2026/11/20/oslo/notes.txt", "2026/11/20/stray.wav", "2026/11/20/oslo/deep/d.wav"]  # fmt: skip
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 64)
    source = FolderSource(tmp_path)
    keys, listing = plan(source, None)
    assert keys == ["2026/11/20/berlin/b.MP3", "2026/11/20/oslo/a 1+#é.wav"]
    assert (listing.found, listing.missing, listing.not_audio, listing.not_matched) == (2, 2, 1, 2)
    assert sorted(listing.named_keys) == [
        "does not match the pattern: 2026/11/20/oslo/deep/d.wav",
        "does not match the pattern: 2026/11/20/stray.wav",
        "is no audio: 2026/11/20/oslo/notes.txt",
    ]


def test_an_object_is_described_by_its_key(tmp_path):
    (tmp_path / "oslo").mkdir()
    (tmp_path / "oslo" / "20261120_233000_7.flac").write_bytes(b"x" * 160_000)
    pattern = KeyPattern("{site}/{date:%Y%m%d}_{time:%H%M%S}_{call_id}.{ext}", ZoneInfo("Asia/Tokyo"))
    (item,) = list_day(FolderSource(tmp_path), pattern, DAY)
    assert isinstance(item, SourceObject)
    assert item.uri == f"file://{tmp_path.resolve()}/oslo/20261120_233000_7.flac"
    assert item.recording_id == recording_id(item.uri)
    assert item.recorded_at is not None
    assert item.recorded_at.isoformat() == "2026-11-20T14:30:00+00:00"
    assert (item.date, item.size_bytes) == (DAY, 160_000)
    assert item.dimensions == {"site": "oslo", "call_id": "7", "ext": "flac"}
    assert estimated_seconds(item) == 10.0


def test_names_that_are_no_unicode_are_passed_over_and_named(tmp_path):
    folder = tmp_path / "2026/11/20/oslo"
    folder.mkdir(parents=True)
    try:
        (folder / os.fsdecode(b"caf\xe9.wav")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes no names that are not Unicode")
    keys, listing = plan(FolderSource(tmp_path), None)
    assert keys == []
    assert (listing.not_matched, listing.named_keys) == (
        1, (r"does not match the pattern: 2026/11/20/oslo/caf\udce9.wav",),
    )  # fmt: skip
    listing.named_keys[0].encode("utf-8")


def test_markers_of_folders_are_no_keys():
    assert plan(Made(lambda: ["2026/11/20/oslo/"]), None)[1] == Listing()


def test_named_keys_are_the_first_hundred():
    _, listing = plan(Made(lambda: (f"2026/11/20/{number}.wav" for number in range(250))), None)
    assert (listing.not_matched, len(listing.named_keys)) == (250, 100)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    done = [Call(f"2026/11/20/oslo/{name}.wav") for name in ("done", "changed", "other")]
    failed = Call("2026/11/20/oslo/failed.wav", status="quarantined", error="fetch_failed: fetch: x", pieces=(),
                  analysed=False)  # fmt: skip
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as lake:
        commit_shard(lake, shard_rows([*done, failed]), key=KEY, run_id="run-1", message="made")
        yield lake


NAMES = [f"2026/11/20/oslo/{name}.wav" for name in ("changed", "done", "failed", "new", "other")]
SOURCE = Made(lambda: NAMES, versions={NAMES[0]: "v2"})


def test_only_the_difference_is_planned(lake):
    keys, listing = plan(SOURCE, lake)
    assert keys == [NAMES[0], NAMES[2], NAMES[3]]
    assert (listing.found, listing.skipped, listing.stale, listing.failed, listing.missing) == (5, 2, 1, 1, 1)
    assert listing.estimated_seconds == 3.0


@pytest.mark.parametrize("key", ["2026/11/20/stray.wav", "2026/11/20/oslo/a.txt"])
def test_a_day_of_keys_that_are_no_recordings_is_planned_beside_a_lake(lake, key):
    keys, listing = plan(Made(lambda: [key]), lake)
    assert (keys, listing.found, listing.listed) == ([], 0, 1)


def test_another_configuration_makes_all_stale(lake):
    _, listing = plan(SOURCE, lake, key=replace(KEY, config_id="b" * 16))
    assert (listing.skipped, listing.stale, listing.failed, listing.missing) == (0, 3, 1, 1)


def test_force_plans_what_is_done_as_well(lake):
    keys, listing = plan(SOURCE, lake, force=True)
    assert keys == NAMES
    assert (listing.skipped, listing.stale) == (0, 3)


def test_memory_does_not_grow_with_the_number_of_keys(monkeypatch):
    monkeypatch.setattr(tasks_plan, "_COMPARED_AT_ONCE", 500)

    def peak(keys: int) -> int:
        source = Made(lambda: (f"2026/11/20/oslo/{number}.wav" for number in range(keys)))
        planned = plan_day(source, PATTERN, None, DAY, key=KEY, policy=Policy())
        work = (item for chunk in planned for item in chunk.work)
        tracemalloc.start()
        total = sum(len(shard) for shard in shards(work, shard_seconds=3600, shard_objects=200))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert total == keys
        return most

    peak(1000)  # what is made once
    assert peak(12_000) < 1.2 * peak(2000)


def item(number: int, size_bytes: int, ext: str = "wav") -> SourceObject:
    return SourceObject(
        f"{number}.{ext}", f"s3://calls/{number}.{ext}", str(number), "v1", size_bytes, DAY, None, {}
    )


@given(st.lists(st.integers(0, 40_000_000), max_size=60), st.integers(1, 20), st.floats(1, 2000))
def test_shards_hold_everything_once_and_in_order(sizes, most, seconds):
    items = [item(number, size) for number, size in enumerate(sizes)]
    cut = list(shards(items, shard_seconds=seconds, shard_objects=most))
    assert [each for shard in cut for each in shard] == items
    assert cut == list(shards(iter(items), shard_seconds=seconds, shard_objects=most))
    for shard in cut:
        assert 1 <= len(shard) <= most
        # A recording longer than a shard stands alone.
        assert len(shard) == 1 or sum(map(estimated_seconds, shard)) <= seconds


def test_the_last_two_shards_share_what_is_left():
    """They run side by side: 50 minutes beside 10 would take as long as 50."""
    items = [item(number, 10 * 60 * 32_000) for number in range(11)]
    cut = shards(items, shard_seconds=3000, shard_objects=200)
    assert [[int(each.recording_id) for each in shard] for shard in cut] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7],
        [8, 9, 10],
    ]


@pytest.mark.parametrize("name", ["a.wav", "a.WAV", "x/y.m4a", "a.b.opus", "c.webm", "d.amr"])
def test_audio_by_its_ending(name):
    assert is_audio(name)


@pytest.mark.parametrize("name", ["a.txt", "wav", "a.wav.tmp", "a.json", "x.wav/y", ""])
def test_no_audio_by_its_ending(name):
    assert not is_audio(name)


def test_ids_are_stable_and_differ():
    # Written once: a changed hash would make every recording of every lake a new one.
    assert recording_id("s3://calls/2026/11/20/oslo/a.wav") == "b76411e2ee9533583c7edf1cbe6ecbeb"
    assert len({recording_id(f"s3://calls/{number}") for number in range(1000)}) == 1000


def test_days_share_a_prefix_without_mixing():
    keys = [f"2026-11-{number:02d}_{site}.wav" for number in (19, 20) for site in ("a", "b")]
    pattern = KeyPattern("{date:%Y-%m-%d}_{site}.{ext}", UTC_ZONE)
    found = {
        day: [each.key for each in list_day(Made(lambda: keys), pattern, day)]
        for day in (DAY, DAY - timedelta(days=1), date(2026, 1, 1))
    }
    assert found == {DAY: keys[2:], DAY - timedelta(days=1): keys[:2], date(2026, 1, 1): []}
