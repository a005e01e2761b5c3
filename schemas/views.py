"""The lake's views: what each is for, its columns, and an example; what it selects is `sql/view_NAME.sql`."""

from dataclasses import dataclass
from hashlib import sha256

from emolake.schemas import columns as c
from emolake.schemas import view_columns as v
from emolake.schemas.tables import TABLES, Grain, Relation, Table
from emolake.sql import statement

# Parts of statements that several views, and the daily table, are made with: `sql/NAME.sql`.
_PARTS = ("emotions_by_day", "share_bounds")


@dataclass(frozen=True)
class View(Relation):
    """One view: `example` is a query over the lake."""

    example: str

    @property
    def grain(self) -> Grain:
        """What a row is about: a part of a channel, or a whole recording or more."""
        return Grain.segments if c.START_S in self.columns else Grain.summary

    @property
    def select(self) -> str:
        """What the view selects, its tables by their bare names: where it is made, they are beside it."""
        return statement(f"view_{self.name}", **{part: statement(part) for part in _PARTS})

    @property
    def comment(self) -> str:
        """What the catalog says of the view; its end changes with what the view selects."""
        return f"{self.description} [{sha256(self.select.encode()).hexdigest()[:12]}]"


SEGMENTS_WIDE = View(
    "segments_wide",
    "One row per segment of a model that is not held back, with what its recording is: what shares by hour, weekday or "
    "any dimension are made from, as `sum(speech_s)`.",
    (
        c.DATE,
        c.RECORDING_ID,
        c.URI,
        c.MODEL,
        c.CHANNEL,
        c.ROLE,
        c.SEGMENT_INDEX,
        c.START_S,
        c.END_S,
        v.SPEECH_S,
        v.AT_LOCAL,
        c.LABEL,
        c.EMOTION,
        c.CONFIDENCE,
        c.UNCERTAIN,
        c.PROBABILITIES,
        c.AFFECT,
        c.ENTROPY,
        c.DIMENSIONS,
        c.DURATION_S,
        c.DELETED_AT,
        c.CONFIG_ID,
        c.RUN_ID,
    ),
    key=("date", "recording_id", "model", "channel", "segment_index"),
    example="""\
SELECT hour(at_local) AS hour, sum(speech_s) FILTER (emotion = 'anger') / sum(speech_s) AS anger
FROM segments_wide WHERE emotion IS NOT NULL GROUP BY ALL ORDER BY hour""",
)

TIMELINE = View(
    "timeline",
    "One row per stretch of a channel to which one model gave the same emotion, or none, segment after segment.",
    (
        c.DATE,
        c.RECORDING_ID,
        c.URI,
        c.MODEL,
        c.CHANNEL,
        c.ROLE,
        v.STRETCH,
        c.START_S,
        c.END_S,
        v.AT_LOCAL,
        v.POSITION,
        c.EMOTION,
        c.SEGMENTS,
        v.SPEECH_S,
        v.MEAN_CONFIDENCE,
    ),
    key=("date", "recording_id", "model", "channel", "stretch"),
    example="""\
SELECT channel, start_s, end_s, emotion, mean_confidence FROM timeline
WHERE uri LIKE '%/101500.wav' ORDER BY channel, start_s""",
)

CALLS = View(
    "calls",
    "One row per recording, model and channel, and so per role, with a segment: what was felt, how it went from the "
    "first to the last quarter, how sure that is, and what the conversation did.",
    (
        c.DATE,
        c.RECORDING_ID,
        c.URI,
        c.RECORDED_AT,
        c.RECORDED_AT_LOCAL,
        c.MODEL,
        c.CHANNEL,
        c.ROLE,
        c.DIMENSIONS,
        c.STATUS,
        c.DELETED_AT,
        c.DURATION_S,
        c.SEGMENTS,
        v.LABELLED_SEGMENTS,
        c.SPEECH_SECONDS,
        v.LABELLED_SECONDS,
        v.SHARES,
        v.DOMINANT_EMOTION,
        v.DOMINANT_SHARE,
        v.MIXTURE,
        v.SHARES_FIRST,
        v.SHARES_LAST,
        v.CALL_CHANGE,
        v.RISEN_EMOTION,
        v.RISEN_BY,
        v.TURNING_POINTS,
        v.MEAN_CONFIDENCE,
        v.UNCERTAIN_SHARE,
        v.AROUSAL,
        v.DOMINANCE,
        v.VALENCE,
        c.TALK_S.optional(),
        c.TALK_SHARE,
        c.SILENCE_S.optional(),
        c.OVERLAP_S,
        c.INTERRUPTIONS,
        c.TURNS,
        c.MEAN_TURN_S,
        c.RESPONSE_S,
        c.PAUSES.optional(),
        c.MEAN_PAUSE_S,
        c.LONGEST_PAUSE_S,
        c.SPEECH_LEVEL_DBFS,
        c.SIGNAL_NOTES_COLUMN,
    ),
    key=("date", "recording_id", "model", "channel"),
    example="""\
SELECT uri, dimensions['site'] AS site, dominant_emotion, shares['anger'] AS anger, change, interruptions
FROM calls WHERE date = '2026-11-20' ORDER BY anger DESC NULLS LAST""",
)

