"""Recorded forward passes: the same answers as launched ones, a few shapes, and none where it cannot be."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.models.protocol import Batching, Prediction
from emolake.models.runtimes.replay import Replay
from emolake.models.runtimes.staging import BatchStage
from emolake.pipeline.device_thread import DeviceThread

NO_ROOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
REFUSED = RuntimeError("CUDA error: operation not permitted when stream is capturing")


class Taped:
    """A recorder as a GPU's: a replay reads the memory that was recorded, and writes over its last answer."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.recorded = self.replayed = 0

    def record(self, work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.recorded += 1
        found = work()

        def replay() -> torch.Tensor:
            self.replayed += 1
            return found.copy_(work())

        return replay


class Sums:
    """A staged model: the length and the sum of each segment."""

    labels = ("length", "sum")
    sampling_rate, min_samples, device, precision = 16_000, 1, "cpu", "fp32"
    batching = Batching.MASKED

    def outputs(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return torch.stack([lengths.to(waves), waves.sum(dim=1)], dim=1)

    def prediction(self, outputs: torch.Tensor) -> Prediction:
        return Prediction(outputs)

    predict = outputs


shapes = st.tuples(st.integers(1, 3), st.integers(1, 4))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(shapes, st.booleans(), st.sampled_from([None, None, None, REFUSED])), max_size=40))
def test_replayed_batches_answer_as_launched_ones(
    batches: list[tuple[tuple[int, int], bool, Exception | None]],
) -> None:
    model, recorder = Sums(), Taped(*(error for _, _, error in batches))
    replay = Replay(model.outputs, recorder)
    found, expected = [], []
    for number, ((rows, samples), full, _) in enumerate(batches):
        waves = torch.arange(rows * samples, dtype=torch.float32).view(rows, samples) + number
        lengths = torch.full((rows,), samples)
        if not full:
            lengths[-1] = max(1, samples - 1)
        found.append(replay(waves, lengths))
        expected.append(model.outputs(waves, lengths))
    for one, other in zip(
        found, expected, strict=True
    ):  # at the end: no answer is written over by a later one
        assert torch.equal(one, other)
    assert recorder.recorded <= 4


def test_only_full_shapes_that_come_again_are_recorded() -> None:
    recorder = Taped()
    replay = Replay(Sums().outputs, recorder)
    for samples in range(1, 7):
        replay(torch.zeros(2, samples), torch.full((2,), samples))
    assert recorder.recorded == 0
    for samples in range(2, 7):
        for _ in range(3):
            replay(torch.zeros(2, samples), torch.tensor([samples, 1]))
    assert recorder.recorded == 0
    for samples in range(1, 7):
        for _ in range(3):
            replay(torch.zeros(2, samples), torch.full((2,), samples))
    assert (recorder.recorded, recorder.replayed) == (4, 12)  # of four shapes, whose memory stays


def test_what_cannot_be_recorded_runs_as_ever_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    replay = Replay(Sums().outputs, Taped(REFUSED))
    waves, lengths = torch.ones(2, 5), torch.tensor([5, 5])
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            assert replay(waves, lengths).tolist() == [[5, 5], [5, 5]]
    (said,) = caplog.messages
    assert "cannot be recorded" in said
    assert "stream is capturing" in said


def test_without_room_for_a_recording_batches_shrink_and_every_answer_comes() -> None:
    recorder = Taped(None, NO_ROOM)
    model: Any = Sums()
    thread = DeviceThread(model, batch_seconds=4.0, in_flight=2, whole_s=1.0, recorder=recorder)
    waves = [np.full(16_000, number, np.float32) for number in range(24)]
    # Another full shape, that of a second model's windows: its recording finds no room.
    waves += [np.full(8_000, number, np.float32) for number in range(24)]
    with thread.client() as client:
        tickets = [client.submit(wave, str(place)) for place, wave in enumerate(waves)]
        client.end()
        found = [client.scores(ticket).logits.tolist() for ticket in tickets]
    assert found == [[len(wave), wave.sum()] for wave in waves]
    assert recorder.recorded == 1  # and nothing is recorded after that


def test_a_stage_without_a_recorder_launches_every_batch() -> None:
    model: Any = Sums()
    stage = BatchStage(model)
    stage.make_room()
    waves = [np.ones(10, np.float32)] * 2
    assert stage.submit(waves, rows=2, samples=10).collect().logits.tolist() == [[10, 10], [10, 10]]
