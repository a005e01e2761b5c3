"""Every column of the lake, declared once: name, Arrow type, unit, nullability, meaning, allowed values.

Arrow schemas, DDL and the data dictionary are derived from here and from `tables.py`.
"""

import pyarrow as pa

from emolake.schemas.column import DOUBLE_MAP, FLOAT_MAP, TEXT_MAP, TIMESTAMP, WALL_CLOCK, Column
from emolake.schemas.labels import EMOTIONS

RECORDING_STATUSES = ("ok", "truncated", "silent", "excluded", "quarantined")
# What may be odd of a recording's signal, and what to make of it.
SIGNAL_NOTES = {
    "no_signal": "digital silence, or below -85 dBFS: look at what records",
    "quiet": "below -55 dBFS: raise the gain of what records",
    "clipped": "one sample in 1000 or more is at full scale: lower the gain of what records",
    "dc_offset": "the mean is 0.1 % of full scale or more away from 0: 8-bit samples around 127, or a card's fault",
    "unscaled": "samples of floats go far beyond 1, as integers do that were not divided: fix what writes the file",
    "beyond_full_scale": "samples of floats go beyond 1: lower the gain of what writes the file",
    "empty_channel": 'a channel is silent and another is not: choose the other with segmentation.channels, or "split"',
    "dual_mono": 'two channels are the same: with "split" every word counts twice; "mix" counts it once',
    "antiphase": "a channel is another one turned around: the mix-down turns it back; fix the wiring",
}
HEALTH_VERDICTS = ("healthy", "flat", "too few")
RUN_OUTCOMES = ("running", "completed", "failed", "died")

RECORDING_ID = Column("recording_id", pa.string(), "stable hash of the recording's URI")
URI = Column("uri", pa.string(), "where the object lies, as listed", personal=True)
VERSION = Column("version", pa.string(), "ETag of the object, or size and mtime in a folder")
DATE = Column("date", pa.date32(), "local calendar day that the recording belongs to")
RECORDED_AT = Column(
    "recorded_at",
    TIMESTAMP,
    "start of the recording by its key; NULL without a time in the key. `query` shows it in source.timezone",
    nullable=True,
)
RECORDED_AT_LOCAL = Column(
    "recorded_at_local",
    WALL_CLOCK,
    "recorded_at as a clock on the wall shows it in source.timezone, whatever the session's zone; its day is `date`; "
    "NULL like recorded_at, and in rows of versions that had no such column",
    nullable=True,
)
SIZE_BYTES = Column("size_bytes", pa.int64(), "size of the object", "byte")
DURATION_S = Column(
    "duration_s", pa.float64(), "decoded samples over the source's sampling rate", "s", nullable=True
)
SAMPLE_RATE = Column("sample_rate", pa.int32(), "sampling rate of the source", "Hz", nullable=True)
CHANNELS = Column("channels", pa.int32(), "channels of the source", nullable=True)
EXCLUDED_CHANNELS = Column(
    "excluded_channels",
    pa.list_(pa.int32()),
    "channels that the policy keeps from every model, by their number or by their role; NULL without any",
    nullable=True,
)
CODEC = Column("codec", pa.string(), "codec that was decoded", nullable=True)
LEVEL_DBFS = Column(
    "level_dbfs",
    pa.float64(),
    "root mean square of all channels without their offsets; NULL of digital silence",
    "dBFS",
    nullable=True,
)
CLIPPED_SHARE = Column(
    "clipped_share", pa.float64(), "share of the samples that are at full scale, 0 to 1", nullable=True
)
DC_OFFSET = Column(
    "dc_offset",
    pa.float64(),
    "mean of the channel whose mean is furthest from 0, as a share of full scale, -1 to 1",
    nullable=True,
)
BANDWIDTH_HZ = Column(
    "bandwidth_hz",
    pa.float64(),
    "frequency up to which there is sound, at whatever sampling rate it is stored: up to 4000 of a telephone call",
    "Hz",
    nullable=True,
)
CHANNEL_CORRELATION = Column(
    "channel_correlation",
    pa.float64(),
    "lowest correlation of two channels with sound, -1 (antiphase) to 1 (the same twice); NULL with fewer than two",
    nullable=True,
)
SIGNAL_NOTES_COLUMN = Column(
    "signal_notes",
    pa.list_(pa.string()),
    "what is odd of the signal; NULL where nothing is",
    nullable=True,
    allowed=tuple(SIGNAL_NOTES),
)
DIMENSIONS = Column(
    "dimensions", TEXT_MAP, "named groups of the key's pattern, and what source.dimensions looks up"
)
STATUS = Column("status", pa.string(), "what became of the recording", allowed=RECORDING_STATUSES)
ERROR = Column(
    "error", pa.string(), "reason code, stage and message of what went wrong", nullable=True, personal=True
)
RUN_ID = Column("run_id", pa.string(), "the run that wrote the row")
COMMITTED_AT = Column("committed_at", TIMESTAMP, "when the transaction that wrote the row was made")
DELETED_AT = Column(
    "deleted_at",
    TIMESTAMP,
    "when a whole listing of its day first lacked the object; NULL while it is at the source",
    nullable=True,
)

