"""deployments/prefect.yaml on a real Prefect server and worker, which the test starts and ends."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import pytest
from made_clips import write_clips
from prefect_site import (
    DAYS,
    DEPLOY,
    EMOLAKE,
    ROOT,
    RUN_TIMEOUT_S,
    ZONE,
    Site,
    deployed,
    emolake,
    run,
    running,
    script,
    start_late,
    wait_until,
    wait_until_ended,
)
from rotating import Rotating, rotating

from emolake.demo.encode import write_audio
from emolake.lake.connect import open_lake
from emolake.settings import load_settings

from http_receiver import receiving

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Recordings of two days, and a Prefect server with a worker for them."""
    with deployed(tmp_path_factory.mktemp("deployment")) as made:
        yield made


def test_the_nightly_is_scheduled_in_the_configured_zone(site: Site) -> None:
    deployment = site.get("deployments/name/nightly/nightly")
    (schedule,) = deployment["schedules"]
    assert schedule["schedule"] == {"cron": "15 3 * * *", "timezone": ZONE, "day_or": True}
    assert deployment["parameters"] == {"config": str(site.config)}
    assert deployment["entrypoint"] == "emolake.flows.nightly.nightly"


def test_each_deployment_has_its_schedule_and_its_guard(site: Site) -> None:
    found = {each["name"]: each for each in site.post("deployments/filter", {})}
    schedules = {
        (name, one["schedule"]["cron"], one["schedule"]["timezone"], one["active"])
        for name, each in found.items()
        for one in each["schedules"]
    }
    assert schedules == {
        ("nightly", "15 3 * * *", ZONE, True),
        ("alert", "30 12 * * *", ZONE, True),
        ("maintain-lake", "30 12 * * 0", ZONE, True),
        ("retrain", "0 6 1 * *", ZONE, False),  # its paths are not anybody's
    }
    limits = {
        name: (
            each["global_concurrency_limit"]["limit"],
            (each["concurrency_options"] or {}).get("collision_strategy"),
        )
        for name, each in found.items()
        if each["global_concurrency_limit"]
    }
    assert limits.keys() == {"nightly", "alert", "maintain-lake", "retention", "publish", "retrain"}
    assert {limit for limit, _ in limits.values()} == {1}
    cancelled = {name for name, (_, strategy) in limits.items() if strategy == "CANCEL_NEW"}
    assert cancelled == {"alert", "maintain-lake", "retrain"}


def test_missed_nights_are_caught_up_one_after_the_other_each_for_its_own_day(site: Site) -> None:
    """Two became late; that they wait for each other, in whichever order, is the guard against any overlap."""
    nights = [f"{day + timedelta(days=1)}T03:15:00+09:00" for day in DAYS]
    started = start_late(site, "nightly/nightly", nights)
    ended = [wait_until_ended(site, each, site.folder / "worker.log") for each in started]
    assert [each["state_type"] for each in ended] == ["COMPLETED"] * 2, (
        site.folder / "worker.log"
    ).read_text()[-3000:]
    first, second = sorted(ended, key=lambda each: each["start_time"])
    assert first["end_time"] <= second["start_time"]
    with open_lake(load_settings(site.config).warehouse, read_only=True) as lake:
        # The earlier day is in the other's lookback; where that one was first, the second had nothing to do.
        runs = lake.rows("SELECT last_date, done FROM runs WHERE flow = 'nightly' ORDER BY ALL")
        assert runs in ([(day, 1) for day in DAYS], [(DAYS[1], 2)])
        assert lake.rows("SELECT date, count(*) FROM segments GROUP BY date ORDER BY date") == [
            (day, 1) for day in DAYS
        ]


def test_of_missed_maintenances_one_runs(site: Site) -> None:
    sundays = [f"2026-11-{day}T12:30:00+09:00" for day in ("08", "15", "22")]
    started = start_late(site, "maintain-lake/maintain-lake", sundays)
    ended = [wait_until_ended(site, each, site.folder / "worker.log") for each in started]
    assert sorted(each["state_type"] for each in ended) == ["CANCELLED", "CANCELLED", "COMPLETED"]


