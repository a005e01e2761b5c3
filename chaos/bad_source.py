"""Fault 3: for a while the source fails, stalls, resets, breaks off, lies or loses objects."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from chaos.outcomes import BrokenPromiseError, Outcome, tried
from chaos.proxy import Cut, Fault, Refuse, Request, Reset, Shorten, Stall, faulty
from chaos.site import CALLS_A_DAY, Content, Site, attempt, content, hold_against, served_site

PROMISE = "nothing lost"
_READ_TIMEOUT_S = 0.5
_TRANSIENT = ("vanished", "fetch_failed")

# From the request, and generators that are seeded by the request and by what it asks for.
Choice = Callable[[Request, random.Random, random.Random], Fault | None]


def _sometimes(share: float, fault: Callable[[random.Random], Fault]) -> Choice:
    """Let any request fail, also when it is made again."""
    return lambda _, request, __: fault(request) if request.random() < share else None


def _for_some_objects(share: float, fault: Fault) -> Choice:
    """Let some objects be unreadable, however often it is tried; listings are right."""
    return lambda asked, _, target: None if asked.is_listing or target.random() >= share else fault


FAULTS: dict[str, Choice] = {
    "answers 500 InternalError": _sometimes(0.4, lambda _: Refuse(500, "InternalError")),
    "answers 503 SlowDown": _sometimes(0.4, lambda _: Refuse(503, "SlowDown")),
    "resets connections": _sometimes(0.4, lambda _: Reset()),
    "falls silent": _sometimes(0.2, lambda _: Stall(2 * _READ_TIMEOUT_S)),
    "breaks bodies off": _sometimes(0.5, lambda request: Cut(request.randrange(100_000))),
    "shortens bodies, and says that they are whole": _sometimes(
        0.5, lambda request: Shorten(request.random())
    ),
    "loses objects between list and get": _for_some_objects(0.3, Refuse(404, "NoSuchKey")),
    "fails at every read of some objects": _for_some_objects(0.3, Refuse(500, "InternalError")),
}


class _Seeded:
    """Faults by a seed: the n-th request for the same thing fares alike whenever it comes."""

    def __init__(self, seed: str, choose: Choice) -> None:
        self._seed = seed
        self._choose = choose
        self._asked: Counter[str] = Counter()

    def __call__(self, request: Request) -> Fault | None:
        target = f"{self._seed} {request.method} {request.path}"
        self._asked[target] += 1
        return self._choose(request, random.Random(f"{target} {self._asked[target]}"), random.Random(target))


def bad_source(seed: int, tries: int, folder: Path) -> list[Outcome]:
    """Run against a source with one kind of fault, then without; compare the lake with a clean run's."""
    outcomes: list[Outcome] = []
    with served_site(folder, seed=seed) as site:
        expected = site.clean()
        for number in range(tries):
            name = list(FAULTS)[number % len(FAULTS)]
            work = partial(
                _tried_run, site, f"source-{number}", _Seeded(f"{seed} {number}", FAULTS[name]), expected
            )
            outcomes.append(tried(PROMISE, f"the source {name}", work))
    return outcomes


def _tried_run(site: Site, name: str, faults: _Seeded, expected: Content) -> str:
    with faulty(site.endpoint, faults) as proxy:
        config = site.lake(
            name,
            source={"endpoint_url": proxy.url, "read_timeout_s": _READ_TIMEOUT_S},
            run={"shard_objects": CALLS_A_DAY},
        )
        came = _came_of(attempt(config), content(config), expected)
        if not proxy.faults:
            raise BrokenPromiseError("no request failed, so nothing was tried")
        proxy.fault_of = lambda _: None
        failure = attempt(config)
        if failure:
            raise BrokenPromiseError(f"the run after the faults failed: {failure}")
        hold_against(config, expected)
    return came


def _came_of(failure: str | None, found: Content, expected: Content) -> str:
    """Tell how a run under faults ended; raise BrokenPromiseError where something is lost without a word, or wrong."""
    bad = {row["recording_id"]: row["error"] for row in found["recordings"] if row["status"] == "quarantined"}
    right = {row["recording_id"]: row for row in expected["recordings"]}
    for row in found["recordings"]:
        reason = (row["error"] or "").partition(":")[0]
        if row != right[row["recording_id"]] and reason not in _TRANSIENT:
            raise BrokenPromiseError(f"found {row}, expected {right[row['recording_id']]}")
    lost = right.keys() - {row["recording_id"] for row in found["recordings"]}
    if lost and failure is None:
        raise BrokenPromiseError(f"{len(lost)} recordings have no row, and the run did not fail")
    if lost:
        return "the run failed with a reason, and the next one made up for it"
    set_aside = sum(error.partition(":")[0] in _TRANSIENT for error in bad.values())
    return "set aside with a reason, and taken up by the next run" if set_aside else "retried within the run"
