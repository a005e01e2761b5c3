"""What is worth an alert, of a run or of the status: without any key, URI, transcript or value of a dimension."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any, NamedTuple

from emolake.lake.connect import lake_if_any
from emolake.output.alerts import Event, send
from emolake.pipeline.runs import RunFailedError
from emolake.schemas.days import DayRange
from emolake.settings import Settings
from emolake.sql import statement
from emolake.tasks.measure_drift import measures_drifted
from emolake.upkeep.gaps import find_gaps
from emolake.upkeep.status import Status

_log = logging.getLogger(__name__)

# What the status calls by another name than the events.
_EVENTS: Mapping[str, Event] = {"lake": "failed", "health": "failed", "schedule": "late", "storage": "failed"}
_WORDLESS = {"lake": "the lake cannot be read"}


class Alert(NamedTuple):
    """One event, and a sentence on it."""

    event: Event
    message: str


@contextmanager
def alerting(settings: Settings, flow: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Send what is worth an alert of the run of the block; it hands the run's figures over when it has ended.

    An alert that cannot be sent is a warning in the log, and nothing else.
    """

    def ended(summary: Mapping[str, Any]) -> None:
        _send_guarded(settings, lambda: alerts_of_run(settings, summary))

    try:
        yield ended
    except RunFailedError as error:
        if error.summary is not None:
            ended(error.summary)
        raise
    except Exception as error:
        said = Alert("failed", f"the {flow} broke off ({type(error).__name__})")
        _send_guarded(settings, lambda: [said])
        raise


def alerts_of_run(settings: Settings, summary: Mapping[str, Any]) -> list[Alert]:
    """Return what is worth an alert of a run, by its figures and by what the lake holds of it."""
    flow, done, quarantined = summary["flow"], summary["done"], summary["quarantined"]
    first, last = (date.fromisoformat(str(summary[name])) for name in ("first_date", "last_date"))
    run = f"the {flow} of {DayRange(first, last)}"
    alerts = []
    if summary["outcome"] != "completed":
        said = f"{run} {summary['outcome']}: {done} recordings done, {quarantined} of them quarantined"
        alerts.append(Alert("failed", said))
    if not summary["found"] and flow != "retry" and settings.run.empty != "allow":
        alerts.append(Alert("empty", f"{run} found no recording at all"))
    if quarantined and quarantined > settings.alerts.quarantine_share * done:
        alerts.append(Alert("quarantine", f"{run} quarantined {quarantined} of {done} recordings"))
    with lake_if_any(settings.warehouse) as lake:
        if lake is None:
            return alerts
        if flow == "nightly":
            # Of the nightly's last day only: the others were judged by the nights before.
            gaps = find_gaps(lake, settings, DayRange(last, last))
            if gaps:
                alerts.append(
                    Alert("gap", f"{last} has far fewer recordings than usual in {len(gaps)} places")
                )
        drifted = lake.answered_rows(statement("drifted_of_run"), {"run_id": summary["run_id"]})
    if drifted:
        days = ", ".join(sorted({str(day) for day, _ in drifted}))
        measures = measures_drifted({"measure": measure} for _, measure in drifted)
        alerts.append(Alert("drift", f"{run} found drift on {days}: {measures}"))
    return alerts


def alerts_of_status(status: Status) -> list[Alert]:
    """Return the problems of a status as alerts."""
    return [
        Alert(_EVENTS.get(problem.kind, problem.kind), _WORDLESS.get(problem.kind, problem.message))  # type: ignore[arg-type]
        for problem in status.problems
    ]


def send_alerts(settings: Settings, alerts: Sequence[Alert]) -> list[str]:
    """Send those of some alerts that the configuration asks for, as one message; return what went wrong."""
    chosen = wanted(settings, alerts)
    return send(settings.alerts, *message_of(chosen)) if chosen else []


def wanted(settings: Settings, alerts: Sequence[Alert]) -> list[Alert]:
    """Return those of some alerts that the configuration asks for."""
    return [alert for alert in alerts if alert.event in settings.alerts.events]


def message_of(alerts: Sequence[Alert]) -> tuple[str, str]:
    """Return the title and the text of a message."""
    events = ", ".join(dict.fromkeys(alert.event for alert in alerts))
    lines = [f"{alert.event}: {alert.message}" for alert in alerts]
    return f"emolake: {events}", "\n".join([*lines, "`emolake status` shows more."])


def _send_guarded(settings: Settings, alerts: Callable[[], Sequence[Alert]]) -> None:
    if not settings.alerts.has_receivers:
        return
    try:
        problems = send_alerts(settings, alerts())
    except Exception as error:  # noqa: BLE001 - the night is over, and what it came to is in the lake
        problems = [type(error).__name__]
    for problem in problems:
        _log.warning("an alert was not delivered: %s", problem)
