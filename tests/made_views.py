"""Segments in plain tables that the views answer from, and a slow reading of the same segments."""

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
from hypothesis import strategies as st

from emolake.lake.schema import append
from emolake.schemas.tables import (
    ANALYSES,
    DAILY_EMOTIONS,
    MODEL_HEALTH,
    RECORDING_DYNAMICS,
    RECORDINGS,
    SEGMENTS,
    TABLES,
)
from emolake.tasks.aggregate import daily_emotions

from made_lake import KEY, Call, Piece, shard_rows

MONDAY = date(2026, 11, 16)
EMOTIONS = ("anger", "neutral", "sadness", None)


def emptied(lake):
    for table in TABLES:
        lake.execute(f"DELETE FROM {table.name}")
    return lake


def fill(lake, calls, *, key=KEY, run_id="run-1", by=("site",), again=False):
    rows = shard_rows(calls, key=key, run_id=run_id)
    if not again:
        append(lake, RECORDINGS, rows.recordings)
        append(lake, RECORDING_DYNAMICS, rows.dynamics)
    append(lake, ANALYSES, rows.analyses)
    append(lake, SEGMENTS, rows.segments)
    lake.execute("DELETE FROM daily_emotions")
    for (day,) in lake.execute("SELECT DISTINCT date FROM segments").fetchall():
        append(
            lake,
            DAILY_EMOTIONS,
            daily_emotions(lake, day, dimensions=by, without=()).cast(DAILY_EMOTIONS.schema),
        )


def judge(lake, verdict, *, run_id="run-1", model="m"):
    row = {"run_id": run_id, "model": model, "model_fingerprint": "f", "segments": 9, "verdict": verdict,
           "committed_at": datetime.now(UTC)}  # fmt: skip
    append(lake, MODEL_HEALTH, pa.Table.from_pylist([row], schema=MODEL_HEALTH.schema))


def rows(lake, sql):
    return lake.execute(sql).to_arrow_table().to_pylist(maps_as_pydicts="strict")


@st.composite
def made_calls(draw, most=8):
    """Calls of two channels at most over three weeks, with windows that overlap, and some without speech or label."""
    calls = []
    for number in range(draw(st.integers(1, most))):
        hop = draw(st.sampled_from([5.0, 10.0]))
        pieces = []
        for channel in range(draw(st.integers(1, 2))):
            emotions = draw(st.lists(st.sampled_from(EMOTIONS), min_size=1, max_size=6))
            pieces += [
                Piece(
                    index * hop, index * hop + 10, draw(st.sampled_from([0.0, 0.25, 1.0])), emotion,
                    draw(st.sampled_from([0.4, 0.75])), channel, index, ["agent", "customer"][channel],
                )
                for index, emotion in enumerate(emotions)
            ]  # fmt: skip
        calls.append(
            Call(
                f"{number}.wav",
                MONDAY + timedelta(days=draw(st.integers(0, 20))),
                tuple(pieces),
                site=draw(st.sampled_from(["oslo", "rome", None])),
                duration_s=max(piece.end_s for piece in pieces),
            )
        )
    return calls


def owned(call, channel):
    """The pieces of a channel, each with the seconds of speech that are its own."""
    pieces = [piece for piece in call.pieces if piece.channel == channel]
    ends = [piece.start_s for piece in pieces[1:]] + [pieces[-1].end_s]
    return [
        (piece, piece.speech_ratio * (min(piece.end_s, end) - piece.start_s))
        for piece, end in zip(pieces, ends, strict=True)
    ]


def shares(pieces, part=lambda piece: 1.0):
    seconds: defaultdict[str, float] = defaultdict(float)
    for piece, speech in pieces:
        if piece.emotion is not None:
            seconds[piece.emotion] += speech * part(piece)
    total = sum(seconds.values())
    return {emotion: each / total for emotion, each in seconds.items()} if total else None


def part_within(piece, first, last):
    return max(min(piece.end_s, last) - max(piece.start_s, first), 0) / (piece.end_s - piece.start_s)
