"""What the policy excludes is recorded, is not fetched, and is in no number that a model gave."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from made_site import DAY, Site

from emolake.audio.voice_activity import SpeechDetector
from emolake.errors import BadRecordingError, ConfigurationError
from emolake.settings import load_settings
from emolake.source.policy import Policy
from emolake.tasks.segment import SegmentOptions, segment

pytestmark = pytest.mark.slow

WINDOW = SegmentOptions(window_s=1.0, hop_s=1.0, min_tail_s=0.5)


@pytest.fixture(scope="module")
def detector() -> SpeechDetector:
    return SpeechDetector()


def noise(channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, (24_000, channels)).astype(np.float32)


def segmented(block: np.ndarray, detector: SpeechDetector, **options: Any) -> list[tuple[Any, ...]]:
    excluded = options.pop("excluded", ())
    pieces = segment(
        iter([block]), options=WINDOW.model_copy(update=options), excluded_channels=excluded, vad=detector
    )
    return sorted((each.channel, each.index, each.samples.tobytes()) for each in pieces)


@hypothesis_settings(deadline=None, max_examples=15)
@given(channels=st.integers(2, 4), data=st.data())
def test_an_excluded_channel_is_in_nothing_that_is_segmented(
    detector: SpeechDetector, channels: int, data: st.DataObject
) -> None:
    excluded = data.draw(st.sets(st.integers(0, channels - 1), max_size=channels - 1))
    block, other = noise(channels), noise(channels)
    for channel in excluded:
        other[:, channel] = 1.0
    for way in ("mix", "split"):
        assert segmented(block, detector, channels=way, excluded=excluded) == segmented(
            other, detector, channels=way, excluded=excluded
        )
    left = [channel for channel in range(channels) if channel not in excluded]
    assert {
        channel for channel, *_ in segmented(block, detector, channels="split", excluded=excluded)
    } == set(left)
    assert segmented(block, detector, excluded=excluded) == segmented(block[:, left], detector)


@pytest.mark.parametrize("way", ["mix", "split", (1,)])
def test_nothing_left_is_excluded_not_bad(detector: SpeechDetector, way: Any) -> None:
    with pytest.raises(BadRecordingError, match="leaves none of its channels") as caught:
        segmented(noise(2), detector, channels=way, excluded=(0, 1, 2))
    assert caught.value.reason == "excluded"


def test_values_rule_out() -> None:
    policy = Policy(exclude={"agent": ("anna", "bert"), "site": ("*",)})
    assert policy.rules_out({"agent": "anna"}) == "agent = 'anna' is ruled out by policy.exclude"
    assert policy.rules_out({"site": "anywhere"}) is not None
    assert policy.rules_out({"agent": "carl", "team": "anna"}) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[policy]\nexclude = { agent = ["anna"] }\n',
            "policy.exclude names agent, but source.pattern gives",
        ),
        ("[policy]\nexclude = { site = [] }\n", "site has no values"),
        ("[policy]\nexclude_channels = [-1]\n", "policy.exclude_channels"),
        ("[policy]\nexcludes = []\n", "there is no such key"),
    ],
)
def test_a_policy_that_would_rule_out_nothing_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "emolake.toml").write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        load_settings(tmp_path / "emolake.toml")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    for place in ("oslo", "rome"):
        made.put("call.wav", noise(2), place=place)
    return made


STATUSES = (
    "SELECT dimensions['site'], status, split_part(error, ':', 1), (SELECT count(*) FROM segments AS s "
    "WHERE s.recording_id = r.recording_id) FROM recordings AS r ORDER BY 1"
)
OSLO = {"exclude": {"site": ["oslo"]}}


def test_an_excluded_recording_is_never_read(site: Site) -> None:
    path = site.folder / "calls" / f"{DAY:%Y/%m/%d}" / "oslo" / "call.wav"
    path.write_bytes(b"whoever reads this finds no audio")
    counts = site.run(policy=OSLO)
    assert counts is not None
    assert (counts.done, counts.quarantined, counts.segments) == (2, 0, 1)
    assert site.rows(STATUSES) == [("oslo", "excluded", "excluded", 0), ("rome", "ok", None, 1)]
    assert site.run(policy=OSLO) is None


def test_a_changed_policy_changes_what_it_is_about_and_nothing_else(site: Site) -> None:
    site.run()
    assert site.rows(STATUSES) == [("oslo", "ok", None, 1), ("rome", "ok", None, 1)]
    counts = site.run(policy=OSLO)
    assert counts is not None
    assert counts.done == 1, "only what is ruled out now"
    assert site.rows(STATUSES) == [("oslo", "excluded", "excluded", 0), ("rome", "ok", None, 1)]
    assert site.rows("SELECT DISTINCT dimensions['site'] FROM daily_emotions") == [("rome",)]
    wider = site.run(policy=OSLO, segmentation={"min_speech_ratio": 0.0, "window_s": 2.0, "hop_s": 2.0})
    assert wider is not None
    assert wider.done == 1, "another configuration does not touch what is excluded"
    back = site.run()
    assert back is not None
    assert back.done == 2
    assert site.rows(STATUSES) == [("oslo", "ok", None, 1), ("rome", "ok", None, 1)]


def test_excluded_channels_are_recorded(site: Site) -> None:
    site.run(policy={"exclude_channels": [1, 5]}, segmentation={"channels": "split", "min_speech_ratio": 0.0})
    assert site.rows("SELECT DISTINCT status, excluded_channels FROM recordings") == [("ok", [1])]
    assert site.rows("SELECT DISTINCT channel FROM segments") == [(0,)]
    site.run(policy={"exclude_channels": [0, 1]})
    assert site.rows(STATUSES) == [("oslo", "excluded", "excluded", 0), ("rome", "excluded", "excluded", 0)]
    assert site.run(policy={"exclude_channels": [0, 1]}) is None
