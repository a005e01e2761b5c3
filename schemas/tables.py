"""The lake's tables as lists of columns with a key; Arrow schemas and DDL are derived."""

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa

from emolake.schemas import columns as c
from emolake.schemas import drift_columns as d
from emolake.schemas.column import Column


class Grain(StrEnum):
    """What a row is about, and so whether the table is published and exported unless it is named."""

    summary = "summary"
    """Days, runs and models, and views of single calls: always."""
    recordings = "recordings"
    """Single recordings: where `recordings` are included."""
    segments = "segments"
    """Single segments: where `segments` are included."""
    internal = "internal"
    """The lake's own accounts: never unless an export names them."""


@dataclass(frozen=True)
class Relation:
    """What a table and a view have in common: `key` names the columns that identify a row."""

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """Arrow schema of its rows."""
        return pa.schema([column.field for column in self.columns])


@dataclass(frozen=True)
class Table(Relation):
    """One table: `partition_by` names the columns that split its files."""

    partition_by: tuple[str, ...] = ()
    grain: Grain = Grain.internal

    @property
    def ddl(self) -> str:
        """CREATE TABLE statement for the attached lake."""
        lines = (
            f'    "{column.name}" {column.sql_type}{"" if column.nullable else " NOT NULL"}'
            for column in self.columns
        )
        return f"CREATE TABLE IF NOT EXISTS lake.{self.name} (\n" + ",\n".join(lines) + "\n)"


RECORDINGS = Table(
    "recordings",
    "One row per object: the newest version that was seen and what became of it.",
    (
        c.RECORDING_ID,
        c.URI,
        c.VERSION,
        c.DATE,
        c.RECORDED_AT,
        c.RECORDED_AT_LOCAL,
        c.SIZE_BYTES,
        c.DURATION_S,
        c.SAMPLE_RATE,
        c.CHANNELS,
        c.EXCLUDED_CHANNELS,
        c.CODEC,
        c.LEVEL_DBFS,
        c.CLIPPED_SHARE,
        c.DC_OFFSET,
        c.BANDWIDTH_HZ,
        c.CHANNEL_CORRELATION,
        c.SIGNAL_NOTES_COLUMN,
        c.DIMENSIONS,
        c.STATUS,
        c.ERROR,
        c.RUN_ID,
        c.COMMITTED_AT,
        c.DELETED_AT,
    ),
    key=("recording_id",),
    partition_by=("date",),
    grain=Grain.recordings,
)

ANALYSES = Table(
    "analyses",
    "The ledger, one row per recording and model: what is here with the current version and config_id is done.",
    (
        c.RECORDING_ID,
        c.DATE,
        c.VERSION,
        c.MODEL,
        c.MODEL_FINGERPRINT,
        c.CONFIG_ID,
        c.SEGMENTS,
        c.SPEECH_SECONDS,
        c.RUN_ID,
        c.COMMITTED_AT,
    ),
    key=("recording_id", "model"),
    partition_by=("date",),
    grain=Grain.recordings,
)

SEGMENTS = Table(
    "segments",
    "One row per segment: one window of one channel of a recording, as one model labelled it.",
    (
        c.RECORDING_ID,
        c.DATE,
        c.CHANNEL,
        c.ROLE,
        c.SEGMENT_INDEX,
        c.START_S,
        c.END_S,
        c.SPEECH_RATIO,
        c.MODEL,
        c.LABEL,
        c.EMOTION,
        c.CONFIDENCE,
        c.UNCERTAIN,
        c.PROBABILITIES,
        c.AFFECT,
        c.ENTROPY,
        c.LOGIT_RANGE,
        c.TRANSCRIPT,
        c.CONFIG_ID,
        c.RUN_ID,
    ),
    key=("recording_id", "model", "channel", "segment_index"),
    partition_by=("date",),
    grain=Grain.segments,
)

RECORDING_DYNAMICS = Table(
    "recording_dynamics",
    "One row per recording and channel, and so per role: what the conversation did, by voice activity alone, whatever "
    "the models say. With the mix-down it is one row a recording; of channels with the same signal the first has one.",
    (
        c.RECORDING_ID,
        c.DATE,
        c.CHANNEL,
        c.ROLE,
        c.TALK_S,
        c.TALK_SHARE,
        c.SILENCE_S,
        c.OVERLAP_S,
        c.INTERRUPTIONS,
        c.TURNS,
        c.MEAN_TURN_S,
        c.RESPONSE_S,
        c.PAUSES,
        c.MEAN_PAUSE_S,
        c.LONGEST_PAUSE_S,
        c.SPEECH_LEVEL_DBFS,
        c.RUN_ID,
    ),
    key=("recording_id", "channel"),
    partition_by=("date",),
    grain=Grain.recordings,
)

DAILY_EMOTIONS = Table(
    "daily_emotions",
    "One row per day, model, dimensions and emotion; the row whose emotion is NULL holds what got no label, "
    "so that sums over the rows equal sums over the segments.",
    (
        c.DATE,
        c.MODEL,
        c.DAILY_DIMENSIONS,
        c.EMOTION,
        c.SEGMENTS,
        c.SPEECH_SECONDS,
        c.UNCERTAIN_SECONDS,
        c.SHARE,
        c.SHARE_LOW,
        c.SHARE_HIGH,
        c.SHARE_ADJUSTED,
        c.SHARE_ADJUSTED_LOW,
        c.SHARE_ADJUSTED_HIGH,
        c.MEAN_PROBABILITY,
        c.MEAN_AFFECT,
        c.RECORDINGS,
    ),
    key=("date", "model", "dimensions", "emotion"),
    partition_by=("date",),
    grain=Grain.summary,
)

