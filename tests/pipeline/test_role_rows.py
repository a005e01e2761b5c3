"""From stereo calls to rows: who is scored, under which role, and what the conversation did."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_site import DAY, Site

from emolake.demo.speech import synthesise
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.pipeline.identity import options_json
from emolake.schemas.days import DayRange
from emolake.schemas.tables import RECORDING_DYNAMICS, RUNS
from emolake.tasks.decode import load_mono
from emolake.upkeep.erase import erase, request_by_name
from emolake.upkeep.forget import forget
from emolake.upkeep.maintain import maintain
from emolake.upkeep.verify import verify_rows

from made_lake import run_row

pytestmark = pytest.mark.slow

RATE = 16_000
SPLIT = {"channels": "split", "min_speech_ratio": 0.0, "window_s": 5.0, "hop_s": 5.0}
ROLES = {"agent": 0, "customer": 1}
PURPOSE = {"purpose": "safety: distress on an emergency line"}


def spoken(text: str, pitch: int = 40) -> np.ndarray:
    """Speech of eSpeak NG at 16 kHz, without the silence around it."""
    samples, rate = synthesise(text, voice="en", pitch=pitch)
    places = np.arange(0, len(samples), rate / RATE)
    samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return samples[loud[0] : loud[-1]]


def call(seconds: float, *turns: tuple[int, float, np.ndarray], channels: int = 2) -> np.ndarray:
    """Samples [n, channels] of a call; each turn is a channel, where it begins in seconds, and what is said."""
    made = np.zeros((round(seconds * RATE), channels), np.float32)
    for channel, start_s, samples in turns:
        start = round(start_s * RATE)
        made[start : start + len(samples), channel] += samples
    return made


HELLO = spoken("Good morning, thank you for calling. How can I help you today?")
ANGRY = spoken("I have been waiting for three weeks and nobody has called me back!", pitch=70)
TALK = call(16, (0, 0.5, HELLO), (1, 7.0, ANGRY))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


ROLES_OF = "SELECT DISTINCT channel, role FROM segments ORDER BY ALL"
EXCLUDED = "SELECT status, excluded_channels FROM recordings"
DYNAMICS = "SELECT channel, role, talk_s > 0, overlap_s FROM recording_dynamics ORDER BY channel"


def test_without_roles_they_are_null(site: Site) -> None:
    site.put("call.wav", TALK)
    site.run(segmentation=SPLIT)
    assert site.rows(ROLES_OF) == [(0, None), (1, None)]
    assert site.rows(DYNAMICS) == [(0, None, True, 0.0), (1, None, True, 0.0)]
    assert site.rows("SELECT DISTINCT dimensions FROM daily_emotions") == [({"site": "oslo"},)]
    site.run()
    assert site.rows(ROLES_OF) == [(0, None)]
    assert site.rows(DYNAMICS) == [(0, None, True, None)], "the mix-down is one row"


def test_the_agent_is_measured_and_never_scored(site: Site) -> None:
    site.put("call.wav", TALK)
    site.run(segmentation=SPLIT, roles=ROLES)
    assert site.rows(ROLES_OF) == [(1, "customer")]
    assert site.rows(EXCLUDED) == [("ok", [0])]
    assert site.rows(DYNAMICS) == [(0, "agent", True, 0.0), (1, "customer", True, 0.0)]
    assert site.rows("SELECT DISTINCT dimensions FROM daily_emotions") == [
        ({"site": "oslo", "role": "customer"},)
    ]
    site.run(segmentation=SPLIT, roles=ROLES, policy=PURPOSE)
    assert site.rows(ROLES_OF) == [(0, "agent"), (1, "customer")]
    assert site.rows(EXCLUDED) == [("ok", None)]
    assert site.rows("SELECT DISTINCT dimensions['role'] FROM daily_emotions ORDER BY 1") == [
        ("agent",),
        ("customer",),
    ]


def test_what_an_agent_says_changes_nothing_that_a_model_gave(site: Site) -> None:
    scores = (
        "SELECT channel, segment_index, speech_ratio, probabilities FROM segments "
        "WHERE recording_id IN (SELECT recording_id FROM recordings WHERE uri LIKE '%/{}.wav') ORDER BY ALL"
    )
    site.put("one.wav", TALK)
    site.put("other.wav", call(16, (0, 3.0, ANGRY), (1, 7.0, ANGRY)))
    site.run(segmentation=SPLIT, roles=ROLES)
    one, other = site.rows(scores.format("one")), site.rows(scores.format("other"))
    assert len(one) == 4
    assert [row[:3] for row in one] == [row[:3] for row in other]
    for (*_, mine), (*_, its) in zip(
        one, other, strict=True
    ):  # batches may differ, and with them the last digits
        assert (mine is None) == (its is None)
        assert mine is None or mine == pytest.approx(its, abs=1e-5)


def mixed(samples: np.ndarray) -> np.ndarray:
    return samples.sum(axis=1, keepdims=True)


BOTH = mixed(TALK)
NOISE = np.random.default_rng(1).normal(0, 0.006, (len(TALK), 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "codec", "channels"),
    [
        pytest.param(BOTH, "wav", [0], id="mono"),
        pytest.param(np.repeat(BOTH, 2, axis=1), "wav", [1], id="the same twice"),
        pytest.param(BOTH * [[1.0, 0.1]], "wav", [1], id="the same, fainter"),
        pytest.param(BOTH * [[1.0, -1.0]], "wav", [1], id="the same in antiphase"),
        pytest.param(BOTH + NOISE, "wav", [1], id="the same through two noisy converters"),
        pytest.param(np.repeat(BOTH, 2, axis=1), "mp3", [1], id="the same through a lossy codec"),
    ],
)
def test_one_signal_is_nobodys(site: Site, samples: np.ndarray, codec: str, channels: list[int]) -> None:
    site.put(f"call.{codec}", samples.astype(np.float32), codec)
    site.run(segmentation=SPLIT, roles=ROLES)
    assert site.rows(ROLES_OF) == [(channel, "unassigned") for channel in channels]
    assert site.rows(DYNAMICS) == [(0, "unassigned", True, None)]
    site.run(segmentation=SPLIT, roles=ROLES, policy=PURPOSE)
    assert {role for _, role in site.rows(ROLES_OF)} == {"unassigned"}


def test_roles_by_site(site: Site) -> None:
    site.put("call.wav", TALK)
    site.put("call.wav", TALK[:, ::-1], place="berlin")
    there = {"where": {"site": "berlin"}, "agent": 1, "customer": 0}
    site.run(segmentation=SPLIT, roles={**ROLES, "layouts": [there]})
    by_site = (
        "SELECT dimensions['site'], channel, role FROM {} JOIN recordings USING (recording_id) ORDER BY ALL"
    )
    assert site.rows(by_site.format("(SELECT DISTINCT recording_id, channel, role FROM segments)")) == [
        ("berlin", 0, "customer"),
        ("oslo", 1, "customer"),
    ]
    assert site.rows(by_site.format("recording_dynamics")) == [
        ("berlin", 0, "customer"),
        ("berlin", 1, "agent"),
        ("oslo", 0, "agent"),
        ("oslo", 1, "customer"),
    ]


def test_a_recording_of_people_at_work_only_is_excluded(site: Site) -> None:
    site.put("call.wav", TALK)
    site.run(segmentation=SPLIT, roles={"agent": 0, "employee": 1})
    assert site.rows("SELECT status, error, excluded_channels FROM recordings") == [
        ("excluded", "excluded: segment: [policy] and the roles leave none of its channels [0, 1]", [0, 1])
    ]
    assert site.rows("SELECT count(*) FROM segments") == [(0,)]
    assert site.rows("SELECT count(*) FROM recording_dynamics") == [(0,)]


def test_a_channel_of_the_policy_is_not_even_measured(site: Site) -> None:
    site.put("call.wav", TALK)
    site.run(segmentation=SPLIT, roles=ROLES, policy={"exclude_channels": [0]})
    assert site.rows(EXCLUDED) == [("ok", [0])]
    assert site.rows(DYNAMICS) == [(1, "customer", True, None)]


def test_the_daily_table_by_channel(site: Site) -> None:
    site.put("call.wav", TALK)
    site.run(segmentation=SPLIT, aggregate={"by": ["channel"]})
    assert site.rows("SELECT DISTINCT dimensions FROM daily_emotions ORDER BY ALL") == [
        ({"channel": "0"},),
        ({"channel": "1"},),
    ]
    ((daily, segments),) = site.rows(
        "SELECT (SELECT sum(segments) FROM daily_emotions), (SELECT count(*) FROM segments)"
    )
    assert daily == segments


@pytest.mark.parametrize("codec", ["wav", "mp3", "ogg-opus"])
def test_who_speaks_when(site: Site, codec: str) -> None:
    """The story of a call as real voice activity finds it, to the 150 ms that the network needs at an edge."""
    answer, end = 7.0, 7.0 + len(ANGRY) / RATE
    site.put(
        f"call.{codec[:3]}",
        call(20, (0, 0.5, HELLO), (1, answer, ANGRY), (0, end - 0.5, HELLO)),
        codec,
    )
    site.run(segmentation=SPLIT, roles=ROLES)
    found = site.rows("SELECT * FROM recording_dynamics ORDER BY channel")
    one, other = (dict(zip(RECORDING_DYNAMICS.schema.names, row, strict=True)) for row in found)
    hello, angry = len(HELLO) / RATE, len(ANGRY) / RATE
    assert (one["turns"], other["turns"]) == (2, 1)
    assert (one["interruptions"], other["interruptions"]) == (1, 0)
    assert other["response_s"] == pytest.approx(answer - 0.5 - hello, abs=0.15)
    assert one["response_s"] == pytest.approx(-0.5, abs=0.15)
    assert other["overlap_s"] == one["overlap_s"] == pytest.approx(0.5, abs=0.15)
    pauses = {
        name: row["pauses"] * (row["mean_pause_s"] or 0.0) for name, row in (("one", one), ("other", other))
    }
    assert one["talk_s"] + pauses["one"] == pytest.approx(2 * hello, abs=0.3)
    assert other["talk_s"] + pauses["other"] == pytest.approx(angry, abs=0.15)
    assert one["talk_share"] + other["talk_share"] == pytest.approx(1.0)
    assert one["talk_s"] + other["talk_s"] - one["overlap_s"] + one["silence_s"] == pytest.approx(
        20, abs=0.05
    )
    level = 10 * np.log10(np.mean(np.square(ANGRY, dtype=np.float64)))
    assert other["speech_level_dbfs"] == pytest.approx(level, abs=1.5)


def test_the_customers_of_a_night_are_angry_and_their_agents_are_not(site: Site, shared_data: Path) -> None:
    """Calls of real clips of known emotion, with the model that emolake ships; berlin has its channels turned."""
    clips = {
        emotion: [
            load_mono(path) for path in sorted((shared_data / "emodb").glob(f"*{letter}?.flac"))[::3][:12]
        ]
        for emotion, letter in (("anger", "W"), ("neutral", "N"))
    }
    for number in range(4):
        turns: list[tuple[int, float, Any]] = []
        at = 0.2
        for piece in range(3):
            for channel, emotion in enumerate(("neutral", "anger")):
                clip = clips[emotion][number * 3 + piece]
                turns.append((channel, at, clip))
                at += len(clip) / RATE + 0.4
        samples = call(at + 0.2, *turns)
        berlin = number % 2 == 1
        site.put(
            f"{number}.wav", samples[:, ::-1] if berlin else samples, place="berlin" if berlin else "oslo"
        )
    there = {"where": {"site": "berlin"}, "agent": 1, "customer": 0}
    site.run(
        segmentation={"channels": "split", "method": "vad", "min_speech_ratio": 0.1},
        roles={**ROLES, "layouts": [there]},
        policy=PURPOSE,
        inference={"model": "default", "device": "cpu"},
    )
    anger = dict(
        site.rows(
            "SELECT dimensions['role'], sum(speech_seconds) FILTER (emotion = 'anger') / sum(speech_seconds) "
            "FROM daily_emotions WHERE emotion IS NOT NULL GROUP BY ALL"
        )
    )
    assert anger["customer"] > 0.6
    assert (anger["agent"] or 0.0) < 0.2
    assert set(anger) == {"agent", "customer"}


HARMS = {
    "INSERT INTO lake.recording_dynamics FROM lake.recording_dynamics WHERE channel = 0": "is there 2 times",
    "UPDATE lake.recording_dynamics SET talk_s = 99": "99.000 s of talk",
    "UPDATE lake.recording_dynamics SET overlap_s = talk_s + 0.1": "s of talk",
    "UPDATE lake.recording_dynamics SET talk_share = 0.9": "add up to 1.8",
    "UPDATE lake.recording_dynamics SET run_id = 'other'": "its dynamics of other",
    "UPDATE lake.recordings SET status = 'quarantined'": "has dynamics and is quarantined",
    "DELETE FROM lake.recordings": "has dynamics and no row",
    "DELETE FROM lake.recording_dynamics": "is ok and has no dynamics",
}


def test_rows_of_the_conversation_are_there_once_and_verified(site: Site) -> None:
    site.put("call.wav", TALK)
    site.run(segmentation=SPLIT)
    site.run(segmentation=SPLIT | {"window_s": 4.0, "hop_s": 4.0})
    assert site.rows("SELECT count(*) FROM recording_dynamics") == [(2,)], "a re-run replaces them"
    settings = site.settings(segmentation=SPLIT)
    with open_lake(settings.warehouse) as lake:
        append(lake.connection, RUNS, run_row("run", options=options_json(settings)))
        assert not verify_rows(lake, settings, DayRange(DAY, DAY)).breaches
        for harm, said in HARMS.items():
            lake.connection.execute("BEGIN")
            lake.connection.execute(harm)
            found = verify_rows(lake, settings, DayRange(DAY, DAY)).breaches
            lake.connection.execute("ROLLBACK")
            assert any(each.check == "dynamics" and said in each.finding for each in found), harm


def test_rows_of_the_conversation_hang_on_the_recording(site: Site) -> None:
    """A forgotten model leaves them, maintenance keeps them, and an erasure takes them out of every file."""
    kept, gone = site.put("kept.wav", TALK), site.put("gone.wav", TALK)
    site.run(segmentation=SPLIT)
    settings = site.settings(segmentation=SPLIT)
    forget(settings, "tiny", DayRange(DAY, DAY))
    maintain(settings)
    names = (
        "SELECT parse_filename(uri) FROM recording_dynamics JOIN recordings USING (recording_id) ORDER BY ALL"
    )
    assert site.rows(names) == [(gone.name,)] * 2 + [(kept.name,)] * 2
    erase(settings, [request_by_name(settings, str(gone))])
    assert site.rows(names) == [(kept.name,)] * 2
    assert site.rows("SELECT count(*) FROM recording_dynamics") == [(2,)]
