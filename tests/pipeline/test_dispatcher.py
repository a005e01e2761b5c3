"""Shards and workers: every shard ends once, the largest go first, the last ones even out, and killers are found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import ceil, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.pipeline.dispatcher import KILLS, Dispatcher, EndedShard, Portion


@dataclass(frozen=True)
class Item:
    """A recording: how long it is, and whether it kills whoever is at it."""

    name: int
    seconds: float = 1.0
    kills: bool = False


@dataclass(frozen=True)
class Shard:
    objects: Sequence[Item]


Results = list[int]


def seconds_of(item: object) -> float:
    assert isinstance(item, Item)
    return item.seconds


@dataclass
class Cluster:
    """A simulated cluster, in which time is what the audio takes and a worker that died is back at once."""

    workers: int
    dispatcher: "Dispatcher[Shard, Results]"
    die: Sequence[bool] = ()
    """For each portion handed out, in turn, whether its worker dies of something else."""
    blame: Sequence[bool] = ()
    """For each of those deaths, whether the portion is suspected."""
    fail: Sequence[bool] = ()
    """For each portion handed out whether it fails in a way that may pass."""
    ended: list[EndedShard[Shard, Results]] = field(default_factory=list)
    handed: list[Portion[Shard]] = field(default_factory=list)
    condemned: list[int] = field(default_factory=list)
    deaths: int = 0
    now: float = 0.0

    def run(self, shards: Sequence[Shard]) -> None:
        for worker in range(self.workers):
            self.dispatcher.join(worker)
        self.dispatcher.add(shards)
        die, blame, fail = iter(self.die), iter(self.blame), iter(self.fail)
        busy: list[tuple[float, int]] = []
        free = set(range(self.workers))
        while True:
            for worker in sorted(free):
                if (portion := self.dispatcher.assign(worker, self.now)) is None:
                    break
                free.remove(worker)
                self.handed.append(portion)
                heappush(busy, (self.now + portion.seconds, worker))
            if not busy:
                if self.dispatcher.next_turn is None:
                    return
                self.now = self.dispatcher.next_turn
                continue
            self.now, worker = heappop(busy)
            free.add(worker)
            given = self.dispatcher.at(worker)
            assert given is not None
            items = given.shard.objects[given.first : given.stop]
            if any(item.kills for item in items):
                self._died(worker, blamed=True)
            elif next(die, False):
                self._died(worker, blamed=next(blame, True))
            elif next(fail, False):
                self._note(self.dispatcher.failed(worker, OSError("busy"), self.now, again=True))
            else:
                self._note(self.dispatcher.done(worker, [item.name for item in items]))

    def _died(self, worker: int, *, blamed: bool) -> None:
        self.deaths += 1
        found = self.dispatcher.died(worker, blamed=blamed)
        if found is not None:
            assert found.recordings == 1
            name = found.shard.objects[found.first].name
            self.condemned.append(name)
            self._note(self.dispatcher.condemned(found, [name]))

    def _note(self, ended: EndedShard[Shard, Results] | None) -> None:
        if ended is not None:
            self.ended.append(ended)


def made(shards: Sequence[Sequence[tuple[float, bool]]]) -> list[Shard]:
    names = iter(range(100_000))
    return [Shard([Item(next(names), *item) for item in items]) for items in shards]


def evenly(workers: int, **options: float) -> Cluster:
    return Cluster(workers, Dispatcher(seconds=seconds_of, least_seconds=1.0, **options))  # type: ignore[arg-type]


ITEMS = st.tuples(st.floats(0.0, 1000.0), st.sampled_from([False] * 9 + [True]))
NIGHTS = st.lists(st.lists(ITEMS, min_size=1, max_size=20), max_size=12).map(made)
CHANCES = st.lists(st.booleans(), max_size=30)


@given(shards=NIGHTS, workers=st.integers(1, 9), die=CHANCES, blame=CHANCES, fail=CHANCES)
def test_every_recording_ends_once_whatever_dies_and_fails(
    shards: list[Shard], workers: int, die: list[bool], blame: list[bool], fail: list[bool]
) -> None:
    dispatcher = Dispatcher[Shard, Results](
        seconds=seconds_of, least_seconds=100.0, retries=1, retry_delay_s=5.0
    )
    cluster = Cluster(workers, dispatcher, die, blame, fail)
    cluster.run(shards)
    assert sorted(map(id, (each.shard for each in cluster.ended))) == sorted(map(id, shards))
    assert (dispatcher.waiting, dispatcher.at_work) == (0, 0)
    killers = {item.name for shard in shards for item in shard.objects if item.kills}
    assert killers <= set(cluster.condemned)
    for ended in cluster.ended:
        names = [name for result in ended.results for name in result]
        assert len(names) == len(set(names))
        of_shard = {item.name for item in ended.shard.objects}
        assert set(names) == of_shard or (ended.errors and set(names) < of_shard)
    if not any(fail):
        assert not any(ended.errors for ended in cluster.ended)
    if not any(die):
        assert set(cluster.condemned) == killers


@given(
    before=st.integers(0, 200), behind=st.integers(0, 200), workers=st.integers(1, 5), other=st.integers(0, 5)
)
def test_a_recording_that_kills_is_found_by_few_deaths_and_alone(
    before: int, behind: int, workers: int, other: int
) -> None:
    items = [(1.0, False)] * before + [(1.0, True)] + [(1.0, False)] * behind
    cluster = evenly(workers)
    cluster.run(made([items, *([[(1.0, False)] * 3] * other)]))
    assert cluster.condemned == [before]
    assert cluster.deaths <= KILLS + ceil(log2(len(items))) - 1 + KILLS
    assert all(not ended.errors for ended in cluster.ended)


@given(shards=st.lists(st.lists(st.floats(0, 1000), min_size=1, max_size=5), min_size=1, max_size=40))
def test_the_largest_go_first(shards: list[list[float]]) -> None:
    cluster = evenly(1)
    cluster.run(made([[(seconds, False) for seconds in shard] for shard in shards]))
    handed = [portion.seconds for portion in cluster.handed]
    assert handed == sorted(handed, reverse=True)
    assert all(portion.is_whole for portion in cluster.handed)


@given(shards=st.lists(st.integers(1, 200), min_size=1, max_size=40), workers=st.integers(1, 40))
def test_the_last_ones_end_together(shards: list[int], workers: int) -> None:
    """Shards of recordings of a second each: a night takes little longer than its fair share for each worker."""
    cluster = evenly(workers)
    cluster.run(made([[(1.0, False)] * recordings for recordings in shards]))
    fair = sum(shards) / workers
    assert cluster.now <= 1.5 * fair + 2
    assert len(cluster.handed) <= len(shards) + workers * (2 + ceil(log2(200)))


def test_a_shard_is_always_cut_in_the_same_places() -> None:
    cuts = set()
    for workers in range(1, 30):
        cluster = evenly(workers)
        cluster.run(made([[(float(1 + number % 7), False) for number in range(64)]]))
        cuts |= {(portion.first, portion.stop) for portion in cluster.handed}
    for one in cuts:
        for other in cuts:  # of a tree: within one another, or apart
            assert (
                one[1] <= other[0] or other[1] <= one[0]
                or one[0] <= other[0] <= other[1] <= one[1] or other[0] <= one[0] <= one[1] <= other[1]
            )  # fmt: skip


def test_what_is_suspected_waits_for_the_others() -> None:
    dispatcher = Dispatcher[Shard, Results](seconds=seconds_of, least_seconds=1000.0)
    large, small = made([[(9.0, False), (9.0, False)], [(1.0, False)]])
    dispatcher.join("a")
    dispatcher.add([large, small])
    first = dispatcher.assign("a", 0.0)
    assert first is not None
    assert first.shard is large
    assert dispatcher.died("a") is None
    second = dispatcher.assign("a", 0.0)
    assert second is not None
    assert second.shard is small


def test_a_machine_that_is_gone_is_no_reason_to_suspect_a_recording() -> None:
    cluster = Cluster(
        2, Dispatcher(seconds=seconds_of, least_seconds=1.0), die=[True] * 20, blame=[False] * 20
    )
    cluster.run(made([[(1.0, False)]]))
    assert (cluster.condemned, cluster.deaths) == ([], 20)
    assert [ended.results for ended in cluster.ended] == [[[0]]]


def test_what_may_pass_is_tried_so_often_and_after_a_pause() -> None:
    dispatcher = Dispatcher[Shard, Results](
        seconds=seconds_of, least_seconds=1.0, retries=2, retry_delay_s=5.0
    )
    dispatcher.join("a")
    dispatcher.add(made([[(1.0, False)]]))
    error = OSError("busy")
    for now in (0.0, 5.0):
        assert dispatcher.assign("a", now)
        assert dispatcher.failed("a", error, now, again=True) is None
        assert dispatcher.assign("a", now + 4.9) is None
        assert dispatcher.next_turn == now + 5.0
    assert dispatcher.assign("a", 10.0)
    ended = dispatcher.failed("a", error, 10.0, again=True)
    assert ended is not None
    assert ended.errors == [error]


@pytest.mark.parametrize("again", [True, False])
def test_a_failure_leaves_the_rest_of_its_shard(again: bool) -> None:
    dispatcher = Dispatcher[Shard, Results](seconds=seconds_of, least_seconds=1.0)
    for worker in "ab":
        dispatcher.join(worker)
    dispatcher.add(made([[(5.0, False), (5.0, False)]]))
    assert dispatcher.assign("a", 0.0)
    assert dispatcher.assign("b", 0.0)
    assert dispatcher.failed("a", ValueError("a bug"), 0.0, again=again) is None
    ended = dispatcher.done("b", [1])
    assert ended is not None
    assert (ended.results, [str(error) for error in ended.errors]) == ([[1]], ["a bug"])


def test_who_gives_no_sign_is_silent_once() -> None:
    dispatcher = Dispatcher[Shard, Results](seconds=seconds_of, least_seconds=1000.0, silence_s=10.0)
    for worker in "abc":
        dispatcher.join(worker)
    dispatcher.add(made([[(1.0, False)]] * 3))
    for worker in "abc":
        assert dispatcher.assign(worker, 0.0)
    dispatcher.sign("b", 5.0)
    dispatcher.done("c", [])
    assert list(dispatcher.silent(9.9)) == []
    assert list(dispatcher.silent(10.0)) == ["a"]
    assert list(dispatcher.silent(14.9)) == []
    assert list(dispatcher.silent(15.0)) == ["b"]
    assert list(dispatcher.silent(99.0)) == []


def test_what_waits_is_dropped_and_what_is_at_work_goes_on() -> None:
    dispatcher = Dispatcher[Shard, Results](seconds=seconds_of, least_seconds=1000.0)
    dispatcher.join("a")
    shards = made([[(2.0, False)], [(1.0, False)]])
    dispatcher.add(shards)
    assert dispatcher.assign("a", 0.0)
    (dropped,) = dispatcher.drop()
    assert (dropped.shard, dropped.results, dropped.errors) == (shards[1], [], [])
    assert dispatcher.assign("b", 0.0) is None
    ended = dispatcher.done("a", [0])
    assert ended is not None
    assert ended.shard is shards[0]


def test_ten_thousand_workers_get_their_shards() -> None:
    dispatcher = Dispatcher[Shard, Results](seconds=seconds_of, least_seconds=1.0, silence_s=60.0)
    for worker in range(10_000):
        dispatcher.join(worker)
    dispatcher.add(made([[(float(number % 97 + 1), False)] for number in range(10_000)]))
    for now in range(1):
        for worker in range(10_000):
            assert dispatcher.assign(worker, now)
        for worker in range(10_000):
            dispatcher.sign(worker, now)
            assert dispatcher.done(worker, [worker])
    assert (dispatcher.waiting, dispatcher.at_work) == (0, 0)
