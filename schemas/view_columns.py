"""Columns that only views have; what a view takes over from a table is in `columns.py`."""

import pyarrow as pa

from emolake.schemas.column import COUNT_MAP, DOUBLE_MAP, WALL_CLOCK, Column
from emolake.schemas.columns import CONFIDENCE, EMOTION, MODEL
from emolake.schemas.labels import EMOTIONS


def _count(name: str, description: str) -> Column:
    return Column(name, pa.int64(), description)


def _figure(name: str, description: str, unit: str | None = None) -> Column:
    return Column(name, pa.float64(), description, unit, nullable=True)


def _shares(name: str, description: str) -> Column:
    return Column(name, DOUBLE_MAP, description, nullable=True)


SPEECH_S = Column(
    "speech_s", pa.float64(), "seconds of speech; overlapping windows are not counted twice", "s"
)
AT_LOCAL = Column(
    "at_local",
    WALL_CLOCK,
    "its start as a clock on the wall shows it in source.timezone; NULL like recorded_at_local",
    nullable=True,
)

STRETCH = _count("stretch", "position in the channel, from 1")
POSITION = _figure("position", "start_s as a part of the recording, 0 to 1")
MEAN_CONFIDENCE = _figure("mean_confidence", "mean probability of the labels, weighted by seconds of speech")

LABELLED_SEGMENTS = _count("labelled_segments", "segments with an emotion")
LABELLED_SECONDS = Column("labelled_seconds", pa.float64(), "seconds of speech with an emotion", "s")
SHARES = _shares("shares", "share of the labelled speech by emotion, the largest first; NULL without any")
DOMINANT_EMOTION = Column(
    "dominant_emotion",
    pa.string(),
    "emotion with the largest share; of equal ones the first in the alphabet",
    nullable=True,
    allowed=EMOTIONS,
)
DOMINANT_SHARE = _figure("dominant_share", "its share")
MIXTURE = _figure("mixture", "how often two moments of labelled speech differ in emotion, 0 to 1")
SHARES_FIRST = _shares(
    "shares_first",
    "shares of the first quarter of the recording's time; NULL without labelled speech there, or with one labelled "
    "segment",
)
SHARES_LAST = _shares("shares_last", "shares of the last quarter; NULL like shares_first")
CALL_CHANGE = _figure(
    "change", "total variation distance of shares_last from shares_first, 0 to 1; NULL where either is"
)
RISEN_EMOTION = Column(
    "risen_emotion",
    pa.string(),
    "emotion whose share rose most from the first to the last quarter; NULL where none did",
    nullable=True,
    allowed=EMOTIONS,
)
RISEN_BY = _figure("risen_by", "by how much it rose")
TURNING_POINTS = Column(
    "turning_points",
    pa.int64(),
    "how often a labelled segment has another emotion than the labelled one before it",
    nullable=True,
)
UNCERTAIN_SHARE = _figure(
    "uncertain_share", "share of the labelled speech that is marked uncertain; NULL in rows without the mark"
)
AROUSAL = _figure("arousal", "mean arousal of models that give it, weighted by seconds of speech")
DOMINANCE = _figure("dominance", "mean dominance, likewise")
VALENCE = _figure("valence", "mean valence, likewise")

WEEK = Column("week", pa.date32(), "Monday of the week")
DIMENSION = Column(
    "dimension",
    pa.string(),
    "a dimension of aggregate.by, or `role`; NULL for all recordings together",
    nullable=True,
)
VALUE = Column(
    "value",
    pa.string(),
    "the dimension's value, '' where a recording lacks it; NULL for all recordings together",
    nullable=True,
)
GIVEN_EMOTION = Column("emotion", pa.string(), EMOTION.description.partition(";")[0], allowed=EMOTIONS)
DAYS_OF_WEEK = _count("days", "days of the week with labelled speech")
LABELLED_RECORDINGS = _count("recordings", "recordings with labelled speech, of any emotion")
RECORDINGS_WITH = _count("recordings_with", "those with a segment of the emotion")
EMOTION_SECONDS = Column("speech_seconds", pa.float64(), "seconds of speech of the emotion", "s")
PERIOD_SHARE = _figure("share", "speech_seconds over all labelled speech of the period and value")
PERIOD_LOW = _figure(
    "share_low", "lower end of the 95 % interval of share, by how the recordings differ; NULL of a single one"
)
PERIOD_HIGH = _figure("share_high", "upper end of the 95 % interval of share; NULL like share_low")

DAYS = Column("days", pa.int32(), "length of the period, 7 or 28", "d")
DAYS_WITH_SPEECH = _count("days_with_speech", "days of the period that have labelled speech")
DAYS_WITH_SPEECH_BEFORE = _count("days_with_speech_before", "the same of the period before")
RECORDINGS_BEFORE = _count("recordings_before", "recordings with labelled speech of the period before")
SHARE_BEFORE = _figure("share_before", "share of the period before; NULL where it has no labelled speech")
SHARE_BEFORE_LOW = _figure("share_before_low", "lower end of its 95 % interval")
SHARE_BEFORE_HIGH = _figure("share_before_high", "upper end of its 95 % interval")
CHANGE = _figure("change", "share minus share_before")
CHANGE_LOW = _figure(
    "change_low", "lower end of the 95 % interval of change; NULL where either share has none"
)
CHANGE_HIGH = _figure("change_high", "upper end of the 95 % interval of change; NULL like change_low")

