"""Lines of the log: each format says what it is about, whatever is in it, and shows no secret."""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_site import DAY, Site

from emolake.lake.transact import LakeError
from emolake.output.logs import LogOptions, about, forwarded, logged, said_as_json, use_format
from emolake.output.notices import complain
from emolake.output.progress import progress_bars
from emolake.pipeline import run_progress
from emolake.pipeline.execution import RunFailedError, run_here
from emolake.pipeline.run_request import RunRequest
from emolake.tasks import commit

log = logging.getLogger("emolake.somewhere")
SECRET = "hunter2"
HOLDING = [
    f"postgres://me:{SECRET}@db/lake",
    f"host=db password={SECRET} dbname=lake",
    f"s3://calls/a.wav?X-Amz-Signature={SECRET}&X-Amz-Date=2026",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"hf_{SECRET}{SECRET}{SECRET}",
    f"slack token={SECRET}",
]


@pytest.fixture(autouse=True)
def sentences() -> None:
    use_format(None)


@pytest.mark.parametrize("format", ["auto", "plain", "pretty", "json"])
@pytest.mark.parametrize("holding", HOLDING)
def test_no_format_shows_a_secret(capsys: pytest.CaptureFixture[str], format: str, holding: str) -> None:
    with logged(LogOptions(format=format)), about(run="nightly-1", recording=holding):
        log.warning("cannot read %s", holding)
        try:
            raise OSError(holding)
        except OSError:
            log.exception("failed")
        complain(f"ended: {holding}")
    shown = "".join(capsys.readouterr())
    assert SECRET not in shown
    assert "***" in shown
    assert "OSError" in shown


def test_json_has_a_field_for_each_thing(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        logged(LogOptions(format="json")),
        about(run="r"),
        about(day="2026-11-20", shard="2026-11-20, shard 1"),
    ):
        log.info("one")
        with about(recording="a.wav"):
            log.warning("two\nlines")
        log.debug("not this one")
    complain("the last word")
    one, two, last = map(json.loads, capsys.readouterr().err.splitlines())
    assert {
        "level": "info",
        "message": "one",
        "run": "r",
        "day": "2026-11-20",
        "shard": "2026-11-20, shard 1",
    }.items() <= one.items()
    assert "recording" not in one
    assert (two["level"], two["message"], two["recording"], two["logger"]) == (
        "warning",
        "two\nlines",
        "a.wav",
        "emolake.somewhere",
    )
    assert ":" in one["worker"]
    assert last.items() >= {"level": "error", "message": "the last word"}.items()


def test_plain_is_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    with logged(LogOptions(format="plain", level="warning")), about(run="r", recording='a "b".wav'):
        log.info("not this one")
        log.warning("two\nlines")
    (line,) = capsys.readouterr().err.splitlines()
    assert " warning two\\nlines run=r worker=" in line
    assert line.endswith(' recording="a \\"b\\".wav"')


@given(message=st.text(), recording=st.text(st.characters(exclude_categories=[])))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_every_text_is_a_line_of_json_and_of_words(
    capsys: pytest.CaptureFixture[str], message: str, recording: str
) -> None:
    for format in ("json", "plain"):
        with logged(LogOptions(format=format)), about(recording=recording):
            log.warning("%s", message)
        lines = capsys.readouterr().err.split("\n")
        assert len(lines) == 2
        if format == "json":
            assert json.loads(lines[0])["level"] == "warning"
    use_format(None)


def test_nothing_is_left_behind(capsys: pytest.CaptureFixture[str]) -> None:
    before = (log.parent.handlers[:], log.parent.level, log.parent.propagate) if log.parent else None
    with pytest.raises(KeyError), logged(LogOptions(format="json")), about(run="r"):
        raise KeyError
    assert (log.parent.handlers[:], log.parent.level, log.parent.propagate) == before if log.parent else True
    use_format(None)
    assert not said_as_json("x")


def test_threads_are_about_what_they_were_started_for(capsys: pytest.CaptureFixture[str]) -> None:
    with logged(LogOptions(format="json")), ThreadPoolExecutor(2) as pool, about(run="r"):
        pool.submit(copy_context().run, log.info, "known").result()
        pool.submit(log.info, "unknown").result()
    known, unknown = map(json.loads, capsys.readouterr().err.splitlines())
    assert known["run"] == "r"
    assert "run" not in unknown


def test_what_is_forwarded_has_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    target = logging.getLogger("elsewhere")
    with caplog.at_level("INFO"), forwarded(target), about(shard="one", recording="a.wav"):
        log.info("read %s", HOLDING[0])
    assert caplog.messages == ["read postgres://***@db/lake shard=one recording=a.wav"]


class Broken:
    """Standard error that cannot be written."""

    encoding, errors, closed = "utf-8", "strict", False

    def __init__(self, error: Exception) -> None:
        self.error = error

    def write(self, text: str) -> int:
        raise self.error

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def closed_file() -> TextIOWrapper:
    file = TextIOWrapper(BytesIO())
    file.close()
    return file


