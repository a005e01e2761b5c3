"""Days of a run that list nothing, or nothing that is a recording: what is said of them, and when they are a failure.

A night that finds nothing looks like a quiet one, and may be a changed layout, a wrong pattern or a share that is not
mounted.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice

from emolake.lake.transact import Lake
from emolake.messages import counted, redacted
from emolake.pipeline.runs import Run
from emolake.schemas.funnel import examples
from emolake.schemas.records import NOT_MATCHED, Listing
from emolake.source.opening import open_source
from emolake.source.store import SourceError
from emolake.sql import statement

_MOST_NOTES = 10
_FOLDERS_SEEN = 1000
_WEEK = timedelta(days=7)
# Within how long after a day on which nobody works there is one on which somebody does.
_CLOSED = timedelta(days=3)


def judge_listings(run: Run, lake: Lake) -> Iterator[str]:
    """Add the run's warnings about what it listed, and yield what it has failed by.

    Only listings that came to their end are judged, and none of a retry, which asks for what was there before.
    """
    if run.request.retried is not None or not run.whole_listings:
        return
    empty = [day for day, listing in sorted(run.whole_listings.items()) if not listing.found]
    held = _held(run, lake) if empty else {}
    all_empty = len(empty) == len(set(run.request.days))
    run.is_notable = all_empty or _would_be_late(empty, run, lake)
    if run.settings.run.empty == "allow":
        return
    silent = [
        day
        for day in empty
        if not run.whole_listings[day].listed and _others_list(day, run, held) and not _is_usual(day, held)
    ]
    run.warnings += listing_notes(run.whole_listings, () if all_empty else silent)
    run.is_notable |= bool(empty) and not set(run.warnings) <= _said_before(lake)
    if not all_empty:
        return
    message = _nothing_found(run, held)
    unusual = _were_not_empty(run, held) and not all(_is_usual(day, held) for day in empty)
    if unusual and run.settings.run.empty == "fail":
        yield f'{message}; run.empty = "warn" lets such a run pass'
    else:
        run.warnings.append(message)


def listing_notes(listings: Mapping[date, Listing], silent: Collection[date]) -> list[str]:
    """Return what is to be said of days: keys that do not match the pattern, with examples, and days without a key.

    Args:
        listings: what each day lists.
        silent: days that list nothing where others list something.
    """
    unmatched = [_unmatched(day, listing) for day, listing in sorted(listings.items()) if listing.not_matched]
    empty = [
        f"{day}: no key is listed, and other days list some; see whether recordings arrived, and whether "
        "source.pattern has them"
        for day in sorted(silent)
    ]
    return [
        *_first(unmatched, "keys of {} do not match source.pattern"),
        *_first(empty, "no key is listed on {}"),
    ]


def _unmatched(day: date, listing: Listing) -> str:
    does = "does" if listing.not_matched == 1 else "do"
    named = ", ".join(examples(listing, NOT_MATCHED))
    return (
        f"{day}: {listing.not_matched} of {counted(listing.listed, 'key')} {does} not match source.pattern, "
        f"for example {named}"
    )


def _first(notes: Sequence[str], rest: str) -> Iterator[str]:
    """Yield the first notes, and `rest` with the number of the days of the others."""
    yield from notes[:_MOST_NOTES]
    if len(notes) > _MOST_NOTES:
        yield rest.format(counted(len(notes) - _MOST_NOTES, "more day"))


def _said_before(lake: Lake) -> set[str]:
    """Return the warnings that earlier runs have in their rows: a night that only repeats them commits nothing."""
    return {warning for (warning,) in lake.answered_rows(statement("earlier_warnings"))}


def _would_be_late(empty: Sequence[date], run: Run, lake: Lake) -> bool:
    """Return whether the status would take one of the empty days for late, had the run no row."""
    zone = run.settings.source.zone
    over = [day for day in empty if day < run.started_at.astimezone(zone).date()]
    if not over:
        return False
    asked = {"first": over[0], "last": over[-1], "zone": run.settings.source.timezone}
    return not {day for (day,) in lake.answered_rows(statement("late_days"), asked)}.isdisjoint(over)


def _held(run: Run, lake: Lake) -> dict[date, bool]:
    """Return the days up to the run's last of which the lake holds recordings, and whether any was there till now."""
    return dict(lake.answered_rows(statement("held_days"), {"last": run.days.last, "since": run.started_at}))


def _others_list(day: date, run: Run, held: Mapping[date, bool]) -> bool:
    """Return whether a day before it, or the day itself earlier, had recordings; in a backfill any other day.

    The lookback of a nightly reaches back before the first recording that there is, and nothing is wrong with that.
    """
    planned = any(
        listing.found and (other < day or run.request.flow == "backfill")
        for other, listing in run.whole_listings.items()
    )
    return planned or held.get(day, False) or any(other < day for other in held)


def _is_usual(day: date, held: Mapping[date, bool]) -> bool:
    """Return whether the same weekday had nothing the week before either, between days that had: nobody works on it."""
    before = day - _WEEK
    followed = any(before < other <= before + _CLOSED for other in held)
    return day not in held and before not in held and followed and min(held) < before


def _were_not_empty(run: Run, held: Mapping[date, bool]) -> bool:
    first = run.days.first
    return any(day < first or live for day, live in held.items())


def _nothing_found(run: Run, held: Mapping[date, bool]) -> str:
    days = run.days
    asked = (
        f"on {days.first}"
        if days.first == days.last
        else f"on any of the {len(run.whole_listings)} days {days.first} to {days.last}"
    )
    before = f", and the lake holds recordings of {max(held)}" if held else ""
    listed = sum(run.whole_listings.values(), start=Listing())
    why = (
        f"of {counted(listed.listed, 'key')} none is a recording, for example {listed.named_keys[0]}"
        if listed.named_keys
        else f"no key is listed, and {_keys_of_source(run)}"
    )
    return f"no recording was found {asked}{before}: {why}; check source.uri and source.pattern"


def _keys_of_source(run: Run) -> str:
    """Return which keys the source has anywhere: the first, and one of the last folder; never all are listed."""
    source = open_source(run.settings.source.uri, run.settings.source.s3)
    try:
        keys = [entry.key for entry in islice(source.list(""), 1)]
        prefix = ""
        while below := list(islice(source.list_prefixes(prefix), _FOLDERS_SEEN)):
            prefix = below[-1]
        keys += [entry.key for entry in islice(source.list(prefix), 1)]
    except SourceError:
        keys = []
    named = ", ".join(redacted(repr(key)[1:-1]) for key in dict.fromkeys(keys))
    return f"the source has keys such as {named}" if named else "the source has no key at all"