WEEKLY_EMOTIONS = View(
    "weekly_emotions",
    "One row per week, model, dimension, value of it and emotion: the share of the labelled speech of the whole week, "
    "which is not the mean of the days' shares, with an interval by recordings. An emotion that the model gave in any "
    "week has a row in every one. Each dimension of the daily table is there by itself, and all recordings together as "
    "the dimension NULL: choose one, or every second counts several times.",
    (
        v.WEEK,
        c.MODEL,
        v.DIMENSION,
        v.VALUE,
        v.GIVEN_EMOTION,
        v.DAYS_OF_WEEK,
        v.LABELLED_RECORDINGS,
        v.RECORDINGS_WITH,
        c.SEGMENTS,
        v.EMOTION_SECONDS,
        v.PERIOD_SHARE,
        v.PERIOD_LOW,
        v.PERIOD_HIGH,
        c.MEAN_PROBABILITY,
    ),
    key=("week", "model", "dimension", "value", "emotion"),
    example="""\
SELECT week, share, share_low, share_high, recordings
FROM weekly_emotions WHERE dimension IS NULL AND emotion = 'anger' ORDER BY week""",
)

TREND = View(
    "trend",
    "One row per day with labelled speech, model, dimension, value of it, emotion and number of days, 7 or 28: the "
    "share of the days that end with this one, that of as many days before them, and the change, each with its "
    "interval. Dimensions are as in weekly_emotions. It reads all labelled segments whatever days are asked "
    "for, as a day needs the days before it; over many months ask `daily_emotions`.",
    (
        c.DATE,
        c.MODEL,
        v.DIMENSION,
        v.VALUE,
        v.GIVEN_EMOTION,
        v.DAYS,
        v.DAYS_WITH_SPEECH,
        v.LABELLED_RECORDINGS,
        v.EMOTION_SECONDS,
        v.PERIOD_SHARE,
        v.PERIOD_LOW,
        v.PERIOD_HIGH,
        v.DAYS_WITH_SPEECH_BEFORE,
        v.RECORDINGS_BEFORE,
        v.SHARE_BEFORE,
        v.SHARE_BEFORE_LOW,
        v.SHARE_BEFORE_HIGH,
        v.CHANGE,
        v.CHANGE_LOW,
        v.CHANGE_HIGH,
    ),
    key=("date", "model", "dimension", "value", "emotion", "days"),
    example="""\
SELECT emotion, share, change, change_low, change_high
FROM trend WHERE dimension IS NULL AND days = 7 AND date = (SELECT max(date) FROM trend) ORDER BY abs(change) DESC""",
)

LISTEN_FIRST = View(
    "listen_first",
    "One row per reason to listen to a call, and call, model and channel, ranked within its day; only what is still at "
    "the source. `most extreme`: the emotion beside neutral and calm with the largest share; `most mixed`: two moments "
    "of it differ most often; `most changed`: from the first to the last quarter; `least sure`: the lowest mean "
    "confidence. Each is multiplied by s / (s + 10) for s seconds of labelled speech, so that no single window is "
    "first.",
    (
        c.DATE,
        c.MODEL,
        v.REASON,
        v.RANK,
        c.RECORDING_ID,
        c.URI,
        c.CHANNEL,
        c.ROLE,
        c.RECORDED_AT_LOCAL,
        c.DIMENSIONS,
        v.SCORE,
        v.REASON_EMOTION,
        v.WHY,
        v.LISTEN_FROM_S,
        v.LABELLED_SECONDS,
    ),
    key=("date", "model", "reason", "rank"),
    example="""\
SELECT reason, uri, role, why, listen_from_s FROM listen_first
WHERE date = '2026-11-20' AND rank <= 3 ORDER BY reason, rank""",
)

