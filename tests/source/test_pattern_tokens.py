"""What patterns can say: lists, names of months, unpadded numbers, clocks of twelve, weeks, and varying depth."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.errors import ConfigurationError
from emolake.source.form import DayPrefix
from emolake.source.pattern import KeyPattern

from pattern_law import assert_refused_or_comes_back, written

pytestmark = pytest.mark.slow

ZULU = ZoneInfo("UTC")
DAY = date(2026, 11, 20)
DATES = [
    "{date:%Y/%m/%d}", "{date:%Y-%-m-%-d}", "{date:%-d.%-m.%Y}", "{date:%d%b%Y}", "{date:%d-%^b-%y}",
    "{date:%B %-d, %Y}", "{date:%^B_%d_%Y}", "{date:%G-W%V-%u}", "{date:%G-W%V/%Y%m%d}",
    "{date:%Y%j}", "{date:%m_%d_%Y}", "{date:%Y%-m}_{date:%d}",
]  # fmt: skip
TIMES = [
    "{time:%H%M%S}", "{time:%-H.%-M.%-S}", "{time:%I%M%S%p}", "{time:%-I_%M_%S %p}", "{time:%I-%M-%S-%P}",
    "{time:%H%M%S.%f}", "{time:%p %I:%M:%S}", "{time:%-I %p %M-%S}", "{time:%H%M%S}_{time:%I%p}", "{unix:s}",
    "{unix:ms}",
]  # fmt: skip


@pytest.mark.parametrize("text", DATES)
@given(day=st.dates(date(1970, 1, 1), date(2068, 12, 31)))
def test_a_day_comes_back_however_it_is_written(text, day):
    text = f"{text}/{{site}}/{{call_id}}.{{ext}}"
    key = written(
        text, datetime.combine(day, datetime.min.time()), {"site": "oslo", "call_id": "a", "ext": "wav"}
    )
    pattern = KeyPattern(text, ZULU)
    matched = pattern.match(key)
    assert matched is not None
    assert (matched.date, matched.recorded_at) == (day, None)
    (place,) = pattern.day_prefixes(day, lambda _: [])
    assert place == DayPrefix(key.removesuffix("oslo/a.wav"))
    others = {day + timedelta(days=distance) for distance in (-366, -7, -1, 1, 7, 31, 365)}
    assert not any(place in pattern.day_prefixes(other, lambda _: []) for other in others)


@pytest.mark.parametrize("text", TIMES)
@given(moment=st.datetimes(datetime(2001, 9, 10), datetime(2068, 12, 31)))
def test_a_time_comes_back_however_it_is_written(text, moment):
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    text = f"{{date:%Y%m%d}}/{text}_{{call_id}}.{{ext}}"
    key = written(text, moment, {"call_id": "a", "ext": "wav"})
    matched = KeyPattern(text, ZULU).match(key)
    assert matched is not None
    assert (matched.date, matched.recorded_at) == (moment.date(), moment)
    assert_refused_or_comes_back(text, key)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("{date:%Y-%-m-%-d}.wav", "2026-01-2.wav"),
        ("{date:%Y-%-m-%-d}.wav", "2026-13-2.wav"),
        ("{date:%Y-%-m-%-d}.wav", "2026-2-30.wav"),
        ("{date:%Y-%-m-%-d}.wav", "2026-0-1.wav"),
        ("{date:%d%b%Y}.wav", "20nov2026.wav"),
        ("{date:%d%b%Y}.wav", "20Nox2026.wav"),
        ("{date:%G-W%V-%u}.wav", "2026-W54-1.wav"),
        ("{date:%G-W%V-%u}.wav", "2027-W53-1.wav"),
        ("{date:%G-W%V-%u}.wav", "2026-W01-0.wav"),
        ("{date:%G-W%V}/{date:%Y%m%d}.wav", "2026-W46/20261120.wav"),
        ("{date:%Y%j}.wav", "2026366.wav"),
        ("{date:%Y%j}.wav", "2026000.wav"),
        ("{date:%Y%m%d}_{time:%I%p}.wav", "20261120_00AM.wav"),
        ("{date:%Y%m%d}_{time:%I%p}.wav", "20261120_13PM.wav"),
        ("{date:%Y%m%d}_{time:%I%p}.wav", "20261120_11pm.wav"),
        ("{date:%Y%m%d}_{time:%H}_{time:%I%p}.wav", "20261120_14_03PM.wav"),
        ("{date:%Y%m%d}_{time:%H%M}.wav", "20261120_2400.wav"),
        ("{date:%Y%m%d}_{unix:s}.wav", "20261119_1795132800.wav"),
        ("{unix:s}.wav", "179513280.wav"),
        ("{unix:s}.wav", "0795132800.wav"),
        ("{unix:s}.wav", "1795132800000.wav"),
        ("{unix:ms}.wav", "1795132800.wav"),
        ("{date:%Y%m%d}/{**}/{call_id}.wav", "20261120.wav"),
        ("{date:%Y%m%d}/{**}/{call_id}.wav", "20261120//.wav"),
    ],
)
def test_what_contradicts_itself_or_is_written_otherwise_does_not_match(text, key):
    assert KeyPattern(text, ZULU).match(key) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{date:%Y%m%d}/{a}{b}.wav", r"ambiguous: \{a\} and \{b\} follow each other without a separator"),
        ("{date:%Y%m%d}/{call_id}{ext}", r"\{call_id\} and \{ext\} follow"),
        ("{date:%Y%-m%-d}.wav", "%-m and %-d follow"),
        ("{date:%Y_%-d%m%-H}.wav", "%-d and %-H follow"),
        ("{date:%Y%m%-d}{call_id}.wav", r"%-d and \{call_id\} follow"),
        ("{site}{date:%-d_%m_%Y}.wav", r"\{site\} and %-d follow"),
        ("{date:%Y%m%d}_{time:%-H1%-M}.wav", "%-H and %-M follow"),
        ("{date:%Y%m%d}_{time:%f}{call_id}.wav", r"%f and \{call_id\} follow"),
        ("{date:%Y%m%d}/{**}/{**}/{a}.wav", r"holds \{\*\*\} twice"),
        ("{date:%Y%m%d}/{**}", r"holds \{\*\*\} at its end"),
        ("{date:%Y%m%d}/x{**}/{a}.wav", r"holds \{\*\*\} beside other text"),
        ("{date:%Y%m%d}/{a}{**}/{b}.wav", r"holds \{\*\*\} beside other text"),
        ("{date:%G-W%V}/{a}.wav", "does not give a full date"),
        ("{date:%Y-W%V-%u}/{a}.wav", "does not give a full date"),
        ("{date:%Y%m%d}_{time:%I%M}.wav", "%I and %p come together"),
        ("{date:%Y%m%d}_{time:%H%p}.wav", "%I and %p come together"),
        ("{date:%Y%m%d%z}.wav", "%z comes with a time"),
        ("{unix:us}_{a}.wav", "expected .*{unix:s}, {unix:ms}"),
        ("{date:%Y%m%d}_{time:%E}.wav", "uses %E; the directives it can use are"),
        ("{date:%Y%m%d}_{time:%-Y}.wav", "uses %-Y; the directives it can use are"),
    ],
)
def test_a_pattern_that_cannot_be_understood_is_refused(text, message):
    with pytest.raises(ConfigurationError, match=message):
        KeyPattern(text, ZULU)


def test_digits_of_a_fixed_number_may_follow_those_of_a_varying_one():
    pattern = KeyPattern("{date:%Y%-m%d}_{call_id}.wav", ZULU)
    matches = [pattern.match(f"{each}_a.wav") for each in ("2026120", "20261120")]
    assert [match and match.date for match in matches] == [date(2026, 1, 20), DAY]


def test_patterns_of_a_list_are_tried_in_order():
    texts = [
        "{date:%Y/%m/%d}/{site}/{call_id}.{ext}",
        "{date:%Y/%m/%d}/{call_id}.{ext}",
        "old/{date:%Y%m%d}-{agent}.{ext}",
    ]
    pattern = KeyPattern(texts, ZULU)
    assert pattern.dimensions == ("site", "call_id", "ext", "agent")
    read = {
        key: pattern.match(key)
        for key in ("2026/11/20/oslo/a.wav", "2026/11/20/a.wav", "old/20261120-ann.wav", "new/a.wav")
    }
    assert [each and each.dimensions for each in read.values()] == [
        {"site": "oslo", "call_id": "a", "ext": "wav"}, {"call_id": "a", "ext": "wav"},
        {"agent": "ann", "ext": "wav"}, None,
    ]  # fmt: skip
    assert [each.prefix for each in pattern.day_prefixes(DAY, lambda _: [])] == [
        "2026/11/20/",
        "old/20261120-",
    ]


def test_no_prefix_of_a_list_lies_below_another():
    pattern = KeyPattern(
        ["{date:%Y/%m}/{date:%d}_{a}.wav", "{date:%Y/%m/%d}/{a}.wav", "{date:%Y/%m}/{a}_{date:%d}.wav"], ZULU
    )
    assert list(pattern.day_prefixes(DAY, lambda _: [])) == [DayPrefix("2026/11/")]


def test_an_empty_list_is_refused():
    with pytest.raises(ConfigurationError, match="needs one pattern at least"):
        KeyPattern([], ZULU)


@pytest.mark.parametrize("folders", ["", "x/", "x/y/", "a b/ü/z/"])
def test_any_number_of_folders_may_lie_between(folders):
    pattern = KeyPattern("{date:%Y/%m/%d}/{**}/{call_id}.{ext}", ZULU)
    matched = pattern.match(f"2026/11/20/{folders}a.wav")
    assert matched is not None
    assert matched.dimensions == {"call_id": "a", "ext": "wav"}
    assert [each.prefix for each in pattern.day_prefixes(DAY, lambda _: [])] == ["2026/11/20/"]


def test_times_since_1970_are_listed_by_their_first_digits():
    pattern = KeyPattern("{unix:s}_{call_id}.{ext}", ZoneInfo("Europe/Berlin"))
    prefixes = [each.prefix for each in pattern.day_prefixes(DAY, lambda _: [])]
    assert prefixes == [str(179512 + each) for each in range(len(prefixes))]
    assert 9 <= len(prefixes) <= 10


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("{date:%Y/%m/%d}/{call_id}.wav", None),
        ("{site}/{date:%Y%m%d}_{call_id}.wav", None),
        ("{site}-{date:%y%m%d}/{call_id}.wav", None),
        ("{date:%Y/%m/%d}/{**}/{call_id}.wav", None),
        ("{date:%Y}/{site}/{date:%m%d}_{call_id}.wav", None),
        ("calls/{unix:s}_{call_id}.wav", None),
        ("{call_id}_{date:%Y%m%d}.wav", "every key of the source"),
        ("calls/{call_id}_{date:%Y%m%d}.wav", "every key below 'calls/'"),
        ("{**}/{date:%Y%m%d}_{call_id}.wav", "every key of the source"),
        ("{date:%Y/%m}/{call_id}-{date:%d}.wav", "every key below '%Y/%m/'"),
        ("{site}/{call_id}_{unix:s}.wav", "every key below '{site}/'"),
        ("{date:%Y}/{**}/{date:%m%d}_{call_id}.wav", "every key below '%Y/'"),
    ],
)
def test_a_pattern_says_what_it_lists_in_vain(text, note):
    notes = KeyPattern(text, ZULU).notes
    assert notes == ([] if note is None else [f"{text!r} lists {note} for each day that is planned"])
