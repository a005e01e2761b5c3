"""Training and evaluation as flows, against a real Prefect API, and the artifacts that they leave."""

from pathlib import Path
from typing import Any

import pytest
from made_clips import write_clips
from prefect.client.orchestration import get_client

from emolake.flows.train_model import evaluate_model, train_model


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, prefect: None) -> Path:
    """Clips of two made voices, with a Prefect API at hand."""
    return write_clips(tmp_path_factory.mktemp("training")).parent


def artifacts(prefix: str) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        found = client.request(
            "POST", "/artifacts/filter", json={"artifacts": {"key": {"like_": f"{prefix}%"}}}
        ).json()
    return {each["key"].removeprefix(prefix): each for each in found}


def test_a_trained_model_is_evaluated_and_its_figures_are_artifacts(site: Path) -> None:
    trained = train_model(
        model="logmel_cnn", data=site / "list.csv", out=site / "model", options={"loop.epochs": 1}, folds=2
    )
    assert trained["clips"] == 8
    left = artifacts("emolake-train-model")
    assert {"", "-report", "-folder", "-confusion-matrix", "-class-metrics"} <= set(left)
    assert f'"value": {trained["uar"]}' in left[""]["data"]
    assert left["-report"]["type"] == "markdown"
    assert "unweighted average recall" in left["-report"]["data"]
    assert (site / "model").as_uri() in left["-folder"]["data"]
    assert left["-confusion-matrix"]["data"].startswith("data:image/png;base64,iVBOR")

    judged = evaluate_model(model=str(site / "model"), data=site / "list.csv", out=site / "judged")
    assert judged["clips"] == 8
    left = artifacts("emolake-evaluate-model")
    assert "2 speakers (s00, s01) of 2 have the names of speakers" in left["-report"]["data"]
