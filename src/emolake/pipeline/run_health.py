"""The health of a run's model, as a row of the lake."""

from datetime import UTC, datetime

import duckdb
import pyarrow as pa

from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.models.health_gate import Health, HealthOptions, judge
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import MODEL_HEALTH
from emolake.sql import statement


def record_run_health(
    lake: Lake, days: DayRange, *, run_id: str, key: AnalysisKey, options: HealthOptions
) -> Health:
    """Write the run's row in model_health, and return its verdict; a run without labelled segments gets none."""
    parameters = {"run_id": run_id, "model": key.model, "first": days.first, "last": days.last}
    found = lake.answer(
        lambda: lake.connection.execute(statement("run_health"), parameters).to_arrow_table().to_pylist()[0]
    )
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
