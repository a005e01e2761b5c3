"""A cluster that is only counted: the dispatcher as it is, with workers, deaths and a committer of measured times."""

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count, islice
from statistics import quantiles
from time import process_time

from emolake.pipeline.dispatcher import Dispatcher, Portion
from emolake.pipeline.scheduling import is_next_due

# Shards of a wave for each worker, as `emolake.pipeline.day_plan` plans ahead.
_SHARDS_AHEAD = 16
_LEAST_SECONDS = 450.0


@dataclass(frozen=True)
class Shard:
    """Recordings, by their seconds of audio; one of less than nothing kills its worker."""

    objects: Sequence[float]


@dataclass(frozen=True)
class CommitTimes:
    """How long a transaction takes."""

    base_s: float
    shard_s: float
    spread: Sequence[float] = (1.0,)
    """Factors that were measured, of which each transaction draws one."""
    most: int = 32
    wait_s: float = 2.0

    def of(self, shards: int) -> float:
        """Return the seconds of a transaction of so many shards."""
        return self.base_s + shards * self.shard_s


@dataclass(frozen=True)
class Cluster:
    """What is simulated."""

    workers: int
    audio_rate: float
    """Seconds of audio that a worker analyses in a second."""
    commits: CommitTimes
    spread: Sequence[float] = (1.0,)
    """Factors of the time that a portion takes, of which each draws one."""
    deaths_an_hour: float = 0.0
    """Of one worker at work."""
    restart_s: float = 60.0


@dataclass
class Outcome:
    """What came of it, in seconds of the cluster's clock."""

    took_s: float = 0.0
    audio_s: float = 0.0
    at_work_s: float = 0.0
    deaths: int = 0
    quarantined: int = 0
    shards: int = 0
    groups: list[int] = field(default_factory=list)
    committing_s: float = 0.0
    waits: list[float] = field(default_factory=list)
    """Of workers that had to wait for room at the committer."""
    latencies: list[float] = field(default_factory=list)
    processor_s: float = 0.0
    """Of this process: the dispatcher, and the simulation around it."""

    def latency(self, percent: int) -> float:
        """Return a percentile of the seconds between a portion's end and its commit."""
        return quantiles(self.latencies, n=100, method="inclusive")[percent - 1]


