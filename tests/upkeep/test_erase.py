"""Erasure: nothing of a recording is left in any table, snapshot, file, cache or catalog, and it does not come back."""

import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from emolake.cli.app import app
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.questions import QueryError
from emolake.lake.rewrite import GROWING
from emolake.lake.schema import append
from emolake.lake.warehouse import WarehouseOptions
from emolake.models.feature_cache import FeatureCache
from emolake.models.known_families import FAMILIES
from emolake.models.protocol import TORCH_FP32, PersonalCache
from emolake.models.transcripts import TranscriptCache
from emolake.options import Options
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import RECORDINGS, RUNS
from emolake.settings import Settings
from emolake.source.access import SourceOptions
from emolake.source.folder import FolderSource
from emolake.source.pattern import KeyPattern
from emolake.source.policy import Policy
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.tasks.plan import plan_day, recording_id
from emolake.upkeep.erase import (
    ErasureError,
    ErasureRequest,
    erase,
    plan_erasure,
    request_by_name,
    requests_by_condition,
)
from emolake.upkeep.verify import verify

from made_lake import DAY, KEY, Call, run_row, shard_rows, tiled

pytestmark = pytest.mark.slow

NONE = Policy()
EARLIER = DAY - timedelta(days=1)
OTHER = AnalysisKey("other", "e" * 32, "d" * 16)
# The first and last by URI, so that they are bounds of the column too.
CALLS = [
    Call("a.wav", pieces=tiled(["anger", "fear"]), duration_s=20.0),
    Call("m.wav"),
    Call("n.wav", day=EARLIER, site="berlin"),
    Call("z.wav", day=EARLIER, pieces=tiled(["calm"]), site="berlin"),
]
REQUESTS = [
    ErasureRequest(CALLS[0].recording_id, CALLS[0].uri),
    ErasureRequest(CALLS[3].recording_id, CALLS[3].uri),
]
TEXTS = [text for each in REQUESTS for text in (each.recording_id, each.uri)]


def commit(
    warehouse: WarehouseOptions, calls: list[Call], key: AnalysisKey = KEY, *, force: bool = False
) -> None:
    with open_lake(warehouse) as lake:
        rows = shard_rows(calls, key=key)
        commit_shard(lake, rows, key=key, run_id="run-1", message="made", force=force)
        list(aggregate_days(lake, DayRange(EARLIER, DAY), dimensions=["site"], run_id="run-1"))


def fill(warehouse: WarehouseOptions) -> None:
    """A lake with a history: an older version, two models, several files a day, and a run that names a recording."""
    with open_lake(warehouse) as lake:
        append(lake.connection, RUNS, run_row("run-1"))
        append(
            lake.connection,
            RUNS,
            run_row("run-0", outcome="failed", error=f"{DAY}, shard 1: broke at {CALLS[0].uri}"),
        )
    commit(warehouse, [replace(call, version="v0") for call in CALLS])
    commit(warehouse, CALLS[:2])
    commit(warehouse, CALLS[2:])
    commit(warehouse, CALLS, OTHER)


def traces(folder: Path) -> list[str]:
    """Every Parquet file below a folder that names an erased recording in any column, however nested."""
    connection = duckdb.connect()
    condition = " OR ".join(f"contains(row::VARCHAR, '{text}')" for text in TEXTS)
    return [
        path.name
        for path in folder.rglob("*.parquet")
        if connection.execute(
            f"SELECT count(*) FROM read_parquet('{path}') AS row WHERE {condition}"
        ).fetchall()
        != [(0,)]
    ]


def rows_of(warehouse: WarehouseOptions, sql: str) -> list[tuple[object, ...]]:
    with open_lake(warehouse, read_only=True) as lake:
        return lake.rows(sql)


