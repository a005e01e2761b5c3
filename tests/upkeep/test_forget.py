"""Forgetting a model: its rows go exactly once and leave receipts, wherever it is killed, whatever runs beside."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event
from typing import Any, cast

import duckdb
import pytest

import emolake.upkeep.forget as forgetting
from emolake.lake.connect import open_lake
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.settings import Settings
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard
from emolake.upkeep.forget import ForgetError, ModelDay, forget, plan_forgetting
from emolake.upkeep.verify import verify

from made_lake import DAY, KEY, Call, shard_rows, tiled

pytestmark = pytest.mark.slow

EARLIER = DAY - timedelta(days=1)
ALL, BOTH = DayRange.between(None, None), DayRange(EARLIER, DAY)
TRIAL = AnalysisKey("it's a trial", "e" * 32, "d" * 16)
CALLS = [
    Call("a.wav", pieces=tiled(["anger", "fear"]), duration_s=20.0),
    Call("b.wav", site="berlin"),
    Call("c.wav", day=EARLIER, pieces=tiled(["calm"])),
]
ONLY = Call("d.wav", day=EARLIER)
"""What no other model has analysed."""
OTHERS = {
    table: f"SELECT * EXCLUDE ({without}) FROM {table} WHERE model <> 'it''s a trial' ORDER BY ALL"
    for table, without in (("segments", "run_id"), ("analyses", "run_id"), ("daily_emotions", "date"))
}


def commit(lake: Lake, calls: list[Call], key: AnalysisKey, *, force: bool = False) -> None:
    commit_shard(lake, shard_rows(calls, key=key), key=key, run_id="run-1", message="made", force=force)


def fill(warehouse: WarehouseOptions) -> None:
    with open_lake(warehouse) as lake:
        commit(lake, CALLS, KEY)
        commit(lake, [*CALLS, ONLY], TRIAL)
        list(aggregate_days(lake, BOTH, dimensions=["site"], run_id="run-1"))


def answers(warehouse: WarehouseOptions, *questions: str) -> list[list[tuple[Any, ...]]]:
    with open_lake(warehouse, read_only=True) as lake:
        return [lake.rows(sql) for sql in questions]


def rows_of(warehouse: WarehouseOptions, sql: str) -> list[tuple[Any, ...]]:
    return answers(warehouse, sql)[0]


def others(warehouse: WarehouseOptions) -> list[list[tuple[Any, ...]]]:
    return answers(warehouse, *OTHERS.values())


RECEIPTS = "SELECT model, date, analyses, segments, requested_by FROM forgotten ORDER BY date"


def test_a_models_rows_go_and_all_else_stays(warehouse: WarehouseOptions) -> None:
    fill(warehouse)
    settings, before = Settings(warehouse=warehouse), others(warehouse)
    plan = plan_forgetting(settings, TRIAL.model, ALL)
    assert plan.days == [ModelDay(EARLIER, 2, 2, 2), ModelDay(DAY, 2, 3, 3)]
    assert rows_of(warehouse, "SELECT count(*) FROM analyses") == [(7,)]  # the plan changes nothing
    assert forget(settings, TRIAL.model, ALL, requested_by="ticket 7") == plan.days
    assert others(warehouse) == before
    assert all(before)
    *models, recordings, receipts = answers(
        warehouse,
        *(f"SELECT DISTINCT model FROM {table}" for table in OTHERS),
        "SELECT count(*) FROM recordings",
        RECEIPTS,
    )
    assert models == [[(KEY.model,)]] * 3
    assert recordings == [(4,)]
    assert receipts == [(TRIAL.model, EARLIER, 2, 2, "ticket 7"), (TRIAL.model, DAY, 2, 3, "ticket 7")]
    verdict = verify(settings)
    assert (verdict.breaches, verdict.notices) == ([], [])
    # Once more, as after a kill at the very end: nothing to do, and no second receipt.
    again = plan_forgetting(settings, TRIAL.model, ALL)
    assert (again.days, again.forgotten_before) == ([], 2)
    assert forget(settings, TRIAL.model, ALL) == []
    # What is analysed again can be forgotten again.
    with open_lake(warehouse) as lake:
        commit(lake, CALLS[:1], TRIAL)
    assert [each.date for each in forget(settings, TRIAL.model, ALL)] == [DAY]
    assert len(rows_of(warehouse, RECEIPTS)) == 3
    assert verify(settings).breaches == []


def test_only_the_days_that_are_asked_for(embedded: WarehouseOptions) -> None:
    fill(embedded)
    settings = Settings(warehouse=embedded)
    held = "SELECT DISTINCT date FROM {} WHERE model <> 'm' ORDER BY 1"
    for days, left in (
        (DayRange.between(None, EARLIER - timedelta(1)), [EARLIER, DAY]),
        (DayRange.between(DAY, None), [EARLIER]),
        (DayRange(EARLIER, EARLIER), []),
    ):
        forget(settings, TRIAL.model, days)
        assert answers(embedded, *map(held.format, OTHERS)) == [[(day,) for day in left]] * 3


def test_a_model_that_the_lake_never_held_is_refused_and_the_others_named(embedded: WarehouseOptions) -> None:
    fill(embedded)
    settings = Settings(warehouse=embedded)
    for model, days in (("trail", ALL), (TRIAL.model, DayRange(DAY + timedelta(1), DAY + timedelta(9)))):
        with pytest.raises(ForgetError, match="it holds rows of: it's a trial, m$"):
            plan_forgetting(settings, model, days)


def test_recordings_that_lost_their_only_analysis_are_planned_again_and_no_breach(
    embedded: WarehouseOptions,
) -> None:
    fill(embedded)
    settings = Settings(warehouse=embedded)
    forget(settings, KEY.model, ALL)
    forget(settings, TRIAL.model, ALL)
    assert rows_of(embedded, "SELECT count(*) FROM daily_emotions") == [(0,)]
    assert verify(settings).breaches == []
    with open_lake(embedded) as lake:
        # But a recording that lacks its analysis for another reason is one.
        commit(lake, [Call("late.wav", analysed=False)], KEY)
        list(aggregate_days(lake, BOTH, dimensions=["site"], run_id="run-1"))
    assert [each.check for each in verify(settings).breaches].count("rows_against_ledger") == 1


class Killed(BaseException):
    """The process is no more."""


@contextmanager
def killed_after(statements: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a lake that is opened in the block run so many statements, and none after them, not even a rollback."""

    class Dying:
        def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
            self.connection, self.left = connection, statements

        def execute(self, *arguments: Any) -> duckdb.DuckDBPyConnection:
            self.left -= 1
            if self.left < 0:
                raise Killed
            return self.connection.execute(*arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.connection, name)

    make = Lake.__init__
    with monkeypatch.context() as patched:
        patched.setattr(
            Lake,
            "__init__",
            lambda lake, connection, *rest, **keys: make(lake, cast("Any", Dying(connection)), *rest, **keys),
        )
        yield


