"""What holds for every pattern and every key, for the tests and for the fuzzer."""

from datetime import datetime
from string import Formatter
from time import process_time
from zoneinfo import ZoneInfo

from emolake.errors import ConfigurationError
from emolake.source.pattern import KeyPattern

UTC = ZoneInfo("UTC")
# The first and the last day of the calendar are not the same in these.
ZONES = (ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago"))
# Keys of S3 have 1024 bytes at most; a thousandth of this is usual for one.
MOST_SECONDS = 1.0


def written(pattern: str, moment: datetime, dimensions: dict[str, str]) -> str:
    """The key that a pattern gives for a moment and its dimensions."""
    key = ""
    for literal, name, spec, _ in Formatter().parse(pattern.replace("{**}/", "")):
        key += literal
        if name in ("date", "time"):
            # strftime leaves out the noughts of the first centuries
            spec = (
                (spec or "")
                .replace("%Y", f"{moment.year:04d}")
                .replace("%G", f"{moment.isocalendar()[0]:04d}")
            )
            key += moment.strftime(spec)
        elif name == "unix" and spec:
            key += str(round(moment.timestamp() * {"s": 1, "ms": 1000}[spec]))
        elif name is not None:
            key += dimensions[name]
    return key


def assert_refused_or_comes_back(pattern: str, key: str) -> bool:
    """Tell whether the key matches; it is refused, or the pattern writes what was read as the same key again.

    Raises:
        AssertionError: neither holds, or it took too long.
    """
    try:
        parsed = KeyPattern(pattern, UTC)
    except ConfigurationError:
        return False
    started = process_time()
    matched = parsed.match(key)
    assert process_time() - started < MOST_SECONDS, f"{pattern!r} took too long for {key!r}"
    for zone in ZONES:
        assert (KeyPattern(pattern, zone).match(key) is None) or matched is not None
    if matched is None:
        return False
    assert all(matched.dimensions.values())
    assert not any("/" in text for text in matched.dimensions.values())
    assert matched.date is not None
    moment = matched.recorded_at or datetime.combine(matched.date, datetime.min.time())
    again = written(pattern, moment, matched.dimensions)
    assert parsed.match(again) == matched
    # %f reads one to six digits and writes six, %z has several ways to write a zone, and folders of {**} are not kept
    assert again == key or any(each in pattern for each in ("%f", "%z", "{**}")), (
        f"{pattern!r} read {key!r} as {matched}, which it writes as {again!r}"
    )
    return True
