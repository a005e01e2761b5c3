"""Snapshots of the lake: which there are, and letting them expire."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from emolake.lake.transact import Lake
from emolake.sql import statement

_EXPIRED_AT_ONCE = 1000


def expirable_snapshots(lake: Lake, moment: datetime) -> list[int]:
    """Return the ids of the snapshots that a commit had seen followed by a moment; nobody has begun with one since."""
    return [
        snapshot for (snapshot,) in lake.answered_rows(statement("expirable_snapshots"), {"before": moment})
    ]


def expire(lake: Lake, snapshots: Sequence[int]) -> None:
    """Expire snapshots by id; the files that only they need wait to be removed."""
    for start in range(0, len(snapshots), _EXPIRED_AT_ONCE):
        some = list(snapshots[start : start + _EXPIRED_AT_ONCE])
        lake.retried(partial(lake.rows, statement("expire_snapshots"), {"snapshots": some}))
