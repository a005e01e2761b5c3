"""The nightly and the backfill on made calls: nothing twice, nothing lost, whatever changed, failed or was killed."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import boto3
import numpy as np
import pytest
import safetensors.torch
from made_plan import work_of
from prefect.client.orchestration import get_client
from prefect.exceptions import ParameterTypeError

from emolake.demo.encode import write_audio
from emolake.demo.s3_server import serve_s3
from emolake.demo.speech import synthesise
from emolake.errors import ConfigurationError, EmolakeError
from emolake.flows.backfill import backfill
from emolake.flows.nightly import nightly
from emolake.flows.retry import retry
from emolake.lake.connect import open_lake
from emolake.lake.transact import LakeError
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.presence import Presence
from emolake.pipeline.runs import RunFailedError
from emolake.pipeline.shard import run_shard
from emolake.schemas.records import Counts, SourceObject
from emolake.settings import Settings, load_settings
from emolake.source.opening import open_source
from emolake.source.policy import Policy
from emolake.source.store import SourceError
from emolake.tasks.plan import list_day, plan_day

from chaos.servers import ACCESS_KEY, SECRET_KEY
from made_model import write_tiny_model

NONE = Policy()
LAST = date(2026, 11, 20)
DAYS = [LAST - timedelta(days=back) for back in range(3, -1, -1)]  # with the default lookback
CONTENT = (
    "SELECT uri, version, segments.date, channel, segment_index, start_s, end_s, speech_ratio, model, label, emotion, "
    "round(confidence, 4) AS confidence, config_id "
    "FROM segments JOIN recordings USING (recording_id) ORDER BY ALL"
)
DAILY = (
    "SELECT date, model, dimensions::VARCHAR AS dimensions, emotion, segments, round(speech_seconds, 6) AS seconds, "
    "round(share, 6) AS share, recordings FROM daily_emotions ORDER BY ALL"
)
SNAPSHOT = "SELECT max(snapshot_id) AS id FROM lake.snapshots()"

Row = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """A running S3 server, the folder whose folders are its buckets, and a model."""

    url: str
    folder: Path
    model: Path


@dataclass(frozen=True)
class Site:
    """A bucket, a configuration and a lake."""

    server: Server
    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def bucket(self) -> Path:
        return self.server.folder / self.name

    @property
    def config(self) -> Path:
        return self.folder / "emolake.toml"

    @property
    def settings(self) -> Settings:
        return load_settings(self.config)

    def configure(
        self, *, source: str = "", segmentation: str = "", run: str = "", warehouse: str = ""
    ) -> None:
        """Write the configuration; the arguments are further lines of its sections."""
        uri = "" if "uri" in source else f'uri = "s3://{self.name}"\n'
        gate = "" if "min_speech_ratio" in segmentation else "min_speech_ratio = 0.0\n"
        self.config.write_text(
            f'[source]\n{uri}endpoint_url = "{self.server.url}"\ntimezone = "Europe/Berlin"\n{source}\n'
            f"[segmentation]\n{gate}{segmentation}\n[warehouse]\n{warehouse}\n[run]\nshard_retry_delay_s = 0.0\n{run}\n"
            f'[inference]\nmodel = "tiny"\n[models.tiny]\npath = "{self.server.model}"\n'
        )

    def put(self, day: date, name: str, seconds: float = 12.0, *, seed: int = 1) -> str:
        """Put a call of noise into the bucket and return its URI."""
        noise = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * 8000), 1)).astype(np.float32)
        key = f"{day:%Y/%m/%d}/oslo/{name}"
        write_audio(self.bucket / key, noise, 8000, "wav")
        return f"s3://{self.name}/{key}"

    def put_bytes(self, key: str, content: bytes) -> None:
        (self.bucket / key).parent.mkdir(parents=True, exist_ok=True)
        (self.bucket / key).write_bytes(content)

    def rows(self, sql: str) -> list[Row]:
        with open_lake(self.settings.warehouse, read_only=True) as lake:
            return lake.connection.execute(sql).to_arrow_table().to_pylist()

    def holds_one_set_of_rows(self) -> bool:
        """Tell that no recording, analysis or segment is there twice, and that ledger and segments agree."""
        return not self.rows(
            "SELECT recording_id FROM recordings GROUP BY ALL HAVING count(*) > 1 "
            "UNION ALL SELECT recording_id FROM analyses GROUP BY recording_id, model HAVING count(*) > 1 "
            "UNION ALL SELECT recording_id FROM segments "
            "GROUP BY recording_id, model, channel, segment_index HAVING count(*) > 1 "
            "UNION ALL SELECT recording_id FROM analyses "
            "FULL JOIN (SELECT recording_id, count(*) AS held FROM segments GROUP BY ALL) USING (recording_id) "
            "WHERE segments IS DISTINCT FROM coalesce(held, 0)"
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("nightly")
    (folder / "s3").mkdir()
    model = write_tiny_model(folder / "tiny")
    with serve_s3(folder / "s3", access_key=ACCESS_KEY, secret_key=SECRET_KEY) as url:
        yield Server(url, folder / "s3", model)


@pytest.fixture
def make_site(server: Server, tmp_path: Path) -> Callable[[str], Site]:
    def make(name: str) -> Site:
        site = Site(server, tmp_path / f"{tmp_path.name.strip('_').replace('_', '-')[:40]}-{name}")
        site.folder.mkdir()
        site.bucket.mkdir()
        site.configure()
        return site

    return make


@pytest.fixture
def site(make_site: Callable[[str], Site]) -> Site:
    return make_site("a")


def by_recording(rows: Sequence[Row], column: str) -> dict[str, Any]:
    return {row["uri"]: row[column] for row in rows}


def test_a_night_of_made_calls(site: Site) -> None:
    lengths = {site.put(day, f"call {number}.wav", 12.0 + number): (day, 12.0 + number)
               for day in DAYS for number in range(2)}  # fmt: skip
    site.put_bytes(f"{LAST:%Y/%m/%d}/oslo/empty.wav", b"")
    site.put_bytes(f"{LAST:%Y/%m/%d}/oslo/notes.txt", b"Headset 4 crackles.")
    site.put_bytes(f"{LAST:%Y/%m/%d}/stray.wav", b"no site")
    outside = site.put(DAYS[0] - timedelta(days=1), "before the lookback.wav")
    summary = nightly(config=site.config, date=LAST)
    assert {name: summary[name] for name in ("found", "done", "quarantined", "not_matched", "not_audio")} == {
        "found": 9, "done": 9, "quarantined": 1, "not_matched": 1, "not_audio": 1
    }  # fmt: skip
    recordings = site.rows("SELECT * FROM recordings")
    assert outside not in by_recording(recordings, "uri")
    assert {uri: date_ for uri, date_ in by_recording(recordings, "date").items() if uri in lengths} == {
        uri: day for uri, (day, _) in lengths.items()
    }
    assert Counter(row["status"] for row in recordings) == {"ok": 8, "quarantined": 1}
    tiles = site.rows(
        "SELECT uri, list([start_s, end_s] ORDER BY segment_index) AS tiles "
        "FROM segments JOIN recordings USING (recording_id) GROUP BY uri"
    )
    assert {row["uri"]: row["tiles"] for row in tiles} == {
        uri: [[0.0, 10.0], [10.0, seconds]] for uri, (_, seconds) in lengths.items()
    }
    (run,) = site.rows("SELECT * FROM runs")
    assert (run["outcome"], run["first_date"], run["last_date"]) == ("completed", DAYS[0], LAST)
    assert sorted(run["named_keys"]) == [
        f"does not match the pattern: {LAST:%Y/%m/%d}/stray.wav",
        f"is no audio: {LAST:%Y/%m/%d}/oslo/notes.txt",
    ]
    assert SECRET_KEY not in str(run)
    daily = site.rows(
        "SELECT date, sum(segments)::BIGINT AS segments FROM daily_emotions GROUP BY date ORDER BY date"
    )
    assert [(row["date"], row["segments"]) for row in daily] == [(day, 4) for day in DAYS]


def test_the_same_night_again_commits_nothing(site: Site) -> None:
    site.put(LAST, "call.wav")
    site.put_bytes(f"{LAST:%Y/%m/%d}/oslo/junk.mp3", b"no frames at all")
    nightly(config=site.config, date=LAST)
    before = site.rows(SNAPSHOT), site.rows("SELECT * FROM runs"), site.rows("SELECT * FROM aggregations")
    started = time.perf_counter()
    summary = nightly(config=site.config, date=LAST)
    print(f"a night with nothing new took {time.perf_counter() - started:.2f} s in a running process")
    assert (summary["found"], summary["skipped"], summary["done"], summary["segments"]) == (2, 2, 0, 0)
    assert (
        site.rows(SNAPSHOT), site.rows("SELECT * FROM runs"), site.rows("SELECT * FROM aggregations")
    ) == before  # fmt: skip


def test_a_late_arrival_is_picked_up_and_only_its_day_is_aggregated_again(site: Site) -> None:
    for day in DAYS:
        site.put(day, "call.wav")
    nightly(config=site.config, date=LAST)
    before = {row["date"]: row for row in site.rows("SELECT * FROM aggregations")}
    late = site.put(DAYS[1], "late.wav", 4.0)
    summary = nightly(config=site.config, date=LAST)
    assert (summary["done"], summary["skipped"]) == (1, 4)
    after = {row["date"]: row for row in site.rows("SELECT * FROM aggregations")}
    assert {day for day in DAYS if after[day] != before[day]} == {DAYS[1]}
    assert after[DAYS[1]]["run_id"] == summary["run_id"]
    assert by_recording(site.rows("SELECT uri, run_id FROM recordings"), "run_id")[late] == summary["run_id"]
    (daily,) = site.rows(f"SELECT sum(segments)::BIGINT AS n FROM daily_emotions WHERE date = '{DAYS[1]}'")
    assert daily["n"] == 3


def test_a_changed_object_replaces_its_rows_and_no_other(site: Site) -> None:
    changed, kept = site.put(LAST, "changed.wav", 25.0), site.put(LAST, "kept.wav", 25.0)
    first = nightly(config=site.config, date=LAST)
    versions = by_recording(site.rows("SELECT uri, version FROM recordings"), "version")
    site.put(LAST, "changed.wav", 7.0, seed=2)
    second = nightly(config=site.config, date=LAST)
    assert (second["done"], second["skipped"]) == (1, 1)
    rows = site.rows(
        "SELECT uri, segments.run_id, end_s FROM segments JOIN recordings USING (recording_id) ORDER BY ALL"
    )
    assert [(row["uri"], row["run_id"], row["end_s"]) for row in rows] == [
        (changed, second["run_id"], 7.0),
        *((kept, first["run_id"], end_s) for end_s in (10.0, 20.0, 25.0)),
    ]
    found = by_recording(site.rows("SELECT uri, version FROM recordings"), "version")
    assert found[kept] == versions[kept]
    assert found[changed] != versions[changed]
    assert by_recording(site.rows("SELECT uri, analyses.version FROM analyses JOIN recordings USING (recording_id)"),
                        "version") == found  # fmt: skip
    assert site.holds_one_set_of_rows()


def test_another_segmentation_makes_all_stale_and_a_backfill_redoes_it(site: Site) -> None:
    for day in DAYS[-2:]:
        site.put(day, "call.wav")
    old = nightly(config=site.config, date=LAST)
    site.configure(segmentation="window_s = 4.0\nhop_s = 4.0")
    summary = backfill(first=DAYS[-2], last=LAST, config=site.config)
    assert (summary["done"], summary["skipped"], summary["segments"]) == (2, 0, 6)
    rows = site.rows("SELECT DISTINCT config_id, run_id FROM segments")
    assert [row["run_id"] for row in rows] == [summary["run_id"]]
    (runs,) = site.rows("SELECT count(DISTINCT config_id) AS configurations, count(*) AS runs FROM runs")
    assert (runs["configurations"], runs["runs"]) == (2, 2)
    assert old["segments"] == 4
    assert site.holds_one_set_of_rows()
    (daily,) = site.rows("SELECT sum(segments)::BIGINT AS n FROM daily_emotions")
    assert daily["n"] == 6
    again = backfill(first=DAYS[-2], last=LAST, config=site.config)
    assert (again["done"], again["skipped"]) == (0, 2)


def failed_run(site: Site, kind: type[EmolakeError], said: str) -> Row:
    """Run the nightly, which must fail so, and return its row in `runs`."""
    with pytest.raises(kind, match=said) as caught:
        nightly(config=site.config, date=LAST)
    assert SECRET_KEY not in str(caught.value)
    run = site.rows("SELECT * FROM runs ORDER BY started_at")[-1]
    assert run["outcome"] == "failed"
    assert run["finished_at"] is not None
    assert SECRET_KEY not in str(run)
    return run


def test_a_bucket_that_is_gone_leaves_a_failed_run(site: Site) -> None:
    site.configure(source='uri = "s3://no-such-bucket"')
    run = failed_run(site, RunFailedError, "NoSuchBucket; create the bucket or correct source.uri")
    assert "create the bucket" in run["error"]


def test_wrong_credentials_leave_a_failed_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.put(LAST, "call.wav")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-that-is-wrong")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it holds the credentials that it found first
    run = failed_run(site, RunFailedError, "check")
    assert "another-secret-that-is-wrong" not in str(run)


def test_a_night_whose_keys_match_no_more_fails_and_may_be_let_pass(site: Site) -> None:
    site.put(LAST, "call.wav")
    summary = nightly(config=site.config, date=LAST)
    assert {name: summary[name] for name in ("done", "decoded", "with_speech", "with_label")} == {
        "done": 1, "decoded": 1, "with_speech": summary["with_speech"], "with_label": 1
    }  # fmt: skip
    site.configure(source='pattern = "{date:%Y/%m/%d}/{call_id}.{ext}"', warehouse="[aggregate]\nby = []")
    named = f"{LAST:%Y/%m/%d}/oslo/call.wav"
    run = failed_run(site, RunFailedError, "no recording was found on any of the 4 days")
    assert (run["found"], run["not_matched"]) == (0, 1)
    assert named in run["error"]
    source = 'pattern = "{date:%Y/%m/%d}/{call_id}.{ext}"'
    site.configure(source=source, warehouse="[aggregate]\nby = []", run='empty = "warn"')
    summary = nightly(config=site.config, date=LAST)
    assert summary["outcome"] == "completed"
    assert any(named in warning for warning in cast("list[str]", summary["warnings"]))
    assert len(site.rows("SELECT * FROM runs")) == 3


def test_a_day_that_fails_does_not_stop_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for day in DAYS:
        site.put(day, "call.wav")

    def listed(source: Any, pattern: Any, day: date, beyond: Any) -> Iterator[Any]:
        if day == DAYS[1]:
            raise SourceError("the listing broke off; list it again")
        return list_day(source, pattern, day, beyond)

    with monkeypatch.context() as patched:
        patched.setattr("emolake.tasks.plan.list_day", listed)
        with pytest.raises(RunFailedError, match=f"{DAYS[1]}: the listing broke off"):
            backfill(first=DAYS[0], last=LAST, config=site.config, newest_first=True)
    done = site.rows("SELECT date FROM analyses ORDER BY committed_at")
    assert [row["date"] for row in done] == [LAST, DAYS[2], DAYS[0]]
    assert {row["date"] for row in site.rows("SELECT date FROM daily_emotions")} == {LAST, DAYS[2], DAYS[0]}
    assert backfill(first=DAYS[0], last=LAST, config=site.config)["done"] == 1


def test_shards_that_fail_leave_a_failed_run_and_the_next_one_does_the_work(
    site: Site, tmp_path: Path
) -> None:
    """A model whose logits overflow is a bug of the model: no shard is tried again, and none is lost."""
    site.put(LAST, "call.wav")
    site.put(DAYS[0], "call.wav")
    broken = write_tiny_model(tmp_path / "broken")
    weights = safetensors.torch.load_file(broken / "model.safetensors")
    weights["members.0.join_norm.weight"].fill_(3e38)
    safetensors.torch.save_file(weights, broken / "model.safetensors")
    good = site.config.read_text()
    site.config.write_text(good.replace(str(site.server.model), str(broken)))
    run = failed_run(site, RunFailedError, "not finite")
    assert (run["found"], run["done"]) == (2, 0)
    assert f"{DAYS[0]}, shard 1: " in run["error"]
    assert f"{LAST}, shard 1: " in run["error"]
    assert site.rows("SELECT * FROM recordings") == []
    site.config.write_text(good)
    assert nightly(config=site.config, date=LAST)["done"] == 2


def test_too_many_bad_recordings_fail_the_run_with_the_good_ones_committed(site: Site) -> None:
    good = site.put(LAST, "good.wav")
    for number in range(3):
        site.put_bytes(f"{LAST:%Y/%m/%d}/oslo/junk {number}.wav", b"junk")
    run = failed_run(
        site, RunFailedError, "3 of 4 recordings were quarantined, more than run.max_bad_share = 0.5"
    )
    assert (run["done"], run["quarantined"]) == (4, 3)
    statuses = by_recording(site.rows("SELECT uri, status FROM recordings"), "status")
    assert statuses.pop(good) == "ok"
    assert set(statuses.values()) == {"quarantined"}
    (daily,) = site.rows("SELECT sum(segments)::BIGINT AS n FROM daily_emotions")
    assert daily["n"] == 2
    assert nightly(config=site.config, date=LAST)["done"] == 0  # what was judged once is not judged again


def test_days_side_by_side_give_the_rows_of_one_after_the_other(
    make_site: Callable[[str], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    together, alone = make_site("together"), make_site("alone")
    for site in (together, alone):
        site.configure(run="shard_objects = 1\nparallel_shards = 1")
        for number in range(9):
            site.put(DAYS[number % 4], f"call {number}.wav", 4.0 + number, seed=number)
    broken = together.bucket / f"{DAYS[1]:%Y/%m/%d}/oslo/call 1.wav"
    content = broken.read_bytes()
    backfill(first=DAYS[0], last=LAST, config=alone.config)

    begun, models, met = [], set(), Barrier(3)

    def listed(source: Any, pattern: Any, day: date, beyond: Any) -> Iterator[Any]:
        begun.append(day)
        if day == DAYS[2]:
            raise SourceError("the listing broke off; list it again")
        return list_day(source, pattern, day, beyond)

    def shard_of(objects: Sequence[SourceObject], **arguments: Any) -> Counts:
        models.add(id(loaded_model(arguments["entry"], arguments["settings"].inference)))
        if arguments["message"].endswith("shard 1"):
            met.wait(60)  # broken, and the shard failed, unless three days are under way at once
        return run_shard(objects, **arguments)

    with monkeypatch.context() as patched:
        patched.setattr("emolake.tasks.plan.list_day", listed)
        patched.setattr("emolake.flows.analyse_days.run_shard", shard_of)
        broken.unlink()
        with pytest.raises(RunFailedError, match=f"{DAYS[2]}: the listing broke off"):
            backfill(first=DAYS[0], last=LAST, config=together.config, newest_first=True, parallel_days=3)
    assert begun == DAYS[::-1]
    assert len(models) == 1
    assert {row["date"] for row in together.rows("SELECT date FROM daily_emotions")} == {
        DAYS[0], DAYS[1], LAST
    }  # fmt: skip
    broken.write_bytes(content)
    assert backfill(first=DAYS[0], last=LAST, config=together.config, parallel_days=4)["done"] == 3
    renamed = [
        {**row, "uri": row["uri"].replace(together.name, alone.name)} for row in together.rows(CONTENT)
    ]
    assert renamed == alone.rows(CONTENT)
    assert together.rows(DAILY) == alone.rows(DAILY)
    assert together.holds_one_set_of_rows()
    with pytest.raises(ParameterTypeError, match="parallel_days"):
        backfill(first=DAYS[0], last=LAST, config=together.config, parallel_days=0)


def test_a_day_that_ends_the_run_leaves_what_is_at_work_on_others_counted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.configure(run="shard_objects = 1\nparallel_shards = 1")
    for number in range(4):
        site.put(DAYS[min(number, 1)], f"call {number}.wav", 4.0, seed=number)
    settled = iter([LakeError("the catalog is gone; start it")])

    def settle(_presence: Presence, _run_id: str) -> tuple[int, int]:
        raise next(settled)

    monkeypatch.setattr(Presence, "settle", settle)
    with pytest.raises(LakeError, match="the catalog is gone"):
        backfill(first=DAYS[0], last=DAYS[1], config=site.config, parallel_days=2)
    assert site.rows("SELECT outcome, done FROM runs") == [{"outcome": "failed", "done": 4}]
    assert site.rows("SELECT count(*) AS held FROM analyses GROUP BY ALL") == [{"held": 4}]


def start(site: Site, log: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a command in a process of its own, against the Prefect server of the tests."""
    emolake = Path(sys.executable).with_name("emolake")
    with log.open("wb") as output:
        return subprocess.Popen(
            [emolake, *command, "--config", site.config],
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def analysed(site: Site) -> int:
    """Return how many recordings the ledger holds; none while another process is still making the lake."""
    if not Path(site.settings.warehouse.catalog.removeprefix("sqlite:")).is_file():
        return 0
    try:
        with open_lake(site.settings.warehouse, read_only=True) as lake:
            return int(lake.rows("SELECT count(*) FROM analyses")[0][0]) if lake.exists() else 0
    except LakeError:  # a catalog of which only a part is written
        return 0


def wait_for_recordings(site: Site, least: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        if analysed(site) >= least:
            return
        time.sleep(0.05)
    pytest.fail(f"the run never committed {least} recordings:\n{log.read_text()[-3000:]}")


def test_an_interrupted_backfill_of_parallel_days_leaves_nothing_half_done(
    make_site: Callable[[str], Site], tmp_path: Path
) -> None:
    stopped, clean = make_site("stopped"), make_site("clean")
    for site in (stopped, clean):
        site.configure(run="shard_objects = 1\nparallel_shards = 1")
        for number in range(16):
            site.put(DAYS[number % 4], f"call {number:02d}.wav", 4.0 + number, seed=number)
    log = tmp_path / "stopped.log"
    process = start(stopped, log, "backfill", str(DAYS[0]), str(LAST), "--parallel-days", "3")
    try:
        wait_for_recordings(stopped, 2, process, log)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(20)
    assert "emolake: interrupted; what was committed stays" in log.read_text()
    done = analysed(stopped)
    assert 2 <= done < 16
    assert [row["outcome"] for row in stopped.rows("SELECT outcome FROM runs")] == ["failed"]
    assert stopped.holds_one_set_of_rows()
    assert backfill(first=DAYS[0], last=LAST, config=stopped.config, parallel_days=3)["done"] == 16 - done
    backfill(first=DAYS[0], last=LAST, config=clean.config)
    renamed = [{**row, "uri": row["uri"].replace(stopped.name, clean.name)} for row in stopped.rows(CONTENT)]
    assert renamed == clean.rows(CONTENT)
    assert stopped.rows(DAILY) == clean.rows(DAILY)


def test_an_interrupt_waits_for_the_statement_it_strikes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one DuckDB would drop it, make another error of it, or wait for ever."""
    site.put(LAST, "call.wav")
    see, seen = Presence.see, list[SourceObject]()

    def interrupted(self: Presence, objects: Sequence[SourceObject]) -> None:
        signal.raise_signal(signal.SIGINT)
        see(self, objects)
        seen.extend(objects)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Presence, "see", interrupted)
        nightly(config=site.config, date=LAST)
    assert len(seen) == 1
    assert [row["outcome"] for row in site.rows("SELECT outcome FROM runs")] == ["failed"]
    nightly(config=site.config, date=LAST)
    assert len(site.rows(CONTENT)) == 2
    assert site.holds_one_set_of_rows()


def test_what_was_deleted_at_the_source_is_marked_and_stays(site: Site) -> None:
    gone, kept = site.put(LAST, "gone.wav"), site.put(LAST, "kept.wav")
    nightly(config=site.config, date=LAST)
    before, path = site.rows(CONTENT), site.bucket / f"{LAST:%Y/%m/%d}/oslo/gone.wav"
    content, modified = path.read_bytes(), path.stat().st_mtime_ns
    path.unlink()
    summary = nightly(config=site.config, date=LAST)
    assert (summary["found"], summary["done"]) == (1, 0)
    marks = by_recording(site.rows("SELECT uri, deleted_at FROM recordings"), "deleted_at")
    assert marks[kept] is None
    assert marks[gone] is not None
    again = nightly(config=site.config, date=LAST)
    assert by_recording(site.rows("SELECT uri, deleted_at FROM recordings"), "deleted_at") == marks
    assert again["run_id"] not in by_recording(site.rows("SELECT run_id AS uri, flow FROM runs"), "flow")
    path.write_bytes(content)
    os.utime(path, ns=(modified, modified))
    assert nightly(config=site.config, date=LAST)["done"] == 0
    assert by_recording(site.rows("SELECT uri, deleted_at FROM recordings"), "deleted_at") == {
        gone: None,
        kept: None,
    }
    assert site.rows(CONTENT) == before
    assert site.holds_one_set_of_rows()


def test_what_was_quarantined_is_retried_and_gives_the_rows_of_a_clean_run(
    make_site: Callable[[str], Site],
) -> None:
    site, clean = make_site("retried"), make_site("clean")
    for each in (site, clean):
        for number in range(3):
            each.put(LAST, f"call {number}.wav", 12.0 + number, seed=number)
        each.put_bytes(f"{DAYS[0]:%Y/%m/%d}/oslo/junk.wav", b"junk")
    # An object that vanishes between listing and reading, and comes back.
    vanishing = site.bucket / f"{LAST:%Y/%m/%d}/oslo/call 1.wav"
    content = vanishing.read_bytes()
    settings, entry = site.settings, site.settings.registry.entry()
    key = analysis_key(settings, entry)
    source = open_source(settings.source.uri, settings.source.s3)
    pattern = settings.source.key_pattern()
    listed = work_of(plan_day(source, pattern, None, LAST, key=key, policy=Policy()))
    vanishing.unlink()
    run_shard(
        listed, settings=settings, entry=entry, key=key, run_id="first", message="one is gone meanwhile"
    )
    vanishing.write_bytes(content)
    with pytest.raises(RunFailedError):
        backfill(first=DAYS[0], last=DAYS[0], config=site.config)
    reasons = {row["uri"]: row["error"].partition(":")[0] for row in
               site.rows("SELECT uri, error FROM recordings WHERE status = 'quarantined'")}  # fmt: skip
    assert sorted(reasons.values()) == ["undecodable", "vanished"]
    assert retry(config=site.config, reasons=["empty"]) is None
    with pytest.raises(ConfigurationError, match="the reasons are empty, undecodable"):
        retry(config=site.config, reasons=["colour"])
    summary = retry(config=site.config, reasons=["vanished", "fetch_failed"])
    assert summary is not None
    assert (summary["done"], summary["quarantined"], summary["first_date"]) == (1, 0, str(LAST))
    summary = retry(config=site.config)  # the junk is junk still, which fails no run
    assert summary is not None
    assert (summary["done"], summary["quarantined"], summary["outcome"]) == (1, 1, "completed")
    with pytest.raises(RunFailedError):
        backfill(first=DAYS[0], last=DAYS[0], config=clean.config)
    nightly(config=clean.config, date=LAST)
    renamed = [{**row, "uri": row["uri"].replace(site.name, clean.name)} for row in site.rows(CONTENT)]
    assert renamed == clean.rows(CONTENT)
    assert site.rows(DAILY) == clean.rows(DAILY)
    assert site.holds_one_set_of_rows()


def test_what_was_committed_and_not_aggregated_is_aggregated_by_the_next_run(site: Site) -> None:
    site.put(DAYS[2], "call.wav")
    settings, entry = site.settings, site.settings.registry.entry()
    key = analysis_key(settings, entry)
    source = open_source(settings.source.uri, settings.source.s3)
    pattern = settings.source.key_pattern()
    objects = work_of(plan_day(source, pattern, None, DAYS[2], key=key, policy=Policy()))
    run_shard(objects, settings=settings, entry=entry, key=key, run_id="killed", message="killed after this")
    assert site.rows("SELECT * FROM daily_emotions") == []
    summary = nightly(config=site.config, date=LAST)
    assert (summary["done"], summary["skipped"]) == (0, 1)
    (daily,) = site.rows("SELECT sum(segments)::BIGINT AS n FROM daily_emotions")
    assert daily["n"] == 2


def test_stretches_of_speech_of_each_channel(site: Site) -> None:
    site.configure(segmentation='method = "vad"\nchannels = "split"\nmin_speech_ratio = 0.1')
    voice, rate = synthesise(
        "The line was down for a quarter of an hour, and nobody had called back.", voice="en-us+m3"
    )
    pause = np.zeros(rate * 3, np.float32)
    left = np.concatenate([voice, pause, voice, pause])
    right = np.concatenate([np.zeros(len(left) - len(voice), np.float32), voice])
    key = f"{LAST:%Y/%m/%d}/oslo/both.flac"
    write_audio(site.bucket / key, np.stack([left, right], axis=1), rate, "flac")
    nightly(config=site.config, date=LAST)
    rows = site.rows(
        "SELECT channel, start_s, end_s, speech_ratio, label FROM segments ORDER BY channel, segment_index"
    )
    for channel in (0, 1):
        own = [row for row in rows if row["channel"] == channel]
        assert own[0]["start_s"] == 0.0
        assert [row["start_s"] for row in own[1:]] == [row["end_s"] for row in own[:-1]]
        assert own[-1]["end_s"] == len(left) / rate
        spoken = [row for row in own if row["label"] is not None]
        assert all(row["speech_ratio"] == 0.0 for row in own if row["label"] is None)
        assert sum(row["end_s"] - row["start_s"] for row in spoken) == pytest.approx(
            (2 - channel) * len(voice) / rate, rel=0.25
        )
        starts = [row["start_s"] for row in spoken]
        assert starts[0] == pytest.approx(0.0 if channel == 0 else (len(left) - len(voice)) / rate, abs=0.5)


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_a_catalog_in_postgresql_with_data_on_s3(
    site: Site, server: Server, warehouse: WarehouseOptions
) -> None:
    lake = server.folder / f"{site.name}-lake"
    lake.mkdir()
    site.configure(
        warehouse=f'catalog = "{warehouse.catalog}"\ndata = "s3://{lake.name}/data"',
        run="shard_objects = 1\nparallel_shards = 2",
    )
    for number in range(4):
        site.put(LAST, f"call {number}.wav")
    site.put(DAYS[0], "call.wav")
    assert nightly(config=site.config, date=LAST)["done"] == 5
    assert len(list(lake.rglob("segments/**/*.parquet"))) == 5
    assert site.holds_one_set_of_rows()
    daily = site.rows(
        "SELECT date, sum(segments)::BIGINT AS n FROM daily_emotions GROUP BY date ORDER BY date"
    )
    assert [(row["date"], row["n"]) for row in daily] == [(DAYS[0], 2), (LAST, 8)]
    before = site.rows(SNAPSHOT)
    assert nightly(config=site.config, date=LAST)["done"] == 0
    assert site.rows(SNAPSHOT) == before


def test_prefect_is_told_paths_and_dates_and_shows_the_figures(site: Site) -> None:
    site.put(LAST, "call.wav")
    summary = nightly(config=site.config, date=LAST)
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs(limit=200) if str(site.config) in str(run.parameters)]
        artifacts = client.read_artifacts(limit=200)
        parameters = {name: value for run in runs for name, value in run.parameters.items()}
    assert [run.name for run in runs] == [f"nightly-{LAST}"]
    assert parameters.keys() == {"config", "date"}
    assert SECRET_KEY not in str(parameters)
    (artifact,) = [each for each in artifacts if str(summary["run_id"]) in (each.description or "")]
    assert (artifact.key, artifact.type, artifact.flow_run_id) == ("emolake-nightly", "markdown", runs[0].id)
    assert "| segments | 2 |" in str(artifact.data)
    assert SECRET_KEY not in str(artifact.data)
