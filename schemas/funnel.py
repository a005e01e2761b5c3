"""From listed keys to labelled recordings: how many are left at each stage, and the names of some that fell out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emolake.schemas.records import NOT_AUDIO, NOT_MATCHED, Listing

EXAMPLES = 3
"""How many names are given of what fell out at a stage."""


@dataclass(frozen=True)
class FunnelStage:
    """What is left at one stage, and what fell out since the one before."""

    name: str
    left: int
    fell_out: int = 0
    examples: Sequence[str] = ()
    reasons: Sequence[str] = ()
    """How many fell out for what, where it is not by name: '29 done before'."""


def listed_stages(listing: Listing) -> Iterator[FunnelStage]:
    """Yield the stages of a listing: its keys, those that match the pattern, and those of them that are audio."""
    yield FunnelStage("listed", listing.listed)
    yield FunnelStage("matched", listing.matched, listing.not_matched, examples(listing, NOT_MATCHED))
    yield FunnelStage("audio", listing.found, listing.not_audio, examples(listing, NOT_AUDIO))


def listed_of_row(row: Mapping[str, Any]) -> Listing:
    """Return the listing that a row of `runs` tells of, as far as its stages go."""
    figures = {name: row[name] for name in ("found", "not_matched", "not_audio")}
    return Listing(**figures, named_keys=tuple(row["named_keys"]))


def done_before(skipped: int) -> Sequence[str]:
    """Return how many recordings an earlier run has done, as a reason; nothing of none."""
    return (f"{skipped} done before",) if skipped else ()


def examples(listing: Listing, reason: str) -> Sequence[str]:
    """Return some of the keys that were passed over for a reason."""
    said = f"{reason}: "
    named = [name.removeprefix(said) for name in listing.named_keys if name.startswith(said)]
    return tuple(named[:EXAMPLES])


def stage_rows(stages: Iterable[FunnelStage]) -> list[tuple[str, int, int | str, str]]:
    """Return a row of text and numbers for each stage, under `STAGE_COLUMNS`."""
    return [
        (stage.name, stage.left, stage.fell_out or "", "\n".join((*stage.reasons, *stage.examples)))
        for stage in stages
    ]


def stages_line(stages: Iterable[FunnelStage]) -> str:
    """Return the stages as one line.

    >>> stages_line([FunnelStage("listed", 9), FunnelStage("matched", 7, 2, ["a.wav", "b.wav"])])
    'listed 9 → matched 7 (not a.wav, b.wav)'
    >>> stages_line([FunnelStage("audio", 7), FunnelStage("done", 3, 4, reasons=["4 done before"])])
    'audio 7 → done 3 (4 done before)'
    """
    parts = []
    for stage in stages:
        without = (*stage.reasons, *([f"not {', '.join(stage.examples)}"] if stage.examples else ()))
        parts.append(f"{stage.name} {stage.left}" + (f" ({'; '.join(without)})" if without else ""))
    return " → ".join(parts)


STAGE_COLUMNS = ("stage", "left", "fell out", "for example")
