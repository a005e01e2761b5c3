"""A cluster of several worker processes: the rows of a local run, whatever its workers, its head or a person do."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from emolake.engine_options import EngineOptions
from emolake.errors import ConfigurationError, EmolakeError
from emolake.flows.nightly import nightly
from emolake.lake.unopened import NoLakeError
from emolake.pipeline import ray_cluster
from emolake.pipeline.execution import run_here
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.runs import Run, RunFailedError

from chaos.servers import new_database
from made_cluster import DAY, Night, perilous_family
from perilous_family import FILLS, HANGS_ONCE, KILLS


def _has_ray() -> bool:
    try:
        return bool(version("ray"))
    except PackageNotFoundError:
        return False


pytestmark = [pytest.mark.slow, pytest.mark.server]
with_ray = pytest.mark.skipif(not _has_ray(), reason="ray is not installed: pip install 'emolake[ray]'")

ENGINE = 'kind = "ray"\nheartbeat_s = 0.5\nsilence_timeout_s = 30.0\n'
LOG = logging.getLogger("emolake")


@pytest.fixture(scope="module", autouse=True)
def family(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with perilous_family(tmp_path_factory.mktemp("family")):
        yield


@pytest.fixture
def make_night(tmp_path: Path) -> Callable[[str], Night]:
    """Makes nights with one folder of calls, each with a lake of its own."""

    def make(name: str) -> Night:
        (tmp_path / name).mkdir()
        return Night(tmp_path / name, tmp_path / "calls", str(tmp_path / "calls"))

    return make


def run(night: Night) -> Run:
    return run_here(RunRequest("nightly", (DAY,)), night.settings, LOG)


def processes_of_ray() -> list[psutil.Process]:
    """Return what a cluster of this process, or of one that it started, consists of."""
    return [each for each in psutil.Process().children(recursive=True) if "/ray/" in " ".join(_command(each))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return [*process.cmdline(), process.exe()]
    except psutil.Error:
        return []


def wait_until(true: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@with_ray
def test_the_rows_are_those_of_a_local_run_and_each_worker_loads_its_model_once(
    s3: tuple[str, Path], postgres: str, prefect: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url, folder = s3
    nights = []
    for name in ("local", "cluster"):
        catalog = f"postgres:{new_database(postgres, f'{tmp_path.name}-{name}')}"
        (tmp_path / name).mkdir()
        (folder / name).mkdir()
        nights.append(Night(tmp_path / name, folder / "calls", "s3://calls", url, catalog))
    local, cluster = nights
    for number in range(11):
        local.put(f"{number}.wav", 2.0 + number, seed=number)
    local.put("silent.wav", 4.0, level=0.0)
    (folder / "calls" / f"{DAY:%Y/%m/%d}" / "oslo" / "broken.wav").write_bytes(b"RIFF, and nothing else")
    local.configure(run="shard_objects = 2", data="s3://local")
    run(local)
    cluster.configure(run="shard_objects = 2", data="s3://cluster", engine=ENGINE)
    logging.getLogger("emolake").addHandler(caplog.handler)  # which does not propagate while a run logs
    summary = nightly(config=cluster.config, date=DAY)
    logging.getLogger("emolake").removeHandler(caplog.handler)
    assert (summary["done"], summary["quarantined"]) == (13, 1)
    assert cluster.content() == local.content()
    loads = cluster.loads()
    assert len(loads) == 2
    assert set(loads.values()) == {1}
    assert os.getpid() not in loads
    said = [record for record in caplog.records if record.message.startswith("committed")]
    of_workers = [record for record in said if record.name == "emolake.pipeline.shard"]
    on_the_page = [record for record in said if record.name == "prefect.flow_runs"]
    assert (len(of_workers), len(on_the_page)) == (7, 7)
    assert all("shard=" in record.message for record in on_the_page)
    assert processes_of_ray() == []


@with_ray
def test_what_kills_hangs_or_fills_workers_is_found_and_all_others_are_committed(
    make_night: Callable[[str], Night],
) -> None:
    night = make_night("a")
    for number in range(4):
        night.put(f"{number} good.wav", seed=number)
    for name, level in (("5 kills", KILLS), ("6 fills", FILLS), ("7 hangs", HANGS_ONCE)):
        night.put(f"{name}.wav", level=level)
        night.put(f"{name} beside.wav", seed=9)
    night.configure(engine=f"{ENGINE}memory_mb = 2000\nworkers = 3", run="shard_objects = 2")
    done = run(night)
    assert night.statuses() == {
        **{f"{number} good.wav": "ok" for number in range(4)},
        **{f"{name} beside.wav": "ok" for name in ("5 kills", "6 fills", "7 hangs")},
        "5 kills.wav": "quarantined crashed",
        "6 fills.wav": "quarantined out_of_memory",
        "7 hangs.wav": "ok",
    }
    assert (done.counts.done, done.counts.quarantined) == (10, 2)
    assert set(night.loads().values()) == {1}
    assert len(night.loads()) <= 3 + 4 + 4 + 1
    night.configure()
    assert run(night).counts.done == 0  # what is quarantined is not tried each night


@with_ray
def test_a_worker_that_is_killed_loses_its_shard_to_another_and_a_head_fails_the_run(
    make_night: Callable[[str], Night],
) -> None:
    night = make_night("a")
    for number in range(16):
        night.put(f"{number}.wav", 6.0, seed=number)
    engine = ENGINE + "commit_wait_s = 0.0\n"
    night.configure(engine=engine, run="shard_objects = 1", model="wait_s = 3.0")
    killed = []

    def kill() -> None:
        wait_until(lambda: list(night.notes.glob("at-*")))
        (at, *_) = night.notes.glob("at-*")
        killed.append(int(at.name.removeprefix("at-")))
        os.kill(killed[0], signal.SIGKILL)
        wait_until(lambda: len(night.loads()) == 3)  # it was started again
        wait_until(lambda: committed(night))
        (head,) = [each for each in processes_of_ray() if "gcs_server" in each.name()]
        family = psutil.Process().children(recursive=True)
        worker = next(each for each in family if "".join(_command(each)).startswith("ray::ShardWorker"))
        worker.kill()  # so that the head is asked what has become of it
        head.kill()

    thread = Thread(target=kill)
    thread.start()
    with pytest.raises(
        RunFailedError, match=r"the head of the cluster at 127.0.0.1:\d+ does not answer any more"
    ):
        run(night)
    thread.join()
    assert killed
    wait_until(lambda: processes_of_ray() == [], 30)
    before = committed(night)
    assert 1 <= before < 16
    night.configure(run="shard_objects = 1")
    again = run(night)
    assert again.counts.done == 16 - before
    assert set(night.statuses().values()) == {"ok"}
    assert len(night.statuses()) == 16


def committed(night: Night) -> int:
    try:
        return len(night.rows("SELECT recording_id FROM recordings"))
    except NoLakeError:
        return 0


@with_ray
@pytest.mark.usefixtures("no_prefect")
@pytest.mark.parametrize(
    ("signals", "status"), [((signal.SIGTERM,), 143), ((signal.SIGINT, signal.SIGINT), 130)]
)
def test_what_stops_a_run_lets_the_shards_at_work_commit_and_leaves_nothing(
    make_night: Callable[[str], Night], signals: tuple[signal.Signals, ...], status: int
) -> None:
    night = make_night("a")
    for number in range(8):
        night.put(f"{number}.wav", 6.0, seed=number)
    night.configure(engine=ENGINE, run="shard_objects = 1", model="wait_s = 2.0")
    emolake = Path(sys.executable).with_name("emolake")
    command = [str(emolake), "backfill", str(DAY), str(DAY), "--config", str(night.config)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        wait_until(lambda: list(night.notes.glob("at-*")) or process.poll() is not None)
        family = psutil.Process(process.pid).children(recursive=True)
        for each in signals:
            for member in [process.pid, *(one.pid for one in family)]:  # all of its group, or of its service
                if each is signal.SIGTERM or member == process.pid:
                    os.kill(member, each)
            time.sleep(0.3)
        said = process.communicate(timeout=90)[0]
    assert process.returncode == status, said
    assert psutil.wait_procs(family, timeout=20)[1] == []
    if len(signals) == 1:
        assert 1 <= committed(night) < 8, said
        (row,) = night.rows("SELECT outcome, done, quarantined, error FROM runs")
        assert (row["outcome"], row["done"], row["quarantined"]) == ("failed", committed(night), 0)
        assert row["error"].startswith(f"stopped by {signals[0].name}; ")


@with_ray
@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("gpus = 1", "engine.workers = 2 with engine.gpus = 1 each, and this machine has 0"),
        (
            "memory_mb = 100000000\nstart_timeout_s = 2.0",
            r"no worker was there for 2 s: .* has 1 machine with \d+ CPUs and 0 GPUs; lower engine.cpus",
        ),
    ],
)
def test_what_a_machine_has_no_room_for_is_said(
    make_night: Callable[[str], Night], engine: str, said: str
) -> None:
    night = make_night("a")
    night.put("a.wav")
    night.configure(engine=ENGINE + engine)
    with pytest.raises(EmolakeError, match=said):
        run(night)
    assert processes_of_ray() == []


@with_ray
def test_each_worker_has_a_gpu_of_its_own(
    make_night: Callable[[str], Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray is told of two that are not there: what a worker is given is what CUDA would show it."""
    begun = ray_cluster._begun

    def begun_with_gpus(ray: Any, options: EngineOptions, folder: Path | None) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(ray, "init", partial(ray.init, num_gpus=2))
            return begun(ray, options, folder)

    monkeypatch.setattr(ray_cluster, "_begun", begun_with_gpus)
    night = make_night("a")
    for number in range(6):
        night.put(f"{number}.wav", seed=number)
    night.configure(engine=ENGINE + "gpus = 1\n", run="shard_objects = 1", model="wait_s = 0.5")
    assert run(night).counts.done == 6
    assert sorted(each.read_text() for each in night.notes.glob("loads-*")) == ["loaded 0\n", "loaded 1\n"]


def test_without_the_extra_it_says_which(
    make_night: Callable[[str], Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    night = make_night("a")
    night.put("a.wav")
    night.configure(engine=ENGINE)
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'emolake\[ray\]'"):
        run(night)


@with_ray
def test_where_ray_was_imported_before_it_says_so_at_once() -> None:
    """Ray reads its secret once: its own start would wait for 20 s, and end without a word on the cause."""
    program = (
        "import ray\nfrom emolake.engine_options import EngineOptions\n"
        "from emolake.pipeline.ray_cluster import EngineError, connected\n"
        "try:\n    with connected(EngineOptions(kind='ray')): pass\n"
        "except EngineError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "leave `import ray` to after the run" in done.stdout, done.stderr
    assert processes_of_ray() == []
