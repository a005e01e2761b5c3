"""Fault 1: the run is killed at any moment, and started again until it is done."""

import random
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from chaos.outcomes import BrokenPromiseError, Outcome, tried
from chaos.processes import started
from chaos.servers import new_database, postgres_server
from chaos.site import DAYS, LAST, Content, Site, hold_against, rows, served_site

PROMISE = "exactly once"
KINDS = ("SQLite, data in a folder", "SQLite, data on S3", "PostgreSQL, data in a folder")
_COMMANDS = (("nightly", "--date", str(LAST)), ("backfill", str(DAYS[0]), str(LAST)))
_MOST_KILLS = 2
_COMMIT_S = 0.15
_POLL_S = 0.002
_LIVES = {"heartbeat_s": 0.5, "heartbeat_timeout_s": 1.5}


def killed(seed: int, tries: int, folder: Path) -> list[Outcome]:
    """Kill a run once or twice, run it to its end, and compare the lake with a clean run's.

    The moments are spread over the length of a whole run; every other kill waits for the Parquet files that a commit
    begins with, and strikes while it is under way.
    """
    generator = random.Random(seed)
    outcomes: list[Outcome] = []
    with served_site(folder, seed=seed) as site, ExitStack() as servers:
        expected = site.clean()
        length_s = _length(site)
        postgres = servers.enter_context(postgres_server()).get_uri() if tries >= len(KINDS) else None
        for number in range(tries):
            kind = KINDS[number % (len(KINDS) if postgres else len(KINDS) - 1)]
            name = f"killed-{number}"
            catalog = f"postgres:{new_database(postgres, name)}" if postgres and "Postgre" in kind else None
            data = site.bucket(f"{name}-data") if "S3" in kind else None
            config = site.lake(name, catalog=catalog, data=data, run=_LIVES)
            stored = site.buckets / f"{name}-data" if data else config.parent / "lake"
            moments = [
                None if (number + kill) % 2 else length_s * generator.uniform(number, number + 1) / tries
                for kill in range(generator.randint(1, _MOST_KILLS))
            ]
            work = partial(_killed, config, stored, moments, expected, generator)
            outcomes.append(tried(PROMISE, f"`kill -9` and restart; {kind}", work))
    return outcomes


def _length(site: Site) -> float:
    """Return how many seconds a run that is left alone takes, as a process."""
    begun = time.monotonic()
    with started(site.lake("measured"), *_COMMANDS[0]) as command:
        command.succeed()
    return time.monotonic() - begun


def _killed(
    config: Path, stored: Path, moments: list[float | None], expected: Content, generator: random.Random
) -> str:
    kills = 0
    for moment in moments:
        with started(config, *generator.choice(_COMMANDS)) as command:
            if moment is None:
                before = _files(stored)
                while command.running and _files(stored) <= before:
                    time.sleep(_POLL_S)
                time.sleep(generator.uniform(0, _COMMIT_S))
            else:
                time.sleep(moment)
            kills += command.kill()
    time.sleep(_LIVES["heartbeat_timeout_s"])
    with started(config, *generator.choice(_COMMANDS)) as command:
        command.succeed()
    hold_against(config, expected)
    left = rows(config, "SELECT run_id FROM runs WHERE outcome = 'running'")
    if left:
        raise BrokenPromiseError(f"the runs {left} are still running for the lake")
    return "as the clean run" if kills else "as the clean run, done before it could be killed"


def _files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*.parquet"))