def test_killed_at_any_statement_it_ends_right_when_it_is_repeated(
    embedded: WarehouseOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(embedded)
    settings, before = Settings(warehouse=embedded), others(embedded)
    held = (
        "SELECT date, count(*) FILTER (t = 's'), count(*) FILTER (t = 'a'), count(*) FILTER (t = 'd') FROM ("
        "SELECT date, model, 's' AS t FROM segments UNION ALL SELECT date, model, 'a' FROM analyses "
        "UNION ALL SELECT date, model, 'd' FROM daily_emotions) WHERE model <> 'm' GROUP BY date ORDER BY date"
    )
    whole = {EARLIER: (EARLIER, 2, 2, 2), DAY: (DAY, 3, 2, 3)}
    kills = 0
    for statements in range(0, 200, 3):
        try:
            with killed_after(statements, monkeypatch):
                forget(settings, TRIAL.model, ALL)
            break
        except Killed:
            kills += 1
        receipts, days = answers(embedded, RECEIPTS, held)
        # A day is whole, or gone with a receipt.
        assert days == [whole[day] for day in sorted(set(whole) - {day for _, day, *_ in receipts})]
    assert kills >= 8
    assert answers(embedded, held, RECEIPTS) == [
        [],
        [(TRIAL.model, EARLIER, 2, 2, None), (TRIAL.model, DAY, 2, 3, None)],
    ]
    assert others(embedded) == before


def test_it_runs_beside_the_nightly_of_another_model(warehouse: WarehouseOptions) -> None:
    fill(warehouse)
    settings, begun = Settings(warehouse=warehouse), Event()

    def nightly() -> None:
        with open_lake(warehouse) as lake:
            for _ in range(3):
                commit(lake, CALLS, KEY, force=True)
                begun.set()
                list(aggregate_days(lake, BOTH, dimensions=["site"], run_id="run-1"))

    with ThreadPoolExecutor() as threads:
        at_work = threads.submit(nightly)
        begun.wait(30)
        forget(settings, TRIAL.model, ALL)
        at_work.result(timeout=120)
    assert answers(
        warehouse,
        "SELECT model, count(*) FROM segments GROUP BY ALL",
        "SELECT count(*), sum(analyses)::INTEGER FROM forgotten",
    ) == [[(KEY.model, 4)], [(2, 4)]]
    assert verify(settings).breaches == []


def test_what_a_run_with_this_model_commits_meanwhile_is_told(
    embedded: WarehouseOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(embedded)
    settings = Settings(warehouse=embedded)
    of_day = forgetting._forget_day

    def and_commit(lake: Lake, *rest: Any) -> ModelDay:
        gone = of_day(lake, *rest)
        commit(lake, [ONLY], TRIAL)
        return gone

    monkeypatch.setattr(forgetting, "_forget_day", and_commit)
    with pytest.raises(ForgetError, match="on 1 day; forget it again when the run has ended"):
        forget(settings, TRIAL.model, ALL)
    monkeypatch.undo()
    forget(settings, TRIAL.model, ALL)
    assert verify(settings).breaches == []