AGGREGATIONS = Table(
    "aggregations",
    "One row per day that was aggregated, with the state of the ledger it was made from; a day whose ledger has "
    "another state is aggregated again.",
    (c.DATE, c.LEDGER_STATE, c.RUN_ID, c.COMMITTED_AT),
    key=("date",),
    partition_by=("date",),
)

RUNS = Table(
    "runs",
    "One row per flow run that had work to do, missed recordings, or failed: what was asked, found and done, and how "
    "it ended.",
    (
        c.RUN_ID,
        c.FLOW,
        c.OUTCOME,
        c.STARTED_AT,
        c.HEARTBEAT_AT,
        c.FINISHED_AT,
        c.FIRST_DATE,
        c.LAST_DATE,
        c.MODEL,
        c.CONFIG_ID,
        c.FOUND,
        c.SKIPPED,
        c.DONE,
        c.QUARANTINED,
        c.TRUNCATED,
        c.DECODED,
        c.WITH_SPEECH,
        c.WITH_LABEL,
        c.NOT_MATCHED,
        c.NOT_AUDIO,
        c.NAMED_KEYS,
        c.WARNINGS,
        c.SEGMENTS,
        c.AUDIO_SECONDS,
        c.SPEECH_SECONDS,
        c.WALL_S,
        c.REAL_TIME_FACTOR,
        c.TIMINGS,
        c.DEVICE,
        c.VERSIONS,
        c.OPTIONS,
        c.ERROR,
    ),
    key=("run_id",),
    grain=Grain.summary,
)

MODEL_HEALTH = Table(
    "model_health",
    "One row per run and model: how the logits and labels were spread. What a flat model said is not aggregated.",
    (
        c.RUN_ID,
        c.MODEL,
        c.MODEL_FINGERPRINT,
        c.SEGMENTS,
        c.LOGIT_RANGE_MEAN,
        c.LOGIT_RANGE_SD,
        c.LABEL_ENTROPY,
        c.COMMONEST_LABEL,
        c.COMMONEST_SHARE,
        c.DRIFT,
        c.VERDICT,
        c.COMMITTED_AT,
    ),
    key=("run_id", "model"),
    grain=Grain.summary,
)

DRIFT = Table(
    "drift",
    "One row per day, model, look at the day and measure: how it differs from the 28 days before. A day that is "
    "aggregated again is compared again by the next run that has it, or one of the 28 days after it, among its days.",
    (
        c.DATE,
        c.MODEL,
        c.CONFIG_ID,
        d.DIMENSION,
        d.DIMENSION_VALUE,
        d.MEASURE,
        d.VALUE,
        d.USUAL,
        d.SPREAD,
        d.EARLIER_DAYS,
        d.CHANCE,
        c.RECORDINGS,
        d.LABEL_SECONDS,
        d.DRIFT_VERDICT,
        c.RUN_ID,
        c.COMMITTED_AT,
    ),
    key=("date", "model", "dimension", "dimension_value", "measure"),
    partition_by=("date",),
    grain=Grain.summary,
)

MODEL_RELIABILITY = Table(
    "model_reliability",
    "One row per version of a model that came with a record of its confusion, copied from its folder by a run: what "
    "share_adjusted is made with, on every machine.",
    (c.MODEL_FINGERPRINT, c.RELIABILITY, c.RUN_ID, c.COMMITTED_AT),
    key=("model_fingerprint",),
)

ERASURES = Table(
    "erasures",
    "The receipts: one row per recording that was erased, without whose it was; it is never analysed again.",
    (c.RECORDING_HASH, c.ERASED_AT, c.ANALYSES, c.SEGMENTS, c.REQUESTED_BY),
    key=("recording_hash",),
)

FORGOTTEN = Table(
    "forgotten",
    "The receipts of `forget`: one row per model and day whose rows were deleted, as often as that was done.",
    (c.MODEL, c.DATE, c.FORGOTTEN_AT, c.ANALYSES, c.SEGMENTS, c.REQUESTED_BY),
    key=("model", "date", "forgotten_at"),
)

GUARDS = Table(
    "guards",
    "Slots that the writers of a day update, so that the second of two conflicts; made once with the lake.",
    (c.GUARD, c.COMMITS),
    key=("guard",),
    partition_by=("guard",),
)

PUBLISHED = Table(
    "published",
    "One row, in the file that `emolake publish` writes and not in the lake: how that file was made.",
    (c.PUBLISHED_AT, c.EMOLAKE_VERSION, c.SNAPSHOT, c.PUBLISHED_TABLES, c.PERSONAL_DATA),
    key=("published_at",),
)

TABLES: tuple[Table, ...] = (
    RECORDINGS,
    ANALYSES,
    SEGMENTS,
    RECORDING_DYNAMICS,
    DAILY_EMOTIONS,
    AGGREGATIONS,
    RUNS,
    MODEL_HEALTH,
    DRIFT,
    MODEL_RELIABILITY,
    ERASURES,
    FORGOTTEN,
    GUARDS,
)
