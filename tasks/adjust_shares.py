"""Adjust shares: add to a day's rows their shares corrected for what the model is known to confuse."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from emolake.errors import ConfigurationError
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.models.quantification import AdjustedShare, Speech, adjusted_shares, can_adjust
from emolake.models.reliability import Reliability
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import MODEL_RELIABILITY
from emolake.sql import statement


def record_reliability(lake: Lake, reliability: Reliability, *, key: AnalysisKey, run_id: str) -> None:
    """Keep the record of a model's confusion in the lake, where every machine finds it; nothing is written twice."""
    text = reliability.model_dump_json()
    version = {"model_fingerprint": key.model_fingerprint}
    if lake.answer(lambda: lake.rows(statement("reliability_of_model"), version)) == [(text,)]:
        return
    row = version | {"reliability": text, "run_id": run_id, "committed_at": datetime.now(UTC)}

    def work(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(statement("delete_reliability"), version)
        append(connection, MODEL_RELIABILITY, pa.Table.from_pylist([row], schema=MODEL_RELIABILITY.schema))

    lake.transact(work, author=run_id, message=f"reliability of {key.model}", extra={"run_id": run_id})


def reliability_of_day(connection: duckdb.DuckDBPyConnection, day: date) -> dict[str, Reliability]:
    """Return the records that the shares of a day's models can be corrected by.

    Raises:
        ConfigurationError: a record was written by a version of emolake that this one does not understand.
    """
    rows = connection.execute(statement("reliability_of_day"), {"date": day}).fetchall()
    records = {model: _parsed(model, text) for model, text in rows}
    return {model: record for model, record in records.items() if can_adjust(record)}


def with_adjusted_shares(rows: pa.Table, records: Mapping[str, Reliability]) -> pa.Table:
    """Return a day's rows, in place of their labelled speech the columns of adjusted shares.

    Args:
        rows: of `daily_emotions.sql`, whose labelled speech there is for the models of `records`.
        records: by the name of the model.
    """
    keys = [
        (row["model"], tuple(row["dimensions"]), row["emotion"])
        for row in rows.select(["model", "dimensions", "emotion"]).to_pylist()
    ]
    groups: dict[tuple[str, tuple[Any, ...]], list[int]] = {}
    for index, (model, dimensions, emotion) in enumerate(keys):
        if emotion is not None and model in records:
            groups.setdefault((model, dimensions), []).append(index)
    found: dict[int, AdjustedShare] = {}
    for (model, _), indices in groups.items():
        found.update(_of_group(rows.take(indices), indices, records[model]))
    columns = {
        "share_adjusted": [found[index].share if index in found else None for index in range(len(keys))],
        "share_adjusted_low": [found[index].low if index in found else None for index in range(len(keys))],
        "share_adjusted_high": [found[index].high if index in found else None for index in range(len(keys))],
    }
    kept = rows.drop_columns(["labelled", "orders"])
    for name, values in columns.items():
        kept = kept.append_column(name, pa.array(values, pa.float64()))
    return kept


def _of_group(
    rows: pa.Table, indices: list[int], reliability: Reliability
) -> Iterator[tuple[int, AdjustedShare]]:
    """Yield the adjusted share of each row of one model and dimensions; none of labels that the record lacks."""
    orders = {tuple(order) for each in rows.column("orders").to_pylist() for order in each}
    if len(orders) != 1:
        return
    (order,) = orders
    if set(order) != set(reliability.labels):
        return
    labelled = rows.column("labelled").combine_chunks().flatten()
    seconds = labelled.field("seconds").to_numpy(zero_copy_only=False)
    spoken = seconds > 0
    if not spoken.any():
        return
    flat = labelled.field("probabilities").flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    probabilities = flat.reshape(len(labelled), len(order))[
        :, [order.index(each) for each in reliability.labels]
    ]
    recordings = labelled.field("recording").to_numpy(zero_copy_only=False)
    # DuckDB gives the segments in whatever order its threads had them.
    sorting = np.lexsort((*probabilities.T, seconds, recordings))
    sorting = sorting[spoken[sorting]]
    speech = Speech(probabilities[sorting], seconds[sorting], recordings[sorting])
    shares = adjusted_shares(speech, reliability)
    for index, emotion in zip(indices, rows.column("emotion").to_pylist(), strict=True):
        # Of an emotion without a second of speech nothing was counted.
        yield index, shares.get(emotion, AdjustedShare(0.0, None, None))


def _parsed(model: str, text: str) -> Reliability:
    try:
        return Reliability.model_validate_json(text)
    except ValueError as error:
        raise ConfigurationError(
            f"the record of what the model {model} confuses, in model_reliability, cannot be read ({error}); it was "
            "written by a newer emolake: use that one"
        ) from error
