"""What is known of a recording beyond its key: dimensions, the day where no key has one, and whether it is audio."""

import mimetypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from emolake.audio.containers.formats import UNKNOWN, format_of, is_audio
from emolake.errors import BadRecordingError
from emolake.source.access import SourceOptions
from emolake.source.lookup import Lookup
from emolake.source.references import LAST_MODIFIED, parsed_reference
from emolake.source.store import Listed, Source, VersionChangedError

_MARGIN = timedelta(days=1)
_DATE = "date"


@dataclass(frozen=True)
class Placed:
    """The day of an object whose key has none; `recorded_at` is in UTC, None where only the day is known."""

    date: date
    recorded_at: datetime | None


@dataclass(frozen=True)
class Enrichment:
    """What is looked up beyond keys; by default nothing."""

    dimensions: Lookup | None = None
    """Dimensions that keys do not hold."""
    place: Callable[[Sequence[Listed], date], list[Placed | None]] | None = None
    """The days of objects whose keys have none, as far as they can be the asked day."""
    sniff: bool = False
    """Whether keys whose ending says nothing are taken for recordings where their first bytes are audio."""

    def may_be_audio(self, key: str) -> bool:
        """Return whether a key is a recording, or has to be sniffed: its ending is of no known kind."""
        return is_audio(key) or (self.sniff and mimetypes.guess_type(key)[0] is None)


NOTHING = Enrichment()
"""Keys are all that is known of recordings."""


def enrichment(source: Source, options: SourceOptions) -> Enrichment:
    """Return what the configuration looks up beyond keys."""
    lookup = None
    if options.dimensions:
        references = {name: parsed_reference(text) for name, text in options.dimensions.items()}
        lookup = Lookup(source, references, options)
    place = None
    if options.date_from == LAST_MODIFIED:
        place = _by_last_modified(options.zone)
    elif options.date_from is not None:
        place = _by_lookup(Lookup(source, {_DATE: parsed_reference(options.date_from)}, options), options)
    return Enrichment(lookup, place, options.sniff)


def is_audio_inside(source: Source, key: str, version: str) -> bool:
    """Return whether an object's first bytes open a known format; what cannot be read is left to who fetches it."""
    try:
        head = next(iter(source.read(key, version, 0)), b"")
    except (BadRecordingError, VersionChangedError):
        return True
    return head.startswith(b"ID3") or format_of(head[:32]) is not UNKNOWN


def _by_last_modified(zone: ZoneInfo) -> Callable[[Sequence[Listed], date], list[Placed | None]]:
    def place(entries: Sequence[Listed], day: date) -> list[Placed | None]:
        return [
            None if each.modified is None else Placed(each.modified.astimezone(zone).date(), None)
            for each in entries
        ]

    return place


def _by_lookup(
    lookup: Lookup, options: SourceOptions
) -> Callable[[Sequence[Listed], date], list[Placed | None]]:
    def place(entries: Sequence[Listed], day: date) -> list[Placed | None]:
        # What was last written before the day began is another day's, whichever; it is not asked for.
        begin = datetime(day.year, day.month, day.day, tzinfo=options.zone) - _MARGIN
        late = [each for each in entries if each.modified is None or each.modified >= begin]
        values = dict(zip((each.key for each in late), lookup.of([each.key for each in late]), strict=True))
        return [
            _placed(values[each.key].get(_DATE), options) if each.key in values else Placed(date.min, None)
            for each in entries
        ]

    return place


def _placed(text: str | None, options: SourceOptions) -> Placed | None:
    """Return the day that a text gives: ISO 8601, or seconds or milliseconds since 1970; None where it is none."""
    if text is None:
        return None
    try:
        if text.isascii() and text.isdigit() and len(text) in (10, 13):
            moment = datetime.fromtimestamp(int(text) / (1 if len(text) == 10 else 1000), UTC)
        elif len(text) <= len("2026-11-20"):
            return Placed(date.fromisoformat(text), None)
        else:
            moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=options.key_zone)
        return Placed(moment.astimezone(options.zone).date(), moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return None
