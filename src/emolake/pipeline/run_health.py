"""The health gate: a classifier whose logits are flat does not publish.

A head that was never loaded, or a feature extractor used wrongly, answers almost the same to everything: the mean
range of its logits is a fraction of a healthy one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa

from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.models.health_gate import HealthOptions
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import MODEL_HEALTH
from emolake.sql import statement


@dataclass(frozen=True)
class Health:
    """A verdict on a model, and the sentence that explains it."""

    verdict: str
    detail: str


def judge(segments: int, logit_range_mean: float | None, options: HealthOptions) -> Health:
    """Return the verdict on a model from the mean range of its logits over some labelled segments."""
    if segments < options.min_segments or logit_range_mean is None:
        return Health(
            "too few", f"{segments} labelled segments, expected {options.min_segments} for a verdict"
        )
    if logit_range_mean < options.min_logit_range:
        return Health(
            "flat",
            f"the logits of {segments} segments range over {logit_range_mean:.3f} on average, expected at least "
            f"health.min_logit_range = {options.min_logit_range:g}: the model answers nearly the same to everything; "
            "`emolake diagnose` shows its stages",
        )
    return Health(
        "healthy", f"the logits of {segments} segments range over {logit_range_mean:.2f} on average"
    )


def record_run_health(
    lake: Lake, days: Sequence[date], *, run_id: str, key: AnalysisKey, options: HealthOptions
) -> Health:
    """Write the run's row in model_health, and return its verdict; a run without labelled segments gets none."""
    parameters = {"run_id": run_id, "model": key.model, "first": min(days), "last": max(days)}
    found = lake.connection.execute(statement("run_health"), parameters).to_arrow_table().to_pylist()[0]
    health = judge(found["segments"], found["logit_range_mean"], options)
    row = found | {
        "run_id": run_id,
        "model": key.model,
        "model_fingerprint": key.model_fingerprint,
        "verdict": health.verdict,
        "committed_at": datetime.now(UTC),
    }

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        append(connection, MODEL_HEALTH, pa.Table.from_pylist([row], schema=MODEL_HEALTH.schema))

    if found["segments"]:
        lake.transact(
            work, author=run_id, message=f"health of {key.model}: {health.verdict}", extra={"run_id": run_id}
        )
    return health