MODEL = Column("model", pa.string(), "name of the model in the configuration")
MODEL_FINGERPRINT = Column("model_fingerprint", pa.string(), "hash of the model's weights and configuration")
CONFIG_ID = Column("config_id", pa.string(), "hash of all that changes a result")
SEGMENTS = Column("segments", pa.int64(), "number of segments")
SPEECH_SECONDS = Column(
    "speech_seconds", pa.float64(), "seconds of speech; overlapping windows are not counted twice", "s"
)

_FOR_TWO = " where fewer than two channels can be distinguished"
CHANNEL = Column("channel", pa.int32(), "channel index; 0 for the mix-down")
ROLE = Column(
    "role",
    pa.string(),
    "who speaks on the channel by [roles]; `unassigned` where none names it, and where it holds several voices, as one "
    "channel of its own does, and channels of the same signal; NULL where no roles are configured",
    nullable=True,
)
SEGMENT_INDEX = Column("segment_index", pa.int32(), "position in the channel, from 0")
START_S = Column("start_s", pa.float64(), "start in the recording's own time", "s")
END_S = Column("end_s", pa.float64(), "end in the recording's own time, exclusive", "s")
SPEECH_RATIO = Column("speech_ratio", pa.float32(), "share of the segment that is speech, 0 to 1")
LABEL = Column("label", pa.string(), "the model's own class; NULL when there is no speech", nullable=True)
EMOTION = Column(
    "emotion",
    pa.string(),
    "label in the shared taxonomy; NULL when there is no label",
    nullable=True,
    allowed=EMOTIONS,
)
CONFIDENCE = Column("confidence", pa.float32(), "probability of the label", nullable=True)
UNCERTAIN = Column(
    "uncertain",
    pa.bool_(),
    "whether confidence is below inference.abstain_below, by config_id; NULL when there is no label, and in rows of "
    "versions that had no such column",
    nullable=True,
)
PROBABILITIES = Column("probabilities", FLOAT_MAP, "probability by the model's own label", nullable=True)
AFFECT = Column("affect", FLOAT_MAP, "arousal, dominance, valence of models that give them", nullable=True)
TRANSCRIPT = Column(
    "transcript",
    pa.string(),
    "what was said, by models that write it down; NULL unless inference.store_transcripts is on",
    nullable=True,
    personal=True,
)
ENTROPY = Column("entropy", pa.float32(), "Shannon entropy of the probabilities", "nat", nullable=True)
LOGIT_RANGE = Column("logit_range", pa.float32(), "largest minus smallest logit", nullable=True)

