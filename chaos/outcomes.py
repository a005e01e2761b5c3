"""What came of the tries of a scenario, and the table of them."""

import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

log = logging.getLogger("chaos")


class BrokenPromiseError(Exception):
    """A promise did not hold; the message says what differed."""


@dataclass(frozen=True)
class Outcome:
    """One try: `came` says how it ended; `broken` what differed, where a promise did not hold."""

    promise: str
    fault: str
    came: str
    broken: str | None = None
    skipped: bool = False


def tried(promise: str, fault: str, work: Callable[[], str]) -> Outcome:
    """Make one try; `work` returns how it ended, or raises BrokenPromiseError."""
    try:
        outcome = Outcome(promise, fault, work())
    except BrokenPromiseError as error:
        outcome = Outcome(promise, fault, "", str(error))
    except Exception:  # noqa: BLE001 - one try that breaks off must not take the figures of the others along
        outcome = Outcome(promise, fault, "", traceback.format_exc())
    log.info("%s: %s", fault, outcome.came if outcome.broken is None else f"BROKEN: {outcome.broken}")
    return outcome


def skipped(promise: str, fault: str, why: str) -> Outcome:
    """Return the outcome of what cannot be tried here."""
    return Outcome(promise, fault, why, skipped=True)


def table(outcomes: Iterable[Outcome]) -> str:
    """Return Markdown with a line for each promise and fault: how often tried, and what came of it."""
    grouped: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        grouped.setdefault((outcome.promise, outcome.fault), []).append(outcome)
    lines = ["| promise | fault | tried | outcome |", "|---|---|---:|---|"]
    for (promise, fault), tries in grouped.items():
        made = [outcome for outcome in tries if not outcome.skipped]
        broken = sum(outcome.broken is not None for outcome in made)
        counted = Counter(outcome.came for outcome in tries if outcome.broken is None)
        came = [f"{count} × {what}" if len(tries) > 1 else what for what, count in sorted(counted.items())]
        if broken:
            came.insert(0, f"**{broken} broken**")
        lines.append(f"| {promise} | {fault} | {len(made)} | {'; '.join(came)} |")
    return "\n".join(lines)
