"""Plan: list the objects of one day, compare them with the ledger, and cut the difference into shards."""

import hashlib
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import accumulate, islice

import pyarrow as pa

from emolake.audio.containers.formats import bytes_per_second, is_audio
from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.pipeline.presence import Presence
from emolake.schemas.records import AnalysisKey, SourceObject
from emolake.source.pattern import KeyPattern
from emolake.source.policy import EXCLUDED_CONFIG_ID, Policy
from emolake.source.store import Source
from emolake.sql import statement

_COMPARED_AT_ONCE = 10_000
_KEYS_NAMED = 100


@dataclass
class Listing:
    """What the listing of a day came to; filled while `plan_day` is consumed.

    `found` recordings are either `skipped`, because the lake holds them, or `missing`, `stale` or `failed`, with
    `estimated_seconds` of audio. `named_keys` holds the first hundred of the keys that were passed over, each with
    the reason.
    """

    found: int = 0
    skipped: int = 0
    missing: int = 0
    stale: int = 0
    failed: int = 0
    estimated_seconds: float = 0.0
    not_matched: int = 0
    not_audio: int = 0
    named_keys: list[str] = field(default_factory=list)

    def name(self, why: str, key: str) -> None:
        """Remember a key that was passed over."""
        if len(self.named_keys) < _KEYS_NAMED:
            self.named_keys.append(f"{why}: {redacted(key)}")


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
    listing: Listing,
    force: bool = False,
    policy: Policy,
    only: Set[str] | None = None,
    presence: Presence | None = None,
) -> Iterator[SourceObject]:
    """Yield the recordings of a day that the lake does not hold in this version, model and configuration.

    Memory does not grow with the number of keys.

    Args:
        source: where the recordings lie.
        pattern: how their keys are read.
        lake: the lake, or None when there is none yet.
        day: the local calendar day.
        key: model and configuration that the ledger is asked for.
        listing: takes the figures.
        policy: which recordings are only recorded as excluded.
        force: yield also what the lake holds; never what was erased.
        only: identifiers of the recordings that are asked for; all when left out.
        presence: takes note of all that is listed.
    """
    found = list_day(source, pattern, day, listing)
    while chunk := list(islice(found, _COMPARED_AT_ONCE)):
        if presence is not None:
            presence.see(chunk)
        if only is not None:
            listing.skipped += sum(item.recording_id not in only for item in chunk)
            chunk = [item for item in chunk if item.recording_id in only]
        chunk = [
            replace(item, excluded=why) if (why := policy.rules_out(item.dimensions)) else item
            for item in chunk
        ]
        states = ["missing"] * len(chunk) if lake is None else _states(lake, chunk, day, key)
        for item, state in zip(chunk, states, strict=True):
            if state == "erased" or (state == "done" and not force):
                listing.skipped += 1
                continue
            listing.missing += state == "missing"
            listing.stale += state in ("stale", "done")
            listing.failed += state == "failed"
            listing.estimated_seconds += 0 if item.excluded else estimated_seconds(item)
            yield item


def list_day(source: Source, pattern: KeyPattern, day: date, listing: Listing) -> Iterator[SourceObject]:
    """Yield every recording of a day as listed; what is none is counted and named in `listing`."""
    for prefix in pattern.day_prefixes(day, source.list_prefixes):
        for entry in source.list(prefix):
            if entry.key.endswith("/"):
                continue  # the marker of an empty folder, as consoles make them
            matched = pattern.match(entry.key)
            if matched is None or not _is_text(entry.key):
                listing.not_matched += 1
                listing.name("does not match the pattern", repr(entry.key)[1:-1])
            elif matched.date != day:
                continue  # another day's, under a prefix that the days share
            elif not is_audio(entry.key):
                listing.not_audio += 1
                listing.name("is no audio", entry.key)
            else:
                listing.found += 1
                uri = source.object_uri(entry.key)
                yield SourceObject(
                    key=entry.key,
                    uri=uri,
                    recording_id=recording_id(uri),
                    version=entry.version,
                    size_bytes=entry.size_bytes,
                    date=day,
                    recorded_at=matched.recorded_at,
                    dimensions=matched.dimensions,
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
    """Cut two shards anew, in their order, so that the longer one is as short as can be."""
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
    listed = pa.table(
        {
            "position": range(len(chunk)),
            "recording_id": [item.recording_id for item in chunk],
            "version": [item.version for item in chunk],
            "config_id": [EXCLUDED_CONFIG_ID if item.excluded else key.config_id for item in chunk],
        }
    )
    lake.connection.register("listed", listed)
    try:
        parameters = {"date": day, "model": key.model}
        return [state for _, state in lake.rows(statement("state_of_listed"), parameters)]
    finally:
        lake.connection.unregister("listed")


def _is_text(key: str) -> bool:
    """Tell whether a key can be stored: names on disk need not be Unicode."""
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
