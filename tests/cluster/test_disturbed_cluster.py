"""A worker and then a run are killed on a cluster; `make chaos` does that, and more, fifty times."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from chaos.cluster import cluster

# Not imported: Ray reads once what a cluster of this process' own is started with.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'emolake[ray]'"),
]


def test_the_lake_is_that_of_a_clean_local_run(tmp_path: Path) -> None:
    outcomes = cluster(1, 2, tmp_path / "site")
    assert [(outcome.fault, outcome.broken, outcome.skipped) for outcome in outcomes] == [
        ("a worker is killed", None, False),
        ("the process of the run is killed", None, False),
    ]
