"""deployments/prefect.yaml on a real Prefect server and worker, which the test starts and ends."""

import json
import os
import re
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
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
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
    found = site.post("flow_runs/filter", {})
    runs = {each["id"]: each for each in found if each["state_type"] != "SCHEDULED"}  # those are to come
    assert artifacts.keys() == runs.keys()  # on the deployed runs, which have no others below them
    assert all(each["deployment_id"] and not each["parent_task_run_id"] for each in runs.values())
    assert {artifact["key"] for artifact in artifacts.values()} == {"emolake-nightly", "emolake-backfill"}
    assert all("| analysed | 2 |" in artifact["data"] for artifact in artifacts.values())


def test_each_deployment_has_its_schedule_and_its_guard(site: Site) -> None:
    found = {each["name"]: each for each in site.post("deployments/filter", {})}
    crons = {name: [one["schedule"]["cron"] for one in each["schedules"]] for name, each in found.items()}
    assert {name: cron for name, cron in crons.items() if cron} == {
        "nightly": ["15 3 * * *"],
        "alert": ["30 12 * * *"],
        "maintain-lake": ["30 12 * * 0"],
    }
    guarded = {name for name, each in found.items() if each["global_concurrency_limit"]}
    assert guarded == {"nightly", "alert", "maintain-lake", "retention"}
    assert {
        each["global_concurrency_limit"]["limit"] for each in found.values() if each["name"] in guarded
    } == {1}


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("backfill/backfill", {"first": "yesterday", "last": "2026-11-20"}),
        ("backfill/backfill", {"first": "2026-11-20"}),
        ("backfill/backfill", {"first": "2026-11-19", "last": "2026-11-20", "parallel_days": 0}),
        ("backfill/backfill", {"first": "2026-11-19", "last": "2026-11-20", "force": "perhaps"}),
        ("nightly/nightly", {"date": "20.11.2026"}),
        ("retention/retention", {"keep_days": 0}),
        ("retention/retention", {}),
    ],
)
def test_wrong_parameters_are_refused_before_a_run_begins(
    site: Site, deployment: str, parameters: dict[str, Any]
) -> None:
    found = site.get(f"deployments/name/{deployment}")
    with pytest.raises(httpx.HTTPStatusError, match="40[09]|422"):
        site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})


def test_the_others_run_on_the_worker(site: Site) -> None:
    """Side by side: retry, maintain-lake, retention, which only counts, and aggregate-day."""
    days = {"first": str(DAYS[0]), "last": str(DAYS[1])}
    asked = {
        "retry/retry": {},
        "maintain-lake/maintain-lake": {},
        "retention/retention": {"keep_days": 1},
        "aggregate-day/aggregate-day": days,
    }
    started = {}
    for name, parameters in asked.items():
        found = site.get(f"deployments/name/{name}")
        started[name] = site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})[
            "id"
        ]
    log = site.folder / "worker.log"
    ended = {name: wait_until_ended(site, run_id, log)["state_type"] for name, run_id in started.items()}
    assert set(ended.values()) == {"COMPLETED"}, (ended, log.read_text()[-3000:])
    with open_lake(load_settings(site.config).warehouse, read_only=True) as lake:
        assert lake.rows("SELECT count(*) FROM segments") == [(2,)]  # nothing was erased


def emolake(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("emolake"), *arguments],
        env=site.environment, cwd=site.folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
    )  # fmt: skip


def test_the_status_knows_the_next_runs(site: Site) -> None:
    """They are made by the server's scheduler, which must run at all: with SQLAlchemy 2.1 it did not."""
    scheduled = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
    wait_until(lambda: bool(site.post("flow_runs/filter", scheduled)))
    shown = json.loads(emolake(site, "status", "--format", "json").stdout)
    due = {run["flow"]: run["due_at"] for run in shown["schedule"]["runs"]}
    assert due.keys() >= {"nightly", "alert", "maintain-lake"}
    assert due["nightly"].endswith("T18:15:00+00:00")  # 03:15 in Tokyo


def test_an_emptied_schedule_is_gone(site: Site) -> None:
    """Prefect alone leaves it active (PrefectHQ/prefect#23097)."""
    file = site.folder / "prefect.yaml"
    text = (ROOT / "deployments" / "prefect.yaml").read_text("utf-8")
    scheduled = text[text.index("  - name: alert") : text.index("  - name: backfill")]
    emptied = re.sub(r"schedules:\n.*\n.*\n", "schedules: []\n", scheduled)
    assert emptied != scheduled
    file.write_text(text.replace(scheduled, emptied))
    site.prefect("--no-prompt", "deploy", "--name", "alert", "--prefect-file", str(file))
    script(site, "clear_schedules.py", str(file))
    assert site.get("deployments/name/alert/alert")["schedules"] == []
    assert site.get("deployments/name/nightly/nightly")["schedules"]


def test_automations_run_the_alert(site: Site) -> None:
    for _ in range(2):  # a second call replaces them
        assert script(site, "automations.py").count("made the automation") == 2
    found = site.post("automations/filter", {})
    assert {each["name"] for each in found} == {"emolake: a run crashed", "emolake: a run is late"}
    assert len(found) == 2
    deployment = site.get("deployments/name/alert/alert")
    assert {action["deployment_id"] for each in found for action in each["actions"]} == {deployment["id"]}


def script(site: Site, name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "deployments" / name), *arguments],
        env=site.environment, cwd=site.folder, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_command_serves_without_a_worker(site: Site) -> None:
    log = site.folder / "serve.log"
    command = [str(Path(sys.executable).with_name("emolake")), "serve", "--nightly", "0 4 * * *"]
    with running(command, site, log) as process:

        def is_served() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            named = {(each["name"], each["status"]) for each in site.post("deployments/filter", {})}
            return ("serve", "READY") in named and "serving nightly" in log.read_text()

        wait_until(is_served)
        found = site.get("deployments/name/nightly/serve")
        assert [each["schedule"]["cron"] for each in found["schedules"]] == ["0 4 * * *"]
        assert found["schedules"][0]["schedule"]["timezone"] == ZONE
        parameters = {"date": "2026-11-20"}
        started = site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
        assert wait_until_ended(site, started["id"], log)["state_type"] == "COMPLETED", log.read_text()[
            -3000:
        ]
        process.send_signal(signal.SIGTERM)
        process.wait(60)


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
