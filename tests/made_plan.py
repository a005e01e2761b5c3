"""What planning comes to, as tests look at it."""

from collections.abc import Iterable

from emolake.schemas.records import Listing, SourceObject
from emolake.tasks.plan import PlannedChunk


def work_of(chunks: Iterable[PlannedChunk]) -> list[SourceObject]:
    """The recordings that have to be analysed."""
    return [item for chunk in chunks for item in chunk.work]


def figures_of(chunks: Iterable[PlannedChunk]) -> Listing:
    """The figures of all chunks together."""
    return sum((chunk.figures for chunk in chunks), start=Listing())
