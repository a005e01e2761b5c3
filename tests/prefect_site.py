"""A server and a worker of Prefect with the deployments of deployments/prefect.yaml, and what is asked of them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from emolake.demo.encode import write_audio

from made_model import write_tiny_model

ROOT = Path(__file__).parents[1]
DAYS = (date(2026, 11, 19), date(2026, 11, 20))
ZONE = "Asia/Tokyo"
DEPLOY = ["--no-prompt", "deploy", "--all", "--prefect-file", str(ROOT / "deployments" / "prefect.yaml")]
EMOLAKE = str(Path(sys.executable).with_name("emolake"))
START_TIMEOUT_S = 90
RUN_TIMEOUT_S = 300


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

    def patch(self, path: str, content: dict[str, Any]) -> None:
        httpx.patch(f"{self.url}/{path}", json=content, timeout=30).raise_for_status()

    def save(self, block: Any, name: str) -> None:
        with temporary_settings({PREFECT_API_URL: self.url}):
            block.save(name, overwrite=True)

    def post(self, path: str, content: dict[str, Any]) -> Any:
        return self._answered(path, content).raise_for_status().json()

    # Of its database, in a file, which others write.
    @retry(
        retry=retry_if_result(lambda answer: answer.status_code == 503),
        stop=stop_after_delay(90),
        wait=wait_fixed(1),
    )
    def _answered(self, path: str, content: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.url}/{path}", json=content, timeout=30)


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
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(20)
                for each in family:
                    with suppress(psutil.NoSuchProcess):
                        each.kill()


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


@contextmanager
def deployed(folder: Path) -> Iterator[Site]:
    """Give recordings of two days in a folder, and a Prefect server with a worker for them."""
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
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
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
        with running([EMOLAKE, "worker"], made, worker_log) as worker:
            made.workers.append(worker)
            yield made


def run(site: Site, deployment: str, **parameters: object) -> dict[str, Any]:
    found = site.get(f"deployments/name/{deployment}")
    started = site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    return wait_until_ended(site, started["id"], site.folder / "worker.log")


def start_late(site: Site, deployment: str, due: Sequence[str]) -> list[str]:
    """Make runs that were due at these times, and return their ids."""
    found = site.get(f"deployments/name/{deployment}")
    made = []
    for time_ in due:
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": time_}}
        made.append(site.post(f"deployments/{found['id']}/create_flow_run", {"state": state})["id"])
    return made


def emolake(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EMOLAKE, *arguments],
        env=site.environment, cwd=site.folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
    )  # fmt: skip


def script(site: Site, name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "deployments" / name), *arguments],
        env=site.environment, cwd=site.folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
