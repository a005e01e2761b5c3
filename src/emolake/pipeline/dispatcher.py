"""Which worker gets which shard next: the rules of a cluster, without one.

Workers pull. The largest portion of audio goes first, and when little is left the largest is halved, so that the last
ones end together. A worker that dies loses its portion to another; a portion that killed twice is bisected until the
recording is found. Nothing here waits, knows the time or knows Ray: whoever drives it says what happened and when, and
every event takes O(log n) of the portions that wait.

How it is driven, by `emolake.pipeline.ray_engine` with actors and by a simulation with an event queue:

    dispatcher = Dispatcher(seconds=estimated_seconds, least_seconds=450.0)
    dispatcher.join("a")                        # a worker is there; `leave` when it is gone for good
    dispatcher.add(wave)                        # anything with `objects`, such as PlannedShard
    portion = dispatcher.assign("a", now)       # None: nothing to do yet; again after `add`, or at `next_turn`
    dispatcher.sign("a", now)                   # whenever it says how far it is; see `silent`
    ended = dispatcher.done("a", result)        # or `failed`, or `died`, and `condemned` for what that returns
    portion = dispatcher.release("a")           # instead of `done`, where its result is still to be committed, and
    ended = dispatcher.condemned(portion, result)  # this then

`done`, `failed` and `condemned` return the shard as an `EndedShard` when the last of its portions has ended, else None.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import accumulate, count
from math import inf, isfinite
from typing import Generic, Protocol, TypeVar

# A portion that killed so many workers is bisected; a recording by itself that did is quarantined.
KILLS = 2
# No portion is handed out that is larger than so many times a worker's fair share of what waits.
_FAIR_SHARES = 1.5


class Cuttable(Protocol):
    """A shard, as far as it matters here."""

    @property
    def objects(self) -> Sequence["object"]:
        """Its recordings."""
        ...


S = TypeVar("S", bound=Cuttable)
R = TypeVar("R")


@dataclass(frozen=True)
class Portion(Generic[S]):
    """What a worker is given: a shard, or a part of one that its shard is always cut into in the same places."""

    shard: S
    number: int
    """Of the shard, in the order in which they were added."""
    first: int
    """Place of its first recording in the shard."""
    stop: int
    """Place behind its last one."""
    seconds: float
    """Estimated audio in it."""
    deaths: int = 0
    """Workers that died at it; half of a portion that was bisected begins with one, so that the next bisects it."""
    tries: int = 0
    """Tries that failed, and may succeed later."""

    @property
    def recordings(self) -> int:
        """How many there are in it."""
        return self.stop - self.first

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its shard."""
        return self.recordings == len(self.shard.objects)


@dataclass
class EndedShard(Generic[S, R]):
    """What became of a shard whose last portion has ended."""

    shard: S
    results: list[R] = field(default_factory=list)
    """What its portions came to that were done."""
    errors: list[BaseException] = field(default_factory=list)
    """Why others failed."""


@dataclass
class _Open(Generic[S, R]):
    """A shard of which something is still to be done."""

    ended: EndedShard[S, R]
    portions: int = 1
    """How many of its portions have not ended."""


@dataclass(frozen=True)
class _Task(Generic[S]):
    """A portion that a worker is at."""

    portion: Portion[S]
    number: int


