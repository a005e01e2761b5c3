"""The columns of the table `drift` that no other table has."""

import pyarrow as pa

from emolake.schemas.column import DOUBLE_MAP, Column
from emolake.schemas.drift_measures import DRIFT_MEASURES

DRIFT_VERDICTS = ("steady", "warn", "fail", "too few")

DIMENSION = Column(
    "dimension",
    pa.string(),
    "what the day is looked at by: a name of aggregate.by, or `role`; '' for all of the day",
)
DIMENSION_VALUE = Column("dimension_value", pa.string(), "its value; '' for all of the day")
MEASURE = Column("measure", pa.string(), "what was measured", allowed=tuple(DRIFT_MEASURES))
VALUE = Column(
    "value", pa.float64(), "what it was on the day; NULL where there is nothing to measure", nullable=True
)
USUAL = Column(
    "usual",
    pa.float64(),
    "mean of the days before that have the same config_id; NULL where they are too few",
    nullable=True,
)
SPREAD = Column("spread", pa.float64(), "standard deviation of those days", nullable=True)
EARLIER_DAYS = Column("earlier_days", pa.int64(), "how many days before it was compared with")
CHANCE = Column(
    "chance",
    pa.float64(),
    "how probable a day so far from the usual is where nothing has changed; NULL where it was not compared",
    nullable=True,
)
LABEL_SECONDS = Column(
    "label_seconds",
    DOUBLE_MAP,
    "seconds of speech by label, of which population_stability is made; NULL of other measures",
    "s",
    nullable=True,
)
DRIFT_VERDICT = Column("verdict", pa.string(), "whether it has drifted", allowed=DRIFT_VERDICTS)
