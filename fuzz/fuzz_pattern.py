"""Fuzz the key pattern: any text as a pattern, any text as a key, checked by `tests/pattern_law.py`."""

import sys

import atheris

with atheris.instrument_imports(include=["emolake"], enable_loader_override=False):
    from emolake.source.pattern import KeyPattern

from pattern_law import UTC, assert_refused_or_comes_back

PIECES = (
    "{site}", "{agent}", "{queue}", "{call_id}", ".{ext}", "{date:%Y}", "{date:%y}", "{date:%m}", "{date:%d}",
    "{date:%j}", "{date:%Y%m%d}", "{date:%Y/%m/%d}", "{time:%H%M%S}", "{time:%f}",
    "{date:%-m}", "{date:%-d}", "{date:%b}", "{date:%B}", "{date:%G-W%V-%u}", "{time:%I%M%p}", "{time:%-H}",
    "{time:%H%z}", "{unix:s}", "{unix:ms}", "/{**}/", "Nov", "W47", "PM", "Z",
    "1795132800", "/", "_", "-", "%", "{{", "}}", "{", "2026", "11", "20", "324", "oslo", "x",
)  # fmt: skip


def text(data: atheris.FuzzedDataProvider) -> str:
    """Make known pieces and free text in any order."""
    made = ""
    for _ in range(data.ConsumeIntInRange(0, 14)):
        piece = data.ConsumeIntInRange(0, len(PIECES) + 2)
        made += PIECES[piece] if piece < len(PIECES) else data.ConsumeUnicode(8)
    return made * data.ConsumeIntInRange(1, 20) if data.ConsumeProbability() < 0.1 else made


def _folders(key: str, prefix: str) -> list[str]:
    """Return the folder of the key that lies directly under a prefix, as a listing would."""
    rest = key.removeprefix(prefix)
    return [f"{prefix}{rest.partition('/')[0]}/"] if key.startswith(prefix) and "/" in rest else []


def one(content: bytes) -> None:
    """Try one pattern and one key."""
    data = atheris.FuzzedDataProvider(content)
    pattern, key = text(data), text(data)
    if data.ConsumeBool():  # most patterns lack a date, and are refused
        pattern, key = "{date:%Y%m%d}/" + pattern, "20261120/" + key
    key = key[:1024]
    if assert_refused_or_comes_back(pattern, key):
        parsed = KeyPattern(pattern, UTC)
        matched = parsed.match(key)
        assert matched is not None
        assert matched.date is not None
        # A day's prefixes hold every key that is read as of that day.
        prefixes = list(parsed.day_prefixes(matched.date, lambda prefix: _folders(key, prefix)))
        assert sum(key.startswith(each.prefix) for each in prefixes) == 1
        assert all(isinstance(note, str) for note in parsed.notes)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
