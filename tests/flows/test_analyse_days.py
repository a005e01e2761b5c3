"""A shard compares what it is about to do with what was planned."""

from pathlib import Path

import pytest

from emolake.errors import EmolakeError
from emolake.flows.analyse_days import shard
from emolake.pipeline.identity import analysis_key
from emolake.settings import load_settings


def test_a_shard_that_would_compute_something_else_than_planned_computes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "emolake.toml"
    config.write_text("")
    planned = load_settings(config)
    key = analysis_key(planned, planned.registry.entry())
    config.write_text("[segmentation]\nwindow_s = 5.0\nhop_s = 5.0\n")
    with pytest.raises(EmolakeError, match="the configuration was changed while the run was under way"):
        shard.fn(config, [], key, "run", "shard 1", False)
    assert not (tmp_path / "lake").exists()
