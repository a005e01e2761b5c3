"""Local days and the days of keys: which days, as keys write them, can hold a recording of a local day."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from emolake.source.directives import WIDEST_OFFSET_S

_DAY_S = 86_400
_EPOCH = date(1970, 1, 1).toordinal()


def span(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """Return the seconds since 1970 between which every moment of a local day lies, the end not included.

    It is exact on all days but those with a change of the clock, where it may be as much too long as the change.
    """
    offsets = [
        _seconds(zone.utcoffset(datetime.combine(each, time())))
        for each in (day, day + timedelta(days=1) if day < date.max else day)
    ]
    start = (day.toordinal() - _EPOCH) * _DAY_S
    return start - max(offsets), start + _DAY_S - min(offsets)


def key_days(day: date, zone: ZoneInfo, key_zone: ZoneInfo | None) -> Iterator[date]:
    """Yield the days in the keys' zone that can hold a moment of a local day, in order.

    Args:
        day: the local day.
        zone: the zone of local days.
        key_zone: the zone of dates and times in keys; None where each key says its own.
    """
    start, end = span(day, zone)
    for distance in range(-2, 3):
        ordinal = day.toordinal() + distance
        if not date.min.toordinal() <= ordinal <= date.max.toordinal():
            continue
        key_day = date.fromordinal(ordinal)
        if key_zone is None:
            of_key = (ordinal - _EPOCH) * _DAY_S
            first, last = of_key - WIDEST_OFFSET_S, of_key + _DAY_S + WIDEST_OFFSET_S
        else:
            first, last = span(key_day, key_zone)
        if first < end and start < last:
            yield key_day


def _seconds(offset: timedelta | None) -> int:
    assert offset is not None  # a ZoneInfo knows it for every moment
    return int(offset.total_seconds())
