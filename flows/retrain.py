"""Retrain: a new model beside the current one, compared with it on clips that neither has seen; it replaces nothing."""

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from pydantic import Field

from emolake.environment import default_config_file
from emolake.evaluation.compare import COLUMNS
from emolake.output.table import markdown_table
from emolake.settings import load_settings
from emolake.training.retraining import retrain as train_and_compare


@flow(name="retrain", flow_run_name="retrain-{model}", validate_parameters=True, persist_result=False)
def retrain(
    model: str,
    data: Path,
    test: Path,
    out: Path,
    current: str | None = None,
    least_gain: Annotated[float, Field(ge=0, le=1)] = 0.0,
    split: str = "speaker",
    seed: int = 0,
    folds: Annotated[int, Field(ge=1)] | None = None,
    options: dict[str, Any] | None = None,
    device: str = "auto",
    config: Path | None = None,
) -> dict[str, str]:
    """Train a model and compare it with the current one; return the verdict, the reason and the folder.

    Args:
        model: what to train, as `emolake train --model` has it.
        data: folder of emotion/clip.wav, or a CSV with file_path,emotion,speaker, on the worker's machine.
        test: the same, of other speakers, to compare the two models with.
        out: folder; each retraining gets one of its own in it.
        current: name of a model of the configuration, or a folder; the one of [inference] when left out.
        least_gain: gain in unweighted average recall above which the new model is called better.
        split: `speaker`, `corpus`, or `random`, which lets speakers leak.
        seed: fixes everything on the CPU.
        folds: folds of the cross-validation; the recipe's own when left out.
        options: of the recipe, as `emolake train --set` has them: {"loop.epochs": 3}.
        device: auto, cpu or cuda.
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
    """
    settings = load_settings(config or default_config_file())
    found = train_and_compare(
        settings, model=model, data=data, test=test, out=out, current=current, least_gain=least_gain, split=split,
        seed=seed, folds=folds, options=options, device=device,
    )  # fmt: skip
    table = markdown_table(COLUMNS, found.comparison.rows())
    markdown = f"**{found.verdict}**: {found.reason}\n\n{table}\n\n{found.remedy}\n"
    create_markdown_artifact(key="emolake-retrain", markdown=markdown, description=str(found.folder))
    create_link_artifact(
        key="emolake-retrain-folder",
        link=found.folder.resolve().as_uri(),
        link_text=f"the model and its figures in {found.folder}",
    )
    return {"verdict": found.verdict, "reason": found.reason, "folder": str(found.folder)}