def test_nothing_is_left_and_everything_else_is(warehouse: WarehouseOptions, tmp_path: Path) -> None:
    settings, data = Settings(warehouse=warehouse), Path(warehouse.data)
    fill(warehouse)
    assert len(traces(data)) > 8
    # An orphan, as a killed writer leaves it.
    orphan = data / "main" / "segments" / "orphan.parquet"
    duckdb.execute(f"COPY (SELECT '{REQUESTS[0].recording_id}' AS recording_id) TO '{orphan}'")
    plan = plan_erasure(settings, REQUESTS)
    assert plan.days == [EARLIER, DAY]
    assert (sum(each.analyses for each in plan.stored), sum(each.segments for each in plan.stored)) == (4, 6)
    assert len(traces(data)) > 8  # the plan changes nothing
    others = (
        f"WHERE recording_id NOT IN ('{REQUESTS[0].recording_id}', '{REQUESTS[1].recording_id}') ORDER BY ALL"
    )
    kept = {
        table: rows_of(warehouse, f"SELECT * FROM {table} {others}")
        for table in ("recordings", "analyses", "segments")
    }
    done = erase(settings, REQUESTS, requested_by="ticket 7")
    assert traces(data) == []
    assert not orphan.exists()
    assert done.unread == ()
    for table, rows in kept.items():
        assert rows
        assert rows_of(warehouse, f"SELECT * FROM {table} ORDER BY ALL") == rows
    if warehouse.catalog.startswith("sqlite:"):
        catalog = b"".join(path.read_bytes() for path in tmp_path.glob("catalog.sqlite*"))
        assert not any(text.encode() in catalog for text in TEXTS)
    receipts = rows_of(
        warehouse, "SELECT recording_hash, analyses, segments, requested_by FROM erasures ORDER BY segments"
    )
    assert receipts == [
        (REQUESTS[1].recording_hash, 2, 2, "ticket 7"),
        (REQUESTS[0].recording_hash, 2, 4, "ticket 7"),
    ]
    assert not any(text in str(receipts) for text in TEXTS)
    assert rows_of(warehouse, "SELECT run_id, outcome, error IS NULL FROM runs ORDER BY run_id") == [
        ("run-0", "failed", False), ("run-1", "completed", True)
    ]  # fmt: skip
    verdict = verify(settings)
    assert (verdict.breaches, verdict.notices) == ([], [])
    assert rows_of(warehouse, "SELECT count(*) FROM lake.snapshots()") == [(1,)]
    assert plan_erasure(settings, REQUESTS).stored == []
    erase(settings, REQUESTS)  # which a kill in the middle makes necessary, and harmless
    assert rows_of(warehouse, "SELECT count(*), count(requested_by) FROM erasures") == [(2, 2)]


def test_every_table_is_counted_and_what_one_alone_still_holds_is_erased(embedded: WarehouseOptions) -> None:
    call = Call("2026/11/20/oslo/1.wav", talk_s=4.0)
    request = ErasureRequest(call.recording_id, call.uri)
    settings = Settings(warehouse=embedded)
    with open_lake(embedded) as lake:
        commit_shard(lake, shard_rows([call]), key=KEY, run_id="run-1", message="made")
        rows = {table.name: 1 for table in GROWING}
        for name in list(rows):
            (stored,) = plan_erasure(settings, [request]).stored
            assert (stored.date, stored.rows) == (DAY, rows)
            if len(rows) > 1:
                lake.connection.execute(f"DELETE FROM lake.{name}")
                del rows[name]
    erase(settings, [request])
    (last,) = rows
    assert rows_of(embedded, f"SELECT count(*) FROM {last}") == [(0,)]


def test_what_was_erased_is_neither_planned_nor_committed_again(
    embedded: WarehouseOptions, tmp_path: Path
) -> None:
    folder = tmp_path / "calls"
    path = folder / f"{DAY:%Y/%m/%d}" / "oslo" / "call.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"sound")
    commit(embedded, CALLS)
    settings = Settings(warehouse=embedded)
    erase(settings, [request_by_name(settings, str(path)), *REQUESTS])
    with open_lake(embedded) as lake:
        for force in (False, True):
            pattern = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", ZoneInfo("UTC"))
            source = FolderSource(folder)
            (chunk,) = plan_day(source, pattern, lake, DAY, key=KEY, policy=Policy(), force=force)
            assert chunk.work == []
            assert (chunk.figures.found, chunk.figures.skipped) == (1, 1)
        # A shard that was under way when its recording was erased.
        rows = shard_rows([CALLS[0], Call("new.wav")], run_id="run-2")
        committed = commit_shard(lake, rows, key=KEY, run_id="run-2", message="made", force=True)
    assert committed.already_done == {CALLS[0].recording_id}
    assert committed.written == {Call("new.wav").recording_id}
    assert traces(Path(embedded.data)) == []


