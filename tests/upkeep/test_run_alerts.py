"""Alerts: the right ones reach a receiver, say nothing of persons, and a receiver that is down harms nothing."""

import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from emolake.cli.app import main
from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.output.alerts import AlertOptions, send
from emolake.pipeline.identity import options_json
from emolake.pipeline.runs import RunFailedError
from emolake.schemas.tables import DRIFT, RECORDINGS, RUNS
from emolake.settings import Settings, load_settings
from emolake.upkeep.run_alerts import alerting, alerts_of_run, alerts_of_status
from emolake.upkeep.status import Status, look_at

from http_receiver import HttpReceiver, receiving
from made_lake import Call, run_row, shard_rows, sqlite_warehouse

SECRET = "hunter2"
DAY = date(2026, 11, 20)
REFUSED = "json://127.0.0.1:1/"


class Webhook:
    """A receiver of webhooks on this machine, as apprise names it."""

    def __init__(self, http: HttpReceiver) -> None:
        self.http = http
        self.url = f"json://me:{SECRET}@{http.address}/hook"

    @property
    def got(self) -> list[dict[str, Any]]:
        """The messages."""
        return [json.loads(body) for _, body in self.http.requests]


@pytest.fixture
def receiver() -> Iterator[Webhook]:
    with receiving() as http:
        yield Webhook(http)


def options(*urls: str, **others: Any) -> AlertOptions:
    return AlertOptions(urls=tuple(map(SecretStr, urls)), **others)


def test_a_message_arrives(receiver: Webhook) -> None:
    assert send(options(receiver.url), "emolake: failed", "one\ntwo") == []
    ((message),) = receiver.got
    assert (message["title"], message["message"]) == ("emolake: failed", "one\ntwo")


@pytest.mark.parametrize(
    ("url", "status", "wait_s", "problem"),
    [
        (REFUSED, 200, 0.0, "receiver 1 did not take the message"),
        ("json://me:hunter2@no-such-host.invalid/", 200, 0.0, "receiver 1 did not take the message"),
        ("nothing://hunter2", 200, 0.0, "receiver 1 is no URL that apprise knows"),
        (f"{SECRET}", 200, 0.0, "receiver 1 is no URL that apprise knows"),
        (f"slack://{SECRET}", 200, 0.0, "receiver 1 is no URL that apprise knows"),
        (None, 500, 0.0, "receiver 1 did not take the message"),
        (None, 403, 0.0, "receiver 1 did not take the message"),
        (None, 200, 1.0, "receiver 1 had no answer within 0.3 s"),
    ],
)
def test_a_receiver_that_is_down_is_named_by_its_number(
    receiver: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    url: str | None, status: int, wait_s: float, problem: str,
) -> None:  # fmt: skip
    receiver.http.status, receiver.http.wait_s = status, wait_s
    started = time.monotonic()
    problems = send(options(url or receiver.url, timeout_s=0.3 if wait_s else 20.0), "t", "b")
    assert problems[0] == problem
    assert time.monotonic() - started < 15
    assert SECRET not in caplog.text + "".join(capfd.readouterr()) + str(problems)


def test_the_others_get_the_message_all_the_same(receiver: Webhook) -> None:
    assert len(send(options(REFUSED, receiver.url, "nothing://x"), "t", "b")) == 2
    assert len(receiver.got) == 1


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_silent_receiver_keeps_the_message_from_nobody_else(receiver: Webhook, place: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes a connection, and never answers
        urls = [receiver.url, receiver.url]
        urls.insert(place, f"json://127.0.0.1:{silent.getsockname()[1]}/")
        started = time.monotonic()
        problems = send(options(*urls, timeout_s=1.0), "t", "b")
        assert time.monotonic() - started < 10
    assert problems == [f"receiver {place + 1} had no answer within 1 s"]
    assert len(receiver.got) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("json://a/ json://b/", ["json://a/", "json://b/"]),
        ('["json://a/", "json://b/"]', ["json://a/", "json://b/"]),
        ("json://a/", ["json://a/"]),
        ("\njson://a/\n\tjson://b/ \n", ["json://a/", "json://b/"]),
        ("", []),
    ],
)
def test_receivers_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, expected: list[str]
) -> None:
    monkeypatch.setenv("EMOLAKE_ALERTS__URLS", given)
    monkeypatch.chdir(tmp_path)
    assert load_settings().alerts.receivers() == expected


def test_receivers_come_from_a_file_that_may_change(tmp_path: Path) -> None:
    config, file = tmp_path / "emolake.toml", tmp_path / "receivers"
    config.write_text('[alerts]\nurls = ["json://a/"]\nurls_file = "receivers"\n')
    settings = load_settings(config)
    with pytest.raises(ConfigurationError, match="alerts.urls_file.*cannot be read"):
        settings.alerts.receivers()
    file.write_text("# ours\n\n json://b/ \n")
    assert settings.alerts.receivers() == ["json://a/", "json://b/"]
    file.write_text("json://c/")
    assert settings.alerts.receivers() == ["json://a/", "json://c/"]


