"""The command `emolake train`: its options are those of the recipes, under names that are typed."""

import json
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emolake.errors import ConfigurationError
from emolake.training.presets import PRESETS
from emolake.training.trainer_names import TRAINERS

if TYPE_CHECKING:
    from pydantic import JsonValue


class Split(StrEnum):
    """How clips are divided into training and test."""

    speaker = "speaker"
    corpus = "corpus"
    random = "random"


_RECIPE = "the recipe's"
EPILOG = (
    "Example: `emolake train --model logmel_cnn --data ravdess.csv --out runs/mine` , or "
    "`emolake train --model wav2vec2_finetune --encoder facebook/wav2vec2-large-xlsr-53 --preset 24gb "
    "--data ravdess.csv --out runs/xlsr`"
)


def train(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help=f"What to train: {', '.join([*TRAINERS][:-1])} or {[*TRAINERS][-1]}.",
        ),
    ],
    data: Annotated[
        Path, typer.Option(help="Folder of emotion/clip.wav, or a CSV with file_path,emotion,speaker.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    split: Annotated[
        Split,
        typer.Option(
            help="By speaker; by corpus, which leaves each out whole, as new data are; or at random, "
            "which lets speakers leak: log, report and card say so."
        ),
    ] = Split.speaker,
    seed: Annotated[int, typer.Option(min=0, help="Fixes everything on the CPU.")] = 0,
    folds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Folds of the cross-validation; 1: one split into training, validation and test clips.",
            show_default="4, or 1 where an encoder is tuned",
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the data, at most.", show_default=_RECIPE)
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(help="Hub id or folder of the pretrained encoder.", show_default=_RECIPE)
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="Revision of the encoder on the hub; a commit pins it.", show_default=_RECIPE),
    ] = None,
    unfreeze_layers: Annotated[
        str | None,
        typer.Option(
            help="Last transformer layers that are trained: a number, or all.", show_default=_RECIPE
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help=f"Batch, accumulation and precision for a GPU's memory: {', '.join(PRESETS)}.",
            show_default="none",
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Clips that go through the network at once.", show_default=_RECIPE)
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Batches whose gradients make one step.", show_default=_RECIPE)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest learning rate.", show_default=_RECIPE)
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, fp16 (GPU only) or bf16, for the training's forward pass.", show_default=_RECIPE
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(help="Epochs without a better one after which training ends.", show_default=_RECIPE),
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option(help="Seconds after which a clip is cut off.", show_default=_RECIPE)
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            "--augment/--no-augment",
            help="Whether training clips are changed at random.",
            show_default=_RECIPE,
        ),
    ] = None,
    noise_reduction: Annotated[
        bool | None,
        typer.Option(
            "--noise-reduction", help="Remove steady noise from training clips.", show_default=_RECIPE
        ),
    ] = None,
    classifier: Annotated[
        str | None,
        typer.Option(help="Of classical: svc, random_forest or logistic_regression.", show_default=_RECIPE),
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Of classical: librosa or egemaps.", show_default=_RECIPE)
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any other option of the recipe, such as loop.schedule=plateau; may be repeated.",
            show_default="none",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Networks trained side by side, of the CNNs.", show_default=_RECIPE),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps features for other trainings.", show_default="none")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training in --out that was stopped.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the training in --out.")] = False,
) -> None:
    """Train a classifier and write it with its figures and its card, for [models.NAME] path."""
    options: dict[str, JsonValue] = dict(_preset(preset))
    named: dict[str, JsonValue] = {
        "loop.epochs": epochs,
        "encoder": encoder,
        "revision": revision,
        "unfreeze_layers": int(unfreeze_layers)
        if unfreeze_layers and unfreeze_layers.isdecimal()
        else unfreeze_layers,
        "loop.batch": batch,
        "loop.accumulate": accumulate,
        "loop.learning_rate": learning_rate,
        "loop.precision": precision,
        "loop.patience": patience,
        "max_duration_s": max_duration,
        "augment.chance": {None: None, True: 0.5, False: 0.0}[augment],
        "augment.noise_reduction": noise_reduction,
        "classifier": classifier,
        "features": None if features is None else {"kind": features},
    }
    options |= {name: value for name, value in named.items() if value is not None}
    options |= dict(_assignment(text) for text in option or ())

    from emolake.training.train import train as run_training

    try:
        trained = run_training(
            model=model, data=data, split=split.value, out=out, seed=seed, folds=folds, options=options,
            device=device, workers=workers, cache=cache, resume=resume, force=force,
        )  # fmt: skip
    except KeyboardInterrupt:
        if not (out / "checkpoints").exists():
            raise
        words = [word for word in sys.argv[1:] if word not in ("--resume", "--force")]
        typer.echo(f"stopped; go on with: {shlex.join(['emolake', *words, '--resume'])}", err=True)
        raise typer.Exit(130) from None

    from emolake.evaluation.markdown_report import headline
    from emolake.output.notices import complain

    typer.echo(headline(trained.results))
    if trained.results["speakers_leak"]:
        complain("the split is random: these speakers are in the training data, so expect less of new ones")
    typer.echo(
        f"wrote {out}: the figures are in report.md and results.json, the card is README.md\n"
        f"next, on clips that it does not know: emolake evaluate --model {shlex.quote(str(out))} --data NEW.csv "
        f"--out {shlex.quote(f'{out}-on-new')}",
        err=True,
    )


def _preset(name: str | None) -> "dict[str, JsonValue]":
    if name is None:
        return {}
    if name not in PRESETS:
        raise ConfigurationError(f"there is no preset {name!r}; known are {', '.join(PRESETS)}")
    return PRESETS[name]


def _assignment(text: str) -> "tuple[str, JsonValue]":
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigurationError(f"--set {text} has no value; give it as NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