def test_a_recording_is_known_by_uri_key_and_path(
    embedded: WarehouseOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_s3 = Settings(warehouse=embedded, source=SourceOptions(uri="s3://calls"))
    below = Settings(warehouse=embedded, source=SourceOptions(uri="s3://calls/2026/"))
    folder = tmp_path / "recordings"
    (folder / "oslo").mkdir(parents=True)
    (folder / "oslo" / "a b.wav").touch()
    (tmp_path / "link").symlink_to(folder)
    in_folder = Settings(warehouse=embedded, source=SourceOptions(uri=str(folder)))
    local, linked = Call("x.wav"), f"file://{folder.resolve()}/oslo/a b.wav"
    calls = [Call("a.wav"), Call("2026/11/ö 1.wav"), local, Call("keys/same.wav")]
    with open_lake(embedded) as lake:
        rows = shard_rows(calls)
        held = rows.recordings.to_pylist()
        held[2] |= {"uri": linked, "recording_id": recording_id(linked)}
        append(lake.connection, RECORDINGS, pa.Table.from_pylist(held, schema=RECORDINGS.schema))
    monkeypatch.chdir(folder)
    for settings, name, uri in (
        (on_s3, "s3://calls/a.wav", "s3://calls/a.wav"),
        (on_s3, "a.wav", "s3://calls/a.wav"),
        (on_s3, "./a.wav", "s3://calls/a.wav"),
        (on_s3, "2026/11/ö 1.wav", "s3://calls/2026/11/ö 1.wav"),
        (below, "11/ö 1.wav", "s3://calls/2026/11/ö 1.wav"),
        (in_folder, linked, linked),
        (in_folder, "oslo/a b.wav", linked),
        (in_folder, str(folder / "oslo" / "a b.wav"), linked),
        (in_folder, str(tmp_path / "link" / "oslo" / "a b.wav"), linked),
        (in_folder, "../recordings/oslo/a b.wav", linked),
        # what the lake does not know
        (on_s3, "b.wav", "s3://calls/b.wav"),
        (in_folder, "oslo/b.wav", f"file://{folder.resolve()}/oslo/b.wav"),
    ):
        assert request_by_name(settings, name).uri == uri


def test_a_name_of_two_recordings_is_refused(
    embedded: WarehouseOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uris = [f"file://{tmp_path.resolve()}/x.wav", f"file://{tmp_path.resolve()}/calls/x.wav"]
    with open_lake(embedded) as lake:
        rows = [
            row | {"uri": uri, "recording_id": recording_id(uri)}
            for uri in uris
            for row in shard_rows([Call("x.wav")]).recordings.to_pylist()
        ]
        append(lake.connection, RECORDINGS, pa.Table.from_pylist(rows, schema=RECORDINGS.schema))
    settings = Settings(warehouse=embedded, source=SourceOptions(uri=str(tmp_path / "calls")))
    with pytest.raises(ConfigurationError, match="the lake knows both; give the URI"):
        request_by_name(settings, "x.wav")


def test_what_the_lake_does_not_know_ends_nothing(embedded: WarehouseOptions) -> None:
    commit(embedded, CALLS)
    settings = Settings(warehouse=embedded, source=SourceOptions(uri="s3://calls"))
    config = Path(embedded.data).parent / "emolake.toml"
    config.write_text(
        f'[source]\nuri = "s3://calls"\n[warehouse]\ncatalog = "{embedded.catalog}"\ndata = "{embedded.data}"\n'
    )

    def erasing(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["erase", *arguments, "--yes", "--config", str(config)])

    before = rows_of(embedded, "SELECT count(*) FROM lake.snapshots()")
    for arguments, said in (
        (("--recording", "s3://calls/aa.wav"), "holds nothing of s3://calls/aa.wav"),
        (("--recording", "2026/a.wav"), "holds nothing of s3://calls/2026/a.wav"),
        (("--recording", "aa.wav", "--dry-run"), "--allow-unknown leaves a receipt"),
        (("--where", "uri LIKE '%/aa.wav'"), "no recording of the lake fits"),
        (("--where", "false", "--allow-unknown"), "no recording of the lake fits"),
        (("--where", "false", "--dry-run"), "no recording of the lake fits"),
    ):
        done = erasing(*arguments)
        assert isinstance(done.exception, ErasureError), done.exception  # which is the exit status 1
        assert not isinstance(done.exception, ConfigurationError)
        assert said in str(done.exception)
        assert "Time travel" not in done.output
    assert rows_of(embedded, "SELECT count(*) FROM lake.snapshots()") == before
    assert rows_of(embedded, "FROM erasures") == []
    # Unless told otherwise; and what has a receipt already may be given again, as after a kill.
    assert erasing("--recording", "aa.wav", "--allow-unknown").exit_code == 0
    assert rows_of(embedded, "SELECT recording_hash FROM erasures") == [
        (request_by_name(settings, "aa.wav").recording_hash,)
    ]
    assert erasing("--recording", "aa.wav").exit_code == 0
    assert rows_of(embedded, "SELECT count(*) FROM recordings") == [(4,)]


def test_a_condition_chooses_recordings_and_nothing_more(embedded: WarehouseOptions) -> None:
    commit(embedded, CALLS)
    settings = Settings(warehouse=embedded)
    assert requests_by_condition(settings, "dimensions['site'] = 'berlin' -- of Monday") == [
        ErasureRequest(call.recording_id, call.uri) for call in CALLS[2:]
    ]
    assert requests_by_condition(settings, "false") == []
    for wrong in ("true; DROP TABLE lake.segments", "colour = 'red'", "true) UNION (SELECT 1"):
        with pytest.raises(QueryError):
            requests_by_condition(settings, wrong)
    assert rows_of(embedded, "SELECT count(*) FROM recordings") == [(4,)]


class OddOptions(Options):
    """Options of a family with a cache under a name of its own."""

    voiceprints: Annotated[Path | None, PersonalCache()] = None
    """Where what was computed of recordings is kept."""


class Odd:
    """A family that is never loaded here."""

    Options = OddOptions
    precisions = TORCH_FP32


def test_the_caches_of_every_family_are_emptied_and_a_persons_files_are_kept(
    embedded: WarehouseOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "odd", "odd_family:Odd")
    monkeypatch.setitem(sys.modules, "odd_family", SimpleNamespace(Odd=Odd))
    folders = text, features, voices = [tmp_path / name for name in ("text", "features", "voices")]
    for folder in folders:
        (folder / "ab").mkdir(parents=True)
        (folder / "notes.txt").write_text("mine")
        (folder / "ab" / "holiday.npy").write_text("mine")
    TranscriptCache(text, {}, {}).write(b"clip", "a transcript")
    for folder in (features, voices):
        FeatureCache(folder, {}, max_bytes=10**6).get(np.zeros(4, np.float32), lambda wave: wave)
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "config.json").write_text('{"family": "multimodal"}')  # its weights are gone
    models: dict[str, dict[str, Any]] = {
        "spoken": {"path": str(tmp_path / "trained"), "transcript_cache": str(text)},
        "classical": {"family": "classical", "path": str(tmp_path / "gone"), "cache": str(features)},
        "odd": {"family": "odd", "voiceprints": str(voices)},
    }
    commit(embedded, CALLS)
    settings = Settings(warehouse=embedded, models=models)
    assert sorted(plan_erasure(settings, REQUESTS).caches) == sorted(folders)
    assert erase(settings, REQUESTS).cached_entries == 3
    assert TranscriptCache(text, {}, {}).read(b"clip") is None
    kept = sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if "mine" in _text(path)
    )
    assert kept == sorted(
        f"{folder.name}/{name}" for folder in folders for name in ("ab/holiday.npy", "notes.txt")
    )


def test_nothing_is_erased_while_a_models_caches_are_unknown(
    embedded: WarehouseOptions, tmp_path: Path
) -> None:
    commit(embedded, CALLS)
    settings = Settings(warehouse=embedded, models={"old": {"path": str(tmp_path / "gone")}})
    for attempt in (plan_erasure, erase):
        with pytest.raises(ConfigurationError, match=r"caches of recordings \[models\.old\] has is unknown"):
            attempt(settings, REQUESTS)
    assert rows_of(embedded, "SELECT count(*) FROM recordings") == [(4,)]
    assert rows_of(embedded, "SELECT count(*) FROM erasures") == [(0,)]


def _text(path: Path) -> str:
    return path.read_text("latin-1") if path.is_file() else ""
