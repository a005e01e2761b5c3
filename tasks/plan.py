"""Plan: list the objects of one day, compare them with the ledger, and cut the difference into shards."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import accumulate, islice

import pyarrow as pa

from emolake.audio.containers.formats import bytes_per_second, is_audio
from emolake.lake.registration import registered
from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.schemas.records import NOT_AUDIO, NOT_MATCHED, AnalysisKey, Listing, SourceObject
from emolake.source.enrichment import NOTHING, Enrichment, is_audio_inside
from emolake.source.form import MatchedKey
from emolake.source.lookup import Lookup
from emolake.source.pattern import KeyPattern
from emolake.source.policy import EXCLUDED_CONFIG_ID, Policy
from emolake.source.store import Listed, Source
from emolake.sql import statement

_COMPARED_AT_ONCE = 10_000
_PLACED_AT_ONCE = 1_000
_SNIFFED_AT_ONCE = 16


@dataclass(frozen=True)
class PassedOver:
    """A key that is no recording."""

    key: str
    """The key, fit to be shown."""
    matched: bool
    """Whether it matches the pattern, and is no audio."""

    @property
    def reason(self) -> str:
        """What is said of it in `runs`."""
        return f"{NOT_AUDIO if self.matched else NOT_MATCHED}: {self.key}"


@dataclass(frozen=True)
class PlannedChunk:
    """What some of the keys of a day come to."""

    listed: Sequence[SourceObject]
    """Every recording among them."""
    work: Sequence[SourceObject]
    """Those of them that have to be analysed."""
    figures: Listing
    """How many there are of each kind; chunks' figures add up to the day's."""


def recording_id(uri: str) -> str:
    """Return the stable hash of a recording's URI, 128 bits in hexadecimal."""
    return hashlib.blake2b(uri.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def plan_day(
    source: Source,
    pattern: KeyPattern,
    lake: Lake | None,
    day: date,
    *,
    key: AnalysisKey,
    policy: Policy,
    force: bool = False,
    only: Set[str] | None = None,
    beyond: Enrichment = NOTHING,
) -> Iterator[PlannedChunk]:
    """Yield what has to be done of a day, some thousand keys at a time: memory does not grow with their number.

    Work are the recordings that the lake does not hold in this version, model and configuration.

    Args:
        source: where the recordings lie.
        pattern: how their keys are read.
        lake: the lake, or None when there is none yet.
        day: the local calendar day.
        key: model and configuration that the ledger is asked for.
        policy: which recordings are only recorded as excluded.
        force: work is also what the lake holds; never what was erased.
        only: identifiers of the recordings that are asked for; all when left out.
        beyond: what is looked up beyond keys.
    """
    found = list_day(source, pattern, day, beyond)
    while chunk := list(islice(found, _COMPARED_AT_ONCE)):
        listed = [item for item in chunk if isinstance(item, SourceObject)]
        asked = [item for item in listed if only is None or item.recording_id in only]
        lookup = beyond.dimensions
        early = lookup is not None and not lookup.names.isdisjoint(policy.exclude)
        if early:
            asked = _described(asked, lookup)
        asked = [replace(item, excluded=policy.rules_out(item.dimensions)) for item in asked]
        states = ["missing"] * len(asked) if lake is None else _states(lake, asked, day, key)
        work = [
            (item, state)
            for item, state in zip(asked, states, strict=True)
            if state != "erased" and (force or state != "done")
        ]
        passed_over = [item for item in chunk if isinstance(item, PassedOver)]
        if beyond.sniff:
            silent = _no_audio(source, [item for item, _ in work])
            passed_over += [PassedOver(redacted(item.key), matched=True) for item in silent.values()]
            listed = [item for item in listed if item.key not in silent]
            work = [(item, state) for item, state in work if item.key not in silent]
        if not early:
            described = _described([item for item, _ in work], lookup)
            work = [(item, state) for item, (_, state) in zip(described, work, strict=True)]
        yield PlannedChunk(listed, [item for item, _ in work], _figures(len(listed), work, passed_over))


def _figures(
    found: int, work: Sequence[tuple[SourceObject, str]], passed_over: Sequence[PassedOver]
) -> Listing:
    states = [state for _, state in work]
    return Listing(
        found=found,
        skipped=found - len(work),
        missing=states.count("missing"),
        stale=states.count("stale") + states.count("done"),
        failed=states.count("failed"),
        estimated_seconds=sum(estimated_seconds(item) for item, _ in work if not item.excluded),
        not_matched=sum(not item.matched for item in passed_over),
        not_audio=sum(item.matched for item in passed_over),
        named_keys=tuple(item.reason for item in passed_over),
    )


def _described(items: Sequence[SourceObject], lookup: Lookup | None) -> list[SourceObject]:
    """Return recordings with the dimensions that their keys do not hold."""
    if lookup is None:
        return list(items)
    found = lookup.of([item.key for item in items])
    return [replace(item, dimensions=item.dimensions | more) for item, more in zip(items, found, strict=True)]


def _no_audio(source: Source, items: Iterable[SourceObject]) -> dict[str, SourceObject]:
    """Return by key what is no audio of the recordings whose ending does not say what they are."""
    asked = [item for item in items if not is_audio(item.key) and not item.excluded]
    with ThreadPoolExecutor(_SNIFFED_AT_ONCE, thread_name_prefix="sniff") as pool:
        found = list(pool.map(lambda item: is_audio_inside(source, item.key, item.version), asked))
    return {item.key: item for item, audio in zip(asked, found, strict=True) if not audio}


def list_day(
    source: Source, pattern: KeyPattern, day: date, beyond: Enrichment = NOTHING
) -> Iterator[SourceObject | PassedOver]:
    """Yield every recording of a day as listed, and every key that is none."""
    undated: list[tuple[Listed, MatchedKey]] = []
    for place in pattern.day_prefixes(day, source.list_prefixes):
        for entry in source.list(place.prefix):
            if entry.key.endswith("/"):
                continue  # the marker of an empty folder, as consoles make them
            matched = pattern.match(entry.key)
            if matched is None or not _is_text(entry.key):
                if place.neighbour:
                    continue  # named on the day that its prefix is of
                yield PassedOver(redacted(repr(entry.key)[1:-1]), matched=False)
            elif matched.date is None and beyond.may_be_audio(entry.key):
                undated.append((entry, matched))
                if len(undated) == _PLACED_AT_ONCE:
                    yield from _placed(source, undated, day, beyond)
                    undated = []
            elif matched.date not in (None, day):
                continue  # another day's, under a prefix that the days share
            elif not beyond.may_be_audio(entry.key):
                yield PassedOver(redacted(entry.key), matched=True)
            else:
                yield source_object(source, entry, day, matched.recorded_at, matched.dimensions)
    yield from _placed(source, undated, day, beyond)


def _placed(
    source: Source, undated: Sequence[tuple[Listed, MatchedKey]], day: date, beyond: Enrichment
) -> Iterator[SourceObject | PassedOver]:
    """Yield those of the objects without a date in their keys that are the day's, and those that have none at all."""
    if not undated:
        return
    assert beyond.place is not None, "patterns without a date come with source.date_from"
    places = beyond.place([entry for entry, _ in undated], day)
    for (entry, matched), place in zip(undated, places, strict=True):
        if place is None:
            yield PassedOver(f"{redacted(entry.key)} (source.date_from gives it no date)", matched=False)
        elif place.date == day:
            yield source_object(source, entry, day, place.recorded_at, matched.dimensions)


def source_object(
    source: Source, entry: Listed, day: date, recorded_at: datetime | None, dimensions: dict[str, str]
) -> SourceObject:
    """Return an object of a listing as a recording of a day; `recorded_at` is in UTC."""
    uri = source.object_uri(entry.key)
    return SourceObject(
        key=entry.key,
        uri=uri,
        recording_id=recording_id(uri),
        version=entry.version,
        size_bytes=entry.size_bytes,
        date=day,
        recorded_at=recorded_at,
        dimensions=dimensions,
    )


def shards(
    objects: Iterable[SourceObject], *, shard_seconds: float, shard_objects: int
) -> Iterator[list[SourceObject]]:
    """Cut a day's recordings into shards, bounded by their estimated audio and by number.

    The last two share what is left evenly: they run side by side, and a day ends with the longer one.

    Shards are a deterministic function of the plan.
    """
    last: list[list[SourceObject]] = []
    for shard in _filled(objects, shard_seconds, shard_objects):
        if len(last) == 2:
            yield last.pop(0)
        last.append(shard)
    yield from _evened(last[0], last[1], shard_objects) if len(last) == 2 else last


def _filled(
    objects: Iterable[SourceObject], shard_seconds: float, shard_objects: int
) -> Iterator[list[SourceObject]]:
    """Fill one shard after the other."""
    shard: list[SourceObject] = []
    seconds = 0.0
    for item in objects:
        estimated = estimated_seconds(item)
        if shard and (seconds + estimated > shard_seconds or len(shard) == shard_objects):
            yield shard
            shard, seconds = [], 0.0
        shard.append(item)
        seconds += estimated
    if shard:
        yield shard


def _evened(
    first: list[SourceObject], second: list[SourceObject], shard_objects: int
) -> tuple[list[SourceObject], list[SourceObject]]:
    """Cut two shards again, in their order, so that the longer one is as short as can be."""
    both = first + second
    ends = list(accumulate(map(estimated_seconds, both)))

    def cost(cut: int) -> tuple[float, int]:
        # Rounded, so that of cuts that are alike but for float's last digit the one that was stays.
        return round(max(ends[cut - 1], ends[-1] - ends[cut - 1]), 6), abs(cut - len(first))

    # The cut that was is one of them, so that neither bound is passed.
    cut = min(range(max(1, len(both) - shard_objects), min(len(both) - 1, shard_objects) + 1), key=cost)
    return both[:cut], both[cut:]


def estimated_seconds(item: SourceObject) -> float:
    """Return a guess of a recording's length from its size and extension."""
    return item.size_bytes / bytes_per_second(item.key)


def _states(lake: Lake, chunk: list[SourceObject], day: date, key: AnalysisKey) -> list[str]:
    """Return for each object what the lake holds of it: done, stale, failed or missing."""
    if not chunk:  # a table without rows has columns without types, which compare with nothing
        return []
    listed = pa.table(
        {
            "position": range(len(chunk)),
            "recording_id": [item.recording_id for item in chunk],
            "version": [item.version for item in chunk],
            "config_id": [EXCLUDED_CONFIG_ID if item.excluded else key.config_id for item in chunk],
        }
    )
    with registered(lake.connection, listed=listed):
        parameters = {"date": day, "model": key.model}
        return [state for _, state in lake.answered_rows(statement("state_of_listed"), parameters)]


def _is_text(key: str) -> bool:
    """Return whether a key can be stored: names on disk need not be Unicode."""
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
