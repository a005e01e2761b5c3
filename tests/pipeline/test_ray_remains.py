"""What a killed run leaves of a cluster is ended, and its folder removed; what is somebody else's stays."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from emolake.pipeline.ray_remains import MARK, end_remains

_PROGRAM = """
import os, signal, subprocess, sys
from pathlib import Path
from emolake.pipeline.ray_remains import MARK, remains_ended
folder = Path(sys.argv[1])
with remains_ended(folder):
    marked = subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(folder)}, start_new_session=True)
    titled = subprocess.Popen(["ray::Agent", "60"], executable="/bin/sleep", stdin=open(folder / "log"))
    print(marked.pid, titled.pid, flush=True)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_nothing_is_left_however_the_run_ends(tmp_path: Path, end: str) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "log").write_text("lines")
    command = [sys.executable, "-c", _PROGRAM, str(folder), end]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    sleepers = [int(each) for each in done.stdout.split()]
    assert len(sleepers) == 2
    deadline = time.monotonic() + 30
    while folder.exists() or any(map(is_alive, sleepers)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_alive(process: int) -> bool:
    return psutil.pid_exists(process) and psutil.Process(process).status() != psutil.STATUS_ZOMBIE


def test_another_clusters_processes_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "log").write_text("read by a person")
    other = {**os.environ, MARK: f"{tmp_path / 'cluster'}-2"}
    with (
        (tmp_path / "cluster" / "log").open() as log,
        subprocess.Popen(["sleep", "60"], env=other, stdin=log) as sleeper,
    ):
        end_remains(tmp_path / "cluster")
        assert sleeper.poll() is None
        sleeper.kill()