def test_a_backfill_runs_on_the_worker(site: Site) -> None:
    settings = load_settings(site.config)
    ended = run(site, "backfill/backfill", first=str(DAYS[0]), last=str(DAYS[1]), force=True)
    assert ended["state_type"] == "COMPLETED", (site.folder / "worker.log").read_text()[-3000:]
    with open_lake(settings.warehouse, read_only=True) as lake:
        assert lake.rows("SELECT count(*) FROM segments") == [(2,)]
        assert lake.rows("SELECT done FROM runs WHERE flow = 'backfill'") == [(2,)]
    artifacts = {artifact["flow_run_id"]: artifact for artifact in site.post("artifacts/filter", {})}
    found = site.post("flow_runs/filter", {})
    runs = {each["id"]: each for each in found if each["state_type"] != "SCHEDULED"}  # those are to come
    of_days = {id_ for id_, each in runs.items() if each["name"].startswith(("nightly-", "backfill-"))}
    assert artifacts.keys() == of_days  # on the deployed runs, which have no others below them
    assert all(each["deployment_id"] and not each["parent_task_run_id"] for each in runs.values())
    assert {artifact["key"] for artifact in artifacts.values()} == {"emolake-nightly", "emolake-backfill"}
    (backfilled,) = [each["data"] for each in artifacts.values() if each["key"] == "emolake-backfill"]
    assert "| analysed | 2 |" in backfilled


@pytest.mark.parametrize(
    ("deployment", "parameters"),
    [
        ("backfill/backfill", {"first": "yesterday", "last": "2026-11-20"}),
        ("backfill/backfill", {"first": "2026-02-29", "last": "2026-11-20"}),
        ("backfill/backfill", {"first": "2026-11-20", "last": "2026-11-31"}),
        ("backfill/backfill", {"first": "2026-11-20"}),
        ("backfill/backfill", {"first": "2026-11-19", "last": "2026-11-20", "parallel_days": 0}),
        ("backfill/backfill", {"first": "2026-11-19", "last": "2026-11-20", "force": "perhaps"}),
        ("nightly/nightly", {"date": "20.11.2026"}),
        ("retention/retention", {"keep_days": 0}),
        ("retention/retention", {}),
        ("retrain/retrain", {"model": "logmel_cnn"}),
        ("retrain/retrain", {"model": "logmel_cnn", "data": "a", "test": "b", "out": "c", "least_gain": 2}),
        ("publish/publish", {"force": "perhaps"}),
    ],
)
def test_wrong_parameters_are_refused_before_a_run_begins(
    site: Site, deployment: str, parameters: dict[str, Any]
) -> None:
    found = site.get(f"deployments/name/{deployment}")
    with pytest.raises(httpx.HTTPStatusError, match="40[09]|422"):
        site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})


def test_the_others_run_on_the_worker(site: Site) -> None:
    """Side by side; retention only counts."""
    days = {"first": str(DAYS[0]), "last": str(DAYS[1])}
    train, test = (str(write_clips(site.folder / name, seed)) for seed, name in enumerate(("train", "test")))
    short: dict[str, Any] = {"options": {"loop.epochs": 1}, "folds": 2}
    asked: dict[str, dict[str, Any]] = {
        "retry/retry": {},
        "retention/retention": {"keep_days": 1},
        "aggregate-day/aggregate-day": days,
        "publish/publish": {"file": str(site.folder / "analysts.duckdb")},
        "retrain/retrain": {
            "model": "logmel_cnn",
            "data": train,
            "test": test,
            "out": str(site.folder / "new"),
        }
        | short,
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
    with duckdb.connect(str(site.folder / "analysts.duckdb"), read_only=True) as published:
        assert published.execute("SELECT count(DISTINCT date) FROM daily_emotions").fetchall() == [(2,)]
    ((verdict),) = (site.folder / "new").glob("*/verdict.json")
    assert json.loads(verdict.read_text())["current"] == "tiny"
    assert (verdict.parent / "model" / "model.safetensors").is_file()
    assert "tiny" in site.config.read_text()  # which model is used is not for a run to change


def test_an_alert_goes_where_a_block_says_and_elsewhere_once_it_says_so(site: Site) -> None:
    """The worker asks for blocks at each run, so that a secret in one is replaced without a restart."""
    from prefect.blocks.system import Secret

    bad = site.folder / "calls" / "2026/11/18/oslo" / "bad.wav"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(b"junk")
    pool = site.get("work_pools/emolake")["base_job_template"]
    reference = {"EMOLAKE_ALERTS__URLS": "{{ prefect.blocks.secret.emolake-alerts }}"}
    pool["variables"]["properties"]["env"]["default"] = reference
    site.patch("work_pools/emolake", {"base_job_template": pool})
    with receiving() as first, receiving() as second:
        site.save(Secret(value=f"json://{first.address}"), "emolake-alerts")
        assert run(site, "backfill/backfill", first="2026-11-18", last="2026-11-18")["state_type"] == "FAILED"
        assert [b"failed" in body for _, body in first.requests] == [True]
        site.save(Secret(value=f"json://{second.address}"), "emolake-alerts")
        assert run(site, "alert/alert")["state_type"] == "COMPLETED"
        assert len(first.requests) == 1
        assert [b"failed" in body for _, body in second.requests] == [True]
        stored = json.dumps(
            [site.post(f"{each}/filter", {}) for each in ("deployments", "flow_runs", "logs")]
        )
        assert second.address not in stored + (site.folder / "worker.log").read_text()
    bad.unlink()


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


@pytest.fixture
def far(site: Site, tmp_path: Path, postgres: str) -> Iterator[tuple[Site, Rotating]]:
    """The same server for another configuration: recordings and data on S3, a catalog in PostgreSQL."""
    with rotating(tmp_path, postgres) as servers:
        shutil.copytree(site.folder / "calls" / "2026", servers.buckets / "calls" / "2026")
        sections = servers.configuration
        lines = [
            f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in section.items())
            for name, section in sections.items()
        ]
        made = Site(tmp_path, site.environment | servers.environment, site.url)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            made.environment.pop(name, None)
        made.config.write_text(
            "\n".join(lines)
            + '\n[segmentation]\nmin_speech_ratio = 0.0\n[inference]\nmodel = "tiny"\n'
            + f'[models.tiny]\npath = "{site.folder / "tiny"}"\n'
        )
        made.environment["EMOLAKE_CONFIG"] = str(made.config)
        made.environment["EMOLAKE_SOURCE__LOOKBACK_DAYS"] = "0"
        yield made, servers


