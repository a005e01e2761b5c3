"""What a row keeps of a segment, and in how much memory."""

import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emolake.pipeline.rows import SegmentRow
from emolake.tasks.classify import Scores

_WHOLE = st.integers(0, 2**32 - 1)
_SECONDS = st.floats(0, 1e9)


def _numbers(count: int) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float32, count, elements=st.floats(width=32, allow_nan=False))


@st.composite
def _scores(draw: st.DrawFn) -> Scores:
    labels = draw(st.integers(0, 12))
    return Scores(
        draw(_numbers(labels)),
        draw(_numbers(labels)),
        draw(st.none() | _numbers(3)),
        draw(st.booleans()),
        draw(st.none() | st.text()),
    )


def _said(scores: Scores | None) -> object:
    if scores is None:
        return None
    affect = None if scores.affect is None else scores.affect.tolist()
    return scores.logits.tolist(), scores.probabilities.tolist(), affect, scores.labelled, scores.transcript


@given(st.tuples(_WHOLE, _WHOLE, _SECONDS, _SECONDS, st.floats(0, 1)), st.none() | _scores(), _SECONDS)
def test_a_row_gives_back_what_it_was_given(
    place: tuple[int, int, float, float, float], scores: Scores | None, later: float
) -> None:
    row = SegmentRow(*place, scores)
    assert (row.channel, row.index, row.start_s, row.end_s, row.speech_ratio) == place
    assert _said(row.scores) == _said(scores)
    moved = row.until(later)
    assert (moved.channel, moved.index, moved.start_s, moved.end_s, moved.speech_ratio) == (
        *place[:3],
        later,
        place[4],
    )
    assert _said(moved.scores) == _said(scores)


def test_a_row_holds_one_block_and_no_array() -> None:
    rng = np.random.default_rng(2)
    tracemalloc.start()
    try:
        rows = []
        for index in range(1_000):
            logits, probabilities = rng.random((2, 4), dtype=np.float32)
            start_s = 10.0 * index
            rows.append(
                SegmentRow(1, 1_000 + index, start_s, start_s + 10, 0.5, Scores(logits, probabilities))
            )
        del logits, probabilities
        held, _ = tracemalloc.get_traced_memory()
        arrays_held = tracemalloc.take_snapshot().filter_traces(
            [tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]
        )
    finally:
        tracemalloc.stop()
    assert held / len(rows) < 200, "as objects of their own the numbers take twice as much"
    assert sum(each.size for each in arrays_held.traces) < 1_000