UNCERTAIN_SECONDS = Column(
    "uncertain_seconds",
    pa.float64(),
    "of speech_seconds those whose label is marked uncertain; NULL in rows of versions that had no such column",
    "s",
    nullable=True,
)
DAILY_DIMENSIONS = Column(
    "dimensions",
    TEXT_MAP,
    "those of aggregate.by, and `role` where roles are configured; '' where a recording lacks one",
)
TALK_S = Column("talk_s", pa.float64(), "time in which somebody speaks on the channel", "s")
TALK_SHARE = Column(
    "talk_share",
    pa.float64(),
    "talk_s over the sum of the recording's channels; NULL where nobody speaks, or" + _FOR_TWO,
    nullable=True,
)
SILENCE_S = Column(
    "silence_s", pa.float64(), "time in which nobody speaks on any channel of the recording", "s"
)
OVERLAP_S = Column(
    "overlap_s",
    pa.float64(),
    "time in which somebody speaks on the channel, and on another one too; NULL" + _FOR_TWO,
    "s",
    nullable=True,
)
INTERRUPTIONS = Column(
    "interruptions",
    pa.int64(),
    "turns that began 120 ms or more before the other one, who had the turn, had ended; NULL" + _FOR_TWO,
    nullable=True,
)
TURNS = Column(
    "turns",
    pa.int64(),
    "how often the channel took the turn: who speaks alone has it, until another one speaks alone; NULL"
    + _FOR_TWO,
    nullable=True,
)
MEAN_TURN_S = Column(
    "mean_turn_s",
    pa.float64(),
    "mean time from the beginning of a turn to the end of its last words; NULL without one",
    "s",
    nullable=True,
)
RESPONSE_S = Column(
    "response_s",
    pa.float64(),
    "mean time from the end of the other one's words to the beginning of the turn that follows, below 0 where it began "
    "before that end; NULL without such a turn",
    "s",
    nullable=True,
)
PAUSES = Column(
    "pauses",
    pa.int64(),
    "silences of 200 ms or more after which the same one speaks on; of a channel that is the only one, all between its "
    "words",
)
MEAN_PAUSE_S = Column("mean_pause_s", pa.float64(), "mean length of its pauses", "s", nullable=True)
LONGEST_PAUSE_S = Column("longest_pause_s", pa.float64(), "its longest pause", "s", nullable=True)
SPEECH_LEVEL_DBFS = Column(
    "speech_level_dbfs",
    pa.float64(),
    "root mean square of what is spoken on the channel, without its offset; NULL where nothing is",
    "dBFS",
    nullable=True,
)

SHARE = Column(
    "share",
    pa.float64(),
    "share of the labelled speech of this date, model and dimensions; NULL without a label",
    nullable=True,
)
SHARE_LOW = Column(
    "share_low",
    pa.float64(),
    "lower end of the 95 % interval of share, by how the recordings differ; NULL of a single recording, and in rows of "
    "versions that had no such column",
    nullable=True,
)
SHARE_HIGH = Column(
    "share_high", pa.float64(), "upper end of the 95 % interval of share; NULL like share_low", nullable=True
)
SHARE_ADJUSTED = Column(
    "share_adjusted",
    pa.float64(),
    "share corrected for what the model is known to confuse; NULL without a label, and where there is no record of "
    "left-out speakers in model_reliability for its one version of the model",
    nullable=True,
)
SHARE_ADJUSTED_LOW = Column(
    "share_adjusted_low",
    pa.float64(),
    "lower end of the 95 % interval of share_adjusted, by recordings and by how little is known of the model; NULL "
    "like share_adjusted, and of a single recording",
    nullable=True,
)
SHARE_ADJUSTED_HIGH = Column(
    "share_adjusted_high",
    pa.float64(),
    "upper end of the 95 % interval of share_adjusted; NULL like share_adjusted_low",
    nullable=True,
)
MEAN_PROBABILITY = Column(
    "mean_probability",
    pa.float64(),
    "mean probability of the label over the row's segments, weighted by seconds of speech",
    nullable=True,
)
MEAN_AFFECT = Column(
    "affect", DOUBLE_MAP, "mean arousal, dominance and valence, weighted by seconds of speech", nullable=True
)
RECORDINGS = Column("recordings", pa.int64(), "number of distinct recordings")

