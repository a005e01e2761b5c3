"""The parts of a cluster that need no Ray: what a worker gets and says, what fits a cluster, partial failures."""

import logging
from concurrent.futures import Future
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch

from emolake import telemetry
from emolake.engine_options import EngineOptions
from emolake.errors import ConfigurationError, Reason
from emolake.output import logs
from emolake.pipeline import ray_worker, run_progress
from emolake.pipeline.cluster_shard import ClusterShard, PortionError, portion_name
from emolake.pipeline.device_thread import DeviceLostError
from emolake.pipeline.dispatcher import EndedShard, Portion
from emolake.pipeline.interrupts import NotBegunError
from emolake.pipeline.ray_cluster import check_shared
from emolake.pipeline.ray_worker import Beat, Failed, ShardWorker, WorkerTask
from emolake.pipeline.scheduling import PartlyFailedError, PlannedShard, ShardOutcome, side_by_side
from emolake.schemas.records import AnalysisKey, Counts, SourceObject
from emolake.settings import Settings, load_settings
from emolake.source.store import SourceError

DAY = date(2026, 11, 20)
KEY = AnalysisKey("m", "f", "c")


def recording(name: str) -> SourceObject:
    return SourceObject(name, f"s3://calls/{name}", name, "v1", 16_000, DAY, None, {})


