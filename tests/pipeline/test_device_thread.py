"""One thread gives a device the batches of all shards: each gets its own answers in order, and its own errors alone."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event, Lock
from threading import enumerate as threads
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_segments import Recorder, piece

from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, Prediction
from emolake.models.runtimes.staging import BatchStage, HostLane
from emolake.pipeline.device_thread import DeviceLostError, DeviceThread
from emolake.pipeline.scoring import device_thread, scored, scored_by
from emolake.tasks.classify import ModelMemoryError, ModelOutputError, Scores, classify
from emolake.tasks.segment import Segment

NO_ROOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
LOST = RuntimeError("CUDA error: unspecified launch failure\nCompile with `TORCH_USE_CUDA_DSA`")


class Later(Recorder):
    """A model whose answers are read back later, as a GPU's are; it can run out of room, break, or answer slowly.

    A batch is `[length, sum]` for each segment. What is under way is counted.
    """

    def __init__(self, batching: Batching = Batching.MASKED, *, precision: str = "fp32", **keys: Any) -> None:
        super().__init__(batching, **keys)
        self.precision = precision
        self.errors: list[Exception | None] = []
        self.marks: list[Exception | None] = []
        self.under_way = self.most_under_way = 0
        self.shapes: list[tuple[int, int]] = []
        self.poison: set[int] = set()

    def outputs(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        for length in lengths.tolist():
            if length in self.poison:
                raise ValueError(f"a segment of {length} samples")
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.shapes.append((waves.shape[0], waves.shape[1]))
        try:
            return self.predict(waves, lengths).logits
        except BaseException:
            self.under_way -= 1
            raise

    def prediction(self, outputs: torch.Tensor) -> Prediction:
        self.under_way -= 1
        if self.marks and (error := self.marks.pop(0)) is not None:
            raise error
        return Prediction(outputs)


def pieces_of(lengths: Sequence[int], seed: int = 0) -> list[Segment]:
    return [piece(length, seed=seed * 1000 + number) for number, length in enumerate(lengths)]


def answer(
    thread: DeviceThread,
    pieces: Sequence[Segment],
    shard: str = "a",
    *,
    pause: float = 0.0,
    arrives: Callable[[int], object] = lambda number: None,
) -> list[Any]:
    """Return what a shard gets for its pieces: logits or None, of each. `arrives` gets the number of each before."""

    def arriving() -> Iterator[tuple[str, Segment]]:
        for number, each in enumerate(pieces):
            time.sleep(pause)
            arrives(number)
            yield shard, each

    with thread.client() as client:
        found = list(scored_by(client, arriving(), thread.model, batch_seconds=thread.batch_samples / 16_000))
    assert [each for _, each, _ in found] == list(pieces), "the order is that of the pieces"
    return [None if scores is None else scores.logits for _, _, scores in found]


def expected(each: Segment) -> Any:
    if len(each.samples) < Recorder.min_samples:
        return None
    return pytest.approx([len(each.samples), each.samples.sum()], abs=1e-2)


def has_ended() -> bool:
    """Return whether the device's thread ends, now that it has no client."""
    deadline = time.monotonic() + 5
    while any(each.name == "device" for each in threads()) and time.monotonic() < deadline:
        time.sleep(0.001)
    return time.monotonic() < deadline


def serving(model: Any, *, batch_seconds: float = 5.0, in_flight: int = 3, **keys: Any) -> DeviceThread:
    return DeviceThread(model, batch_seconds=batch_seconds, in_flight=in_flight, whole_s=1.0, **keys)


