"""The page of one recording: what it sounds like, who speaks when, what a model gives over time, and how sure it is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from emolake.audio.trace import Trace
from emolake.errors import EmolakeError
from emolake.lake.statement_rows import Row, rows_of
from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.output.output_files import output_file
from emolake.report.layout import render
from emolake.report.shown_tables import ShownColumn, ShownTable, columns
from emolake.report.todays_schema import use_todays_schema
from emolake.report.wording import Language
from emolake.schemas.columns import SIGNAL_NOTES
from emolake.schemas.labels import EMOTIONS, UnknownLabelError, canonical

_PLACES = 3  # of a probability, and of a second


class NoRecordingError(EmolakeError):
    """The lake holds no such recording, or several."""


@dataclass(frozen=True)
class Recording:
    """One recording as the lake has it."""

    facts: Row
    segments: list[Row]
    dynamics: list[Row]


@dataclass(frozen=True)
class Player:
    """What the page may play: `source` is its address, `policy` what the security policy allows for it."""

    source: str
    policy: str


@dataclass(frozen=True)
class Sound:
    """What could be had of the recording itself; `missing` says why not, as a word of the catalogue with its values."""

    trace: Trace | None = None
    player: Player | None = None
    missing: tuple[str, Mapping[str, str]] | None = None


def recording_asked(lake: Lake, asked: str) -> Recording:
    """Return the recording that a URI, a key or a recording_id names.

    Raises:
        NoRecordingError: there is none, or the key names several.
    """
    use_todays_schema(lake)
    return lake.answer(lambda: _asked(lake, asked))


def _asked(lake: Lake, asked: str) -> Recording:
    found = rows_of(lake, "recording_asked", asked=asked)
    if not found:
        raise NoRecordingError(
            f"the lake holds no recording {redacted(asked)!r}; give its URI as in recordings.uri, or its end from a /: "
            '`emolake query "SELECT uri FROM recordings"`'
        )
    if len(found) > 1 and found[0]["uri"] != asked:
        names = ", ".join(redacted(row["uri"]) for row in found[:5])
        raise NoRecordingError(f"{redacted(asked)!r} names several recordings; give more of the URI: {names}")
    one = {"date": found[0]["date"], "recording_id": found[0]["recording_id"]}
    return Recording(
        found[0],
        rows_of(lake, "recording_page_segments", **one),
        rows_of(lake, "recording_page_dynamics", **one),
    )


def write_recording_page(
    recording: Recording,
    sound: Sound,
    *,
    is_mix: bool,
    out: Path,
    language: Language = Language.en,
) -> Path:
    """Write the page of a recording as one HTML file, and return its path.

    Args:
        recording: as the lake has it.
        sound: what could be had of it at its source.
        is_mix: whether segments are of the mix-down, and not of the channel whose number they have.
        out: file to write; its folder is made when needed.
        language: that the page opens in.
    """
    models = {name: list(rows) for name, rows in groupby(recording.segments, key=itemgetter("model"))}
    player = sound.player
    content = {
        "facts": recording.facts,
        "name": redacted(recording.facts["uri"]),
        "made": datetime.now(UTC),
        "notes": [(note, SIGNAL_NOTES[note]) for note in recording.facts["signal_notes"] or ()],
        "dimensions": sorted((recording.facts["dimensions"] or {}).items()),
        "dynamics": _dynamics(recording.dynamics, is_mix) if recording.dynamics else None,
        "models": {
            name: _segments(number, rows, is_mix) for number, (name, rows) in enumerate(models.items())
        },
        "missing": sound.missing,
        "player": player,
        "turns": _turns(sound.trace, recording),
        "drawn_explained": _drawn_explained(has_sound=sound.trace is not None, has_windows=bool(models)),
    }
    data = {
        "duration": _duration(recording, sound),
        "tracks": _tracks(recording, sound.trace, is_mix),
        "models": [
            {"name": name, "segments": [_drawn(row, is_mix) for row in rows]} for name, rows in models.items()
        ],
        "emotions": [name for name in EMOTIONS if name in _emotions(recording.segments)],
    }
    page = render(
        "recording.html",
        content,
        language=language,
        data=data,
        scripts=["recording.js"],
        styles=["report.css", "recording.css"],
        media=player.policy if player else None,
    )
    with output_file(out) as file:
        file.write(page.encode())
    return out


def _drawn_explained(*, has_sound: bool, has_windows: bool) -> str | None:
    """Return the key of the sentence that explains what is drawn, and nothing else."""
    if has_sound and has_windows:
        return "over_time_explained"
    return "wave_explained" if has_sound else "windows_explained" if has_windows else None


def _duration(recording: Recording, sound: Sound) -> float:
    if sound.trace is not None:
        return round(sound.trace.duration_s, _PLACES)
    ends = [row["end_s"] for row in recording.segments]
    return float(recording.facts["duration_s"] or max(ends, default=0.0))


def _track(row: Row, is_mix: bool) -> str:
    return "mix" if is_mix else str(row["channel"])


def _tracks(recording: Recording, trace: Trace | None, is_mix: bool) -> list[Row]:
    """Return what is drawn below one another: channels of the sound, and what segments are of."""
    roles = _roles(recording)
    tracks: dict[str, Row] = {}
    for channel in trace.channels if trace else ():
        scale = 100 / max(0.01, float(abs(channel.peaks).max())) if len(channel.peaks) else 100
        tracks[str(channel.channel)] = {
            "channel": channel.channel,
            "role": None if is_mix else roles.get(channel.channel),
            "peaks": [round(float(peak) * scale) for peak in channel.peaks.ravel()],
            "talk": [[round(start, _PLACES), round(end, _PLACES)] for start, end in channel.talk],
        }
    for row in recording.segments:
        name = _track(row, is_mix)
        tracks.setdefault(name, {"channel": None if is_mix else row["channel"], "role": row["role"]})
    return [
        {"name": name, **track} for name, track in sorted(tracks.items(), key=lambda item: item[0].zfill(4))
    ]


def _roles(recording: Recording) -> dict[int, str]:
    rows = (*recording.segments, *recording.dynamics)
    return {row["channel"]: row["role"] for row in rows if row["role"] is not None}


def _emotion(label: str) -> str:
    try:
        return canonical(label)
    except UnknownLabelError:
        return "other"


def _emotions(rows: Sequence[Row]) -> set[str]:
    return {_emotion(label) for row in rows for label in row["probabilities"] or {}} | {
        row["emotion"] for row in rows if row["emotion"]
    }


def _drawn(row: Row, is_mix: bool) -> Row:
    """Return a segment as the script draws it."""
    probabilities: dict[str, float] = defaultdict(float)
    for label, probability in (row["probabilities"] or {}).items():
        probabilities[_emotion(label)] += probability
    return {
        "track": _track(row, is_mix),
        "start": round(row["start_s"], _PLACES),
        "end": round(row["end_s"], _PLACES),
        "emotion": row["emotion"],
        "confidence": _rounded(row["confidence"]),
        "uncertain": bool(row["uncertain"]),
        "probabilities": {name: _rounded(value) for name, value in sorted(probabilities.items())},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _PLACES)


def _who(row: Row, is_mix: bool) -> str:
    """Return whose row it is, as its columns say it."""
    channel = "mix" if is_mix else str(row["channel"])
    return channel if row["role"] is None else f"{channel} {row['role']}"


def _segments(number: int, rows: Sequence[Row], is_mix: bool) -> ShownTable:
    has_transcript = any(row["transcript"] for row in rows)
    shown = columns(begins="clock", ends="clock", channel="text", emotion="emotion", confidence_of="percent")
    shown += columns(uncertain="word", speech="percent")
    if has_transcript:
        shown += [ShownColumn("said", "long")]
    return ShownTable(
        f"segments-{number}",
        "segments",
        shown,
        [
            [
                row["start_s"],
                row["end_s"],
                _who(row, is_mix),
                row["emotion"],
                row["confidence"],
                None if row["uncertain"] is None else "yes" if row["uncertain"] else "no",
                row["speech_ratio"],
                *([row["transcript"]] if has_transcript else []),
            ]
            for row in rows
        ],
    )


def _dynamics(rows: Sequence[Row], is_mix: bool) -> ShownTable:
    """Return the figures of the conversation, without those that no channel has."""
    shown = columns(
        channel="text", talk="duration", talk_share="percent", silence="duration", overlap="duration",
        interruptions="number", turns="number", mean_turn="duration", response="duration", pauses="number",
        mean_pause="duration", longest_pause="duration", level="decimal",
    )  # fmt: skip
    figures = [[_who(row, is_mix), *list(row.values())[2:]] for row in rows]
    return ShownTable("dynamics", "dynamics", shown, figures).without_empty_columns()


def _turns(trace: Trace | None, recording: Recording) -> ShownTable | None:
    """Return the stretches of speech of all channels in the order of time."""
    if trace is None:
        return None
    roles = _roles(recording)
    stretches = sorted(
        (start, end, channel.channel) for channel in trace.channels for start, end in channel.talk
    )
    return ShownTable(
        "turns",
        "turns_of",
        columns(begins="clock", ends="clock", channel="text", lasts="duration"),
        [
            [start, end, f"{channel} {roles[channel]}" if channel in roles else str(channel), end - start]
            for start, end, channel in stretches
        ],
    )
