"""What a conversation did is what its story says, to the chunk, however its blocks are cut."""

from dataclasses import asdict
from itertools import groupby, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.audio.conversation import ChannelDynamics, ConversationMeter
from emolake.audio.voice_activity import CHUNK

RATE = 16_000
CHUNK_S = CHUNK / RATE


def measured(
    speech: np.ndarray, samples: int | None = None, splits: tuple[int, ...] = (), voices: tuple[int, ...] = ()
) -> tuple[ChannelDynamics, ...]:
    """What a meter makes of speech [chunks, channels], the last of which the end may cut short."""
    chunks, channels = speech.shape
    samples = chunks * CHUNK if samples is None else samples
    meter = ConversationMeter(threshold=0.5)
    meter.begin(range(channels))
    edges = [0, *sorted(split % samples for split in splits), samples]
    signal = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    for start, end in pairwise(edges):
        for channel in range(channels):
            own = speech[start // CHUNK : end // CHUNK, channel].astype(np.float32)
            meter.push(channel, own, signal[start:end])
    for channel in range(channels):
        meter.finish(channel, speech[samples // CHUNK :, channel].astype(np.float32))
    return meter.dynamics(voices).channels


def runs(values: np.ndarray) -> list[tuple[Any, int, int]]:
    """Value, start and end of each run."""
    found, at = [], 0
    for value, group in groupby(values.tolist()):
        length = len(list(group))
        found.append((value, at, at + length))
        at += length
    return found


def spurts(own: np.ndarray, edges: np.ndarray) -> list[tuple[int, int]]:
    """Stretches of talk in samples: silences below 200 ms bridged, then what is below 100 ms left away."""
    found: list[tuple[int, int]] = []
    for value, first, last in runs(own):
        start, end = int(edges[first]), int(edges[last])
        if value and found and start - found[-1][1] < 3200:
            found[-1] = (found[-1][0], end)
        elif value:
            found.append((start, end))
    return [(start, end) for start, end in found if end - start >= 1600]


def expected(speech: np.ndarray, samples: int) -> list[dict[str, Any]]:
    """The same by the definitions, from all of the conversation at once."""
    chunks, channels = speech.shape
    edges = np.minimum(np.arange(chunks + 1) * CHUNK, samples)
    talk = [spurts(speech[:, channel], edges) for channel in range(channels)]
    active = np.zeros((chunks, channels), bool)
    for channel, stretches in enumerate(talk):
        for start, end in stretches:
            active[(edges[:-1] >= start) & (edges[1:] <= end), channel] = True
    lengths = np.diff(edges)
    together = active.sum(axis=1)
    states = [
        (value, int(edges[first]), int(edges[last]))
        for value, first, last in runs(
            np.where(together == 1, active.argmax(axis=1), np.where(together == 0, -1, -2))
        )
    ]
    solos = [(channel, start, end) for channel, start, end in states if channel >= 0]
    rows: list[dict[str, Any]] = [
        {"pauses": [], "turns": [], "responses": [], "interruptions": 0} for _ in range(channels)
    ]
    turns = [list(group) for _, group in groupby(solos, key=lambda solo: solo[0])]
    for number, turn in enumerate(turns):
        (channel, first, _) = turn[0]
        for (_, _, before), (_, after, _) in pairwise(turn):
            rows[channel]["pauses"] += [e - s for c, s, e in states if c == -1 and before <= s and e <= after]
        onset = max(start for start, _ in talk[channel] if start <= first)
        next_first = turns[number + 1][0][1] if number + 1 < len(turns) else samples
        rows[channel]["turns"].append(max(e for _, e in talk[channel] if e <= next_first) - onset)
        if number:
            other = turns[number - 1][0][0]
            start, end = max((s, e) for s, e in talk[other] if s < onset and e <= first)
            rows[channel]["responses"].append(onset - end)
            rows[channel]["interruptions"] += end - onset >= 1920
    talk_of = [lengths[active[:, channel]].sum() for channel in range(channels)]
    talked = sum(talk_of)

    def mean(lengths: list[int]) -> float | None:
        return sum(lengths) / len(lengths) / RATE if lengths else None

    return [
        {
            "channel": channel,
            "talk_s": talk_of[channel] / RATE,
            "talk_share": talk_of[channel] / talked if talked else None,
            "silence_s": lengths[together == 0].sum() / RATE,
            "overlap_s": lengths[active[:, channel] & (together > 1)].sum() / RATE,
            "interruptions": row["interruptions"],
            "turns": len(row["turns"]),
            "mean_turn_s": mean(row["turns"]),
            "response_s": mean(row["responses"]),
            "pauses": len(row["pauses"]),
            "mean_pause_s": mean(row["pauses"]),
            "longest_pause_s": max(row["pauses"]) / RATE if row["pauses"] else None,
        }
        for channel, row in enumerate(rows)
    ]


@st.composite
def conversations(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    channels = draw(st.integers(2, 3))
    columns = []
    for _ in range(channels):
        lengths = draw(st.lists(st.integers(1, 14), min_size=1, max_size=14))
        begins = draw(st.booleans())
        columns.append(np.concatenate([np.full(n, begins ^ bool(i % 2)) for i, n in enumerate(lengths)]))
    chunks = max(map(len, columns))
    speech = np.stack([np.pad(each, (0, chunks - len(each))) for each in columns], axis=1)
    return speech, chunks * CHUNK - draw(st.integers(0, CHUNK - 1))


@settings(max_examples=100)
@given(conversations(), st.lists(st.integers(0, 10**6), max_size=5))
def test_every_figure_is_what_its_definition_gives(made: tuple[np.ndarray, int], splits: list[int]) -> None:
    speech, samples = made
    found = [asdict(each) for each in measured(speech, samples, tuple(splits))]
    for row, wanted in zip(found, expected(speech, samples), strict=True):
        assert {name: row[name] for name in wanted} == pytest.approx(wanted)
    if len(found) == 2:
        talk = sum(row["talk_s"] for row in found)
        assert talk - found[0]["overlap_s"] + found[0]["silence_s"] == pytest.approx(samples / RATE)


def story(*lines: str) -> np.ndarray:
    """Speech [chunks, channels] of a story: a line for each channel, whose characters are chunks, `x` is speech."""
    return np.array([[each == "x" for each in line] for line in lines]).T


S, L = 4, 10  # chunks of a short and a long stretch
SAY, REST = "x" * L, "." * L


@pytest.mark.parametrize(
    ("lines", "first", "second"),
    [
        pytest.param(
            (SAY + REST + "." * L, "." * L + REST + SAY),
            {"talk_s": L, "turns": 1, "pauses": 0, "interruptions": 0, "response_s": None, "silence_s": L},
            {"talk_s": L, "turns": 1, "pauses": 0, "interruptions": 0, "response_s": L, "talk_share": 0.5},
            id="one answers the other after a gap, which is nobody's pause",
        ),
        pytest.param(
            (SAY + REST + SAY, "." * 3 * L),
            {"turns": 1, "mean_turn_s": 3 * L, "pauses": 1, "mean_pause_s": L, "talk_share": 1.0},
            {"talk_s": 0, "turns": 0, "pauses": 0, "talk_share": 0.0, "speech_level_dbfs": None},
            id="a call of one side",
        ),
        pytest.param(
            (SAY + "x" * S + "." * L, "." * L + "x" * S + SAY),
            {"turns": 1, "overlap_s": S, "interruptions": 0, "mean_turn_s": L + S},
            {"turns": 1, "overlap_s": S, "interruptions": 1, "response_s": -S, "mean_turn_s": L + S},
            id="one interrupts the other",
        ),
        pytest.param(
            (SAY + "x" * 3 + "." * L, "." * L + "x" * 3 + SAY),
            {"overlap_s": 3, "interruptions": 0},
            {"overlap_s": 3, "interruptions": 0, "response_s": -3},
            id="an overlap that nobody notices is no interruption",
        ),
        pytest.param(
            (SAY + "x" * S + SAY, "." * L + "x" * S + "." * L),
            {"turns": 1, "overlap_s": S, "interruptions": 0, "pauses": 0},
            {"turns": 0, "overlap_s": S, "interruptions": 0, "mean_turn_s": None, "talk_s": S},
            id="a word within the other one's turn is no turn",
        ),
        pytest.param(
            (SAY + "." * 6 + SAY, "." * (2 * L + 6)),
            {"talk_s": 2 * L + 6, "pauses": 0, "silence_s": 0},
            {"talk_s": 0},
            id="a silence below 200 ms is no pause",
        ),
        pytest.param(
            (SAY + "." * 7 + SAY, "." * (2 * L + 7)),
            {"talk_s": 2 * L, "pauses": 1, "longest_pause_s": 7, "silence_s": 7},
            {"talk_s": 0},
            id="a silence of 224 ms is one",
        ),
        pytest.param(
            ("." * L + "x" * 3 + "." * L, REST + "." * 3 + REST),
            {"talk_s": 0, "talk_share": None, "silence_s": 2 * L + 3, "turns": 0},
            {"talk_s": 0, "talk_share": None},
            id="a click is no talk, and silence has no shares",
        ),
        pytest.param(
            (SAY + REST + SAY + "." * L, "." * L + REST + SAY + SAY),
            {"turns": 1, "interruptions": 0, "mean_turn_s": 3 * L, "overlap_s": L},
            {"turns": 1, "interruptions": 0, "response_s": L, "overlap_s": L},
            id="who begins at the same moment interrupts nobody",
        ),
    ],
)
def test_a_story(lines: tuple[str, ...], first: dict[str, Any], second: dict[str, Any]) -> None:
    for row, wanted in zip(measured(story(*lines)), (first, second), strict=True):
        seconds = {
            name: value if value is None or not name.endswith("_s") else value * CHUNK_S
            for name, value in wanted.items()
        }
        assert {name: getattr(row, name) for name in wanted} == pytest.approx(seconds)


FOR_TWO = ("talk_share", "overlap_s", "interruptions", "turns", "mean_turn_s", "response_s")


def test_what_takes_two_to_tell_is_unknown_of_one_channel() -> None:
    (row,) = measured(story(SAY + REST + SAY))
    assert all(getattr(row, name) is None for name in FOR_TWO)
    assert (row.talk_s, row.pauses, row.silence_s) == pytest.approx((2 * L * CHUNK_S, 1, L * CHUNK_S))


def test_channels_of_the_same_voices_are_one_row_and_nothing_takes_two() -> None:
    speech = story(SAY + REST + SAY, SAY + REST + SAY)
    assert measured(speech, voices=(0, 0)) == measured(speech[:, :1])
    fainter = story(SAY + REST + SAY, SAY + "x" * 2 + "." * (L - 2) + SAY)
    assert measured(fainter, voices=(0, 0)) == measured(fainter[:, :1])
    three = story(SAY + REST + SAY, SAY + REST + SAY, "." * 3 * L)
    found = measured(three, voices=(0, 0, 2))
    assert [each.channel for each in found] == [0, 2]
    assert all(getattr(each, name) is None for each in found for name in FOR_TWO)


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_the_level_is_that_of_speech(offset: float) -> None:
    """A loud tone is spoken, a faint one and an offset are not."""
    chunks = 100
    speech = (np.arange(chunks) % 40 < 20)[:, None]
    time = np.arange(chunks * CHUNK) / RATE
    loud = np.repeat(speech[:, 0], CHUNK)
    signal = np.where(loud, 0.5, 0.001) * np.sin(2 * np.pi * 500 * time) + offset
    meter = ConversationMeter(0.5)
    meter.begin([0])
    meter.push(0, speech[:, 0].astype(np.float32), signal.astype(np.float32))
    meter.finish(0, np.empty(0, np.float32))
    (row,) = meter.dynamics().channels
    assert row.speech_level_dbfs == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)


def test_what_is_kept_does_not_grow_with_the_length() -> None:
    """Half an hour of turns on one channel, and a stretch that never ends on the other."""
    meter = ConversationMeter(0.5)
    meter.begin([0, 1])
    block = np.zeros(100 * CHUNK, np.float32)
    own = np.array([*([1] * 20 + [0] * 10) * 3, *[0] * 10], np.float32)
    most = 0
    for _ in range(600):
        meter.push(0, own, block)
        meter.push(1, np.ones(100, np.float32), block)
        most = max(most, len(meter._waiting))
    assert most <= 8


def test_a_recording_without_samples_has_no_rows() -> None:
    assert ConversationMeter(0.5).dynamics().channels == ()
