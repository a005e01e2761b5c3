"""deployments/prefect.yaml on a real Prefect server and worker, which the test starts and ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from emolake.demo.encode import write_audio
from emolake.lake.connect import open_lake
from emolake.settings import load_settings

from made_model import write_tiny_model

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
DAYS = (date(2026, 11, 19), date(2026, 11, 20))
ZONE = "Asia/Tokyo"
DEPLOY = ["--no-prompt", "deploy", "--all", "--prefect-file", str(ROOT / "deployments" / "prefect.yaml")]
START_TIMEOUT_S = 90
RUN_TIMEOUT_S = 150


@dataclass(frozen=True)
class Site:
    """A folder with recordings and a configuration, and the environment in which server and worker run."""

    folder: Path
    environment: dict[str, str]
    url: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def worker(self) -> subprocess.Popen[bytes]:
        return self.workers[0]

    @property
    def config(self) -> Path:
        return self.folder / "emolake.toml"

    def prefect(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *arguments],
            env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/{path}", timeout=30).raise_for_status().json()

    def post(self, path: str, content: dict[str, Any]) -> Any:
        return httpx.post(f"{self.url}/{path}", json=content, timeout=30).raise_for_status().json()


@contextmanager
def running(command: list[str], site: Site, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process in a group of its own, and end the whole group by its id."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=site.environment,
            cwd=site.folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_healthy(site: Site, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(f"{site.url}/health", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"the Prefect server did not start:\n{log.read_text()[-3000:]}")


def wait_until_ended(site: Site, run_id: str, log: Path) -> dict[str, Any]:
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while time.monotonic() < deadline:
        run: dict[str, Any] = site.get(f"flow_runs/{run_id}")
        if run["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return run
        time.sleep(0.3)
    pytest.fail(f"the run did not end:\n{log.read_text()[-3000:]}")


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + RUN_TIMEOUT_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Recordings of two days, and a Prefect server with a worker for them."""
    folder = tmp_path_factory.mktemp("deployment")
    generator = np.random.default_rng(4)
    for day in DAYS:
        call = folder / "calls" / f"{day:%Y/%m/%d}" / "oslo" / "call.wav"
        call.parent.mkdir(parents=True)
        write_audio(call, generator.normal(0, 0.1, (32_000, 1)).astype(np.float32), 16_000, "wav")
    write_tiny_model(folder / "tiny")
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(folder / "prefect"),
        "EMOLAKE_CONFIG": str(folder / "emolake.toml"),
        "EMOLAKE_SOURCE__TIMEZONE": ZONE,
    }
    made = Site(folder, environment, url)
    made.config.write_text(
        '[source]\nuri = "calls"\n[segmentation]\nmin_speech_ratio = 0.0\n[run]\nshard_objects = 1\n'
        '[inference]\nmodel = "tiny"\n[models.tiny]\npath = "tiny"\n'
    )
    prefect = [sys.executable, "-m", "prefect"]
    server_log, worker_log = folder / "server.log", folder / "worker.log"
    start = [*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(start, made, server_log) as server:
        wait_until_healthy(made, server, server_log)
        made.prefect("work-pool", "create", "emolake", "--type", "process")
        made.prefect(*DEPLOY)
        with running([*prefect, "worker", "start", "--pool", "emolake"], made, worker_log) as worker:
            made.workers.append(worker)
            yield made


def run(site: Site, deployment: str, **parameters: object) -> dict[str, Any]:
    found = site.get(f"deployments/name/{deployment}")
    started = site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    return wait_until_ended(site, started["id"], site.folder / "worker.log")


def test_the_nightly_is_scheduled_in_the_configured_zone(site: Site) -> None:
    deployment = site.get("deployments/name/nightly/nightly")
    (schedule,) = deployment["schedules"]
    assert schedule["schedule"] == {"cron": "15 3 * * *", "timezone": ZONE, "day_or": True}
    assert deployment["parameters"] == {"config": str(site.config)}
    assert deployment["entrypoint"] == "emolake.flows.nightly.nightly"


def test_a_nightly_and_a_backfill_run_on_the_worker(site: Site) -> None:
    ended = run(site, "nightly/nightly", date=str(DAYS[1]))
    assert ended["state_type"] == "COMPLETED", (site.folder / "worker.log").read_text()[-3000:]
    settings = load_settings(site.config)
    with open_lake(settings.warehouse, read_only=True) as lake:
        rows = lake.rows("SELECT date, count(*), count(label) FROM segments GROUP BY date ORDER BY date")
        assert rows == [(day, 1, 1) for day in DAYS]  # the lookback took the day before too
        assert lake.rows("SELECT flow, outcome, done FROM runs") == [("nightly", "completed", 2)]
    ended = run(site, "backfill/backfill", first=str(DAYS[0]), last=str(DAYS[1]), force=True)
    assert ended["state_type"] == "COMPLETED", (site.folder / "worker.log").read_text()[-3000:]
    with open_lake(settings.warehouse, read_only=True) as lake:
        assert lake.rows("SELECT count(*) FROM segments") == [(2,)]
        assert lake.rows("SELECT flow, done FROM runs ORDER BY started_at") == [
            ("nightly", 2),
            ("backfill", 2),
        ]
    artifacts = {artifact["flow_run_id"]: artifact for artifact in site.post("artifacts/filter", {})}
    runs = {each["id"]: each for each in site.post("flow_runs/filter", {})}
    assert artifacts.keys() == runs.keys()  # on the deployed runs, which have no others below them
    assert all(each["deployment_id"] and not each["parent_task_run_id"] for each in runs.values())
    assert {artifact["key"] for artifact in artifacts.values()} == {"emolake-nightly", "emolake-backfill"}
    assert all("| analysed | 2 |" in artifact["data"] for artifact in artifacts.values())


def test_without_its_variables_nothing_is_deployed(site: Site) -> None:
    before = site.post("deployments/filter", {})
    environment = {**site.environment, "EMOLAKE_CONFIG": ""}
    del environment["EMOLAKE_SOURCE__TIMEZONE"]
    done = subprocess.run(
        [sys.executable, "-m", "prefect", *DEPLOY],
        env=environment, cwd=site.folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "emolake: nothing was deployed: EMOLAKE_CONFIG is not set: export" in done.stderr
    assert "EMOLAKE_SOURCE__TIMEZONE is not set" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert [each["updated"] for each in site.post("deployments/filter", {})] == [
        each["updated"] for each in before
    ]


def test_a_worker_that_is_stopped_leaves_a_true_row(site: Site) -> None:
    """The last test, since it takes the worker away: Prefect kills what its worker runs."""
    noise = np.random.default_rng(5).normal(0, 0.1, (600 * 8000, 1)).astype(np.float32)
    for number in range(8):
        write_audio(site.folder / "calls" / "2026/11/25/oslo" / f"{number}.wav", noise, 8000, "wav")
    settings = load_settings(site.config)

    def recorded() -> list[tuple[Any, ...]]:
        with open_lake(settings.warehouse, read_only=True) as lake:
            return lake.rows(
                "SELECT outcome, done, (SELECT count(*) FROM recordings WHERE run_id = runs.run_id) FROM runs "
                "WHERE first_date = '2026-11-25'"
            )

    found = site.get("deployments/name/backfill/backfill")
    parameters = {"first": "2026-11-25", "last": "2026-11-25"}
    site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    wait_until(lambda: bool(recorded()))
    site.worker.send_signal(signal.SIGTERM)
    site.worker.wait(RUN_TIMEOUT_S)
    wait_until(lambda: recorded()[0][0] != "running")
    ((outcome, done, committed),) = recorded()
    assert outcome in ("died", "failed")
    assert done == committed
