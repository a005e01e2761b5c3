"""Days side by side: order, limits, failures that stay where they are, and interrupts; no Prefect takes part."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier, Event, Lock, Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.pipeline.interrupts import NotBegunError
from emolake.pipeline.scheduling import PlannedShard, ShardFuture, ShardOutcome, Wave, side_by_side
from emolake.schemas.records import Counts
from emolake.source.store import SourceError

DAYS = [date(2026, 11, 16) + timedelta(days=offset) for offset in range(4)]


class Pending:
    """A shard in a thread pool."""

    def __init__(self, future: "Future[Counts]") -> None:
        self._future = future

    def add_done_callback(self, callback: Callable[[ShardFuture], None]) -> None:
        self._future.add_done_callback(lambda _: callback(self))

    def outcome(self) -> Counts | BaseException:
        error = self._future.exception()
        return self._future.result() if error is None else error


class Pool:
    """Runs shards with `work`, and remembers which ran, and how many days were under way at once."""

    def __init__(self, work: Callable[[PlannedShard], Counts], workers: int = 4) -> None:
        self._work = work
        self._executor = ThreadPoolExecutor(workers)
        self._lock = Lock()
        self.ran: list[tuple[date, int]] = []

    def submit(self, wave: Wave) -> Sequence[ShardFuture]:
        return [Pending(self._executor.submit(self._run, shard)) for shard in wave]

    def _run(self, shard: PlannedShard) -> Counts:
        with self._lock:
            self.ran.append((shard.day, shard.number))
        return self._work(shard)


def one(_shard: PlannedShard) -> Counts:
    return Counts(done=1)


def waves(day: date, sizes: Sequence[int], begun: list[date] | None = None) -> Iterator[Wave]:
    if begun is not None:
        begun.append(day)
    number = 0
    for size in sizes:
        yield [PlannedShard(day, number + offset + 1, ()) for offset in range(size)]
        number += size


def never() -> None:
    """Nothing has interrupted the run."""


def run(
    days: Sequence[tuple[date, Iterator[Wave]]],
    pool: Pool,
    *,
    limit: int,
    interrupt: Callable[[], None] = never,
) -> list[ShardOutcome]:
    return list(side_by_side(days, limit=limit, submit=pool.submit, raise_interrupt=interrupt))


@given(st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=4), st.integers(1, 5))
def test_every_shard_runs_once_and_is_counted(plan: list[list[int]], limit: int) -> None:
    pool, begun = Pool(one), list[date]()
    days = [(day, waves(day, sizes, begun)) for day, sizes in zip(DAYS, plan, strict=False)]
    outcomes = run(days, pool, limit=limit)
    expected = [
        (day, number + 1) for day, sizes in zip(DAYS, plan, strict=False) for number in range(sum(sizes))
    ]
    assert sorted(pool.ran) == expected
    assert sum((each.counts for each in outcomes if each.counts), start=Counts()).done == len(expected)
    assert begun == DAYS[: len(plan)]


def test_days_are_under_way_together_up_to_the_limit() -> None:
    met = Barrier(3)

    def work(_shard: PlannedShard) -> Counts:
        met.wait(30)  # broken, and the shard failed, unless three days are under way at once
        return Counts(done=1)

    outcomes = run([(day, waves(day, [1])) for day in DAYS[:3]], Pool(work), limit=3)
    assert [each.failure for each in outcomes] == [None] * 3


def test_a_wave_is_planned_when_the_one_before_it_has_ended() -> None:
    ended = Event()

    def work(shard: PlannedShard) -> Counts:
        if shard.number == 1:
            ended.set()
        return Counts(done=1)

    def planned() -> Iterator[Wave]:
        yield [PlannedShard(DAYS[0], 1, ())]
        assert ended.is_set()
        yield [PlannedShard(DAYS[0], 2, ())]

    assert len(run([(DAYS[0], planned())], Pool(work), limit=1)) == 2


def test_where_nothing_is_planned_nothing_is_handed_over() -> None:
    """The first shard that is handed over starts a cluster."""

    def submit(wave: Wave) -> Sequence[ShardFuture]:
        raise AssertionError(wave)

    days = [(day, waves(day, [])) for day in DAYS]
    assert list(side_by_side(days, limit=2, submit=submit, raise_interrupt=never)) == []


def test_the_last_shards_of_a_wave_do_not_hold_up_the_next() -> None:
    next_began = Event()

    def work(shard: PlannedShard) -> Counts:
        if shard.number == 1:
            assert next_began.wait(30)
        elif shard.number == 5:
            next_began.set()
        return Counts(done=1)

    outcomes = run([(DAYS[0], waves(DAYS[0], [4, 1]))], Pool(work), limit=1)
    assert [each.failure for each in outcomes] == [None] * 5


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_a_day_is_planned_no_further_ahead_than_half_a_wave(sizes: list[int]) -> None:
    ended = 0

    def planned() -> Iterator[Wave]:
        handed_over = 0
        for wave, newest in zip(waves(DAYS[0], sizes), [0, *sizes], strict=False):
            assert handed_over - ended <= newest // 2
            handed_over += len(wave)
            yield wave

    for _ in side_by_side([(DAYS[0], planned())], limit=1, submit=Pool(one).submit, raise_interrupt=never):
        ended += 1
    assert ended == sum(sizes)


def test_a_day_whose_listing_breaks_off_waits_for_its_shards() -> None:
    broke = Event()

    def work(shard: PlannedShard) -> Counts:
        if shard.number == 1:
            assert broke.wait(30)
        return Counts(done=1)

    def broken() -> Iterator[Wave]:
        yield [PlannedShard(DAYS[0], number, ()) for number in (1, 2)]
        broke.set()
        raise SourceError("the listing broke off; list it again")

    outcomes = run([(DAYS[0], broken())], Pool(work), limit=1)
    assert [each.failure for each in outcomes] == [
        None, f"{DAYS[0]}: the listing broke off; list it again", None,
    ]  # fmt: skip


def test_a_shard_that_fails_is_named_and_the_others_go_on() -> None:
    def work(shard: PlannedShard) -> Counts:
        if shard.number == 2:
            raise OSError("the disk is full")
        return Counts(done=1)

    outcomes = run([(DAYS[0], waves(DAYS[0], [3, 1]))], Pool(work), limit=1)
    assert [each.failure for each in outcomes] == [None, f"{DAYS[0]}, shard 2: the disk is full", None, None]


def test_a_day_that_cannot_be_listed_ends_alone() -> None:
    def broken() -> Iterator[Wave]:
        yield [PlannedShard(DAYS[0], 1, ())]
        raise SourceError("the listing broke off; list it again")

    outcomes = run([(DAYS[0], broken()), (DAYS[1], waves(DAYS[1], [1, 1]))], Pool(one), limit=2)
    failures = [each.failure for each in outcomes if each.failure]
    assert failures == [f"{DAYS[0]}: the listing broke off; list it again"]
    assert sum((each.counts for each in outcomes if each.counts), start=Counts()).done == 3


def test_a_bug_ends_the_run_after_what_is_at_work_was_counted() -> None:
    go = Event()

    def work(shard: PlannedShard) -> Counts:
        if shard.day == DAYS[0]:
            assert go.wait(30)
        return Counts(done=1)

    def broken() -> Iterator[Wave]:
        go.set()
        raise ZeroDivisionError("a bug")
        yield []

    outcomes: list[ShardOutcome] = []
    days = [(DAYS[0], waves(DAYS[0], [2])), (DAYS[1], broken()), (DAYS[2], waves(DAYS[2], [1]))]
    scheduled = side_by_side(days, limit=2, submit=Pool(work).submit, raise_interrupt=never)
    with pytest.raises(ZeroDivisionError):
        outcomes.extend(scheduled)
    assert len(outcomes) == 2


@pytest.mark.parametrize("days", [1, 3])
def test_an_interrupt_lets_what_is_at_work_end_and_counts_it(days: int) -> None:
    """Of a wave of four two are at work: they are waited for, and the others are not begun."""
    at_work, go, stopping = Barrier(3), Event(), Event()

    def work(_shard: PlannedShard) -> Counts:
        if stopping.is_set():
            raise NotBegunError("not begun")
        at_work.wait(30)
        assert go.wait(30)
        return Counts(done=1)

    def raise_interrupt() -> None:
        if pool.ran:
            at_work.wait(30)
            stopping.set()
            Timer(0.5, go.set).start()
            raise KeyboardInterrupt

    pool, outcomes = Pool(work, workers=2), list[ShardOutcome]()
    scheduled = side_by_side(
        [(day, waves(day, [4])) for day in DAYS[:days]],
        limit=days,
        submit=pool.submit,
        raise_interrupt=raise_interrupt,
    )
    with pytest.raises(KeyboardInterrupt):
        outcomes.extend(scheduled)
    assert sum((each.counts for each in outcomes if each.counts), start=Counts()).done == 2
    assert [each.failure for each in outcomes] == [None] * 4


def test_a_shard_is_counted_when_it_has_ended_not_when_its_wave_has() -> None:
    first_counted = Event()

    def work(shard: PlannedShard) -> Counts:
        if shard.number == 2:
            assert first_counted.wait(30)
        return Counts(done=1)

    scheduled = side_by_side(
        [(DAYS[0], waves(DAYS[0], [2]))], limit=1, submit=Pool(work).submit, raise_interrupt=never
    )
    assert next(scheduled).counts == Counts(done=1)
    first_counted.set()
    assert next(scheduled).counts == Counts(done=1)