lengths_of_shards = st.lists(
    st.lists(st.sampled_from([0, 399, 400, 8_000, 9_000, 16_000, 16_000, 16_000, 23_456]), max_size=25),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    shards=lengths_of_shards, batching=st.sampled_from(Batching), precision=st.sampled_from(["fp32", "bf16"]),
    batch_seconds=st.sampled_from([0.01, 3.0, 500.0]), in_flight=st.integers(1, 4), room=st.sampled_from([None, 2, 1]),
    staged=st.booleans(), errors=st.lists(st.sampled_from([None, None, NO_ROOM]), max_size=6),
    late=st.lists(st.sampled_from([None, None, NO_ROOM]), max_size=6),
)  # fmt: skip
def test_every_shard_gets_its_own_answers_in_order(
    shards: list[list[int]], batching: Batching, precision: str, batch_seconds: float, in_flight: int,
    room: int | None, staged: bool, errors: list[Any], late: list[Any],
) -> None:  # fmt: skip
    """Whatever arrives when, of whatever lengths, and however often there is no room, at once or when it is read back.

    One that fails by itself has been tried twice with nothing beside it.
    """
    model: Any = (Later if staged else Recorder)(batching, room=room)
    model.precision = precision
    if staged:
        model.errors, model.marks = list(errors), list(late)
    thread = serving(model, batch_seconds=batch_seconds, in_flight=in_flight)
    own = [pieces_of(lengths, seed) for seed, lengths in enumerate(shards)]

    def one(pieces: list[Segment]) -> Any:
        try:
            return answer(thread, pieces, pause=0.0)
        except ModelMemoryError as error:
            return error

    with ThreadPoolExecutor(len(own)) as pool:
        found = list(pool.map(one, own))
    single_fails = sum(each is not None for each in [*errors, *late]) if staged else 0
    for pieces, answers in zip(own, found, strict=True):
        if isinstance(answers, ModelMemoryError):
            assert single_fails >= 2
        else:
            for logits, each in zip(answers, pieces, strict=True):
                assert logits == expected(each)
    if staged:
        assert model.most_under_way <= in_flight
    assert has_ended()


def test_segments_of_several_shards_share_batches() -> None:
    model = Later()
    thread = serving(model, batch_seconds=8.0)
    begin = Event()

    def one(seed: int) -> list[Any]:
        begin.wait()
        return answer(thread, pieces_of([16_000] * 20, seed))

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(one, seed) for seed in range(4)]
        begin.set()
        assert all(len(each.result()) == 20 for each in futures)
    assert sum(map(len, model.seen)) == 80
    assert len(model.seen) <= 14, (
        "10 full ones, and few that somebody waited for: alone each shard would make 3"
    )