def test_one_command_serves_without_a_worker_and_heeds_replaced_secrets(far: tuple[Site, Rotating]) -> None:
    site, servers = far
    log = site.folder / "serve.log"
    command = [EMOLAKE, "serve", "--nightly", "0 4 * * *"]
    with running(command, site, log) as process:

        def is_served() -> bool:
            assert process.poll() is None, log.read_text()[-3000:]
            named = {(each["name"], each["status"]) for each in site.post("deployments/filter", {})}
            return ("serve", "READY") in named and "serving nightly" in log.read_text()

        wait_until(is_served)
        found = site.get("deployments/name/nightly/serve")
        assert [each["schedule"]["cron"] for each in found["schedules"]] == ["0 4 * * *"]
        assert found["schedules"][0]["schedule"]["timezone"] == ZONE
        for day in DAYS:
            started = site.post(
                f"deployments/{found['id']}/create_flow_run", {"parameters": {"date": str(day)}}
            )
            ended = wait_until_ended(site, started["id"], log)
            assert ended["state_type"] == "COMPLETED", log.read_text()[-3000:]
            servers.replace_on_servers()
            servers.replace_in_files()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    with pytest.MonkeyPatch.context() as patched:
        for name, value in servers.environment.items():
            patched.setenv(name, value)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patched.delenv(name)
        with open_lake(load_settings(site.config).warehouse, read_only=True) as lake:
            assert lake.rows("SELECT first_date, done FROM runs ORDER BY ALL") == [(day, 1) for day in DAYS]
    stored = json.dumps([site.post(f"{each}/filter", {}) for each in ("deployments", "flow_runs", "logs")])
    assert not [secret for secret in servers.used if secret in stored + log.read_text()]


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


def test_a_worker_that_is_stopped_lets_its_run_drain(site: Site) -> None:
    """The last test, since it takes the worker away."""
    noise = np.random.default_rng(5).normal(0, 0.1, (120 * 8000, 1)).astype(np.float32)
    for number in range(8):
        write_audio(site.folder / "calls" / "2026/11/25/oslo" / f"{number}.wav", noise, 8000, "wav")
    settings = load_settings(site.config)

    def recorded() -> list[tuple[Any, ...]]:
        with open_lake(settings.warehouse, read_only=True) as lake:
            return lake.rows(
                "SELECT outcome, error, done, (SELECT count(*) FROM recordings WHERE run_id = runs.run_id) FROM runs "
                "WHERE first_date = '2026-11-25'"
            )

    found = site.get("deployments/name/backfill/backfill")
    parameters = {"first": "2026-11-25", "last": "2026-11-25"}
    started = site.post(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})
    wait_until(lambda: bool(recorded()))
    site.worker.send_signal(signal.SIGTERM)
    assert site.worker.wait(RUN_TIMEOUT_S) == 0
    ((outcome, error, done, committed),) = recorded()  # as it is when the worker has ended
    assert outcome == "failed"
    assert error.startswith("stopped by SIGTERM; ")
    assert 1 <= done == committed < 8  # the shards at work
    assert "1 run may finish the shards at work, in 540 s at most" in (site.folder / "worker.log").read_text()
    state = site.get(f"flow_runs/{started['id']}")["state_type"]
    assert state in ("CRASHED", "FAILED")  # and not running for ever
