"""Batches of any shape change no answer, keep the order, and never hold what must not reach the model."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_segments import Recorder, piece

from emolake.models.families.spectrogram_cnn import SpectrogramCnn
from emolake.models.protocol import Batching
from emolake.models.trained_folder import TrainedFolder
from emolake.tasks.classify import ModelMemoryError, ModelOutputError, classify, softmax
from emolake.tasks.segment import Segment

from made_model import write_tiny_model


def run(model: Recorder, pieces: Sequence[Segment], **options: Any) -> list[tuple[int, np.ndarray | None]]:
    options = {"batch_seconds": 5.0, **options}
    scored = classify(((number, each) for number, each in enumerate(pieces)), model, **options)
    return [(number, None if scores is None else scores.logits) for number, _, scores in scored]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([0, 10, 399, 400, 16_000, 16_000, 23_456]), max_size=30),
    batching=st.sampled_from(Batching),
    batch_seconds=st.sampled_from([0.01, 1.0, 3.0, 500.0]),
)
def test_order_is_kept_and_what_is_too_short_never_reaches_the_model(
    lengths: list[int], batching: Batching, batch_seconds: float
) -> None:
    pieces = [piece(length, seed=n) for n, length in enumerate(lengths)]
    model = Recorder(batching)
    answers = run(model, pieces, batch_seconds=batch_seconds)
    assert [number for number, _ in answers] == list(range(len(pieces)))
    for (_, logits), each in zip(answers, pieces, strict=True):
        if len(each.samples) < model.min_samples:
            assert logits is None
        else:
            assert logits == pytest.approx([len(each.samples), each.samples.sum()], abs=1e-2)
    sent = sorted(length for batch in model.seen for length in batch)
    answered = [each for each, (_, logits) in zip(pieces, answers, strict=True) if logits is not None]
    assert sent == sorted(len(each.samples) for each in answered)


def test_segments_are_taken_as_they_are_needed() -> None:
    taken = 0

    def endless() -> Iterator[tuple[int, Segment]]:
        nonlocal taken
        while True:
            taken += 1
            yield taken, piece(160_000)

    results = classify(endless(), Recorder(Batching.MASKED), batch_seconds=20.0)
    assert next(results)[0] == 1
    assert taken <= 20, "a pool of eight batches of two segments, and no more"


def test_a_batch_that_does_not_fit_is_halved_for_good() -> None:
    model = Recorder(Batching.MASKED, room=3)
    pieces = [piece(16_000, seed=n) for n in range(64)]
    answers = run(model, pieces, batch_seconds=16.0)
    assert all(logits == pytest.approx([16_000, each.samples.sum()], abs=1e-2)
               for (_, logits), each in zip(answers, pieces, strict=True))  # fmt: skip
    assert max(map(len, model.seen)) <= 3
    assert model.refused <= 16, "the later batches are made smaller instead of failing again and again"


def test_one_segment_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(
        ModelMemoryError, match=r"cpu has no room for 0 \(channel 0, from 0 s\) by itself, 1 s"
    ):
        run(Recorder(Batching.MASKED, room=0), [piece(16_000)])


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
        onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException(
            "[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 4096"
        ),
    ],
    ids=["cuda", "cpu", "cublas", "python", "onnxruntime"],
)
def test_every_runtimes_lack_of_memory_makes_batches_smaller(error: Exception) -> None:
    model = Recorder(Batching.MASKED, room=2, error=error)
    answers = run(model, [piece(16_000, seed=n) for n in range(8)], batch_seconds=8.0)
    assert all(logits is not None for _, logits in answers)
    assert max(map(len, model.seen)) == 2
    with pytest.raises(ModelMemoryError):
        run(Recorder(Batching.MASKED, room=0, error=error), [piece(16_000)])


def test_another_error_of_a_model_is_raised_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="a shape that does not fit"):
        run(
            Recorder(Batching.MASKED, room=0, error=RuntimeError("a shape that does not fit")),
            [piece(16_000)],
        )


@pytest.mark.parametrize("answer", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_an_error_that_names_their_segments(answer: float) -> None:
    with pytest.raises(
        ModelOutputError,
        match=r"not finite for 1 \(channel 0, from 0 s\), 3 \(channel 0, from 0 s\); its weights",
    ):
        run(Recorder(Batching.MASKED, answer=answer, broken=20_000), [
            piece(length) for length in (16_000, 20_000, 16_000, 20_000)
        ])  # fmt: skip


def test_an_error_names_a_handful_of_segments() -> None:
    with pytest.raises(ModelOutputError, match="and 6 more; its weights"):
        run(Recorder(Batching.MASKED, answer=float("nan")), [piece(16_000)] * 16, batch_seconds=100.0)


def test_logits_of_a_wrong_shape_are_an_error() -> None:
    model = Recorder(Batching.MASKED)
    model.labels = ("anger", "neutral", "sadness")
    with pytest.raises(ModelOutputError, match=r"\(1, 2\), expected \(1, 3\)"):
        run(model, [piece(16_000)])


def test_softmax_of_large_logits_is_finite() -> None:
    assert softmax(np.array([[1000.0, 0.0], [0.0, 0.0]])).tolist() == [[1.0, 0.0], [0.5, 0.5]]


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(400, 60_000), min_size=1, max_size=8), st.sampled_from([0.01, 4.0, 100.0]))
def test_the_batch_does_not_change_a_real_networks_answer(
    tiny: SpectrogramCnn, lengths: list[int], batch_seconds: float
) -> None:
    pieces = [(n, piece(length, seed=n)) for n, length in enumerate(lengths)]
    together = [
        scores.probabilities for _, _, scores in classify(pieces, tiny, batch_seconds=batch_seconds) if scores
    ]
    for (number, each), probabilities in zip(pieces, together, strict=True):
        ((_, _, alone),) = classify([(number, each)], tiny, batch_seconds=batch_seconds)
        assert alone is not None
        assert np.abs(alone.probabilities - probabilities).max() < 1e-4


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SpectrogramCnn:
    folder: Path = write_tiny_model(tmp_path_factory.mktemp("tiny"))
    return SpectrogramCnn.load(TrainedFolder(path=folder), device="cpu", precision="fp32")
