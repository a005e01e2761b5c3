"""Local days of keys that are in another zone: every key is planned for one day, and that is the day of its moment."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from emolake.schemas.records import SourceObject
from emolake.source.folder import FolderSource
from emolake.source.pattern import KeyPattern
from emolake.source.store import Listed
from emolake.tasks.plan import PassedOver, list_day

from pattern_law import written

pytestmark = pytest.mark.slow

BERLIN, ZULU = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu",
    "Australia/Adelaide", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Kiritimati", "Pacific/Pago_Pago",
    "Pacific/Chatham", "America/Sao_Paulo", "America/Havana", "Asia/Beirut", "Pacific/Apia", "Africa/Casablanca",
]  # fmt: skip
# Both changes of the clock of Berlin, New York, Adelaide and Lord Howe, midnights that are missing in São Paulo and
# Beirut or there twice in Havana, and the day that Apia left out.
CHANGES = [
    date(2026, 3, 29), date(2026, 10, 25), date(2026, 3, 8), date(2026, 11, 1), date(2026, 4, 5), date(2026, 10, 4),
    date(2018, 11, 4), date(2018, 2, 18), date(2026, 3, 29), date(2011, 12, 30), date(2026, 12, 31), date(2024, 2, 29),
]  # fmt: skip
TIMED = [
    "{date:%Y/%m/%d}/{call_id}_{date:%Y%m%d}T{time:%H%M%S}.{ext}",
    "{date:%Y/%m/%d}/{time:%H}/{call_id}_{time:%M%S}.{ext}",
    "{site}/{date:%Y-%m-%d}/{time:%H-%M-%S}_{call_id}.{ext}",
    "{date:%Y%m%d}{time:%H%M%S}_{call_id}.{ext}",
    "{date:%Y/%m}/{date:%d}-{time:%H%M%S}_{call_id}.{ext}",
    "{site}_{date:%Y%m%d}_{time:%H%M%S}_{call_id}.{ext}",
    "{date:%Y/%-m/%-d}/{time:%-I_%M_%S %p} {call_id}.{ext}",
    "{date:%G-W%V/%u}/{time:%H%M%S}_{call_id}.{ext}",
    "{date:%Y-%j}/{**}/{time:%H%M%S}_{call_id}.{ext}",
    "{date:%d%b%Y}/{time:%H%M%S}_{call_id}.{ext}",
    "{unix:s}_{call_id}.{ext}",
    "{site}/{unix:ms}_{call_id}.{ext}",
    "{date:%Y/%m/%d}/{unix:s}_{call_id}.{ext}",
    "{date:%Y/%m/%d}/{time:%H%M%S%z}_{call_id}.{ext}",
    "{date:%Y/%m/%d}/{time:%H%M%SZ}_{call_id}.{ext}",
]


class Keys(FolderSource):
    """A source that holds keys and no objects."""

    def __init__(self, keys: list[str]) -> None:
        self.uri = "s3://calls"
        self.keys = sorted(keys)

    def list(self, prefix: str) -> Iterator[Listed]:
        return (Listed(key, "v", 1) for key in self.keys if key.startswith(prefix))

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        below = (key.removeprefix(prefix) for key in self.keys if key.startswith(prefix))
        yield from sorted({f"{prefix}{rest.partition('/')[0]}/" for rest in below if "/" in rest})

    def object_uri(self, key: str) -> str:
        return f"s3://calls/{key}"


def planned(keys: list[str], pattern: KeyPattern, day: date) -> list[SourceObject]:
    return [each for each in list_day(Keys(keys), pattern, day) if isinstance(each, SourceObject)]


def key_of(text: str, moment: datetime, key_zone: ZoneInfo, number: int) -> str:
    zone = ZULU if "Z}" in text else key_zone
    return written(text, moment.astimezone(zone), {"site": "oslo", "call_id": f"c{number}x", "ext": "wav"})


@pytest.mark.parametrize("text", TIMED)
@settings(max_examples=40)
@given(
    zone=st.sampled_from(ZONES),
    key_zone=st.sampled_from(ZONES),
    day=st.sampled_from(CHANGES),
    minutes=st.lists(st.integers(-36 * 60, 60 * 60), min_size=1, max_size=8),
)
@example(
    zone="Europe/Berlin",
    key_zone="UTC",
    day=date(2026, 11, 20),
    minutes=[-61, -60, -59, 1379, 1380, 1410, 1439],
)
@example(
    zone="UTC",
    key_zone="Europe/Berlin",
    day=date(2026, 10, 25),
    minutes=[0, 30, 60, 90, 120, 150, 180, 1439, 1440],
)
@example(
    zone="UTC",
    key_zone="Europe/Berlin",
    day=date(2026, 3, 29),
    minutes=[0, 30, 60, 90, 120, 150, 180, 1439, 1440],
)
@example(zone="Asia/Kolkata", key_zone="America/St_Johns", day=date(2026, 11, 1), minutes=[1109, 1110, 1111])
def test_each_key_is_planned_for_the_one_day_of_its_moment(text, zone, key_zone, day, minutes):
    local, of_keys = ZoneInfo(zone), ZoneInfo(key_zone)
    pattern = KeyPattern(text, local, of_keys)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    keys = {
        key_of(text, midnight + timedelta(minutes=each), of_keys, number): midnight + timedelta(minutes=each)
        for number, each in enumerate(minutes)
    }
    days = [day + timedelta(days=distance) for distance in range(-4, 6)]
    found = [each for one in days for each in planned(list(keys), pattern, one)]
    assert Counter(each.key for each in found) == dict.fromkeys(keys, 1)
    for each in found:
        moment = keys[each.key]
        assert each.recorded_at is not None
        # What stood on the clock twice is taken for the first of the two, an hour (on Lord Howe half of one) before.
        assert moment - each.recorded_at in (timedelta(), timedelta(hours=1), timedelta(minutes=30))
        if zone != key_zone or "unix" in text or "%z" in text or "Z}" in text:
            assert each.date == each.recorded_at.astimezone(local).date()
        else:
            assert each.date == moment.astimezone(local).date()


@settings(max_examples=30)
@given(
    zone=st.sampled_from(ZONES),
    key_zone=st.sampled_from(ZONES),
    day=st.sampled_from(CHANGES),
    drawn=st.lists(
        st.tuples(st.sampled_from(TIMED), st.integers(-36 * 60, 60 * 60)), min_size=1, max_size=12
    ),
)
def test_keys_of_a_list_of_patterns_are_planned_for_one_day_each(zone, key_zone, day, drawn):
    pattern = KeyPattern([f"x/{text}" for text in TIMED], ZoneInfo(zone), ZoneInfo(key_zone))
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    keys = [
        f"x/{key_of(text, midnight + timedelta(minutes=each), ZoneInfo(key_zone), number)}"
        for number, (text, each) in enumerate(drawn)
    ]
    days = [day + timedelta(days=distance) for distance in range(-4, 6)]
    found = [each for one in days for each in planned(keys, pattern, one)]
    assert Counter(each.key for each in found) == dict.fromkeys(keys, 1)
    assert all((match := pattern.match(each.key)) and match.date == each.date for each in found)


@pytest.mark.parametrize(
    "text", ["{date:%Y/%m/%d}/{time:%H%M}_{call_id}.{ext}", "{date:%Y%m%d}{time:%H%M}_{call_id}.{ext}"]
)
@given(
    zone=st.sampled_from(ZONES),
    key_zone=st.sampled_from(ZONES),
    day=st.sampled_from(CHANGES),
    minute=st.integers(0, 1439),
)
@example(zone="Pacific/Apia", key_zone="Pacific/Apia", day=date(2011, 12, 30), minute=720)
@example(zone="UTC", key_zone="Pacific/Apia", day=date(2011, 12, 30), minute=720)
@example(zone="UTC", key_zone="Asia/Beirut", day=date(2026, 3, 29), minute=30)
def test_what_no_clock_has_shown_is_planned_for_one_day_too(text, zone, key_zone, day, minute):
    key = f"{day:%Y%m%d}{minute // 60:02d}{minute % 60:02d}_c.wav"
    if "/" in text:
        key = f"{day:%Y/%m/%d}/{minute // 60:02d}{minute % 60:02d}_c.wav"
    pattern = KeyPattern(text, ZoneInfo(zone), ZoneInfo(key_zone))
    days = [day + timedelta(days=distance) for distance in range(-3, 4)]
    assert sum(len(planned([key], pattern, each)) for each in days) == 1


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        (date(2026, 11, 20), "20261119 230000", "20261120 225959"),
        (date(2026, 7, 1), "20260630 220000", "20260701 215959"),
        (date(2026, 3, 29), "20260328 230000", "20260329 215959"),  # 23 hours
        (date(2026, 10, 25), "20261024 220000", "20261025 225959"),  # 25 hours
    ],
)
def test_a_day_of_berlin_is_cut_to_the_second_from_keys_in_utc(day, first, last):
    text = "{date:%Y%m%d} {time:%H%M%S}_{call_id}.{ext}"
    pattern = KeyPattern(text, BERLIN, ZULU)
    one = timedelta(seconds=1)
    ends = [datetime.strptime(each, "%Y%m%d %H%M%S") for each in (first, last)]
    keys = [
        written(text, each, {"call_id": "c", "ext": "wav"}) for each in (ends[0] - one, *ends, ends[1] + one)
    ]
    assert [each.key for each in planned(keys, pattern, day)] == keys[1:3]


def test_a_call_of_half_past_eleven_belongs_to_the_next_day_of_berlin():
    pattern = KeyPattern("{date:%Y/%m/%d}/{call_id}_{date:%Y%m%d}T{time:%H:%M}_UTC.{ext}", BERLIN)
    key = "2026/11/19/c1_20261119T23:30_UTC.wav"
    (item,) = planned([key], pattern, date(2026, 11, 20))
    assert item.recorded_at == datetime(2026, 11, 19, 23, 30, tzinfo=UTC)
    assert planned([key], pattern, date(2026, 11, 19)) == []


@pytest.mark.parametrize(
    ("text", "key", "utc"),
    [
        ("{date:%Y%m%d}T{time:%H%M%S}Z_{call_id}.{ext}", "20261119T233000Z_c.wav", "2026-11-19T23:30"),
        ("{date:%Y%m%dT%H%M%SZ}_{call_id}.{ext}", "20261119T233000Z_c.wav", "2026-11-19T23:30"),
        ("{date:%Y%m%dT%H%M%S%z}_{call_id}.{ext}", "20261120T013000+0200_c.wav", "2026-11-19T23:30"),
        ("{date:%Y%m%dT%H%M%S%z}_{call_id}.{ext}", "20261119T153000-08:00_c.wav", "2026-11-19T23:30"),
        ("{date:%Y%m%dT%H%M%S%z}_{call_id}.{ext}", "20261120T050000+05:30_c.wav", "2026-11-19T23:30"),
        ("{date:%Y%m%dT%H%M%S%z}_{call_id}.{ext}", "20261119T233000Z_c.wav", "2026-11-19T23:30"),
        ("GMT{date:%Y%m%d}-{time:%H%M%S}_{call_id}.{ext}", "GMT20261119-233000_c.wav", "2026-11-19T23:30"),
        ("{date:%Y%m%d}_{time:%H%M%S} UTC.{ext}", "20261119_233000 UTC.wav", "2026-11-19T23:30"),
        ("{date:%Y%m%d}_{time:%H%M%S}_Zurich.{ext}", "20261120_003000_Zurich.wav", "2026-11-19T23:30"),
        ("{unix:s}.{call_id}.{ext}", "1795131000.7.wav", "2026-11-19T23:30"),
        ("{unix:ms}.{call_id}.{ext}", "1795131000000.7.wav", "2026-11-19T23:30"),
    ],
)  # fmt: skip
def test_a_key_that_says_its_zone_is_read_in_it(text, key, utc):
    matched = KeyPattern(text, BERLIN, ZoneInfo("Asia/Tokyo") if "Zurich" not in text else None).match(key)
    assert matched is not None
    assert (matched.date, matched.recorded_at) == (
        date(2026, 11, 20),
        datetime.fromisoformat(utc).replace(tzinfo=UTC),
    )


@pytest.mark.parametrize("offset", ["+1430", "-1500", "+0160", "+9900"])
def test_an_offset_that_no_zone_has_is_no_match(offset):
    pattern = KeyPattern("{date:%Y%m%dT%H%M%S%z}_{call_id}.{ext}", BERLIN)
    assert pattern.match(f"20261120T120000{offset}_c.wav") is None


def test_a_pattern_without_a_time_keeps_its_days_and_says_so():
    pattern = KeyPattern("{date:%Y/%m/%d}/{call_id}.{ext}", BERLIN, ZULU)
    (item,) = planned(["2026/11/20/c.wav"], pattern, date(2026, 11, 20))
    assert item.recorded_at is None
    assert [each.prefix for each in pattern.day_prefixes(date(2026, 11, 20), lambda _: [])] == ["2026/11/20/"]
    (note,) = pattern.notes
    assert "has no time" in note
    assert "Europe/Berlin" in note


def test_what_does_not_match_is_named_on_one_day_although_two_list_it():
    pattern = KeyPattern("{date:%Y/%m/%d}/{call_id}_{time:%H%M%S}.{ext}", BERLIN, ZULU)
    keys = [f"2026/11/{day}/stray.wav" for day in (18, 19, 20, 21)]
    days = [date(2026, 11, day) for day in range(16, 24)]
    strays = [
        each.key
        for day in days
        for each in list_day(Keys(keys), pattern, day)
        if isinstance(each, PassedOver)
    ]
    assert sorted(strays) == keys


def test_only_the_neighbours_that_a_day_needs_are_listed():
    def prefixes(zone: str, key_zone: str) -> list[str]:
        pattern = KeyPattern(
            "{date:%Y/%m/%d}/{time:%H%M%S}_{call_id}.{ext}", ZoneInfo(zone), ZoneInfo(key_zone)
        )
        return [each.prefix[8:10] for each in pattern.day_prefixes(date(2026, 11, 20), lambda _: [])]

    assert prefixes("Europe/Berlin", "Europe/Berlin") == ["20"]
    assert prefixes("Europe/Berlin", "UTC") == ["19", "20"]
    assert prefixes("America/New_York", "UTC") == ["20", "21"]
    assert prefixes("UTC", "Europe/Berlin") == ["20", "21"]
    assert prefixes("Pacific/Kiritimati", "Pacific/Pago_Pago") == ["18", "19"]
    assert prefixes("Europe/Berlin", "Africa/Lagos") == ["20"]
