"""Train a classifier, or evaluate one on labelled data, with the figures as artifacts of the run."""

import base64
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from emolake.environment import default_config_file
from emolake.evaluation.evaluate import evaluate
from emolake.evaluation.results import CLASSES_PLOT, CONFUSION_PLOT, HISTORY_PLOT, REPORT_FILE
from emolake.settings import load_settings
from emolake.training.train import train

# Where results.json has them and what they are called, in the table artifact.
_FIGURES = ("accuracy", "uar", "macro_f1", "expected_calibration_error", "clips")
_PLOTS = (CONFUSION_PLOT, CLASSES_PLOT, HISTORY_PLOT)


@flow(name="train-model", flow_run_name="train-{model}", validate_parameters=True, persist_result=False)
def train_model(
    model: str,
    data: Path,
    out: Path,
    split: str = "speaker",
    seed: int = 0,
    folds: int | None = None,
    options: dict[str, Any] | None = None,
    device: str = "auto",
    resume: bool = False,
    force: bool = False,
) -> dict[str, float]:
    """Train a classifier and write it with its figures; return these.

    Args:
        model: what to train, as `emolake train --model` has it.
        data: folder of emotion/clip.wav, or a CSV with file_path,emotion,speaker, on the worker's machine.
        out: folder to write.
        split: `speaker`, or `random`, which lets speakers leak.
        seed: fixes everything on the CPU.
        folds: folds of the cross-validation; the recipe's own when left out.
        options: of the recipe, as `emolake train --set` has them: {"loop.epochs": 3}.
        device: auto, cpu or cuda.
        resume: go on with the training in `out` that was stopped.
        force: replace the training in `out`.
    """
    trained = train(
        model=model, data=data, split=split, out=out, seed=seed, folds=folds, options=options, device=device,
        resume=resume, force=force,
    )  # fmt: skip
    return _publish("train-model", trained.results, out)


@flow(name="evaluate-model", flow_run_name="evaluate-{model}", validate_parameters=True, persist_result=False)
def evaluate_model(
    data: Path, out: Path, model: str | None = None, config: Path | None = None
) -> dict[str, float]:
    """Evaluate a model on labelled data, write its figures and return them.

    Args:
        data: folder of emotion/clip.wav, or a CSV with file_path,emotion, on the worker's machine.
        out: folder to write.
        model: name of a model of the configuration, or a folder that training wrote.
        config: path of the configuration file; ./emolake.toml, or the defaults, when left out.
    """
    settings = load_settings(config or default_config_file())
    results = evaluate(entry=settings.registry.entry_or_folder(model), settings=settings, data=data, out=out)
    return _publish("evaluate-model", results, out)


def _publish(flow_name: str, results: dict[str, Any], out: Path) -> dict[str, float]:
    """Make the artifacts of a run: table, report, a link to the folder, and the plots.

    Browsers show no file of the worker's disk, so the plots travel inside their artifacts.
    """
    figures = {name: results[name] for name in _FIGURES}
    intervals = results["confidence_intervals"]
    rows = [
        {"figure": name, "value": value, "95 % interval": str(intervals.get(name) or "")}
        for name, value in figures.items()
    ]
    create_table_artifact(key=f"emolake-{flow_name}", table=rows, description=f"{results['model']}, {out}")
    report = (out / REPORT_FILE).read_text("utf-8")
    create_markdown_artifact(key=f"emolake-{flow_name}-report", markdown=report)
    create_link_artifact(
        key=f"emolake-{flow_name}-folder", link=out.resolve().as_uri(), link_text=f"results in {out}"
    )
    for plot in _PLOTS:
        if (out / plot).is_file():
            encoded = base64.b64encode((out / plot).read_bytes()).decode("ascii")
            key = f"emolake-{flow_name}-{Path(plot).stem.replace('_', '-')}"
            create_image_artifact(
                key=key, image_url=f"data:image/png;base64,{encoded}", description=Path(plot).stem
            )
    return figures
