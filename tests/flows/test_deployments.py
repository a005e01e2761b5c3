"""deployments/prefect.yaml on a real Prefect server and worker, which the test starts and ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
START_TIMEOUT_S = 90
RUN_TIMEOUT_S = 150


@dataclass(frozen=True)
class Site:
    """A folder with recordings and a configuration, and the environment in which server and worker run."""

    folder: Path
    environment: dict[str, str]
    url: str

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
        '[source]\nuri = "calls"\n[segmentation]\nmin_speech_ratio = 0.0\n'
        '[inference]\nmodel = "tiny"\n[models.tiny]\npath = "tiny"\n'
    )
    prefect = [sys.executable, "-m", "prefect"]
    server_log, worker_log = folder / "server.log", folder / "worker.log"
    start = [*prefect, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with running(start, made, server_log) as server:
        wait_until_healthy(made, server, server_log)
        made.prefect("work-pool", "create", "emolake", "--type", "process")
        made.prefect(
            "--no-prompt", "deploy", "--all", "--prefect-file", str(ROOT / "deployments" / "prefect.yaml")
        )
        with running([*prefect, "worker", "start", "--pool", "emolake"], made, worker_log):
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
    artifacts = site.post("artifacts/filter", {})
    assert {artifact["key"] for artifact in artifacts} == {"emolake-nightly", "emolake-backfill"}
    assert all('"done": 2' in artifact["data"] for artifact in artifacts)