@pytest.mark.parametrize("format", ["auto", "plain", "pretty", "json"])
@pytest.mark.parametrize(
    "make", [lambda: Broken(BrokenPipeError()), lambda: Broken(ValueError("no")), closed_file]
)
@pytest.mark.parametrize("message", ["lost", "lost %d"])
def test_a_closed_standard_error_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, format: str, make: Callable[[], object], message: str
) -> None:
    with logged(LogOptions(format=format)):
        monkeypatch.setattr("sys.stderr", make())
        assert log.info(message, *(["x"] if "%" in message else [])) is None  # type: ignore[func-returns-value]


class Unshowable:
    """An argument that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("not shown")


@pytest.mark.parametrize("format", ["auto", "plain", "pretty", "json"])
@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("read %d", ("x",)),
        ("read", (1, 2)),
        ("%s %s", (HOLDING[0],)),
        ("%(a)s", ({"b": 1},)),
        ("%s", (Unshowable(),)),
    ],
)
def test_a_record_with_wrong_arguments_is_a_line_and_ends_nothing(
    capsys: pytest.CaptureFixture[str], format: str, message: str, arguments: tuple[object, ...]
) -> None:
    with logged(LogOptions(format=format)):
        log.warning(message, *arguments)
        log.warning("afterwards")
    shown = capsys.readouterr().err
    assert "test_logs.py" in shown.replace("\n", "")
    assert "this could not be logged" in shown
    assert "afterwards" in shown
    assert SECRET not in shown
    if format == "json":
        assert len([json.loads(line) for line in shown.splitlines()]) == 2


def test_a_logger_that_fails_to_take_what_is_forwarded_ends_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    target = logging.getLogger("elsewhere")

    def fail(*_: object) -> None:
        raise RuntimeError("no run is under way")

    monkeypatch.setattr(target, "log", fail)
    with forwarded(target):
        log.warning("one")
    assert "this could not be logged: RuntimeError('no run is under way')" in capsys.readouterr().err


def test_a_shard_logs_what_it_quarantines_and_commits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path)
    site.put("good.wav", np.random.default_rng(0).normal(0, 0.1, (32_000, 1)).astype(np.float32))
    site.put("bad.wav", np.zeros((16_000, 1), np.float32)).write_bytes(b"junk")
    with logged(LogOptions(format="json")), run_progress.reported(60.0):
        run_progress.expect("2026-11-20", 2)
        site.run()
    lines = {json.loads(line)["message"]: json.loads(line) for line in capsys.readouterr().err.splitlines()}
    (bad,) = [line for message, line in lines.items() if message.startswith("quarantined: undecodable")]
    assert bad["recording"] == "2026/11/20/oslo/bad.wav"
    assert bad["day"] == "2026-11-20"
    assert bad["run"]
    committed = lines["committed 2 recordings, 0.0 min of audio"]
    assert (committed["run"], committed["shard"]) == (bad["run"], bad["shard"])
    (progress,) = [
        message for message in lines if message.startswith("2 of 2 recordings, 0.0 min of audio at")
    ]
    assert progress.endswith("now at 2026-11-20")


@pytest.mark.parametrize(("fails", "said"), [(1, "2 of 2"), (2, "0 of 2")])
def test_a_shard_that_is_tried_again_is_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fails: int, said: str
) -> None:
    """What it decoded before it failed is taken back."""
    site = Site(tmp_path)
    for name in "ab":
        site.put(f"{name}.wav", np.random.default_rng(0).normal(0, 0.1, (32_000, 1)).astype(np.float32))
    left, real = [fails], commit.commit_shard

    def conflicting(*given: Any, **keys: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise LakeError("another writer was first")
        return real(*given, **keys)

    monkeypatch.setattr(commit, "commit_shard", conflicting)
    settings = site.settings(
        run={"shard_retries": 1, "shard_retry_delay_s": 0},
        source={"uri": str(site.folder / "calls"), "lookback_days": 0},
    )
    with logged(LogOptions(format="plain")), run_progress.reported(60.0), suppress(RunFailedError):
        run_here(RunRequest("nightly", (DAY,)), settings, log)
    assert not left[0]
    (line,) = [each for each in capsys.readouterr().err.splitlines() if " min of audio at " in each]
    assert f" {said} recordings" in line


def test_bars_go_back_by_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with progress_bars("recordings") as bars:
        sink = run_progress._Days(bars)
        monkeypatch.setattr(run_progress, "_days", sink)
        run_progress.expect("2026-11-20", 2)
        with pytest.raises(OSError, match="S3"), run_progress.taken_back_on_failure():
            run_progress.advance("2026-11-20", 60.0)
            raise OSError("S3")
        run_progress.advance("2026-11-20", 90.0)
        (task,) = bars._progress.tasks
        assert (task.completed, task.total) == (1, 2)
        assert task.fields["note"].startswith(", 1.5 min")


def test_a_line_now_and_then_says_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    import time

    with logged(LogOptions(format="plain")), run_progress.reported(0.02):
        run_progress.expect("2026-11-20", 3)
        with run_progress.reported(0.001):  # within what shows it already: nothing twice
            run_progress.advance("2026-11-20", 90.0)
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 15
    assert all("1 of 3 recordings, 1.5 min of audio at " in line for line in lines)
    assert not run_progress.is_shown()
