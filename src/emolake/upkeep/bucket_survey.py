"""What a bucket or a folder looks like: a pattern for its keys, the zone that they are in, and channels."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from statistics import median
from zoneinfo import ZoneInfo

from emolake.audio.containers.formats import is_audio
from emolake.errors import BadRecordingError, EmolakeError
from emolake.messages import counted
from emolake.source.access import SourceOptions
from emolake.source.opening import open_source
from emolake.source.pattern import KeyPattern
from emolake.source.proposal import propose, swapped
from emolake.source.sampling import spread
from emolake.source.store import Listed, Source
from emolake.tasks.decode import AudioReader
from emolake.tasks.fetch import FetchOptions, fetch
from emolake.tasks.plan import source_object

_FOLDERS_OF_ONE = 6
_KEYS_OF_ONE = 60
_MOST_KEYS = 2_000
_MOST_LISTINGS = 200
_OPENED = 6
_MOST_OPENED_BYTES = 32 << 20
# An object is written when its call has ended: later than its beginning, and no more than this in a bucket that is
# filled as calls come in.
_LATEST_H = 12.0
_EARLIEST_H = -0.05


@dataclass
class Survey:
    """What was found, as values of the configuration by section and key, and sentences on them."""

    values: dict[tuple[str, str], object] = field(default_factory=dict)
    notes: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def note(self, section: str, key: str, sentence: str) -> None:
        """Add a sentence on a key of the configuration."""
        self.notes.setdefault((section, key), []).append(sentence)


def survey(options: SourceOptions) -> Survey:
    """Look at keys of many folders and at some recordings.

    Raises:
        EmolakeError: the source cannot be listed, or holds nothing.
    """
    source = open_source(options.uri, options.s3)
    entries = [each for each in _sampled(source) if not each.key.endswith("/")]
    if not entries:
        raise EmolakeError(f"{source.uri} holds no object; there is nothing to propose a pattern from")
    found = Survey()
    recordings = [each for each in entries if is_audio(each.key)]
    if not recordings:
        recordings = entries
        found.values["source", "sniff"] = True
        found.note("source", "sniff", "Seen: no key ends like audio.")
    pattern = _pattern(found, recordings)
    if pattern is not None:
        _zone(found, recordings, pattern, options)
    _channels(found, source, recordings)
    return found


def _sampled(source: Source) -> list[Listed]:
    """Return keys of many folders: of each level the first, the last and some between."""
    entries: dict[str, Listed] = {}
    folders = [""]
    for _ in range(_MOST_LISTINGS):
        if not folders or len(entries) >= _MOST_KEYS:
            break
        folder = folders.pop(0)
        below = list(islice(source.list_prefixes(folder), 1000))
        entries |= {each.key: each for each in islice(source.list(folder), _KEYS_OF_ONE if below else 500)}
        folders += spread(below, _FOLDERS_OF_ONE)
    return list(entries.values())


def _pattern(found: Survey, entries: Sequence[Listed]) -> KeyPattern | None:
    keys = [each.key for each in entries]
    proposal = propose(keys)
    if not proposal.patterns:
        found.note(
            "source",
            "pattern",
            f"Seen: no pattern for keys such as {keys[0]!r}; write one, see docs/layouts.md.",
        )
        return None
    pattern = KeyPattern(proposal.patterns, ZoneInfo("UTC"), undated=not proposal.dated)
    one = len(proposal.patterns) == 1
    found.values["source", "pattern"] = proposal.patterns[0] if one else list(proposal.patterns)
    share = f"{proposal.matched} of {counted(proposal.keys, 'key')}"
    found.note("source", "pattern", f"Seen: {share} that were looked at match. Give the names their meaning.")
    if "site" not in pattern.dimensions:
        found.values["aggregate", "by"] = []
        found.note(
            "aggregate",
            "by",
            "Seen: no site; name dimensions of the pattern that the daily table is broken down by.",
        )
    if not proposal.dated:
        found.values["source", "date_from"] = "last_modified"
        found.note(
            "source",
            "date_from",
            "Seen: keys show no date. The day is that of the upload, and every day lists the whole source.",
        )
    for text in proposal.patterns:
        other = swapped(text)
        if other != text and all(_reads(other, key) for key in keys if _reads(text, key)):
            found.note(
                "source", "pattern", f"Seen: day and month may as well be the other way around: {other}"
            )
    for sentence in pattern.notes:
        found.note("source", "pattern", f"Note: {sentence}.")
    return pattern


def _reads(text: str, key: str) -> bool:
    return KeyPattern(text, ZoneInfo("UTC"), undated=True).match(key) is not None


def _zone(found: Survey, entries: Sequence[Listed], pattern: KeyPattern, options: SourceOptions) -> None:
    """Compare the times in keys with when the objects were written."""
    times = [
        (matched.recorded_at, each.modified)
        for each in entries
        if (matched := pattern.match(each.key)) and matched.recorded_at and each.modified
    ]
    if pattern.says_zone or not times:
        if pattern.says_zone:
            found.note("source", "key_timezone", "Seen: keys say their zone themselves.")
        return
    asked = {"UTC": ZoneInfo("UTC"), options.timezone: options.zone}
    hours = {name: median(_hours(*each, zone) for each in times) for name, zone in asked.items()}
    likely = {name: each for name, each in hours.items() if _EARLIEST_H <= each <= _LATEST_H}
    if not likely:
        found.note(
            "source", "key_timezone",
            f"Seen: with the keys taken as UTC, objects were written {hours['UTC']:.1f} h after their times: the zone "
            "cannot be told. Check it with a call that you know.",
        )  # fmt: skip
        return
    best = min(likely, key=lambda name: likely[name])
    found.values["source", "key_timezone"] = best
    found.note(
        "source", "key_timezone",
        f"Seen: with the keys taken as {best}, objects were written {likely[best] * 60:.0f} min after their times.",
    )  # fmt: skip


def _hours(recorded_at: datetime, modified: datetime, zone: ZoneInfo) -> float:
    """Return how many hours after a key's time, taken to be in a zone, the object was written."""
    return (modified - recorded_at.replace(tzinfo=zone)).total_seconds() / 3600


