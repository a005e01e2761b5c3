"""What begins runs gets a signal after its runs have, and have ended; not once somebody does not want to wait."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emolake.cli.draining import keep, work
from emolake.errors import ConfigurationError, EmolakeError
from emolake.settings import Settings

# A run that takes a while to drain, below a program that says when it is stopped.
PROGRAM = """
import signal, subprocess, sys, time
from pathlib import Path
log = Path(sys.argv[1])
def write(text):
    with log.open("a") as lines:
        lines.write(text + "\\n")
run = '''
import signal, sys, time
from pathlib import Path
def drain(*_):
    time.sleep(float(sys.argv[2]))
    with Path(sys.argv[1]).open("a") as lines:
        lines.write("run drained\\\\n")
    sys.exit()
signal.signal(signal.SIGTERM, drain)
with Path(sys.argv[1]).open("a") as lines:
    lines.write("begun\\\\n")
time.sleep(60)
'''
child = subprocess.Popen([sys.executable, "-c", run, *sys.argv[1:]])
def stop(*_):
    write("program stopped")
    child.kill()
    sys.exit()
signal.signal(signal.SIGTERM, stop)
child.wait()
time.sleep(60)
"""
KEEPER = """
import sys
from emolake.cli.draining import keep
keep([sys.executable, "-c", *sys.argv[2:]], grace_s=float(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("numbers", "takes_s", "grace_s", "came"),
    [
        ([signal.SIGTERM], 0.5, 60, ["begun", "run drained", "program stopped"]),
        ([signal.SIGINT], 0.5, 60, ["begun", "run drained", "program stopped"]),
        (
            [signal.SIGTERM, signal.SIGTERM],
            0.5,
            60,
            ["begun", "run drained", "program stopped"],
        ),  # one request
        ([signal.SIGINT, signal.SIGINT], 60, 60, ["begun", "program stopped"]),
        ([signal.SIGTERM], 60, -19.5, ["begun", "program stopped"]),  # half a second, with GIVE_UP_S
    ],
)
def test_runs_drain_before_what_begins_them_is_stopped(
    tmp_path: Path, numbers: list[signal.Signals], takes_s: float, grace_s: float, came: list[str]
) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "-c", KEEPER, str(grace_s), PROGRAM, str(log), str(takes_s)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(log, "begun")
        assert process.stderr
        process.send_signal(numbers[0])
        assert "1 run may finish the shards at work" in process.stderr.readline()
        for number in numbers[1:]:  # at the same time as the first it would be one
            process.send_signal(number)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert log.read_text().splitlines() == came


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while not (log.exists() and text in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_ends_by_itself_is_an_error() -> None:
    with pytest.raises(EmolakeError, match="ended by itself, with exit status 3"):
        keep([sys.executable, "-c", "raise SystemExit(3)"], grace_s=0)


@pytest.mark.usefixtures("no_prefect")
def test_a_worker_needs_a_server() -> None:
    with pytest.raises(ConfigurationError, match="set PREFECT_API_URL, or run everything on this machine"):
        work("emolake", Settings())