def test_no_receiver_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOLAKE_ALERTS__URLS", f"slack://{SECRET}")
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert SECRET not in options_json(settings) + repr(settings) + settings.model_dump_json()
    monkeypatch.setenv("EMOLAKE_ALERTS__EVENTS", f'["{SECRET}"]')
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def summary(**figures: Any) -> dict[str, Any]:
    return {
        "run_id": "nightly-1", "flow": "nightly", "outcome": "completed", "first_date": str(DAY - timedelta(days=3)),
        "last_date": str(DAY), "found": 100, "done": 40, "quarantined": 0, "warnings": ["of 2026/11/20/oslo/a.wav"],
    } | figures  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "events"),
    [
        ({}, []),
        ({"outcome": "failed", "error": "s3://calls/oslo/a.wav"}, ["failed"]),
        ({"outcome": "died"}, ["failed"]),
        ({"found": 0, "done": 0}, ["empty"]),
        ({"found": 0, "done": 0, "flow": "retry"}, []),
        ({"found": 0, "done": 0, "outcome": "failed"}, ["failed", "empty"]),
        ({"quarantined": 2}, []),  # 5 % are allowed
        ({"quarantined": 3}, ["quarantine"]),
        ({"quarantined": 40, "outcome": "failed"}, ["failed", "quarantine"]),
        ({"done": 0}, []),
    ],
)
def test_what_of_a_run_is_worth_an_alert(tmp_path: Path, figures: dict[str, Any], events: list[str]) -> None:
    alerts = alerts_of_run(Settings(warehouse=sqlite_warehouse(tmp_path)), summary(**figures))
    assert [alert.event for alert in alerts] == events
    assert "oslo" not in str(alerts)


def test_gaps_drift_and_the_status_say_nothing_of_persons(tmp_path: Path) -> None:
    settings = Settings(warehouse=sqlite_warehouse(tmp_path))
    drifted = {
        "run_id": "nightly-1", "date": DAY, "model": "m", "config_id": "c", "dimension": "agent",
        "dimension_value": "Jane Roe", "measure": "confidence", "value": 0.3, "usual": 0.6,
        "earlier_days": 28, "recordings": 50, "chance": 1e-9,
        "verdict": "warn", "committed_at": datetime.now(UTC),
    }  # fmt: skip
    with open_lake(settings.warehouse) as lake:
        calls = [
            Call(f"{week}/Jane Roe/{n}.wav", day=DAY - timedelta(weeks=week), site="oslo")
            for week in range(1, 4)
            for n in range(6)
        ]
        append(lake.connection, RECORDINGS, shard_rows(calls).recordings)
        append(lake.connection, DRIFT, pa.Table.from_pylist([drifted], schema=DRIFT.schema))
        append(lake.connection, RUNS, run_row("nightly-1", outcome="failed", error="s3://calls/Jane Roe.wav"))
        alerts = alerts_of_run(settings, summary())
        now = datetime.combine(DAY + timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=14)
        of_status = alerts_of_status(look_at(lake, settings, Status(now)))
    assert [alert.event for alert in alerts] == ["gap", "drift"]
    assert (
        alerts[1].message
        == "the nightly of 2026-11-17 to 2026-11-20 found drift on 2026-11-20: confidence (1)"
    )
    assert {alert.event for alert in of_status} >= {"failed", "late"}
    assert not any(word in str([*alerts, *of_status]) for word in ("oslo", "Jane", ".wav", "s3://", "agent"))


def test_a_run_is_neither_failed_nor_held_up_by_a_receiver(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, receiver: Webhook
) -> None:
    warehouse = sqlite_warehouse(tmp_path)
    down = Settings(warehouse=warehouse, alerts=options(REFUSED))
    with alerting(down, "nightly") as ended:
        ended(summary(outcome="failed"))
    assert "an alert was not delivered: receiver 1 did not take the message" in caplog.messages
    with alerting(Settings(warehouse=warehouse, alerts=AlertOptions(urls_file="gone")), "nightly") as ended:
        ended(summary(outcome="failed"))
    with alerting(
        Settings(warehouse=warehouse), "nightly"
    ) as ended:  # nobody is named: nothing is looked for
        ended({})
    settings = Settings(warehouse=warehouse, alerts=options(receiver.url))
    with pytest.raises(RunFailedError), alerting(settings, "nightly"):
        raise RunFailedError("of oslo/a.wav", summary(outcome="failed"))
    with pytest.raises(ZeroDivisionError), alerting(settings, "backfill"):
        raise ZeroDivisionError("of oslo/a.wav")
    quiet = Settings(warehouse=warehouse, alerts=options(receiver.url, events=("late",)))
    with alerting(quiet, "nightly") as ended:
        ended(summary(outcome="failed"))
    assert [message["message"].splitlines()[0] for message in receiver.got] == [
        "failed: the nightly of 2026-11-17 to 2026-11-20 failed: 40 recordings done, 0 of them quarantined",
        "failed: the backfill broke off (ZeroDivisionError)",
    ]


@pytest.mark.usefixtures("no_prefect")
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], receiver: Webhook
) -> None:
    (tmp_path / "emolake.toml").write_text('[warehouse]\ncatalog = "sqlite:catalog.sqlite"\ndata = "data"\n')
    monkeypatch.setenv("EMOLAKE_ALERTS__URLS", receiver.url)

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["emolake", "alert", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    assert called() == (0, "", "there is nothing to send\n")
    (tmp_path / "catalog.sqlite").write_bytes(b"junk" * 2000)
    code, output, _ = called("--dry-run")
    assert (code, output) == (
        0,
        "emolake: failed\nfailed: the lake cannot be read\n`emolake status` shows more.\n",
    )
    assert receiver.got == []
    assert called()[::2] == (0, "sent\n")
    assert called("--test")[::2] == (0, "sent\n")
    assert [message["title"] for message in receiver.got] == ["emolake: failed", "emolake: a test"]
    receiver.http.status = 500
    code, _, errors = called("--test")
    assert (code, errors) == (
        1,
        "emolake: not every alert was delivered: receiver 1 did not take the message\n",
    )
    assert logging.getLogger("apprise").level > logging.CRITICAL
