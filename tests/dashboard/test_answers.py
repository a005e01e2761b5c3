"""What the dashboard asks of the lake."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from emolake.dashboard.answers import REASONS, Choice, board, choices, timeline
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.schemas.days import DayRange
from emolake.schemas.tables import RUNS
from emolake.settings import Settings
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, Piece, run_row, shard_rows, sqlite_warehouse


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    warehouse = sqlite_warehouse(tmp_path_factory.mktemp("board"))
    angry = (Piece(0, 10, emotion="anger"), Piece(10, 20, emotion="neutral", index=1))
    calls = [
        *(Call(f"old/{each}.wav", day=DAY - timedelta(days=7), duration_s=20.0) for each in range(3)),
        *(Call(f"new/{each}.wav", pieces=angry, duration_s=20.0) for each in range(3)),
        Call(
            "new/broken.wav",
            status="quarantined",
            error="decode: no",
            pieces=(),
            analysed=False,
            duration_s=None,
        ),
    ]
    with open_lake(warehouse) as lake:
        commit_shard(lake, shard_rows(calls), key=KEY, run_id="run-1", message="calls")
        append(lake.connection, RUNS, run_row())
        list(
            aggregate_days(lake, DayRange(DAY - timedelta(days=7), DAY), dimensions=["site"], run_id="run-1")
        )
    return Settings(warehouse=warehouse)


def test_what_can_be_chosen(settings: Settings) -> None:
    found = choices(settings)
    assert (found.models, found.dimensions) == (["m"], ["site"])
    assert (found.first, found.last) == (DAY - timedelta(days=7), DAY)


def test_a_board_is_of_the_days_and_the_model(settings: Settings) -> None:
    shown = board(settings, Choice("m", DAY, DAY, dimension="site"))
    assert (shown.totals["listed"], shown.totals["labelled"], shown.totals["quarantined"]) == (4, 3, 1)
    changes = {row["emotion"]: row for row in shown.changes.to_pylist()}
    assert changes["anger"]["change"] == pytest.approx(0.5)
    assert changes["anger"]["change_low"] < 0.5 < changes["anger"]["change_high"]
    assert set(shown.shares.column("date").to_pylist()) == {DAY}
    assert shown.by_value is not None
    assert shown.by_value.column("value").unique().to_pylist() == ["oslo"]
    assert shown.calls.column("why").to_pylist() == ["50 % anger"] * 3
    stages = {row["stage"]: row["recordings"] for row in shown.coverage.to_pylist()}
    assert (stages["labelled"], stages["quarantined"], sum(stages.values())) == (3, 1, 4)
    assert shown.runs.column("outcome").to_pylist() == ["completed"]


def test_a_day_on_which_everything_failed_is_shown(tmp_path: Path) -> None:
    settings = Settings(warehouse=sqlite_warehouse(tmp_path))
    bad: dict[str, Any] = {
        "status": "quarantined",
        "error": "decode: no",
        "pieces": (),
        "analysed": False,
        "duration_s": None,
    }
    before = DAY - timedelta(days=1)
    calls = [Call("good.wav", day=before), *(Call(f"{each}.wav", **bad) for each in range(3))]
    with open_lake(settings.warehouse) as lake:
        commit_shard(lake, shard_rows(calls), key=KEY, run_id="run-1", message="calls")
    shown = board(settings, Choice("m", before, DAY))
    assert (shown.totals["listed"], shown.totals["labelled"], shown.totals["quarantined"]) == (4, 1, 3)
    stages = {(row["date"], row["stage"]): row["recordings"] for row in shown.coverage.to_pylist()}
    assert (stages[before, "labelled"], stages[DAY, "quarantined"]) == (1, 3)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_to_listen_can_be_asked_for(settings: Settings, reason: str) -> None:
    assert board(settings, Choice("m", DAY, DAY, reason=reason)).calls.schema.names[-1] == "recording_id"


def test_the_timeline_of_a_call(settings: Settings) -> None:
    call = board(settings, Choice("m", DAY, DAY)).calls.to_pylist()[0]
    stretches = timeline(settings, model="m", day=DAY, recording_id=call["recording_id"]).to_pylist()
    assert [(each["start_s"], each["end_s"], each["emotion"]) for each in stretches] == [
        (0, 10, "anger"),
        (10, 20, "neutral"),
    ]


def test_a_lake_without_a_label_has_nothing_to_choose(tmp_path: Path) -> None:
    warehouse = sqlite_warehouse(tmp_path)
    with open_lake(warehouse):
        pass
    found = choices(Settings(warehouse=warehouse))
    assert (found.models, found.dimensions, found.first) == ([], [], None)


def test_a_model_that_is_not_there_has_an_empty_board(settings: Settings) -> None:
    shown = board(settings, Choice("other", DAY, DAY))
    assert shown.totals["listed"] == 0
    assert not shown.changes.num_rows


def test_it_answers_while_a_night_writes(settings: Settings) -> None:
    """What a transaction has not committed is not seen, and does not keep the board waiting."""

    def work(connection: duckdb.DuckDBPyConnection) -> int:
        append(connection, RUNS, run_row("run-2"))
        return board(settings, Choice("m", DAY, DAY)).runs.num_rows

    with open_lake(settings.warehouse) as lake:
        assert lake.transact(work, author="test", message="a night", extra={}) == 1