COVERAGE = View(
    "coverage",
    "One row per day and model of its ledger: what became of the recordings that were listed and are still at the "
    "source. Each is counted once, where it fell out first: excluded, quarantined, not_analysed, held_back, no_speech, "
    "no_label and labelled add up to listed. Keys that match no pattern have no day: `runs` counts them.",
    (
        c.DATE,
        v.MODEL_OF_DAY,
        v.LISTED,
        v.EXCLUDED,
        v.QUARANTINED,
        v.NOT_ANALYSED,
        v.HELD_BACK,
        v.NO_SPEECH,
        v.NO_LABEL,
        v.LABELLED,
        v.LABELLED_SHARE,
        v.TRUNCATED,
        v.DELETED,
        c.AUDIO_SECONDS,
        c.SPEECH_SECONDS,
        v.REASONS,
        v.FELL_OUT,
    ),
    key=("date", "model"),
    example="""\
SELECT date, listed, labelled, quarantined, no_speech, fell_out FROM coverage ORDER BY date""",
)

MODEL_COMPARISON = View(
    "model_comparison",
    "One row per segment that two models, neither held back, both labelled in the same bounds, with what each says of "
    "it. A pair is there once: model_a comes first in the alphabet.",
    (
        c.DATE,
        c.RECORDING_ID,
        c.CHANNEL,
        c.START_S,
        c.END_S,
        v.MODEL_A,
        v.MODEL_B,
        v.EMOTION_A,
        v.EMOTION_B,
        v.CONFIDENCE_A,
        v.CONFIDENCE_B,
        v.AGREE,
    ),
    key=("date", "recording_id", "channel", "start_s", "model_a", "model_b"),
    example="""\
SELECT emotion_a, emotion_b, count(*) AS segments FROM model_comparison GROUP BY ALL ORDER BY ALL""",
)

MODEL_AGREEMENT = View(
    "model_agreement",
    "One row per pair of models: on how many of the segments of model_comparison they say the same, and by how much "
    "that is more than chance.",
    (
        v.MODEL_A,
        v.MODEL_B,
        v.FIRST_DATE,
        v.LAST_DATE,
        v.COMPARED_RECORDINGS,
        v.COMPARED_SEGMENTS,
        v.AGREE_SHARE,
        v.EXPECTED_SHARE,
        v.KAPPA,
        v.MOST_CONFUSED,
    ),
    key=("model_a", "model_b"),
    example="""\
SELECT model_a, model_b, segments, agree_share, kappa FROM model_agreement ORDER BY kappa""",
)

SIGNAL_QUALITY = View(
    "signal_quality",
    "One row per day: what the signals of the recordings are like that were measured and are still at the source.",
    (
        c.DATE,
        v.MEASURED_RECORDINGS,
        v.TELEPHONE,
        v.WIDE_BAND,
        v.MEDIAN_LEVEL_DBFS,
        v.LOW_LEVEL_DBFS,
        v.HIGH_LEVEL_DBFS,
        v.MOST_CLIPPED_SHARE,
        v.ODD,
        v.ODD_SHARE,
        v.NOTES,
        v.EXAMPLES,
    ),
    key=("date",),
    example="""\
SELECT date, recordings, median_level_dbfs, odd, notes FROM signal_quality ORDER BY date""",
)

THROUGHPUT = View(
    "throughput",
    "One row per run that ended and analysed audio: how fast it was, and where its time went.",
    (
        c.RUN_ID,
        c.FLOW,
        c.OUTCOME,
        c.MODEL,
        c.DEVICE,
        c.STARTED_AT,
        c.FIRST_DATE,
        c.LAST_DATE,
        v.RUN_RECORDINGS,
        c.SEGMENTS,
        v.AUDIO_HOURS,
        v.SPEECH_HOURS,
        c.WALL_S,
        v.SPEED,
        v.WALL_S_PER_AUDIO_HOUR,
        c.TIMINGS,
        v.SLOWEST_STAGE,
    ),
    key=("run_id",),
    example="""\
SELECT started_at, audio_hours, speed, slowest_stage FROM throughput ORDER BY started_at""",
)

VIEWS: tuple[View, ...] = (
    SEGMENTS_WIDE,  # others are made of it
    TIMELINE,
    CALLS,
    WEEKLY_EMOTIONS,
    TREND,
    LISTEN_FIRST,
    COVERAGE,
    MODEL_COMPARISON,
    MODEL_AGREEMENT,
    SIGNAL_QUALITY,
    THROUGHPUT,
)

RELATIONS: tuple[Table | View, ...] = (*TABLES, *VIEWS)
