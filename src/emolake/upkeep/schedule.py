"""When the next runs are due, by the server of Prefect that is configured."""

from dataclasses import dataclass
from datetime import datetime

from emolake.environment import has_prefect_server, quiet_prefect

FLOWS = ("nightly", "backfill", "retry", "maintain-lake", "alert", "retention")
"""The flows of emolake that may be on a schedule."""
_TIMEOUT_S = 5.0
_MOST = 100


@dataclass(frozen=True)
class DueRun:
    """The next run of one flow; `state` is Prefect's word, `Late` where nobody has begun it in time."""

    flow: str
    due_at: datetime
    state: str


@dataclass(frozen=True)
class Schedule:
    """What is due next, of each flow; `note` says why nothing is known where that is so."""

    runs: tuple[DueRun, ...] = ()
    note: str | None = None
    reachable: bool = True
    is_stuck: bool = False
    """Whether there are schedules, and no run of them."""


def next_runs() -> Schedule:
    """Return what Prefect's server says is due; a server that does not answer is no error."""
    quiet_prefect()
    if not has_prefect_server():
        return Schedule(
            note="no server of Prefect is configured here: cron, systemd or somebody begins the runs"
        )
    try:
        found, has_schedules = _scheduled()
    except Exception as error:  # noqa: BLE001 - whatever Prefect's client raises, the rest of the status counts
        return Schedule(note=f"Prefect's server gives no answer ({type(error).__name__})", reachable=False)
    first: dict[str, DueRun] = {}
    for run in found:
        first.setdefault(run.flow, run)
    if first:
        return Schedule(tuple(first.values()))
    if has_schedules:
        stuck = "Prefect's server has schedules of emolake, and has made no run of them: look into its log"
        return Schedule(note=stuck, is_stuck=True)
    return Schedule(note="Prefect's server has no schedule of emolake")


def _scheduled() -> tuple[list[DueRun], bool]:
    """Return the runs that are due, the next first, and whether there are schedules at all."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    named = FlowFilter(name=FlowFilterName(any_=list(FLOWS)))
    scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
    with get_client(sync_client=True, httpx_settings={"timeout": _TIMEOUT_S}) as client:
        names = {flow.id: flow.name for flow in client.read_flows(flow_filter=named)}
        runs = client.read_flow_runs(
            flow_filter=named,
            flow_run_filter=FlowRunFilter(state=scheduled),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
            limit=_MOST,
        )
        deployments = client.read_deployments(flow_filter=named)
    due = [
        DueRun(names[run.flow_id], run.expected_start_time, run.state_name or "Scheduled")
        for run in runs
        if run.expected_start_time is not None and run.flow_id in names
    ]
    return due, any(one.active for each in deployments if not each.paused for one in each.schedules)
