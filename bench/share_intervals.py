"""How often does `share_low` to `share_high` of daily_emotions hold the share that calls were drawn with?

    python -m bench.share_intervals

draws days of a few recordings with shares that are known, lets the statement of the daily table aggregate them, and
writes the table between the marks of docs/shares.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from emolake.output.table import markdown_table
from emolake.tasks.aggregate import DAILY_STATEMENT

PAGE = Path(__file__).parents[1] / "docs" / "shares.md"
DAY = date(2026, 7, 3)
RECORDINGS = (2, 3, 5, 10, 30, 100)
SHARES = (0.02, 0.1, 0.4)
LIKENESS = (0.0, 0.3, 0.9)
"""Intraclass correlation: how much alike the segments of a recording are."""


@dataclass(frozen=True)
class Coverage:
    """What the intervals of many days came to: the share of days that they hold the truth on, and their mean width."""

    covered: float
    width: float
    least_width: float


def coverage(recordings: int, share: float, likeness: float, *, days: int, seed: int) -> Coverage:
    """Return how often the interval of an emotion holds its share, over days of some recordings.

    Recordings have 1 to about 60 segments of up to 10 s of speech, whatever their emotion is. The emotion's probability
    in a recording has a beta distribution with mean `share` and the intraclass correlation `likeness`.
    """
    drawn = _drawn(recordings, share, likeness, days, np.random.default_rng(seed))
    connection = duckdb.connect()
    connection.execute("ATTACH ':memory:' AS lake; SET threads = 1")
    connection.register("drawn", drawn)
    connection.execute(
        "CREATE TABLE lake.segments AS SELECT recording_id, $1::DATE AS date, 'm' AS model, 0 AS channel, "
        "NULL::VARCHAR AS role, segment_index, 10.0 * segment_index AS start_s, 10.0 * segment_index + 10 AS end_s, "
        "speech_ratio, emotion, 0.5::FLOAT AS confidence, false AS uncertain, "
        "NULL::MAP(VARCHAR, FLOAT) AS probabilities, NULL::MAP(VARCHAR, FLOAT) AS affect FROM drawn",
        [DAY],
    )
    connection.execute(
        "CREATE TABLE lake.recordings AS "
        "SELECT DISTINCT recording_id, $1::DATE AS date, MAP {'site': site} AS dimensions FROM drawn",
        [DAY],
    )
    connection.execute(
        f"CREATE TABLE daily AS {DAILY_STATEMENT}",
        {"date": DAY, "dimensions": ["site"], "without": [], "with_segments": []},
    )
    # Where the emotion did not occur it has no row: the other one's says the same from the other side.
    rows = connection.execute(
        "SELECT CASE emotion WHEN 'anger' THEN share_low ELSE 1 - share_high END AS low, "
        "CASE emotion WHEN 'anger' THEN share_high ELSE 1 - share_low END AS high FROM daily "
        "QUALIFY row_number() OVER (PARTITION BY dimensions ORDER BY emotion) = 1"
    ).fetchnumpy()
    low, high = np.asarray(rows["low"]), np.asarray(rows["high"])
    return Coverage(
        float(((low <= share) & (share <= high)).mean()),
        float((high - low).mean()),
        float((high - low).min()),
    )


def _drawn(
    recordings: int, share: float, likeness: float, days: int, random: np.random.Generator
) -> pa.Table:
    calls = recordings * days
    lengths = np.clip(np.round(random.lognormal(1.8, 0.8, calls)), 1, 60).astype(int)
    own = np.full(calls, share)
    if likeness:
        scale = 1 / likeness - 1
        own = random.beta(share * scale, (1 - share) * scale, calls)
    call = np.repeat(np.arange(calls), lengths)
    starts = np.cumsum(lengths) - lengths
    return pa.table(
        {
            "recording_id": call.astype(str),
            "site": (call // recordings).astype(str),
            "segment_index": np.arange(len(call)) - starts[call],
            "speech_ratio": random.uniform(0.1, 1, len(call)).astype(np.float32),
            "emotion": np.where(random.random(len(call)) < own[call], "anger", "neutral"),
        }
    )


def coverage_table(*, days: int, recordings: Sequence[int] = RECORDINGS) -> str:
    """Return the coverage by recordings in rows, and share and likeness in columns, as Markdown."""
    cases = list(product(SHARES, LIKENESS))
    rows = [
        [
            str(count),
            *(
                f"{found.covered:.3f} ({found.width:.2f})"
                for share, likeness in cases
                for found in [coverage(count, share, likeness, days=days, seed=count)]
            ),
        ]
        for count in recordings
    ]
    return markdown_table(["recordings", *(f"{share:g}, {likeness:g}" for share, likeness in cases)], rows)


def write_between(page: Path, name: str, text: str) -> None:
    """Write text between the marks `<!-- name -->` and `<!-- /name -->` of a page."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, _, rest = page.read_text("utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}{text.strip()}\n{end}{after}", "utf-8")


if __name__ == "__main__":
    shown = coverage_table(days=500)
    print(shown)
    write_between(PAGE, "share_intervals", shown)