class Dispatcher(Generic[S, R]):
    """See the module; `S` is what shards are, and `R` what a worker makes of a portion."""

    def __init__(
        self,
        *,
        seconds: Callable[[object], float],
        least_seconds: float,
        retries: int = 0,
        retry_delay_s: float = 0.0,
        silence_s: float = inf,
    ) -> None:
        """Begin without workers and shards.

        Args:
            seconds: estimates the audio of a recording.
            least_seconds: no portion is halved to even out the end that has not twice as much.
            retries: how often a portion is tried again whose failure may pass.
            retry_delay_s: pause before that.
            silence_s: a worker that gives no sign for so long is silent.
        """
        self._seconds, self._least = seconds, least_seconds
        self._retries, self._retry_delay_s, self._silence_s = retries, retry_delay_s, silence_s
        self._numbers = count()
        self._open: dict[int, _Open[S, R]] = {}
        self._waiting: list[tuple[int, float, int, Portion[S]]] = []  # a heap
        self._waiting_seconds = 0.0
        self._delayed: list[tuple[float, int, Portion[S]]] = []  # a heap by the time of their turn
        self._at_work: dict[Hashable, _Task[S]] = {}
        self._signs: dict[Hashable, float] = {}
        self._deadlines: list[
            tuple[float, int, Hashable]
        ] = []  # a heap, in which those that were put off stay
        self._workers: set[Hashable] = set()

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def waiting(self) -> int:
        """How many portions no worker is at, those included whose turn is later."""
        return len(self._waiting) + len(self._delayed)

    @property
    def at_work(self) -> int:
        """How many portions are at work."""
        return len(self._at_work)

    @property
    def busy(self) -> list[Hashable]:
        """The workers at work."""
        return list(self._at_work)

    @property
    def next_turn(self) -> float | None:
        """When the first of the delayed portions has its turn; None while there is none."""
        return self._delayed[0][0] if self._delayed else None

    def join(self, worker: Hashable) -> None:
        """Add a worker."""
        self._workers.add(worker)

    def leave(self, worker: Hashable) -> None:
        """Remove a worker that is gone for good; a portion that it was at has been taken from it by then."""
        self._workers.discard(worker)

    def add(self, shards: Iterable[S]) -> None:
        """Add shards."""
        for shard in shards:
            number = next(self._numbers)
            self._open[number] = _Open(EndedShard(shard))
            seconds = sum(map(self._seconds, shard.objects))
            self._wait(Portion(shard, number, 0, len(shard.objects), seconds))

    def assign(self, worker: Hashable, now: float) -> Portion[S] | None:
        """Give a worker that is free its next portion; None while there is none.

        The largest goes first, and what is suspected of killing workers goes last. One that is much more than a
        worker's fair share of what waits is halved first.
        """
        while self._delayed and self._delayed[0][0] <= now:
            self._wait(heappop(self._delayed)[2])
        if not self._waiting:
            return None
        fair = self._waiting_seconds / max(1, len(self._workers)) * _FAIR_SHARES
        portion = self._take()
        while portion.seconds > fair and portion.seconds >= 2 * self._least and portion.recordings > 1:
            portion, other = sorted(self._halves(portion), key=lambda half: -half.seconds)
            self._wait(other)
        number = next(self._numbers)
        self._at_work[worker] = _Task(portion, number)
        self._signs[worker] = now
        if isfinite(self._silence_s):
            heappush(self._deadlines, (now + self._silence_s, number, worker))
        return portion

    def at(self, worker: Hashable) -> Portion[S] | None:
        """Return the portion that a worker is at."""
        task = self._at_work.get(worker)
        return None if task is None else task.portion

    def sign(self, worker: Hashable, now: float) -> None:
        """Note that a worker has got further."""
        if worker in self._at_work:
            self._signs[worker] = now

    def silent(self, now: float) -> Iterator[Hashable]:
        """Yield, once for each portion, the workers at one that have given no sign for too long."""
        while self._deadlines and self._deadlines[0][0] <= now:
            _, number, worker = heappop(self._deadlines)
            task = self._at_work.get(worker)
            if task is None or task.number != number:
                continue  # it has ended
            deadline = self._signs[worker] + self._silence_s
            if deadline > now:
                heappush(self._deadlines, (deadline, number, worker))
            else:
                yield worker

    def done(self, worker: Hashable, result: R) -> EndedShard[S, R] | None:
        """Note what a worker made of its portion."""
        return self._end(self._taken_from(worker), result=result)

    def release(self, worker: Hashable) -> Portion[S]:
        """Take the portion from a worker that is done with it, while its result is still on its way to the lake.

        Its end is noted by `condemned`.
        """
        return self._taken_from(worker)

    def failed(
        self, worker: Hashable, error: BaseException, now: float, *, again: bool
    ) -> EndedShard[S, R] | None:
        """Note that a worker's portion failed, and whether another try may succeed; the worker is well."""
        portion = self._taken_from(worker)
        if again and portion.tries < self._retries:
            delayed = replace(portion, tries=portion.tries + 1)
            heappush(self._delayed, (now + self._retry_delay_s, next(self._numbers), delayed))
            return None
        return self._end(portion, error=error)

    def died(self, worker: Hashable, *, blamed: bool = True) -> Portion[S] | None:
        """Take the portion from a worker that has died, and let others have it.

        Args:
            worker: it may come back, or `leave`.
            blamed: whether the portion may be why; not where its machine is gone.

        Returns:
            the portion, if it is one recording that killed twice: it is nobody's any more, and `condemned` ends it.
        """
        portion = self._taken_from(worker)
        if not blamed:
            self._wait(portion)
            return None
        portion = replace(portion, deaths=portion.deaths + 1)
        if portion.deaths < KILLS:
            self._wait(portion)
        elif portion.recordings == 1:
            return portion
        else:
            middle = (portion.first + portion.stop) // 2
            for half in self._cut(portion, middle):
                # One death tells of which half it is; only of a recording by itself it could be chance.
                self._wait(replace(half, deaths=KILLS - 1 if half.recordings > 1 else 0))
        return None

    def condemned(
        self, portion: Portion[S], result: R | None = None, error: BaseException | None = None
    ) -> EndedShard[S, R] | None:
        """Note what came of a portion that `died` or `release` returned: its figures, or why there are none."""
        return self._end(portion, result=result, error=error)

    def drop(self, error: BaseException | None = None) -> list[EndedShard[S, R]]:
        """Give up all portions that wait, for an error or because nobody wants them; return the shards that ends."""
        dropped = [waiting[-1] for waiting in self._waiting] + [delayed[-1] for delayed in self._delayed]
        self._waiting.clear()
        self._delayed.clear()
        self._waiting_seconds = 0.0
        ended = (self._end(portion, error=error) for portion in dropped)
        return [each for each in ended if each is not None]

    def _wait(self, portion: Portion[S]) -> None:
        heappush(self._waiting, (portion.deaths, -portion.seconds, next(self._numbers), portion))
        self._waiting_seconds += portion.seconds

    def _take(self) -> Portion[S]:
        *_, portion = heappop(self._waiting)
        self._waiting_seconds = self._waiting_seconds - portion.seconds if self._waiting else 0.0
        return portion

    def _taken_from(self, worker: Hashable) -> Portion[S]:
        self._signs.pop(worker, None)
        return self._at_work.pop(worker).portion

    def _halves(self, portion: Portion[S]) -> tuple[Portion[S], Portion[S]]:
        """Cut a portion where its halves are as even in seconds as can be."""
        objects = portion.shard.objects[portion.first : portion.stop]
        ends = list(accumulate(map(self._seconds, objects)))
        cut = min(range(1, len(objects)), key=lambda place: abs(ends[-1] - 2 * ends[place - 1]))
        return self._cut(portion, portion.first + cut)

    def _cut(self, portion: Portion[S], place: int) -> tuple[Portion[S], Portion[S]]:
        self._open[portion.number].portions += 1
        return self._part(portion, portion.first, place), self._part(portion, place, portion.stop)

    def _part(self, portion: Portion[S], first: int, stop: int) -> Portion[S]:
        seconds = sum(map(self._seconds, portion.shard.objects[first:stop]))
        return replace(portion, first=first, stop=stop, seconds=seconds)

    def _end(
        self, portion: Portion[S], result: R | None = None, error: BaseException | None = None
    ) -> EndedShard[S, R] | None:
        state = self._open[portion.number]
        state.portions -= 1
        if result is not None:
            state.ended.results.append(result)
        if error is not None:
            state.ended.errors.append(error)
        if state.portions:
            return None
        del self._open[portion.number]
        return state.ended
