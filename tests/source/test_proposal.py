"""Patterns that are proposed for keys: they read all of them, and mean what the keys mean."""

import random
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from emolake.source.pattern import KeyPattern
from emolake.source.proposal import propose

ZULU = ZoneInfo("UTC")
Made = Callable[[datetime, random.Random, int], str]


def made_keys(made: Made, count: int = 60) -> dict[str, datetime]:
    draw = random.Random(7)
    moments = [
        datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=draw.randrange(29 * 86_400))
        for _ in range(count)
    ]
    return {made(moment, draw, number): moment for number, moment in enumerate(moments)}


def some_id(draw: random.Random) -> str:
    return str(uuid.UUID(int=draw.getrandbits(128)))


LAYOUTS: dict[str, tuple[Made, str]] = {
    "default": (
        lambda t, r, i: f"{t:%Y/%m/%d}/{r.choice(['oslo', 'bonn'])}/c{i}.wav", "{date:%Y/%m/%d}/{site}/{call_id}.{ext}",
    ),
    "site first": (
        lambda t, r, i: f"{r.choice(['oslo', 'bonn'])}/{t:%Y-%m-%d}/{t:%H%M%S}_c{i}.wav",
        "{site}/{date:%Y-%m-%d}/{time:%H%M%S}_{call_id}.{ext}",
    ),
    "Amazon Connect": (
        lambda t, r, i: f"connect/acme/CallRecordings/{t:%Y/%m/%d}/{some_id(r)}_{t:%Y%m%dT%H:%M}_UTC.wav",
        "connect/acme/CallRecordings/{date:%Y/%m/%d}/{call_id}_{date:%Y%m%d}T{time:%H:%M}_UTC.{ext}",
    ),
    "Genesys Cloud": (
        lambda t, r, i: f"5f0c/year={t:%Y}/month={t:%m}/day={t:%d}/hour={t:%H}/"
        f"conversation_id={some_id(r)}/{some_id(r)}.ogg",
        "5f0c/year={date:%Y}/month={date:%m}/day={date:%d}/hour={time:%H}/conversation_id={conversation_id}/{call_id}.{ext}",
    ),
    "Zoom": (
        lambda t, r, i: f"{r.choice(['Weekly sales', 'Daily', 'a b c'])} {i}/GMT{t:%Y%m%d-%H%M%S}_Recording.m4a",
        "{site}/GMT{date:%Y%m%d}-{time:%H%M%S}_Recording.{ext}",
    ),
    "FreePBX": (
        lambda t, r, i: f"{t:%Y/%m/%d}/{r.choice(['q', 'in'])}-{r.randrange(900)}-{r.randrange(10**6, 10**8)}-"
        f"{t:%Y%m%d-%H%M%S}-{t.timestamp() - 9:.0f}.{i}.wav",
        "{date:%Y/%m/%d}/{part}-{part2}-{number}-{date:%Y%m%d}-{time:%H%M%S}-{call_id}.{part3}.{ext}",
    ),
    "Asterisk": (lambda t, r, i: f"{t.timestamp():.0f}.{i}.wav", "{unix:s}.{call_id}.{ext}"),
    "Five9": (
        lambda t, r, i: f"{r.choice(['Sales', 'Help desk'])}/{t.month}_{t.day}_{t.year}/"
        f"{r.randrange(10**9, 10**10)} by {r.choice(['ann', 'bob'])}@x.com @ {t:%-I_%M_%S %p}.wav",
        "{site}/{date:%-m_%-d_%Y}/{call_id} by {agent} @ {time:%-I_%M_%S %p}.{ext}",
    ),
    "days first": (
        lambda t, r, i: f"{t:%d-%m-%Y}_{t:%H%M%S}_{some_id(r)}.mp3", "{date:%d-%m-%Y}_{time:%H%M%S}_{call_id}.{ext}",
    ),
    "zone in the key": (
        lambda t, r, i: f"{t:%Y-%m-%d}/{t:%Y%m%dT%H%M%S}+0000_{i}.mp3",
        "{date:%Y-%m-%d}/{date:%Y%m%d}T{time:%H%M%S%z}_{call_id}.{ext}",
    ),
    "months by name": (
        lambda t, r, i: f"{i}x_{t:%d%b%Y}_{t:%H%M%S}.wav", "{call_id}_{date:%d%b%Y}_{time:%H%M%S}.{ext}",
    ),
    "weeks": (
        lambda t, r, i: f"{t:%G-W%V}/{t:%Y%m%d-%H%M%S}_{i}x.wav",
        "{date:%G-W%V}/{date:%Y%m%d}-{time:%H%M%S}_{call_id}.{ext}",
    ),
    "depth": (
        lambda t, r, i: f"{t:%Y/%m/%d}/{'/'.join('xyz'[: i % 4])}{'/' * (i % 4 > 0)}c{i}.wav",
        "{date:%Y/%m/%d}/{**}/{call_id}.{ext}",
    ),
    "braces": (lambda t, r, i: f"{{x}}/{t:%Y%m%d}_{i}a.wav", "{{x}}/{date:%Y%m%d}_{call_id}.{ext}"),
}  # fmt: skip


@pytest.mark.parametrize(("made", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_layout_is_found_and_reads_its_keys_right(made, expected):
    keys = made_keys(made)
    proposal = propose(list(keys))
    assert (proposal.patterns, proposal.matched, proposal.keys, proposal.dated) == ((expected,), 60, 60, True)
    pattern = KeyPattern(proposal.patterns, ZULU)
    for key, moment in keys.items():
        matched = pattern.match(key)
        assert matched is not None
        assert matched.date == moment.date()
        if matched.recorded_at is not None:
            assert timedelta() <= moment - matched.recorded_at < timedelta(hours=1)


def test_several_layouts_become_a_list_the_most_frequent_first():
    keys = made_keys(
        lambda t, r, i: f"old/{t:%Y%m%d}-{i}.wav" if i % 3 else f"new/{t:%Y/%m/%d}/{some_id(r)}.mp3"
    )
    assert propose(list(keys)).patterns == (
        "old/{date:%Y%m%d}-{call_id}.{ext}",
        "new/{date:%Y/%m/%d}/{call_id}.{ext}",
    )


def test_keys_without_a_date_get_a_pattern_without_one():
    proposal = propose([f"AC12/RE{number:032x}" for number in range(60)])
    assert (proposal.patterns, proposal.dated) == (("AC12/{call_id}",), False)


def test_of_a_few_keys_no_word_is_taken_for_the_same_in_all():
    assert propose(["2026/11/20/oslo/c1.wav"]).patterns == ("{date:%Y/%m/%d}/{site}/{call_id}.{ext}",)
    assert propose([]).patterns == ()