def _channels(found: Survey, source: Source, entries: Sequence[Listed]) -> None:
    """Open some recordings."""
    small = [each for each in entries if 0 < each.size_bytes <= _MOST_OPENED_BYTES]
    opened = Counter[tuple[int, int, str]]()
    with tempfile.TemporaryDirectory(prefix="emolake-") as folder:
        for entry in small[:: max(1, len(small) // _OPENED)][:_OPENED]:
            item = source_object(source, entry, (entry.modified or datetime.min).date(), None, {})
            try:
                _, path = fetch(source, item, Path(folder) / "recording", options=FetchOptions())
                with AudioReader(path, name=entry.key) as audio:
                    opened[audio.channels, audio.sampling_rate, audio.codec] += 1
            except BadRecordingError:
                opened[0, 0, ""] += 1
    bad = opened.pop((0, 0, ""), 0)
    if bad:
        found.note("segmentation", "channels", f"Seen: {counted(bad, 'recording')} could not be opened.")
    if not opened:
        return
    shown = ", ".join(
        f"{number} with {counted(channels, 'channel')} at {rate} Hz ({codec})"
        for (channels, rate, codec), number in opened.most_common()
    )
    found.note("segmentation", "channels", f"Seen: of {counted(opened.total(), 'recording')} {shown}.")
    if max(opened, key=lambda each: opened[each])[0] > 1:
        found.values["segmentation", "channels"] = "split"
        found.note(
            "segmentation",
            "channels",
            "[roles] says whose they are; an agent's is then kept from every model.",
        )
