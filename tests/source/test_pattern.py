"""The key pattern: what a key says comes back from it, and no day needs the listing of another."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emolake.errors import ConfigurationError
from emolake.source.form import DayPrefix
from emolake.source.pattern import KeyPattern

from pattern_law import UTC as LAW_ZONE
from pattern_law import assert_refused_or_comes_back, written

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
    st.characters(exclude_categories=["Cs"], exclude_characters="/._-0123456789"), min_size=1, max_size=12
)
days = st.dates(date(2001, 10, 1), date(2068, 12, 31))


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
    prefixes = [each.prefix for each in pattern.day_prefixes(day, tree.list_prefixes)]
    assert len(prefixes) == len(set(prefixes))
    covered = [key for key in tree.keys if any(key.startswith(prefix) for prefix in prefixes)]
    # Everything of the day, once, and nothing of another one.
    assert sorted(covered) == sorted(keys_of[day])
    for key in keys_of[day]:
        assert sum(key.startswith(prefix) for prefix in prefixes) == 1


def test_a_leading_date_asks_for_no_folder_at_all():
    tree = Tree([])
    pattern = KeyPattern("{date:%Y/%m/%d}/{site}/{call_id}.{ext}", BERLIN)
    assert list(pattern.day_prefixes(date(2026, 11, 20), tree.list_prefixes)) == [DayPrefix("2026/11/20/")]
    assert tree.asked == []


def test_a_leading_dimension_asks_for_its_folders_only():
    tree = Tree(["oslo/2026/11/20/a.wav", "oslo/2026/11/19/b.wav", "berlin/2025/01/01/c.wav"])
    pattern = KeyPattern("{site}/{date:%Y/%m/%d}/{call_id}.{ext}", BERLIN)
    assert list(pattern.day_prefixes(date(2026, 11, 20), tree.list_prefixes)) == [
        DayPrefix("berlin/2026/11/20/"),
        DayPrefix("oslo/2026/11/20/"),
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
        ("{date:%Y/%m/%d}/{time}/{site}.wav", "a plain name such as"),
        ("{date:%Y/%m/%d%}/{site}.wav", "uses %; the directives it can use are"),
    ],
)
def test_a_wrong_pattern_says_what_it_lacks(text, message):
    with pytest.raises(ConfigurationError, match=message):
        KeyPattern(text, BERLIN)


pieces = st.sampled_from(
    ["{site}", "{agent}", "{queue}", "{call_id}", ".{ext}", "{date:%Y}", "{date:%y}", "{date:%m}", "{date:%d}",
     "{date:%j}", "{date:%Y%m%d}", "{date:%Y/%m/%d}", "{time:%H%M%S}", "{time:%H-%M}", "{date:%-m}", "{date:%b}",
     "{date:%G-W%V-%u}", "{time:%I%p}", "{time:%H%z}", "{unix:s}", "/{**}/", "/", "_", "-", "%", "{{", "x"]
)  # fmt: skip
patterns = st.one_of(
    st.lists(pieces, max_size=12).map("".join),
    st.lists(pieces, max_size=8).map(lambda drawn: "{date:%Y%m%d}" + "".join(drawn)),
    st.text("{}%:!/.dateYmdj_", max_size=20),
    st.text(max_size=20),
)
keys = st.one_of(
    st.text("/_-.%{x0123456789", max_size=40),
    st.lists(
        st.sampled_from(
            [
                "20261120",
                "2026",
                "11",
                "20",
                "_",
                "/",
                ".",
                "-",
                "x",
                "oslo",
                "324",
                "Nov",
                "W47",
                "PM",
                "1795132800",
            ]
        )
    ).map("".join),
    st.text(max_size=40),
)


@settings(max_examples=300)
@given(text=patterns, key=keys)
@example(text="{date:%Y-%m-%d}_{date:%j}.wav", key="2026-11-20_001.wav")
@example(text="{date:%Y%m%d}_{date:%y}.wav", key="20261120_99.wav")
@example(text="{date:%Y%m%d}.wav", key="00011120.wav")
@example(text="{date:%Y%m%d}_{time:%H}.wav", key="00010101_00.wav")
@example(text="{date:%Y%m%d}_{time:%H}.wav", key="99991231_23.wav")
def test_a_key_is_refused_or_comes_back_as_it_was(text, key):
    assert_refused_or_comes_back(text, key)


@settings(max_examples=300)
@given(data=st.data(), drawn=st.lists(pieces, max_size=6))
def test_a_written_key_comes_back_as_it_was(data, drawn):
    text = "{date:%Y%m%d}/" + "".join(dict.fromkeys(drawn))
    try:
        pattern = KeyPattern(text, LAW_ZONE)
    except ConfigurationError:
        return
    dimensions = {name: data.draw(names) for name in pattern.dimensions}
    moment = datetime.combine(data.draw(days), datetime.min.time(), tzinfo=UTC)
    assert assert_refused_or_comes_back(text, written(text, moment, dimensions))


@given(text=st.text("_.ab", max_size=14))
def test_many_dimensions_are_told_apart_as_a_regular_expression_does(text):
    pattern = KeyPattern("{date:%Y}{date:%m}{date:%d}/{a}_{b}_{c}.{ext}", LAW_ZONE)
    expected = re.fullmatch(r"([^/]+?)_([^/]+?)_([^/]+?)\.([^./]+)", text)
    matched = pattern.match(f"20261120/{text}")
    assert (matched and tuple(matched.dimensions.values())) == (expected and expected.groups())


@pytest.mark.parametrize(
    "text",
    [
        "{date:%Y%m%d}/{a}_{b}_{c}_{d}_{e}.{ext}",
        "{date:%Y%m%d}/{a}{b}{c}{d}{e}{f}{g}{h}.{ext}",
        "{date:%Y%m%d}/{a}_{b}/{c}_{d}/{e}_{f}/{g}_{h}.{ext}",
        "{a}_{b}_{date:%Y%m%d}_{c}_{d}.{ext}",
    ],
)
@pytest.mark.parametrize(
    "stuff", ["_" * 1000, "_." * 500, "a_" * 500 + "/", ("_" * 250 + "/") * 4, "20261120_" * 110]
)
def test_no_key_takes_long(text, stuff):
    assert_refused_or_comes_back(text, stuff)
    assert_refused_or_comes_back(text, f"20261120/{stuff}")


@pytest.mark.timeout(30)
def test_no_folder_takes_long():
    """Also what is listed on the way to a day is named by whoever uploads."""
    pattern = KeyPattern("{a}_{b}_{c}_{d}_{e}!/{date:%Y%m%d}/{call_id}.{ext}", LAW_ZONE)
    found = list(pattern.day_prefixes(date(2026, 11, 20), lambda _: ["_" * 900 + "/", "1_2_3_4_5!/"]))
    assert found == [DayPrefix("1_2_3_4_5!/20261120/")]
