"""The example configurations of deployments/ load, and say what their comments say."""

from pathlib import Path

import pytest

from emolake.settings import load_settings

EXAMPLES = sorted((Path(__file__).parents[2] / "deployments").glob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_load(path: Path) -> None:
    settings = load_settings(path)
    assert settings.source.uri.startswith("s3://")
    assert set(settings.aggregate.by) <= set(settings.source.key_pattern().dimensions)


def test_there_is_an_example_of_each_setting() -> None:
    assert {load_settings(path).warehouse.catalog.partition(":")[0] for path in EXAMPLES} == {
        "sqlite",
        "postgres",
    }
