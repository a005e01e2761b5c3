"""The key pattern: what a key says comes back from it, and no day needs the listing of another."""

from datetime import UTC, date, datetime, timedelta
from string import Formatter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.errors import ConfigurationError
from emolake.pattern import KeyPattern

BERLIN = ZoneInfo("Europe/Berlin")
PATTERNS = [
    "{date:%Y/%m/%d}/{site}/{call_id}.{ext}",
    "{site}/{date:%Y/%m/%d}/{call_id}.{ext}",
    "{site}/{date:%Y%m%d}_{call_id}.{ext}",
    "calls/{site}/{date:%Y}/{call_id}/{date:%m-%d}.{ext}",
    "{date:%Y-%j}/{site}/{call_id}.{ext}",
    "year={date:%Y}/month={date:%m}/day={date:%d}/{site}/{call_id}.{ext}",
    "{site}-{date:%y%m%d}/{call_id}.{ext}",
]

# No separators of the patterns above; anything else that a key may hold.
names = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="/._-0123456789"), min_size=1, max_size=12
)
days = st.dates(date(2001, 1, 1), date(2068, 12, 31))


def written(pattern: str, moment: datetime, dimensions: dict[str, str]) -> str:
    """The key that a pattern gives for a moment and its dimensions."""
    key = ""
    for literal, name, spec, _ in Formatter().parse(pattern):
        key += literal
        if name is not None:
            key += moment.strftime(spec or "") if name in ("date", "time") else dimensions[name]
    return key


class Tree:
    """Keys behind the interface of a source's `list_prefixes`, which remembers what it was asked."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.asked: list[str] = []

    def list_prefixes(self, prefix: str) -> list[str]:
        self.asked.append(prefix)
        below = (key.removeprefix(prefix) for key in self.keys if key.startswith(prefix))
        return sorted({f"{prefix}{rest.partition('/')[0]}/" for rest in below if "/" in rest})


@pytest.mark.parametrize("text", PATTERNS)
@given(day=days, site=names, call_id=names)
def test_a_key_gives_back_what_it_was_made_of(text, day, site, call_id):
    dimensions = {"site": site, "call_id": call_id, "ext": "wav"}
    key = written(text, datetime(day.year, day.month, day.day), dimensions)
    matched = KeyPattern(text, BERLIN).match(key)
    assert matched is not None
    assert (matched.date, matched.recorded_at, matched.dimensions) == (day, None, dimensions)


@pytest.mark.parametrize("text", PATTERNS)
@given(
    day=days,
    neighbours=st.lists(st.integers(-40, 40), max_size=6),
    sites=st.sets(names, min_size=1, max_size=3),
)
def test_prefixes_hold_all_of_the_day_and_list_nothing_flat_above_it(text, day, neighbours, sites):
    pattern = KeyPattern(text, BERLIN)
    keys_of = {
        other: [
            written(
                text,
                datetime(other.year, other.month, other.day),
                {"site": site, "call_id": "c", "ext": "wav"},
            )
            for site in sites
        ]
        for other in {day, *(day + timedelta(days=offset) for offset in neighbours)}
    }
    tree = Tree([key for keys in keys_of.values() for key in keys])
    prefixes = list(pattern.day_prefixes(day, tree.list_prefixes))
    assert len(prefixes) == len(set(prefixes))
    covered = [key for key in tree.keys if any(key.startswith(prefix) for prefix in prefixes)]
    # Everything of the day, once, and nothing of another one.
    assert sorted(covered) == sorted(keys_of[day])
    for key in keys_of[day]:
        assert sum(key.startswith(prefix) for prefix in prefixes) == 1


def test_a_leading_date_asks_for_no_folder_at_all():
    tree = Tree([])
    pattern = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", BERLIN)
    assert list(pattern.day_prefixes(date(2026, 11, 20), tree.list_prefixes)) == ["2026/11/20/"]
    assert tree.asked == []


def test_a_leading_dimension_asks_for_its_folders_only():
    tree = Tree(["oslo/2026/11/20/a.wav", "oslo/2026/11/19/b.wav", "berlin/2025/01/01/c.wav"])
    pattern = KeyPattern("{site}/{date:%Y/%m/%d}/{call_id}.{ext}", BERLIN)
    assert list(pattern.day_prefixes(date(2026, 11, 20), tree.list_prefixes)) == [
        "berlin/2026/11/20/",
        "oslo/2026/11/20/",
    ]
    assert tree.asked == [""]


@pytest.mark.parametrize(
    "call_id",
    [
        "reclamação 3 + reembolso #2",
        "お問い合わせ",
        "a b%20c",
        'it\'s "quoted" & ?',
        "line\nbreak",
        "nfd-e\u0301",
    ],
)
def test_any_text_may_stand_in_a_key(call_id):
    matched = KeyPattern(PATTERNS[0], BERLIN).match(f"2026/11/20/oslo/{call_id}.wav")
    assert matched is not None
    assert matched.dimensions["call_id"] == call_id


@pytest.mark.parametrize(
    ("time", "utc"),
    [
        ("2026-07-01 120000", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("2026-12-01 120000", datetime(2026, 12, 1, 11, tzinfo=UTC)),
        # 02:30 stood on the clock twice that night; the first one is taken.
        ("2026-10-25 023000", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        # Half past midnight in Berlin is still yesterday in UTC; the day is the local one.
        ("2026-11-20 003000", datetime(2026, 11, 19, 23, 30, tzinfo=UTC)),
    ],
)
def test_times_are_of_the_configured_zone(time, utc):
    matched = KeyPattern("{date:%Y-%m-%d} {time:%H%M%S}_{call_id}.{ext}", BERLIN).match(f"{time}_c.wav")
    assert matched is not None
    assert matched.recorded_at == utc
    assert str(matched.date) == time[:10]


@pytest.mark.parametrize(
    "key",
    ["2026/13/01/oslo/a.wav", "2026/02/30/oslo/a.wav", "2026/11/20/a.wav", "2026/11/20/oslo/deep/a.wav",
     "2026/11/20/oslo/noext", "x2026/11/20/oslo/a.wav", "2026/11/20/oslo/.wav", "2026/1/2/oslo/a.wav", ""],
)  # fmt: skip
def test_what_is_no_such_key_does_not_match(key):
    assert KeyPattern(PATTERNS[0], BERLIN).match(key) is None


def test_a_date_that_stands_twice_must_agree():
    pattern = KeyPattern("{date:%Y/%m/%d}/{date:%Y%m%d}_{call_id}.{ext}", BERLIN)
    assert pattern.match("2026/11/20/20261120_a.wav") is not None
    assert pattern.match("2026/11/20/20261119_a.wav") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{site}/{call_id}.{ext}", "does not give a full date"),
        ("{date:%Y/%m}/{call_id}.{ext}", "does not give a full date"),
        ("{date:%Y/%m/%d}/{site}/{site}.wav", "names site twice"),
        ("{date:%Y/%m/%d/%Z}/{site}.wav", "uses %Z; the directives it can use are"),
        ("{date:%Y/%m/%d}/{site", "braces come in pairs"),
        ("{date:%Y/%m/%d}/{}.wav", "a plain name such as"),
        ("{date:%Y/%m/%d}/{site!r}.wav", "a plain name such as"),
    ],
)
def test_a_wrong_pattern_says_what_it_lacks(text, message):
    with pytest.raises(ConfigurationError, match=message):
        KeyPattern(text, BERLIN)
