"""A run that is stopped, in a real terminal: its shards at work commit, its row is true, and nothing of it goes on."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import psutil
import pytest
from terminal import INTERRUPT, Terminal, terminal

from emolake.cli.running import run_backfill
from emolake.demo.encode import write_audio
from emolake.lake.connect import lake_if_any
from emolake.pipeline.decoder_process import end_idle_decoders
from emolake.schemas.days import DayRange
from emolake.schemas.records import SourceObject
from emolake.settings import load_settings

from made_model import write_tiny_model

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)
CALLS = 12
# Of the shards at work, on a machine that does much else.
STOP_S = 60
EMOLAKE = Path(sys.executable).with_name("emolake")
# `emolake` with a model that takes its time, and leaves a file when it begins.
SLOW = """
import sys, time
from pathlib import Path
from emolake.cli.app import main
from emolake.pipeline import interrupts
from emolake.tasks.classify import Engine

interrupts.GIVE_UP_S, takes_s, scores = 4.0, float(sys.argv.pop(1)), Engine.scores

def slow(*arguments):
    Path("at work").touch()
    time.sleep(takes_s)
    return scores(*arguments)

Engine.scores = slow
main()
"""


@dataclass(frozen=True)
class Site:
    """A folder with a configuration and a lake."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "emolake.toml"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with lake_if_any(load_settings(self.config).warehouse) as lake:
            return [] if lake is None else lake.answered_rows(sql)

    def run(self) -> tuple[Any, ...]:
        """Return outcome and figures of the one run, and what the ledger says that it committed."""
        (row,) = self.rows(
            "SELECT outcome, done, quarantined, (SELECT count(*) FROM recordings WHERE run_id = runs.run_id), error "
            "FROM runs"
        )
        return row


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dozen long calls, another with two short ones, and a model."""
    folder = tmp_path_factory.mktemp("stop")
    noise = np.random.default_rng(0).normal(0, 0.1, (120 * 8000, 1)).astype(np.float32)
    for number in range(CALLS):
        write_audio(
            folder / "calls" / f"{DAY:%Y/%m/%d}" / "oslo" / f"call {number:02d}.wav", noise, 8000, "wav"
        )
    for number in range(2):
        write_audio(
            folder / "short" / f"{DAY:%Y/%m/%d}" / "oslo" / f"call {number}.wav", noise[:16_000], 8000, "wav"
        )
    write_tiny_model(folder / "tiny")
    return folder


@pytest.fixture
def site(calls: Path, tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.config.write_text(
        f'[source]\nuri = "{calls / "calls"}"\n[segmentation]\nmin_speech_ratio = 0.0\n'
        "[run]\nshard_objects = 1\nparallel_shards = 2\nshard_retry_delay_s = 600.0\n"
        f'[inference]\nmodel = "tiny"\n[models.tiny]\npath = "{calls / "tiny"}"\n'
    )
    return made


@pytest.fixture
def running(site: Site) -> Iterator[Terminal]:
    """A backfill in a terminal, whose first recordings are decoded."""
    with terminal([EMOLAKE, "backfill", str(DAY), str(DAY)], site.folder) as made:
        wait_until(lambda: bool(site.rows("SELECT run_id FROM runs")) or made.process.poll() is not None)
        assert made.process.poll() is None, made.shown
        wait_until(lambda: len(made.family()) > 1)  # a decoder is at work
        yield made


def wait_until(true: Callable[[], bool], timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def press(running: Terminal) -> None:
    running.type(INTERRUPT)


def terminate(running: Terminal) -> None:
    """As a service manager ends all processes of a service."""
    for process in running.family():
        process.send_signal(signal.SIGTERM)


def hang_up(running: Terminal) -> None:
    os.killpg(running.process.pid, signal.SIGHUP)


@pytest.mark.parametrize(
    ("stop", "name", "status"),
    [(press, "SIGINT", 130), (terminate, "SIGTERM", 143), (hang_up, "SIGHUP", 129)],
)
def test_what_is_at_work_commits_and_counts(
    site: Site, running: Terminal, stop: Callable[[Terminal], None], name: str, status: int
) -> None:
    family = running.family()
    stop(running)
    assert running.process.wait(STOP_S) == status, running.shown
    assert "what was committed stays, and the next run goes on from there" in running.shown
    outcome, done, quarantined, committed, error = site.run()
    assert (outcome, quarantined) == ("failed", 0)
    assert 1 <= done == committed < CALLS
    assert error.startswith(f"stopped by {name}; ")
    assert psutil.wait_procs(family, timeout=10)[1] == []


@pytest.mark.parametrize(("keys", "status"), [(INTERRUPT * 2, 130), (None, -signal.SIGKILL)])
def test_a_second_one_ends_at_once_and_so_does_a_kill_with_a_true_row(
    site: Site, running: Terminal, keys: bytes | None, status: int
) -> None:
    family = running.family()
    if keys is None:
        wait_until(lambda: bool(site.rows("SELECT recording_id FROM recordings")))
        running.process.kill()
    else:
        running.type(keys[:1])
        time.sleep(0.2)
        running.type(keys[1:])
    began = time.monotonic()
    assert running.process.wait(STOP_S) == status
    assert time.monotonic() - began < 5
    assert psutil.wait_procs(family, timeout=30)[1] == []
    outcome, done, quarantined, committed, error = site.run()
    assert (outcome, quarantined) == ("died" if keys is None else outcome, 0)
    assert outcome != "running"
    assert done == committed
    assert "ended without a word" in error or error.startswith("stopped by SIGINT")


@pytest.mark.parametrize(
    ("takes_s", "said"),
    [(2.0, "shard 1: given up: not done when run.grace_s was over"), (600.0, "something does not end")],
)
def test_a_slow_model_has_the_grace_period_and_no_longer(
    site: Site, calls: Path, monkeypatch: pytest.MonkeyPatch, takes_s: float, said: str
) -> None:
    monkeypatch.setenv("EMOLAKE_SOURCE__URI", str(calls / "short"))
    monkeypatch.setenv("EMOLAKE_RUN__GRACE_S", "1")
    command = [sys.executable, "-c", SLOW, str(takes_s), "backfill", str(DAY), str(DAY)]
    with terminal(command, site.folder) as running:
        wait_until(lambda: (site.folder / "at work").exists() or running.process.poll() is not None)
        family = running.family()
        running.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert running.process.wait(STOP_S) == 143, running.shown
        assert 1 < time.monotonic() - began < 12
        assert "the shards at work are finished, in 1 s at most" in running.shown
        assert "run.grace_s are over" in running.shown
    assert psutil.wait_procs(family, timeout=30)[1] == []
    outcome, *figures, error = site.run()
    assert (outcome, figures) == ("failed", [0, 0, 0])
    assert error.startswith("stopped by SIGTERM; ")
    assert said in running.shown + error
    assert site.rows("SELECT count(*) FROM segments") == [(0,)]
    with terminal([EMOLAKE, "backfill", str(DAY), str(DAY)], site.folder) as resumed:
        assert resumed.process.wait(STOP_S) == 0, resumed.shown
    assert site.rows("SELECT count(*), count(error) FROM recordings") == [(2, 0)]


def test_a_shard_that_waits_for_its_next_try_is_not_waited_for(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emolake.cli.running.has_prefect_server", lambda: False)  # other tests start one
    tries: list[Sequence[SourceObject]] = []

    def fail(objects: Sequence[SourceObject], **_arguments: Any) -> None:
        tries.append(objects)
        if len(tries) == 2:
            Timer(0.5, os.kill, [os.getpid(), signal.SIGINT]).start()
        raise OSError("the disk is full")

    monkeypatch.setattr("emolake.pipeline.execution.run_shard", fail)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_backfill(
            site.config, load_settings(site.config), DayRange(DAY, DAY),
            model=None, force=False, newest_first=False, parallel_days=1,
        )  # fmt: skip
    assert time.monotonic() - began < STOP_S
    assert len(tries) == 2
    assert site.run()[:4] == ("failed", 0, 0, 0)
    end_idle_decoders()


def test_a_shard_is_tried_again_without_a_server_of_prefect(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    from emolake.pipeline import execution

    monkeypatch.setattr("emolake.cli.running.has_prefect_server", lambda: False)
    run_shard, failures = execution.run_shard, iter([OSError("busy"), OSError("busy"), ValueError("a bug")])

    def shaky(objects: Sequence[SourceObject], **arguments: Any) -> Any:
        for error in failures:
            raise error
        return run_shard(objects, **arguments)

    monkeypatch.setattr(execution, "run_shard", shaky)
    monkeypatch.setenv("EMOLAKE_RUN__SHARD_RETRY_DELAY_S", "0")
    monkeypatch.setenv("EMOLAKE_RUN__PARALLEL_SHARDS", "1")
    monkeypatch.setenv("EMOLAKE_RUN__SHARD_OBJECTS", str(CALLS // 2))
    with pytest.raises(execution.RunFailedError, match="shard 1: a bug"):
        run_backfill(
            site.config, load_settings(site.config), DayRange(DAY, DAY),
            model=None, force=False, newest_first=False, parallel_days=1,
        )  # fmt: skip
    assert site.run()[:4] == ("failed", CALLS // 2, 0, CALLS // 2)
    end_idle_decoders()
