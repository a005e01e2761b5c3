"""Fault 2: three runs over the same days at once, and readers beside them."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from emolake.lake.connect import open_lake
from emolake.settings import load_settings

from chaos.outcomes import BrokenPromiseError, Outcome, tried
from chaos.processes import started
from chaos.servers import new_database, postgres_server
from chaos.site import DAYS, LAST, Content, Site, attempt, content, hold_against, served_site

PROMISE = "exactly once, readers never blocked"
_RANGE = ("backfill", str(DAYS[0]), str(LAST))
_COMMANDS = (_RANGE, (*_RANGE, "--newest-first"), ("nightly", "--date", str(LAST)))
_APART_S = 1.0
_READER_END_S = 60


def side_by_side(seed: int, tries: int, folder: Path) -> list[Outcome]:
    """Start three runs at almost the same time, read meanwhile, and compare the lake with a clean run's.

    By turns on SQLite and PostgreSQL; the days are empty at first, or hold rows of another segmentation.
    """
    generator = random.Random(seed)
    outcomes: list[Outcome] = []
    with served_site(folder, seed=seed) as site, ExitStack() as servers:
        expected = site.clean()
        postgres = servers.enter_context(postgres_server()).get_uri() if tries > 1 else None
        for number in range(tries):
            name = f"beside-{number}"
            catalog = f"postgres:{new_database(postgres, name)}" if postgres and number % 2 else None
            stale = number % 4 in (1, 2)
            delays = [generator.uniform(0, _APART_S) for _ in _COMMANDS]
            fault = (
                f"two backfills and a nightly at once, {'PostgreSQL' if catalog else 'SQLite'}, "
                f"days {'with stale rows' if stale else 'empty'} at first"
            )
            outcomes.append(
                tried(PROMISE, fault, partial(_beside, site, name, catalog, stale, delays, expected))
            )
    return outcomes


def _beside(
    site: Site, name: str, catalog: str | None, stale: bool, delays: list[float], expected: Content
) -> str:
    totals = {day: [total] for day, total in _totals(expected).items()}
    config = site.lake(name, catalog=catalog)
    if stale:
        now = config.read_text()
        config.write_text(now.replace("[segmentation]", "[segmentation]\nwindow_s = 4.0\nhop_s = 4.0"))
        failure = attempt(config)
        if failure:
            raise BrokenPromiseError(failure)
        for day, total in _totals(content(config)).items():
            totals[day].append(total)
        config.write_text(now)
    else:
        with open_lake(load_settings(config).warehouse):
            pass  # there to read, and empty
    with _reading(config, totals), ExitStack() as commands:
        running = []
        for delay, arguments in zip(delays, _COMMANDS, strict=True):
            time.sleep(delay)
            running.append(commands.enter_context(started(config, *arguments)))
        for command in running:
            command.succeed()
    hold_against(config, expected)
    return "as the clean run, each reading whole"


def _totals(found: Content) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for row in found["daily_emotions"]:
        totals[str(row["date"])] += row["segments"]
    return totals


@contextmanager
def _reading(config: Path, totals: Mapping[str, list[int]]) -> Iterator[None]:
    """Let two readers read while the block runs; raises BrokenPromiseError for what they found wrong."""
    script = Path(__file__).with_name("reader.py")
    readers = [
        subprocess.Popen(
            [sys.executable, script, config, json.dumps(totals), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for mode in ("once", "each-time")
    ]
    try:
        yield
        for reader in readers:
            said, errors = reader.communicate(timeout=_READER_END_S)
            if reader.returncode:
                raise BrokenPromiseError(f"a reader failed: {errors[-2000:]}")
            found = json.loads(said)
            if found["wrong"] or not found["readings"]:
                raise BrokenPromiseError(f"in {found['readings']} readings: {found['wrong']}")
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
