from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import soundfile

from emolake.demo.bucket import PATTERN, MadeCall, _planned_day, make_bucket
from emolake.demo.encode import CODECS
from emolake.source.pattern import KeyPattern

pytestmark = pytest.mark.slow

DAYS = [date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[MadeCall], list[tuple[int, int, str]]]:
    """The bucket's folder, its calls, and what was reported as progress."""
    folder = tmp_path_factory.mktemp("bucket")
    steps: list[tuple[int, int, str]] = []
    calls = make_bucket(folder, days=DAYS, seed=7, progress=lambda *step: steps.append(step))
    return folder, calls, steps


def test_every_object_is_told_of(made):
    folder, calls, steps = made
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {call.key for call in calls}
    assert len(found) == len(calls)
    assert steps == [(number, len(calls), call.key) for number, call in enumerate(calls, 1)]


def test_keys_follow_the_pattern_of_their_day_and_site(made):
    _, calls, _ = made
    pattern = KeyPattern(PATTERN, ZoneInfo("Europe/Berlin"))
    for call in calls:
        matched = pattern.match(call.key)
        assert matched is not None
        assert (matched.date, matched.dimensions["site"]) == (call.day, call.site)
    assert {
        day: sum(call.day == day and call.kind == "call" for call in calls) for day in DAYS
    } == dict.fromkeys(DAYS, 13)


def test_holds_what_a_call_centre_has(made):
    _, calls, _ = made
    spoken = [call for call in calls if call.kind == "call"]
    assert all(14 < call.duration_s < 95 for call in spoken)
    assert {call.codec for call in spoken} == set(CODECS) - {"wav-float"}
    assert {call.channels for call in spoken} == {1, 2}
    assert {8000, 16000, 48000} <= {call.sampling_rate for call in spoken}
    assert len({call.language for call in spoken}) >= 5
    assert {call.mood for call in spoken} == {"anger", "happiness", "neutral", "sadness"}
    assert sorted(call.kind for call in calls if call.kind != "call") == [
        "empty",
        "junk",
        "silent",
        "text",
        "truncated",
    ]
    assert all(any(mark in call.key for call in calls) for mark in (" ", "+", "#", "ü", "お"))


def test_agent_and_customer_take_turns_on_their_channels(made):
    folder, calls, _ = made
    call = next(call for call in calls if call.codec == "flac" and call.channels == 2)
    samples, rate = soundfile.read(folder / call.key)
    assert rate == call.sampling_rate
    assert len(samples) / rate == pytest.approx(call.duration_s, abs=1 / rate)
    tenths = samples[: len(samples) // (rate // 10) * (rate // 10)].reshape(-1, rate // 10, 2)
    loud = np.sqrt((tenths**2).mean(axis=1)) > 0.01
    assert loud.any(axis=0).all()
    assert not loud.all(axis=1).any()
    assert (~loud.any(axis=1)).mean() > 0.05


def test_silent_and_bad_objects_are_as_said(made):
    folder, calls, _ = made
    by_kind = {call.kind: folder / call.key for call in calls if call.kind != "call"}
    assert by_kind["empty"].stat().st_size == 0
    assert np.abs(soundfile.read(by_kind["silent"])[0]).max() < 0.02
    assert np.abs(soundfile.read(by_kind["silent"])[0]).max() > 0
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(by_kind["junk"])
    assert by_kind["text"].read_text(encoding="utf-8").startswith("Headset")
    whole_s = next(call.duration_s for call in calls if call.kind == "truncated")
    assert soundfile.info(by_kind["truncated"]).duration == pytest.approx(0.6 * whole_s, rel=0.01)


def test_moods_differ_in_loudness(made):
    folder, calls, _ = made
    peaks: dict[str, list[float]] = {}
    for call in calls:
        if call.kind == "call" and call.channels == 2 and call.codec in {"wav", "flac"}:
            customer = soundfile.read(folder / call.key)[0][:, 1]
            peaks.setdefault(call.mood, []).append(float(np.quantile(np.abs(customer), 0.999)))
    assert np.median(peaks["anger"]) > 1.5 * np.median(peaks["neutral"])


def test_most_days_are_calm_and_the_last_one_has_a_troubled_site():
    """That is what a report of the demo is to show."""

    def angry(index: int, *, at_lisbon: bool) -> float:
        planned = [call for seed in range(60) for call in _planned_day(DAYS[index], index, 3, seed)]
        own = [call.mood for call in planned if call.kind == "call" and (call.site == "lisbon") == at_lisbon]
        return own.count("anger") / len(own)

    assert angry(2, at_lisbon=True) > 0.6
    assert max(angry(2, at_lisbon=False), angry(1, at_lisbon=True), angry(0, at_lisbon=False)) < 0.15


def test_equal_seeds_make_equal_buckets(made, tmp_path: Path):
    _, calls_of_another_seed, _ = made
    first = make_bucket(tmp_path / "one", days=DAYS[:1], seed=3)
    again = make_bucket(tmp_path / "two", days=DAYS[:1], seed=3)
    assert first == again
    assert not set(first) & {call for call in calls_of_another_seed if call.kind == "call"}
    for call in first:
        one, two = tmp_path / "one" / call.key, tmp_path / "two" / call.key
        if call.codec == "ogg-vorbis":  # its stream number comes from the clock
            np.testing.assert_array_equal(soundfile.read(one)[0], soundfile.read(two)[0])
        else:
            assert one.read_bytes() == two.read_bytes(), call.key
