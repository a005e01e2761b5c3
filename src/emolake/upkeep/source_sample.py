"""A sample of the source: what its keys, and a few of its recordings, come to; never a listing of all there is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

from emolake.errors import EmolakeError
from emolake.messages import counted
from emolake.models.registry import ModelEntry
from emolake.pipeline.loaded_models import loaded_model
from emolake.pipeline.rows import Analysis
from emolake.pipeline.shard import analyse
from emolake.pipeline.timings import Timings
from emolake.schemas.funnel import EXAMPLES, FunnelStage, listed_stages, stages_line
from emolake.schemas.records import Listing, SourceObject
from emolake.settings import Settings
from emolake.source.enrichment import enrichment
from emolake.source.opening import open_source
from emolake.source.sampling import spread
from emolake.source.store import Listed, Source
from emolake.tasks.plan import PassedOver, estimated_seconds, list_day

# Folders that are looked into at each depth, and how many of their own are seen to choose from.
_FOLDERS = 12
_FOLDERS_SEEN = 1000
_KEYS_OF_FOLDER = 25
_RECORDINGS = 6
_SECONDS = 60.0
_LONG_AGO = date(1970, 1, 2)  # before which no object was written: none is passed over by its age


@dataclass
class Sample:
    """Some objects of a source, as a source of their own: they are listed as all would be."""

    uri: str
    source: Source
    entries: Sequence[Listed]
    folders: int
    """How many folders they are from."""

    def list(self, prefix: str) -> Iterator[Listed]:
        """Yield the objects of the sample whose key starts with the prefix."""
        return (each for each in self.entries if each.key.startswith(prefix))

    def list_prefixes(self, prefix: str) -> Iterator[str]:
        """Yield the folders directly under a prefix that hold something of the sample."""
        below = (each.key[len(prefix) :].partition("/") for each in self.list(prefix))
        yield from dict.fromkeys(f"{prefix}{name}/" for name, slash, _ in below if slash)

    def object_uri(self, key: str) -> str:
        """Return the URI of an object."""
        return self.source.object_uri(key)

    def local_path(self, key: str) -> Path | None:
        """Return where an object can be read in place."""
        return self.source.local_path(key)

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        """Yield the object's bytes."""
        return self.source.read(key, version, offset)


def sampled(settings: Settings) -> Sample:
    """Return keys of folders from all over the source: at each depth the first, the last and some between."""
    source = open_source(settings.source.uri, settings.source.s3)
    entries = {each.key: each for each in islice(source.list(""), _KEYS_OF_FOLDER)}
    level, leaves = [""], list[str]()
    while level:
        below: list[str] = []
        for prefix in level:
            inner = list(islice(source.list_prefixes(prefix), _FOLDERS_SEEN))
            below += spread(inner, _FOLDERS)
            if not inner:
                leaves.append(prefix)
        level = spread(below, _FOLDERS)
    for prefix in leaves:
        entries |= {each.key: each for each in islice(source.list(prefix), _KEYS_OF_FOLDER)}
    return Sample(source.uri, source, list(entries.values()), len(leaves))


def matched_keys(settings: Settings, sample: Sample) -> str:
    """Return how many keys of a sample match the pattern and are audio.

    Raises:
        EmolakeError: none of them does.
    """
    pattern = settings.source.pattern
    listing, _ = _listed(settings, sample)
    if not listing.listed:
        return f"{pattern} (nothing to try it on)"
    of = f"{counted(listing.listed, 'key')} from {counted(sample.folders, 'folder')}"
    if not listing.matched:
        named = ", ".join(repr(name.partition(": ")[2]) for name in listing.named_keys[:EXAMPLES])
        raise EmolakeError(f"none of {of} matches {pattern!r}, for example {named}; correct source.pattern")
    return f"{pattern}: {stages_line(listed_stages(listing))}, of {of}"


def tried_recordings(settings: Settings, entry: ModelEntry, sample: Sample) -> str:
    """Fetch, decode and classify a few short recordings of a sample; return how far they came.

    Raises:
        EmolakeError: none of them can be decoded.
    """
    _, found = _listed(settings, sample)
    allowed = [each for each in found if settings.policy.rules_out(each.dimensions) is None]
    chosen = _short(spread(allowed, _RECORDINGS)) or _short(sorted(allowed, key=estimated_seconds)[:1])
    if not chosen:
        return f"none of {counted(len(found), 'recording')} of the sample is short enough to be tried here"
    model = loaded_model(entry, settings.inference)
    analyses = list(analyse(chosen, source=sample.source, model=model, settings=settings, timings=Timings()))
    decoded = [each for each in analyses if each.is_decoded]
    bad = tuple(f"{each.item.key}: {each.reason}" for each in analyses if not each.is_decoded)
    if not decoded:
        raise EmolakeError(f"none of {counted(len(chosen), 'recording')} could be decoded: {bad[0]}")
    speech = [each for each in decoded if each.has_speech or each.has_label]
    labelled = [each for each in speech if each.has_label]
    stages = [
        FunnelStage("tried", len(chosen)),
        FunnelStage("decoded", len(decoded), len(bad), bad[:EXAMPLES]),
        FunnelStage("speech", len(speech), examples=_without(decoded, speech)),
        FunnelStage("labelled", len(labelled), examples=_without(speech, labelled)),
    ]
    return stages_line(stages)


def _without(before: Sequence[Analysis], after: Sequence[Analysis]) -> Sequence[str]:
    kept = {each.item.key for each in after}
    return [each.item.key for each in before if each.item.key not in kept][:EXAMPLES]


def _listed(settings: Settings, sample: Sample) -> tuple[Listing, list[SourceObject]]:
    """Return the figures of a sample, and its recordings: each day of it is listed as a run would."""
    pattern, beyond = settings.source.key_pattern(), enrichment(sample, settings.source)
    matches = [(each, pattern.match(each.key)) for each in sample.entries if not each.key.endswith("/")]
    undated = [each for each, matched in matches if matched is not None and matched.date is None]
    places = beyond.place(undated, _LONG_AGO) if beyond.place is not None else []
    days = {matched.date for _, matched in matches if matched is not None and matched.date is not None}
    days |= {place.date for place in places if place is not None}
    items = [item for day in sorted(days) for item in list_day(sample, pattern, day, beyond)]
    found = [item for item in items if isinstance(item, SourceObject)]
    not_audio = [item for item in items if isinstance(item, PassedOver) and item.matched]
    strangers = [each.key for each, matched in matches if matched is None]
    strangers += [each.key for each, place in zip(undated, places, strict=True) if place is None]
    names = [*(PassedOver(repr(key)[1:-1], matched=False) for key in strangers), *not_audio]
    listing = Listing(
        found=len(found),
        not_matched=len(strangers),
        not_audio=len(not_audio),
        named_keys=tuple(each.reason for each in names),
    )
    return listing, found


def _short(items: Sequence[SourceObject]) -> list[SourceObject]:
    """Return as many of the recordings as last no longer than `_SECONDS` together."""
    chosen, seconds = list[SourceObject](), 0.0
    for item in sorted(items, key=estimated_seconds):
        seconds += estimated_seconds(item)
        if seconds <= _SECONDS or (not chosen and seconds <= 10 * _SECONDS):
            chosen.append(item)
    return chosen