FLOW = Column("flow", pa.string(), "what ran", allowed=("nightly", "backfill", "retry"))
OUTCOME = Column("outcome", pa.string(), "how the run ended", allowed=RUN_OUTCOMES)
STARTED_AT = Column("started_at", TIMESTAMP, "start of the run")
FINISHED_AT = Column("finished_at", TIMESTAMP, "end of the run; NULL while it runs", nullable=True)
HEARTBEAT_AT = Column(
    "heartbeat_at", TIMESTAMP, "last sign of life; a running run without one for long has died", nullable=True
)
FIRST_DATE = Column("first_date", pa.date32(), "first day that was asked for")
LAST_DATE = Column("last_date", pa.date32(), "last day that was asked for")
FOUND = Column("found", pa.int64(), "objects that match the pattern and are audio")
SKIPPED = Column("skipped", pa.int64(), "objects that the lake held already")
DONE = Column("done", pa.int64(), "recordings committed by this run, quarantined ones included")
QUARANTINED = Column("quarantined", pa.int64(), "recordings quarantined by this run")
TRUNCATED = Column("truncated", pa.int64(), "recordings that broke half-way")
DECODED = Column("decoded", pa.int64(), "of those done, the recordings that could be decoded", nullable=True)
WITH_SPEECH = Column(
    "with_speech", pa.int64(), "of those decoded, the recordings with speech, or with a label", nullable=True
)
WITH_LABEL = Column(
    "with_label", pa.int64(), "of those with speech, the recordings with a label", nullable=True
)
NOT_MATCHED = Column("not_matched", pa.int64(), "keys that do not match the pattern")
NOT_AUDIO = Column("not_audio", pa.int64(), "keys that match the pattern and are no audio")
NAMED_KEYS = Column(
    "named_keys", pa.list_(pa.string()), "the first of the keys that were passed over", personal=True
)
WARNINGS = Column(
    "warnings",
    pa.list_(pa.string()),
    "days without keys, keys that match nothing, drift",
    nullable=True,
    personal=True,
)
AUDIO_SECONDS = Column("audio_seconds", pa.float64(), "decoded audio", "s")
WALL_S = Column("wall_s", pa.float64(), "duration of the run", "s", nullable=True)
REAL_TIME_FACTOR = Column(
    "real_time_factor", pa.float64(), "seconds of work per second of audio", nullable=True
)
TIMINGS = Column("timings", DOUBLE_MAP, "seconds by stage, summed over shards that ran side by side", "s")
DEVICE = Column("device", pa.string(), "device that the model ran on", nullable=True)
VERSIONS = Column("versions", TEXT_MAP, "versions of the packages that change numbers")
OPTIONS = Column(
    "options", pa.string(), "the resolved options of the run as JSON, without secrets", personal=True
)

LEDGER_STATE = Column(
    "ledger_state", pa.string(), "hash of the day's ledger that the aggregates were made from"
)

RELIABILITY = Column(
    "reliability",
    pa.string(),
    "reliability.json of the trained folder: what the model confused when it was trained",
)

LOGIT_RANGE_MEAN = Column(
    "logit_range_mean",
    pa.float64(),
    "mean over the labelled segments of largest minus smallest logit",
    nullable=True,
)
LOGIT_RANGE_SD = Column("logit_range_sd", pa.float64(), "standard deviation of the same", nullable=True)
LABEL_ENTROPY = Column(
    "label_entropy", pa.float64(), "Shannon entropy of how often each label was given", "nat", nullable=True
)
COMMONEST_LABEL = Column("commonest_label", pa.string(), "the label that was given most often", nullable=True)
COMMONEST_SHARE = Column("commonest_share", pa.float64(), "its share of the labelled segments", nullable=True)
DRIFT = Column(
    "drift",
    pa.float64(),
    "total variation distance of the shares of labels from those of the 28 days before, 0 to 1",
    nullable=True,
)
VERDICT = Column("verdict", pa.string(), "whether the model may be trusted", allowed=HEALTH_VERDICTS)

GUARD = Column("guard", pa.int32(), "slot that a day's writers contend for")
COMMITS = Column("commits", pa.int64(), "how often the slot was taken")

RECORDING_HASH = Column("recording_hash", pa.string(), "SHA-256 of the recording_id that was erased")
ERASED_AT = Column("erased_at", TIMESTAMP, "when the rows were deleted")
ANALYSES = Column("analyses", pa.int64(), "number of analyses that were deleted")
FORGOTTEN_AT = Column("forgotten_at", TIMESTAMP, "when the rows were deleted")
REQUESTED_BY = Column(
    "requested_by", pa.string(), "who asked for it, or a ticket", nullable=True, personal=True
)

PUBLISHED_AT = Column("published_at", TIMESTAMP, "when the file was written")
EMOLAKE_VERSION = Column("emolake_version", pa.string(), "version of emolake that wrote the file")
SNAPSHOT = Column("snapshot", pa.int64(), "snapshot of the lake that all tables of the file are of")
PUBLISHED_TABLES = Column("tables", pa.list_(pa.string()), "tables and views of the lake that the file holds")
PERSONAL_DATA = Column(
    "personal", pa.bool_(), "whether columns and dimensions with personal data are in the file"
)
