"""Segments that wait for a device, by their lengths, and the batches that are made of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from emolake.models.protocol import Batching

# What is padded to a longer one is at least this share of it.
_LEAST_SHARE = 0.8
# Batches of a fixed shape that seldom are full are so many times smaller than `batch_samples`: those of tails, beside
# full windows, and all where no length is the commonest. Of 300 calls of 30 to 300 s in windows of 10 s, one to eight
# shards compute 1.04 to 1.01 times the samples so, and 1.54 to 1.17 times in batches of one size.
_TAILS_SMALLER, _ANY_SMALLER = 8, 2


class Waiting(Protocol):
    """A segment that waits; `number` grows with every one that comes, and tells them apart."""

    @property
    def number(self) -> int:
        """Its place in the order of coming."""
        ...

    @property
    def length(self) -> int:
        """Its samples."""
        ...


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True)
class Batch(Generic[W]):
    """Segments that go together, in the order of coming, and the shape [rows, samples] in which they do."""

    members: Sequence[W]
    rows: int
    samples: int


@dataclass(frozen=True)
class _Place:
    """Where a segment waits, and the shape of its batches."""

    samples: int
    most: int
    is_whole: bool
    smaller: int = 1
    """How many times a batch is smaller than one of full windows."""


class LengthBuckets(Generic[W]):
    """Segments that wait, until a batch of them is taken.

    In fp32 a batch has the shape that its members need. In a lower precision a sum's order, which the shape of a batch
    decides, shows in the third digit: there `fixed` gives each length the one shape that all its batches have, filled
    up with silence, so that a segment's answer does not depend on its mates. Of batches that seldom are full
    it is smaller.
    """

    def __init__(
        self, batching: Batching, *, batch_samples: int, step: int, fixed: bool, whole: int | None
    ) -> None:
        """Begin without segments.

        Args:
            batching: which segments may share a batch.
            batch_samples: samples of a batch, padding included; it may be lowered later.
            step: with `fixed`, shapes are so many samples apart.
            fixed: whether each length has one shape.
            whole: length of a full window, the commonest; None where none is.
        """
        self.batch_samples = batch_samples
        self._batching, self._step, self._fixed, self._whole = batching, step, fixed, whole
        self._waiting: dict[_Place, dict[int, W]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, segment: W) -> None:
        """Let a segment wait, at its own place in the order of coming."""
        self._waiting.setdefault(self._place(segment.length), {})[segment.number] = segment

    def remove(self, segment: W) -> None:
        """Forget a segment; one that does not wait is none."""
        place = self._place(segment.length)
        if self._waiting.get(place, {}).pop(segment.number, None) is not None and not self._waiting[place]:
            del self._waiting[place]

    @property
    def has_full(self) -> bool:
        """Whether `full` has a batch."""
        return any(len(held) >= self._rows(place) for place, held in self._waiting.items())

    def full(self) -> Batch[W] | None:
        """Take a batch that is full with segments of one length; of several the one that waits longest, if any."""
        full = [place for place, held in self._waiting.items() if len(held) >= self._rows(place)]
        if not full:
            return None
        return self._taken(min(full, key=lambda place: min(self._waiting[place])))

    def around(self, segment: W) -> Batch[W]:
        """Take the batch of a segment that waits, with as many others as may share it."""
        place = self._place(segment.length)
        if self._fixed or self._batching is not Batching.MASKED:
            return self._taken(place, first=segment)
        members, rows = [segment], self.batch_samples
        longest = shortest = segment.length
        for other in self._neighbours(segment):
            longest, shortest = max(longest, other.length), min(shortest, other.length)
            if (len(members) + 1) * longest > rows or shortest < _LEAST_SHARE * longest:
                break
            members.append(other)
        return self._forgotten(members, len(members), max(each.length for each in members))

    def lower(self, batch: Batch[W]) -> None:
        """Make batches smaller for good, so that the shape of this one, of several rows, comes with half of them."""
        smaller = self._place(batch.members[0].length).smaller
        self.batch_samples = min(batch.rows * batch.samples * smaller // 2, self.batch_samples)

    def _neighbours(self, segment: W) -> Iterator[W]:
        """Yield the others, those of the nearest lengths first."""
        waiting = (each for held in self._waiting.values() for each in held.values() if each is not segment)
        return iter(sorted(waiting, key=lambda each: (abs(each.length - segment.length), each.number)))

    def _place(self, length: int) -> _Place:
        """Return where a length waits. A full window is never padded, so none of its batches has a mask."""
        if self._batching is Batching.SINGLE:
            return _Place(length, 1, is_whole=True)
        if not self._fixed or length == self._whole:
            return _Place(length, 0, is_whole=True)
        if self._batching is Batching.EQUAL_LENGTH:
            return _Place(length, 1, is_whole=True)
        samples = -(-length // self._step) * self._step
        smaller = _ANY_SMALLER if self._whole is None else _TAILS_SMALLER
        return _Place(samples, 0, is_whole=length == samples, smaller=smaller)

    def _rows(self, place: _Place) -> int:
        return place.most or max(1, self.batch_samples // place.smaller // place.samples)

    def _taken(self, place: _Place, first: W | None = None) -> Batch[W]:
        rows = self._rows(place)
        held = self._waiting[place]
        members = [held[number] for number in sorted(held)[:rows]]
        if first is not None and first not in members:
            members[-1] = first
        return self._forgotten(members, rows if self._fixed else len(members), place.samples)

    def _forgotten(self, members: list[W], rows: int, samples: int) -> Batch[W]:
        for each in members:
            self.remove(each)
        return Batch(sorted(members, key=lambda each: each.number), rows, samples)