SHARD = PlannedShard(DAY, 3, [recording("a.wav"), recording("b.wav"), recording("c.wav")])


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Keep what a worker sets up in its process to the test."""
    logger = logging.getLogger("emolake")
    before = (logger.level, logger.propagate, list(logger.handlers))
    monkeypatch.setattr(run_progress, "_days", None)
    monkeypatch.setattr(telemetry, "_collected", None)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    logger.setLevel(before[0])
    logger.propagate, logger.handlers[:] = before[1], before[2]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "ray://head:10001"}, 'engine.address = "auto"'),
        ({"heartbeat_s": 60, "silence_timeout_s": 100}, "raise silence_timeout_s"),
        ({"workers": 0}, "workers"),
        ({"gpu": 1}, "gpu"),
    ],
)
def test_engines_that_cannot_work_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EngineOptions(kind="ray", **options)


def test_shards_at_once_are_those_of_the_engine() -> None:
    settings = Settings(engine=EngineOptions(workers=7))
    assert settings.shards_at_once == 2
    assert Settings(engine=EngineOptions(kind="ray", workers=7)).shards_at_once == 7


def test_a_worker_is_told_no_secret_of_others_and_decodes_with_its_own_cpus(tmp_path: Path) -> None:
    config = tmp_path / "emolake.toml"
    config.write_text(
        '[alerts]\nurls = ["slack://very-secret"]\n[telemetry]\notlp_endpoint = "http://user:secret@otlp"\n'
        '[engine]\nkind = "ray"\ncpus = 3.0\n[source]\nuri = "calls"\n'
        '[models.default]\nclasses = ["neutral", "anger"]\n'
    )
    settings = load_settings(config)
    task = WorkerTask.of(settings, KEY, "run-1")
    assert "secret" not in repr(task)
    settled = task.settled()
    assert settled.decode.at_once == 3
    assert settled.model_dump(exclude={"decode", "alerts", "telemetry"}) == settings.model_dump(
        exclude={"decode", "alerts", "telemetry"}
    )
    asked = settings.model_copy(update={"decode": settings.decode.model_copy(update={"processes": 2})})
    assert WorkerTask.of(asked, KEY, "run-1").settled().decode.at_once == 2


def worker(monkeypatch: pytest.MonkeyPatch, work: Any, **task: Any) -> ShardWorker:
    monkeypatch.setattr(ray_worker, "planned_model", lambda settings, key: None)
    monkeypatch.setattr(ray_worker, "analyse_shard", work)
    fields: dict[str, Any] = {"cpus": 1, "memory_mb": None, "heartbeat_s": 0.01, **task}
    return ShardWorker(WorkerTask(Settings().model_dump(mode="json"), KEY, "run-1", **fields))


@pytest.mark.usefixtures("untouched")
def test_a_worker_passes_on_what_its_shard_logs_counts_and_advances(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(objects: list[SourceObject], **arguments: Any) -> Counts:
        with logs.about(run="run-1", shard=arguments["message"]):
            logging.getLogger("emolake.somewhere").info("%s", "committed 3 recordings")
        telemetry.count("emolake.commit.retries", 2)
        run_progress.advance(str(DAY), 12.5)
        run_progress.advance(str(DAY), 2.5)
        return Counts(done=len(objects))

    *beats, counts = worker(monkeypatch, work, cpus=3).run(SHARD.objects, SHARD.name)
    assert counts == Counts(done=3)
    said = [beat for beat in beats if isinstance(beat, Beat)]
    assert len(said) == len(beats)
    (line,) = [line for beat in said for line in beat.lines]
    assert (line.message, line.about["shard"]) == ("committed 3 recordings", SHARD.name)
    assert set(line.about) == {"run", "shard", "worker"}
    assert [one for beat in said for one in beat.counted] == [("emolake.commit.retries", 2, {})]
    assert sum(beat.progress[str(DAY)][0] for beat in said if beat.progress) == 15.0
    assert said[-1].signs == 2
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("error", "failed"),
    [
        (SourceError("the bucket is busy"), Failed("the bucket is busy", again=True)),
        (ValueError("a bug"), Failed("a bug")),
        (DeviceLostError("cuda:0 is lost"), Failed("cuda:0 is lost", fatal=Reason.CRASHED)),
        (MemoryError(), Failed("MemoryError", fatal=Reason.OUT_OF_MEMORY)),
    ],
)
def test_what_a_shard_raises_comes_back_in_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, failed: Failed
) -> None:
    def work(objects: list[SourceObject], **arguments: Any) -> Counts:
        raise error

    assert list(worker(monkeypatch, work).run(SHARD.objects, SHARD.name))[-1] == failed


@pytest.mark.usefixtures("untouched")
def test_a_worker_that_takes_more_memory_than_it_may_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting: Future[None] = Future()

    def work(objects: list[SourceObject], **arguments: Any) -> Counts:
        waiting.result(30)
        return Counts()

    result = list(worker(monkeypatch, work, memory_mb=1).run(SHARD.objects, SHARD.name))[-1]
    waiting.set_result(None)
    assert isinstance(result, Failed)
    assert result.fatal is Reason.OUT_OF_MEMORY
    assert "engine.memory_mb is 1" in result.message


def test_a_line_of_a_worker_is_logged_with_what_it_was_about(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[dict[str, str]] = []

    class Seeing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append({"message": record.getMessage(), **logs._fields()})

    logger = logging.getLogger("emolake.there")
    logger.addHandler(Seeing())
    logs.relay(logs.Line(logging.WARNING, "emolake.there", "100 % odd", {"worker": "far:1", "shard": "s"}))
    assert seen == [{"message": "100 % odd", "worker": "far:1", "shard": "s"}]
    logger.handlers.clear()


@pytest.mark.parametrize(
    ("results", "errors", "expected"),
    [
        ([Counts(done=1), Counts(done=2)], [], Counts(done=3)),
        ([], [], NotBegunError),
        ([Counts(done=1)], [PortionError("a bug"), PortionError("a bug")], PartlyFailedError),
    ],
)
def test_a_shard_ends_with_what_its_portions_came_to(results: Any, errors: Any, expected: Any) -> None:
    shard = ClusterShard(SHARD)
    ended: list[object] = []
    shard.add_done_callback(ended.append)
    shard.end(EndedShard(shard, results, errors))
    assert ended == [shard]
    outcome = shard.outcome()
    assert outcome == expected if isinstance(expected, Counts) else isinstance(outcome, expected)


def test_what_of_a_failed_shard_was_committed_counts() -> None:
    def submit(wave: Any) -> list[ClusterShard]:
        made = [ClusterShard(shard) for shard in wave]
        for each in made:
            each.end(EndedShard(each, [Counts(done=2)], [PortionError("a bug")]))
        return made

    found = side_by_side([(DAY, iter([[SHARD]]))], limit=1, submit=submit, raise_interrupt=lambda: None)
    assert list(found) == [ShardOutcome(Counts(done=2), "2026-11-20, shard 3: a bug")]


def test_a_part_of_a_shard_is_named_by_its_recordings() -> None:
    shard = ClusterShard(SHARD)
    assert portion_name(Portion(shard, 0, 0, 3, 3.0)) == "2026-11-20, shard 3"
    assert portion_name(Portion(shard, 0, 1, 3, 2.0)) == "2026-11-20, shard 3, recordings 2 to 3"


class Machines:
    """A cluster, as far as it is looked at."""

    def __init__(self, nodes: int) -> None:
        self.nodes = nodes


def test_a_catalog_in_a_file_is_for_one_machine(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings()
    check_shared(settings, Machines(1))  # type: ignore[arg-type]
    with pytest.raises(
        ConfigurationError, match="the cluster has 3 machines, and warehouse.catalog is a file"
    ):
        check_shared(settings, Machines(3))  # type: ignore[arg-type]
