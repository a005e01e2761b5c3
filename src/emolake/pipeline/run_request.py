"""What a run is asked to do, as each of the flows asks for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from emolake.lake.connect import open_lake
from emolake.output.notices import complain
from emolake.pipeline.quarantine import quarantined
from emolake.schemas.days import DayRange
from emolake.settings import Settings


@dataclass(frozen=True)
class RunRequest:
    """The days that a run analyses, and how."""

    flow: str
    """What is run: nightly, backfill or retry."""
    days: tuple[date, ...]
    """The days, in the order in which they begin."""
    model: str | None = None
    """Name of a model of the configuration; the one of [inference] when left out."""
    force: bool = False
    """Analyse also what the lake holds, and replace it."""
    retried: tuple[str, ...] | None = None
    """Analyse only what is quarantined for one of these reasons, for any when it is empty; everything when left out."""
    parallel_days: int = 1
    """Days under way at once."""

    @property
    def replaces(self) -> bool:
        """Whether also what the lake holds is analysed."""
        return self.force or self.retried is not None


def mention_future(settings: Settings, day: date) -> None:
    """Say on standard error that a day is still to come: it may be mistyped, or the clock be wrong."""
    today = datetime.now(settings.source.zone).date()
    if day > today:
        complain(f"{day} is in the future: in source.timezone, {settings.source.timezone}, it is {today}")


def nightly_request(settings: Settings, day: date | None, *, due: datetime | None = None) -> RunRequest:
    """Ask for one day, when left out the one before the run is due in the configured zone, and the lookback before it.

    Args:
        settings: say zone and lookback.
        day: the day.
        due: when the run was to begin; now when left out.
    """
    source = settings.source
    last = day or (due or datetime.now(source.zone)).astimezone(source.zone).date() - timedelta(days=1)
    return RunRequest("nightly", tuple(DayRange(last - timedelta(days=source.lookback_days), last)))


def backfill_request(
    days: DayRange, *, model: str | None, force: bool, newest_first: bool, parallel_days: int
) -> RunRequest:
    """Ask for a range of days, from either end."""
    order = tuple(days)[::-1] if newest_first else tuple(days)
    return RunRequest("backfill", order, model=model, force=force, parallel_days=parallel_days)


def retry_request(
    settings: Settings, days: DayRange, reasons: Sequence[str], *, model: str | None
) -> RunRequest | None:
    """Ask for the quarantined recordings of some days; None where there are none."""
    with open_lake(settings.warehouse, read_only=True) as lake:
        found = quarantined(lake, days, reasons)
    if not found:
        return None
    dates = tuple(sorted({each.date for each in found}))
    return RunRequest("retry", dates, model=model, retried=tuple(reasons))
