"""Turns: nobody overtakes for ever, and nobody waits for ever."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emolake.lake import turns
from emolake.lake.turns import turn


def test_one_at_a_time_and_each_gets_its_share(tmp_path: Path) -> None:
    catalog, taken, inside = tmp_path / "catalog.sqlite", [], []
    until = time.monotonic() + 3

    def take(name: int) -> None:
        while time.monotonic() < until:
            with turn(catalog):
                inside.append(name)
                assert len(inside) == 1
                time.sleep(0.03)
                taken.append(inside.pop())

    with ThreadPoolExecutor() as threads:
        for done in [threads.submit(take, name) for name in range(3)]:
            done.result(timeout=60)
    shares = [taken.count(name) / len(taken) for name in range(3)]
    assert min(shares) > 0.15, shares


def test_who_is_killed_gives_its_turn_back_and_who_is_stopped_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = tmp_path / "catalog.sqlite"
    code = (
        "import sys, time; from pathlib import Path; from emolake.lake.turns import turn\n"
        "with turn(Path(sys.argv[1])):\n    print('taken', flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(catalog)], stdout=subprocess.PIPE, env=environment
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"taken\n"
        monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.3)
        begun = time.monotonic()
        with turn(catalog):
            assert 0.3 <= time.monotonic() - begun < 10
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 20)
    begun = time.monotonic()
    with turn(catalog):
        assert time.monotonic() - begun < 10


def test_where_no_turn_can_be_taken_the_block_runs_all_the_same(tmp_path: Path) -> None:
    ran = []
    for catalog in (None, tmp_path / "no folder" / "catalog.sqlite"):
        with turn(catalog):
            ran.append(catalog)
    assert len(ran) == 2
    with pytest.raises(ZeroDivisionError), turn(tmp_path / "catalog.sqlite"):
        raise ZeroDivisionError
    with turn(tmp_path / "catalog.sqlite"):  # and is given back
        pass