class Simulation:
    """One run of a cluster over the shards of a day."""

    def __init__(self, cluster: Cluster, shards: Iterable[Shard], seed: int = 0) -> None:
        self._cluster = cluster
        self._shards = iter(shards)
        self._draw = random.Random(seed)
        self._dispatcher: Dispatcher[Shard, int] = Dispatcher(seconds=_seconds, least_seconds=_LEAST_SECONDS)
        self._events: list[tuple[float, int, str, int]] = []
        self._numbers = count()
        self._idle: deque[int] = deque()
        self._open = self._newest_wave = 0
        self._queue: deque[tuple[float, Portion[Shard]]] = deque()
        self._blocked: deque[tuple[float, int]] = deque()
        self._in_commit: list[tuple[float, Portion[Shard]]] = []
        self.outcome = Outcome()

    def run(self) -> Outcome:
        """Let all shards end."""
        used, now = process_time(), 0.0
        for worker in range(self._cluster.workers):
            self._dispatcher.join(worker)
            self._idle.append(worker)
        self._next_wave(now)
        while self._events:
            now, _, what, worker = heappop(self._events)
            getattr(self, f"_{what}")(now, worker)
            if is_next_due(self._newest_wave, self._open):
                self._next_wave(now)
        self.outcome.took_s, self.outcome.processor_s = now, process_time() - used
        return self.outcome

    def _at(self, when: float, what: str, worker: int = -1) -> None:
        heappush(self._events, (when, next(self._numbers), what, worker))

    def _next_wave(self, now: float) -> None:
        wave = list(islice(self._shards, _SHARDS_AHEAD * self._cluster.workers))
        self._newest_wave = len(wave)
        self._open += len(wave)
        self.outcome.shards += len(wave)
        self._dispatcher.add(wave)
        self._wake(now, len(wave))

    def _wake(self, now: float, number: int) -> None:
        for _ in range(min(number, len(self._idle))):
            self._free(now, self._idle.popleft())

    def _free(self, now: float, worker: int) -> None:
        """Give a worker its next portion."""
        portion = self._dispatcher.assign(worker, now)
        if portion is None:
            self._idle.append(worker)
            return
        takes = portion.seconds / self._cluster.audio_rate * self._draw.choice(self._cluster.spread)
        dies = (
            self._draw.expovariate(self._cluster.deaths_an_hour / 3600)
            if self._cluster.deaths_an_hour
            else 1e99
        )
        done = 0.0
        for seconds in portion.shard.objects[portion.first : portion.stop]:
            done += abs(seconds) / portion.seconds
            if seconds < 0:
                dies = min(dies, takes * done)
                break
        self.outcome.at_work_s += min(dies, takes)
        self._at(now + min(dies, takes), "died" if dies < takes or _kills(portion) else "done", worker)

    def _done(self, now: float, worker: int) -> None:
        if len(self._queue) >= 2 * self._cluster.commits.most:
            self._blocked.append((now, worker))
            return
        self._hand_over(now, now, worker)

    def _hand_over(self, now: float, since: float, worker: int) -> None:
        self.outcome.waits.append(now - since)
        portion = self._dispatcher.release(worker)
        self.outcome.audio_s += portion.seconds
        self._queue.append((since, portion))
        if not self._in_commit:
            if len(self._queue) >= self._cluster.commits.most or not self._dispatcher.at_work:
                self._begin(now)
            elif len(self._queue) == 1:
                self._at(now + self._cluster.commits.wait_s, "begin_if_free")
        self._free(now, worker)

    def _begin_if_free(self, now: float, _: int) -> None:
        if self._queue and not self._in_commit:
            self._begin(now)

    def _begin(self, now: float) -> None:
        """Begin a transaction of what waits."""
        commits = self._cluster.commits
        group = [self._queue.popleft() for _ in range(min(commits.most, len(self._queue)))]
        self._in_commit = group
        takes = commits.of(len(group)) * self._draw.choice(commits.spread)
        self.outcome.groups.append(len(group))
        self.outcome.committing_s += takes
        self._at(now + takes, "committed")

    def _committed(self, now: float, _: int) -> None:
        group, self._in_commit = self._in_commit, []
        for since, portion in group:
            self.outcome.latencies.append(now - since)
            self._open -= self._dispatcher.condemned(portion, 1) is not None
        if self._queue:
            self._begin(now)
        while self._blocked and len(self._queue) < 2 * self._cluster.commits.most:
            self._hand_over(now, *self._blocked.popleft())

    def _died(self, now: float, worker: int) -> None:
        self.outcome.deaths += 1
        condemned = self._dispatcher.died(worker)
        self._dispatcher.leave(worker)
        if condemned is not None:
            self.outcome.quarantined += 1
            self._open -= self._dispatcher.condemned(condemned, 1) is not None
        self._at(now + self._cluster.restart_s, "back", worker)
        self._wake(now, 2)

    def _back(self, now: float, worker: int) -> None:
        self._dispatcher.join(worker)
        self._free(now, worker)


def made_shards(number: int, *, killers: float = 0.0, seed: int = 0) -> Iterator[Shard]:
    """Yield shards of about an hour, in calls of one to eleven minutes; a share of these kills its worker."""
    draw = random.Random(seed)
    for _ in range(number):
        left, calls = 3600.0, []
        while left > 60.0:
            length = min(left, draw.uniform(60.0, 660.0))
            left -= length
            calls.append(-length if draw.random() < killers else length)
        yield Shard(tuple(calls))


def _kills(portion: Portion[Shard]) -> bool:
    return any(each < 0 for each in portion.shard.objects[portion.first : portion.stop])


def _seconds(item: object) -> float:
    assert isinstance(item, float)
    return abs(item)
