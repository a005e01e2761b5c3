"""Days side by side: each is planned a wave of shards ahead of its work, and one that fails ends alone."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

from emolake.errors import EmolakeError
from emolake.lake.transact import LakeError
from emolake.pipeline.interrupts import NotBegunError
from emolake.schemas.records import Counts, SourceObject
from emolake.source.store import SourceError

# How long an interrupt may wait while shards are awaited.
_INTERRUPTS_S = 0.5


@dataclass(frozen=True)
class PlannedShard:
    """Some recordings of a day that are analysed and committed together."""

    day: date
    number: int
    """From 1, in the order of the day's plan."""
    objects: Sequence[SourceObject]

    @property
    def name(self) -> str:
        """What messages and commits call it."""
        return f"{self.day}, shard {self.number}"


class PartlyFailedError(EmolakeError):
    """A shard that failed; `counts` are the figures of the parts of it that were committed by themselves."""

    def __init__(self, message: str, counts: Counts) -> None:
        super().__init__(message)
        self.counts = counts


# Shards of a day that are under way together.
Wave = Sequence[PlannedShard]


class ShardFuture(Protocol):
    """A shard that was handed to whatever runs it."""

    def add_done_callback(self, callback: "Callable[[ShardFuture], None]") -> None:
        """Let `callback` be called with the future when the shard has ended, in any thread."""
        ...

    def outcome(self) -> Counts | BaseException:
        """Wait for the shard's end; return its figures, or what it raised."""
        ...


# Hands a wave's shards to what runs them, and returns a future for each.
Submit = Callable[[Wave], Sequence[ShardFuture]]


def may_succeed_later(error: object) -> bool:
    """Return whether a shard is tried again: servers, disks and other writers can cause what it raised.

    A decoder, a model or a wrong configuration would fail again.
    """
    return isinstance(error, SourceError | LakeError | OSError)


@dataclass(frozen=True)
class ShardOutcome:
    """How a shard ended, or a day that could not be planned: figures, or a failure's sentence, or not even begun."""

    counts: Counts | None = None
    failure: str | None = None


def is_next_due(newest_wave: int, unfinished: int) -> bool:
    """Return whether a day's next wave is planned: half of the newest one has ended. None follows an empty one.

    >>> [is_next_due(4, unfinished) for unfinished in (3, 2)]
    [False, True]
    """
    return newest_wave > 0 and unfinished <= newest_wave // 2


def side_by_side(
    days: Iterable[tuple[date, Iterator[Wave]]],
    *,
    limit: int,
    submit: Submit,
    raise_interrupt: Callable[[], None],
) -> Iterator[ShardOutcome]:
    """Keep up to `limit` days under way, and yield the outcome of each shard when it has ended.

    All planning is done in this thread, with its one connection to the lake: only shards run beside it, and an
    interrupt reaches it while it waits, or when what a day needs next has been planned.

    Args:
        days: the days in the order in which they begin, each with its waves; one is planned when half of the wave
            before it has ended, so that what runs shards is never out of them while the last of a wave are at work.
        limit: how many days may be under way.
        submit: hands a wave's shards to what runs them.
        raise_interrupt: raises what has interrupted the run, if anything has.

    Raises:
        BaseException: what has interrupted the run, or what planning a day raised, unless it is a SourceError, which
            ends that day alone. What is at work still commits, so it is waited for and yielded before.
    """
    remaining, under_way = deque(days), dict[date, _DayUnderWay]()
    ended = SimpleQueue[tuple[PlannedShard, ShardFuture]]()
    try:
        while remaining or under_way:
            raise_interrupt()
            if remaining and len(under_way) < limit:
                day = _DayUnderWay(*remaining.popleft())
                under_way[day.date] = day
            else:
                try:
                    shard, future = ended.get(timeout=_INTERRUPTS_S)
                except Empty:
                    continue
                day = under_way[shard.day]
                day.unfinished -= 1
                yield _outcome(shard, future)
            if day.wants_a_wave:
                wave: Wave = ()
                try:
                    wave = next(day.waves, ())
                except SourceError as error:
                    yield ShardOutcome(failure=f"{day.date}: {error}")
                day.newest_wave = len(wave)
                day.unfinished += _submitted(wave, submit, ended)
            if day.has_ended:
                del under_way[day.date]
    except GeneratorExit:
        raise
    except BaseException:
        for _ in range(sum(day.unfinished for day in under_way.values())):
            yield _outcome(*ended.get())
        raise


@dataclass
class _DayUnderWay:
    """A day whose shards are planned and run."""

    date: date
    waves: Iterator[Wave]
    unfinished: int = 0
    """Shards that were handed over and have not ended."""
    newest_wave: int | None = None
    """Shards of the wave that was planned last; 0 when there are no more, None before the first."""

    @property
    def wants_a_wave(self) -> bool:
        """Whether the next wave, or the first, is planned."""
        return self.newest_wave is None or is_next_due(self.newest_wave, self.unfinished)

    @property
    def has_ended(self) -> bool:
        """Whether all shards have been planned, and have ended."""
        return self.newest_wave == 0 and not self.unfinished


def _submitted(wave: Wave, submit: Submit, ended: SimpleQueue[tuple[PlannedShard, ShardFuture]]) -> int:
    """Hand a wave over, let its shards be noted as they end, and return how many they are."""
    if not wave:  # a night without anything new would start a cluster
        return 0
    for shard, future in zip(wave, submit(wave), strict=True):
        future.add_done_callback(partial(_note_end, ended, shard))
    return len(wave)


def _outcome(shard: PlannedShard, future: ShardFuture) -> ShardOutcome:
    """Return how a shard that has ended did so."""
    result = future.outcome()
    if isinstance(result, Counts):
        return ShardOutcome(counts=result)
    if isinstance(result, NotBegunError):
        return ShardOutcome()
    if isinstance(result, PartlyFailedError):
        return ShardOutcome(counts=result.counts, failure=f"{shard.name}: {result}")
    return ShardOutcome(failure=f"{shard.name}: {result}")


def _note_end(
    ended: SimpleQueue[tuple[PlannedShard, ShardFuture]], shard: PlannedShard, future: ShardFuture
) -> None:
    ended.put((shard, future))