REASON = Column(
    "reason",
    pa.string(),
    "why to listen",
    allowed=("most extreme", "most mixed", "most changed", "least sure"),
)
RANK = _count("rank", "1 is the first to listen to, of the day, model and reason")
SCORE = Column("score", pa.float64(), "what it is ranked by, 0 to 1")
REASON_EMOTION = Column(
    "emotion",
    pa.string(),
    "the emotion with the largest share, beside neutral and calm where the reason is `most extreme`; the one that rose "
    "where it is `most changed`",
    nullable=True,
    allowed=EMOTIONS,
)
WHY = Column("why", pa.string(), "the figures behind it, in words", nullable=True)
LISTEN_FROM_S = _figure("listen_from_s", "where to begin to listen, in the recording's own time", "s")

MODEL_OF_DAY = MODEL.optional(
    "name of the model in the configuration; NULL of a day on which nothing was analysed"
)
LISTED = _count("listed", "recordings of the day that are at the source")
EXCLUDED = _count("excluded", "ruled out by [policy]")
QUARANTINED = _count("quarantined", "could not be decoded")
NOT_ANALYSED = _count("not_analysed", "not in the ledger of the model")
HELD_BACK = _count("held_back", "analysed by a run that found its model flat")
NO_SPEECH = _count("no_speech", "without speech")
NO_LABEL = _count("no_label", "with speech, and without a label")
LABELLED = _count("labelled", "with a label")
LABELLED_SHARE = _figure("labelled_share", "labelled over listed")
TRUNCATED = _count("truncated", "of the listed, those that broke half-way; they count as the others do")
DELETED = _count("deleted", "recordings that are no longer at the source, and no part of listed")
REASONS = Column(
    "reasons", COUNT_MAP, "recordings by the reason code of what went wrong; NULL without any", nullable=True
)
FELL_OUT = Column(
    "fell_out",
    pa.list_(pa.string()),
    "the first three that are not labelled, with the reason of each",
    personal=True,
)

MODEL_A = Column("model_a", pa.string(), MODEL.description)
MODEL_B = Column("model_b", pa.string(), "the other model")
EMOTION_A = Column("emotion_a", pa.string(), "emotion by model_a", allowed=EMOTIONS)
EMOTION_B = Column("emotion_b", pa.string(), "emotion by model_b", allowed=EMOTIONS)
CONFIDENCE_A = Column("confidence_a", pa.float32(), f"{CONFIDENCE.description} by model_a", nullable=True)
CONFIDENCE_B = Column("confidence_b", pa.float32(), f"{CONFIDENCE.description} by model_b", nullable=True)
AGREE = Column("agree", pa.bool_(), "whether the emotions are the same")
FIRST_DATE = Column("first_date", pa.date32(), "first day with a segment that both labelled")
LAST_DATE = Column("last_date", pa.date32(), "last day with one")
COMPARED_RECORDINGS = _count("recordings", "recordings with a segment that both labelled")
COMPARED_SEGMENTS = _count("segments", "segments that both labelled")
AGREE_SHARE = Column("agree_share", pa.float64(), "share of these that got the same emotion, 0 to 1")
EXPECTED_SHARE = Column(
    "expected_share", pa.float64(), "what it would be if each gave its own shares of emotions at random"
)
KAPPA = _figure(
    "kappa",
    "Cohen's kappa, (agree_share - expected_share) / (1 - expected_share); NULL where both give one and the same "
    "emotion only",
)
MOST_CONFUSED = Column(
    "most_confused", pa.string(), "the commonest two emotions that differ, model_a's first", nullable=True
)

MEASURED_RECORDINGS = _count("recordings", "recordings whose signal was measured")
TELEPHONE = _count("telephone", "those with sound up to 4000 Hz at most")
WIDE_BAND = _count("wide_band", "those with sound above that")
MEDIAN_LEVEL_DBFS = _figure("median_level_dbfs", "median of level_dbfs", "dBFS")
LOW_LEVEL_DBFS = _figure("low_level_dbfs", "level that 5 % of the recordings are below", "dBFS")
HIGH_LEVEL_DBFS = _figure("high_level_dbfs", "level that 5 % of the recordings are above", "dBFS")
MOST_CLIPPED_SHARE = _figure("most_clipped_share", "largest clipped_share of a recording")
ODD = _count("odd", "recordings with a signal note")
ODD_SHARE = _figure("odd_share", "odd over recordings")
NOTES = Column("notes", COUNT_MAP, "recordings by signal note; NULL without any", nullable=True)
EXAMPLES = Column("examples", pa.list_(pa.string()), "the first three recordings with a note", personal=True)

RUN_RECORDINGS = _count("recordings", "recordings committed by the run")
AUDIO_HOURS = Column("audio_hours", pa.float64(), "decoded audio", "h")
SPEECH_HOURS = Column("speech_hours", pa.float64(), "speech in it", "h")
SPEED = _figure("speed", "seconds of audio per second of the run")
WALL_S_PER_AUDIO_HOUR = _figure("wall_s_per_audio_hour", "seconds of the run per hour of audio", "s")
SLOWEST_STAGE = Column("slowest_stage", pa.string(), "stage that took the most time", nullable=True)
