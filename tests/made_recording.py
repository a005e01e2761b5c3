"""A recording in a folder of its own, and a lake that holds what a model gave of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import soundfile
import soxr

from emolake.demo.speech import synthesise
from emolake.lake.connect import open_lake
from emolake.schemas.tables import RECORDING_DYNAMICS, RECORDINGS, SEGMENTS
from emolake.settings import Settings
from emolake.source.folder import FolderSource
from emolake.tasks.commit import ShardRows, commit_shard

from made_lake import KEY, Call, Piece, shard_rows, sqlite_warehouse

NAME = "2026/11/20/oslo/call.wav"
PIECES = (
    Piece(0, 4, emotion="neutral", confidence=0.9),
    Piece(4, 8, emotion=None, speech_ratio=0.0, index=1),
    Piece(0, 4, emotion=None, speech_ratio=0.0, channel=1),
    Piece(4, 8, emotion="anger", confidence=0.4, channel=1, index=1),
)


@dataclass(frozen=True)
class Made:
    """What was made."""

    settings: Settings
    uri: str
    file: Path


def write_call(path: Path, *, channels: int = 2) -> None:
    """Write 8 s: channel 0 speaks from 1 s on, channel 1 from 5 s on."""
    samples, rate = synthesise("Good morning, how may I help you today?", voice="en-us+m1")
    speech = soxr.resample(samples, rate, 8000)[:16_000]
    made = np.zeros((64_000, channels), np.float32)
    made[8000 : 8000 + len(speech), 0] = speech
    if channels > 1:
        made[40_000 : 40_000 + len(speech), 1] = speech
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, made, 8000, subtype="PCM_16")


def made_recording(
    folder: Path,
    *,
    name: str = NAME,
    pieces: Sequence[Piece] = PIECES,
    columns: dict[str, Any] | None = None,
    transcripts: Sequence[str | None] = (),
    roles: tuple[str, str] = ("agent", "customer"),
    **sections: Any,
) -> Made:
    """Write a call into `folder/calls`, and a lake that holds it.

    Args:
        folder: of the call and the lake.
        name: key of the call.
        pieces: its segments.
        columns: values of the recording's row instead of the usual ones.
        transcripts: of the segments, in their order.
        roles: of the two channels.
        sections: of the settings.
    """
    file = folder / "calls" / name
    write_call(file)
    source = FolderSource(folder / "calls")
    (listed,) = [each for each in source.list(name) if each.key == name]
    uri = source.object_uri(name)
    rows = shard_rows([Call(name, pieces=tuple(pieces), duration_s=8.0, talk_s=2.0)])
    row = rows.recordings.to_pylist()[0]
    row |= {"uri": uri, "version": listed.version, "channels": 2, "sample_rate": 8000, **(columns or {})}
    ledger = [each | {"version": row["version"]} for each in rows.analyses.to_pylist()]
    segments = rows.segments.to_pylist()
    for segment, text in zip(segments, transcripts, strict=False):
        segment["transcript"] = text
    for each in segments:
        each["role"] = roles[each["channel"]]
    dynamics = [each | {"role": roles[0]} for each in rows.dynamics.to_pylist()]
    warehouse = sqlite_warehouse(folder)
    with open_lake(warehouse) as lake:
        written = ShardRows(
            pa.Table.from_pylist([row], schema=RECORDINGS.schema),
            pa.Table.from_pylist(ledger, schema=rows.analyses.schema),
            pa.Table.from_pylist(segments, schema=SEGMENTS.schema),
            pa.Table.from_pylist(dynamics, schema=RECORDING_DYNAMICS.schema),
        )
        commit_shard(lake, written, key=KEY, run_id="run-1", message="made")
    usual: dict[str, Any] = {
        "source": {"uri": str(folder / "calls"), "pattern": "{date:%Y/%m/%d}/{site}/{call_id}.{ext}"},
        "segmentation": {"channels": "split"},
    }
    return Made(Settings(warehouse=warehouse, **(usual | sections)), uri, file)