def test_batches_are_under_way_while_others_are_made() -> None:
    """Each is handed over before the one before it is read back, where its segments are there."""
    there = Event()

    class OnceThere(Later):
        def outputs(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            assert there.wait(30)
            return super().outputs(waves, lengths)

    model = OnceThere()
    answer(
        serving(model, batch_seconds=2.0, in_flight=3),
        pieces_of([16_000] * 24),
        arrives=lambda number: there.set() if number == 10 else None,  # five batches
    )
    assert model.most_under_way == 3


def test_what_waits_is_bounded_however_long_a_shard_is() -> None:
    taken = 0

    def endless() -> Iterator[tuple[int, Segment]]:
        nonlocal taken
        while True:
            taken += 1
            yield taken, piece(16_000)

    thread = serving(Later(), batch_seconds=4.0)
    with thread.client() as client:
        results = scored_by(client, endless(), thread.model, batch_seconds=4.0)
        for number in range(1, 200):
            assert next(results)[0] == number
        assert taken <= 200 + 8 * 4


def test_a_shard_that_is_left_in_the_middle_leaves_nothing_behind() -> None:
    model = Later()
    thread = serving(model)
    shared = InferenceOptions(batches_in_flight=2, batch_seconds=2.0)
    given = ((0, piece(16_000)) for _ in range(1000))
    with closing(scored(given, model, inference=shared, whole_s=1.0, name=str)) as results:
        for _ in range(3):
            next(results)
    with thread.client() as client:
        client.submit(np.zeros(16_000, np.float32), "a")
    assert has_ended()
    assert answer(thread, pieces_of([16_000] * 3)) == [expected(each) for each in pieces_of([16_000] * 3)]


def test_a_batch_that_does_not_fit_is_halved_for_good_with_others_under_way() -> None:
    model = Later(room=3)
    thread = serving(model, batch_seconds=16.0, in_flight=4)
    pieces = pieces_of([16_000] * 64)
    assert answer(thread, pieces) == [expected(each) for each in pieces]
    assert max(map(len, model.seen)) <= 3
    assert model.refused <= 6
    assert thread.batch_samples < 4 * 16_000


@pytest.mark.parametrize("where", ["errors", "marks"])
def test_one_segment_without_room_is_an_error_that_names_it_and_other_shards_go_on(where: str) -> None:
    model = Later(Batching.SINGLE)
    thread = serving(model)
    getattr(model, where).extend([NO_ROOM, NO_ROOM])
    with pytest.raises(
        ModelMemoryError, match=r"cpu has no room for one \(channel 0, from 0 s\) by itself, 1 s"
    ):
        answer(thread, pieces_of([16_000]), "one")
    assert answer(thread, pieces_of([16_000] * 2), "two") == [
        expected(each) for each in pieces_of([16_000] * 2)
    ]


def together(thread: DeviceThread, model: Any, shards: dict[str, list[Segment]]) -> dict[str, Any]:
    """Run shards side by side, whose segments are all there before the first batch goes; errors are results."""
    gate, at_work, predict = Event(), Event(), model.predict
    first = Lock()

    def held(waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
        if first.acquire(blocking=False):
            at_work.set()
            gate.wait(5)
        return predict(waves, lengths)  # type: ignore[no-any-return]

    model.predict = held

    def one(name: str) -> Any:
        try:
            return answer(thread, shards[name], name)
        except Exception as error:  # noqa: BLE001 - it is the result
            return error

    with ThreadPoolExecutor(len(shards) + 1) as pool:
        ahead = pool.submit(answer, thread, [piece(400)], "ahead")
        at_work.wait(5)
        futures = {name: pool.submit(one, name) for name in shards}
        deadline = time.monotonic() + 5
        while len(thread._buckets) < sum(map(len, shards.values())) and time.monotonic() < deadline:
            time.sleep(0.001)
        gate.set()
        ahead.exception()
        return {name: future.result() for name, future in futures.items()}


def test_answers_that_are_not_finite_are_the_error_of_their_shard_alone() -> None:
    model = Later(answer=float("nan"), broken=20_000)
    good, bad = pieces_of([16_000, 16_000]), pieces_of([16_000, 20_000, 20_000])
    shards = {"good": good, "bad": bad, "worse": pieces_of([20_000])}
    found = together(serving(model, batch_seconds=30.0, in_flight=1), model, shards)
    assert "not finite for worse (channel 0, from 0 s); its weights" in str(found["worse"])
    assert isinstance(found["bad"], ModelOutputError)
    assert "not finite for bad (channel 0, from 0 s), bad (channel 0, from 0 s); its weights" in str(
        found["bad"]
    )
    assert [each[0] for each in found["good"]] == [16_000, 16_000]


def test_another_error_of_a_model_is_raised_as_it_is_where_it_belongs() -> None:
    model = Later()
    model.poison = {15_999}
    good, bad = pieces_of([16_000, 15_998]), pieces_of([15_999])
    found = together(serving(model, batch_seconds=30.0, in_flight=1), model, {"good": good, "bad": bad})
    assert isinstance(found["bad"], ValueError)
    assert str(found["bad"]) == "a segment of 15999 samples"
    assert found["good"] == [expected(each) for each in good]


@pytest.mark.parametrize("where", ["errors", "marks"])
def test_a_device_that_is_lost_fails_every_shard_with_a_sentence(where: str) -> None:
    model = Later()
    getattr(model, where).append(None)
    getattr(model, where).append(LOST)
    thread = serving(model, batch_seconds=2.0, in_flight=2)
    shards = {name: pieces_of([16_000] * 10) for name in "abc"}
    found = together(thread, model, shards)
    for error in found.values():
        assert isinstance(error, DeviceLostError)
        assert str(error).startswith(
            "cpu was lost while it was at work: unspecified launch failure; nothing of"
        )
        assert "Xid" in str(error)
        assert "run again" in str(error)
    assert len(set(map(id, found.values()))) == 3
    with pytest.raises(DeviceLostError):  # and whoever comes later, at once
        answer(thread, pieces_of([16_000]))
    assert has_ended()


@pytest.mark.parametrize("batching", [Batching.MASKED, Batching.SINGLE])
@pytest.mark.parametrize("where", ["errors", "marks"])
@pytest.mark.parametrize("sick", [LOST, ValueError("a bug"), NO_ROOM])
def test_memory_that_cannot_be_released_leaves_no_shard_waiting(
    where: str, batching: Batching, sick: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card that had no room may be too sick to give any back."""

    def release() -> None:
        raise sick

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", release)
    model = Later(batching)
    getattr(model, where).extend([None, NO_ROOM])
    pieces = pieces_of([16_000] * 10)
    found = together(serving(model, batch_seconds=4.0, in_flight=2), model, {"a": pieces})["a"]
    if sick is NO_ROOM:
        assert found == [expected(each) for each in pieces]
    else:
        assert isinstance(found, DeviceLostError if sick is LOST else ValueError)
    assert has_ended()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("ending", [SystemExit(3), KeyboardInterrupt(), MemoryError()])
@pytest.mark.parametrize("where", ["errors", "marks"])
def test_a_thread_that_ends_with_a_batch_in_hand_leaves_no_shard_waiting(
    where: str, ending: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Later()
    getattr(model, where).extend([None, ending])
    thread = serving(model, batch_seconds=2.0, in_flight=2)
    if isinstance(ending, MemoryError):  # what is done about it fails in its turn
        monkeypatch.setattr(thread, "_out_of_memory", lambda *_: 1 / 0)
    found = together(thread, model, {name: pieces_of([16_000] * 10) for name in "abc"})
    for error in found.values():
        assert isinstance(error, DeviceLostError)
        assert str(error).startswith("the thread of cpu ended: ")
    with pytest.raises(DeviceLostError):
        answer(thread, pieces_of([16_000]))
    assert has_ended()


def test_what_fits_only_by_itself_is_tried_with_nothing_beside_it() -> None:
    class Alone(Later):
        def outputs(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            if self.under_way:
                raise NO_ROOM
            return super().outputs(waves, lengths)

    model, pieces = Alone(Batching.SINGLE), pieces_of([16_000] * 6)
    found = together(serving(model, in_flight=4), model, {"a": pieces})
    assert found["a"] == [expected(each) for each in pieces]


def test_no_more_is_taken_than_may_wait_while_the_device_is_busy() -> None:
    gate, taken = Event(), 0

    class Busy(Later):
        def predict(self, waves: torch.Tensor, lengths: torch.Tensor) -> Prediction:
            gate.wait(5)
            return super().predict(waves, lengths)

    def endless() -> Iterator[tuple[int, Segment]]:
        nonlocal taken
        for taken in range(1, 200):
            yield taken, piece(16_000)

    thread = serving(Busy(), batch_seconds=4.0)
    with thread.client() as client, ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: list(scored_by(client, endless(), thread.model, batch_seconds=4.0)))
        time.sleep(0.2)
        assert taken == 8 * 4
        gate.set()
        assert len(done.result()) == 199


def test_a_wrong_shape_is_an_error() -> None:
    model = Later()
    model.labels = ("anger", "neutral", "sadness")
    with pytest.raises(ModelOutputError, match=r"\(1, 2\), expected \(1, 3\)"):
        answer(serving(model), pieces_of([16_000]))


def test_an_interrupt_where_a_shard_waits_leaves_the_others_alone() -> None:
    thread = serving(Later(), batch_seconds=2.0)

    def stopped() -> Iterator[tuple[str, Segment]]:
        yield "a", piece(16_000)
        yield "a", piece(16_000)
        raise KeyboardInterrupt

    with thread.client() as other:
        tickets = [other.submit(each.samples, "other") for each in pieces_of([16_000])]
        with pytest.raises(KeyboardInterrupt), thread.client() as client:
            list(scored_by(client, stopped(), thread.model, batch_seconds=2.0))
        other.end()
        assert other.scores(tickets[0]).logits == expected(pieces_of([16_000])[0])


@pytest.mark.parametrize("precision", ["bf16", "fp16", "tf32"])
def test_a_lower_precision_has_one_shape_for_each_length(precision: str) -> None:
    model = Later(precision=precision)
    pieces = pieces_of([16_000] * 7 + [9_000, 30_000, 15_999])
    assert answer(serving(model, batch_seconds=16.0), pieces) == [expected(each) for each in pieces]
    # one second is a full window; what is padded to it is kept apart, in batches of an eighth, as 2 s are
    assert set(model.shapes) == {(16, 16_000), (2, 16_000), (1, 32_000)}
    for batch in model.seen:
        assert len({each == 16_000 for each in batch if each != 16_000} | {batch[0] == 16_000}) == 1


def test_a_processors_shards_make_their_own_batches_and_a_thread_is_kept_for_a_model() -> None:
    model = Later()
    given = [(0, each) for each in pieces_of([16_000, 8_000, 16_000, 23_456])]
    auto = InferenceOptions(batch_seconds=2.0)
    own = list(scored(given, model, inference=auto, whole_s=1.0, name=str))
    assert not model.shapes, "nothing was staged"
    alone = list(classify(given, model, batch_seconds=2.0))
    for (_, _, some), (_, _, other) in zip(own, alone, strict=True):
        assert isinstance(some, Scores)
        assert isinstance(other, Scores)
        assert np.array_equal(some.probabilities, other.probabilities)
    shared = auto.model_copy(update={"batches_in_flight": 2})
    assert len(list(scored(given, model, inference=shared, whole_s=1.0, name=str))) == 4
    assert model.shapes
    assert device_thread(model, 2.0, 2, 1.0) is device_thread(model, 2.0, 2, 1.0)


@pytest.mark.parametrize("batching", [Batching.MASKED, Batching.EQUAL_LENGTH])
@pytest.mark.parametrize("asked", [0, 1, 3])
def test_batches_of_a_lower_precision_have_fixed_shapes_however_many_are_under_way(
    asked: int, batching: Batching
) -> None:
    """With 0 too, where each shard would make batches of any shape."""
    model = Later(batching, precision="bf16")
    given = [(0, each) for each in pieces_of([16_000] * 3 + [15_000, 16_000])]
    options = InferenceOptions(batch_seconds=4.0, batches_in_flight=asked)
    assert len(list(scored(given, model, inference=options, whole_s=1.0, name=str))) == 5
    assert set(model.shapes) == {(4, 16_000), (1, 15_000 if batching is Batching.EQUAL_LENGTH else 16_000)}


def test_buffers_are_used_again() -> None:
    made: list[int] = []

    class Counting(HostLane):
        def buffer(self, samples: int) -> torch.Tensor:
            made.append(samples)
            return super().buffer(samples)

    model = Later()
    answer(serving(model, batch_seconds=2.0, in_flight=3, lane=Counting()), pieces_of([16_000] * 60))
    assert len(made) <= 4
    stage = BatchStage(model, lane=Counting())
    made.clear()
    model.errors = [ValueError("broken")]
    with pytest.raises(ValueError, match="broken"):
        stage.submit([np.ones(10, np.float32)], rows=1, samples=10)
    assert stage.submit([np.ones(8, np.float32)], rows=1, samples=8).collect().logits.tolist() == [[8, 8]]
    assert made == [10]


@pytest.mark.parametrize(("rows", "samples"), [(1, 16_000), (3, 16_000), (4, 20_000)])
def test_nothing_of_the_last_batch_is_left_in_a_buffer(rows: int, samples: int) -> None:
    class Sums(Later):
        def outputs(self, waves: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return waves.abs().sum(dim=1, keepdim=True)

    stage = BatchStage(Sums())
    stage.submit([np.full(20_000, 9, np.float32)] * 4, rows=4, samples=20_000).collect()
    found = stage.submit([np.ones(100, np.float32)], rows=rows, samples=samples).collect()
    assert found.logits.flatten().tolist() == [100.0, *[0.0] * (rows - 1)]


def test_a_processor_records_nothing_though_it_is_asked_to() -> None:
    model = Later()
    asked = InferenceOptions(batches_in_flight=2, cuda_graphs=True)
    thread = device_thread(model, 2.0, 2, 1.0, cuda_graphs=asked.cuda_graphs)
    assert thread is device_thread(model, 2.0, 2, 1.0)
    given_pieces = pieces_of([16_000] * 6)
    assert answer(thread, given_pieces) == [expected(each) for each in given_pieces]
