"""How well do small classifiers recognise emotions of new voices, and how much does a random split flatter?

    python -m bench.classifiers --data ../shared/data --out runs/classifiers

trains every classifier on each corpus by itself, split once by speaker and once at random, and writes
`docs/classifiers.md`. What an earlier call finished in `--out` is not trained again.
"""

import csv
import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import JsonValue

from emolake.evaluation.dataset import Clip, read_dataset
from emolake.evaluation.markdown_report import with_interval
from emolake.evaluation.results import RESULTS_FILE
from emolake.messages import counted
from emolake.output.table import markdown_table
from emolake.training.train import train
from emolake.training.training_run import CHECKPOINTS

ROOT = Path(__file__).parents[1]
SPLITS = ("speaker", "random")
FIGURES = ("uar", "accuracy")


@dataclass(frozen=True)
class Case:
    """A classifier: its name in the table, what `emolake train` calls it, and its options."""

    name: str
    model: str
    options: dict[str, JsonValue] = field(default_factory=dict)

    @property
    def folder(self) -> str:
        return self.name.lower().replace(" + ", "-").replace(" ", "-")


CASES = (
    # Without the conditioning of newer recipes, as its figures were measured.
    Case("MFCC-CNN", "mfcc_cnn", {"members": 1, "loop.epochs": 60, "features.conditioning": {}}),
    Case("MFCC-MLP", "mfcc_mlp"),
    Case("librosa + SVC", "classical", {"classifier": "svc"}),
    Case("librosa + random forest", "classical", {"classifier": "random_forest"}),
    Case("librosa + logistic regression", "classical", {"classifier": "logistic_regression"}),
    Case("eGeMAPS + SVC", "classical", {"classifier": "svc", "features": {"kind": "egemaps"}}),
)

# (corpus, classifier, protocol, figure, source); all of the whole corpus, of which the data here are a part.
PUBLISHED = (
    (
        "EmoDB", "SVM on 300 features of openSMILE", "leave one speaker out", "accuracy 0.73, tuned 0.77",
        "Gjoreski, Gjoreski & Kulakov 2014, Machine learning approach for emotion recognition in speech",
    ),
    (
        "EmoDB", "the same", "10 folds at random", "accuracy 0.86", "the same",
    ),
    (
        "RAVDESS", "wav2vec 2.0 base (95 M parameters), fine-tuned", "three actors held out", "accuracy 0.683",
        "model card of sbh013/wav2vec2-ser-ravdess-optimized",
    ),
    (
        "RAVDESS", "XLSR wav2vec 2.0 (317 M parameters), fine-tuned", "5 folds by actor", "accuracy 0.818",
        "Luna-Jiménez et al. 2022, Applied Sciences 12(1), 327, doi 10.3390/app12010327",
    ),
)  # fmt: skip


PROTOCOL = """every clip is predicted once by a classifier whose training data did not include it, nor, split by
speaker, its speaker. In brackets: 95 % intervals over speakers. UAR is the unweighted average recall. The
random split is there to show how much it flatters: it lets voices leak from training into the test."""
COMPARABLE = """Of the same emotions, but on the whole corpora, of which these data are a subset (and EmoDB's clips here
were cut or padded to two seconds), so the figures can be read beside those above, but not subtracted from them."""


def main(
    data: Annotated[Path, typer.Option(help="Labelled clips with speakers and corpora.")],
    out: Annotated[Path, typer.Option(help="Folder for the trained models; what is finished is kept.")],
    page: Annotated[Path, typer.Option(help="What is written.")] = ROOT / "docs" / "classifiers.md",
    only: Annotated[list[str] | None, typer.Option(help="Name of a classifier; may be repeated.")] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of each cross-validation.")] = 4,
) -> None:
    """Train what is missing and write the table.

    Example: python -m bench.classifiers --data ../shared/data --out runs/classifiers
    """
    cases = [case for case in CASES if not only or case.name in only]
    if not cases:
        raise typer.BadParameter(f"known are {', '.join(case.name for case in CASES)}", param_hint="--only")
    corpora = dict(_corpora(read_dataset(data), out))
    results: dict[tuple[str, str, str], dict[str, Any]] = {}
    for case in cases:
        for corpus, clips in corpora.items():
            for split in SPLITS:
                results[case.name, corpus, split] = _trained(
                    case, clips, split, out / f"{corpus}-{split}-{case.folder}", out / "features", folds
                )
    page.write_text(_page(cases, list(corpora), results, folds), "utf-8")
    typer.echo(f"wrote {page}")


def _corpora(clips: Sequence[Clip], out: Path) -> Iterator[tuple[str, Path]]:
    """Write the clips of each corpus into a list of its own, and yield its name and path."""
    out.mkdir(parents=True, exist_ok=True)
    for corpus in sorted({clip.corpus for clip in clips}):
        path = out / f"{corpus}.csv"
        with path.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["file_path", "emotion", "speaker", "corpus"])
            writer.writerows(
                [clip.path.resolve(), clip.emotion, clip.speaker, corpus]
                for clip in clips
                if clip.corpus == corpus
            )
        yield corpus, path


def _trained(case: Case, clips: Path, split: str, folder: Path, features: Path, folds: int) -> dict[str, Any]:
    """Return the results of a training, which is resumed if an earlier call began it, and not repeated if it ended."""
    if not (folder / RESULTS_FILE).is_file():
        typer.echo(f"{case.name} on {clips.stem}, split by {split}", err=True)
        train(
            model=case.model, data=clips, split=split, out=folder, folds=folds, options=case.options, device="cpu",
            cache=features, resume=(folder / CHECKPOINTS).exists(),
        )  # fmt: skip
    found: dict[str, Any] = json.loads((folder / RESULTS_FILE).read_text("utf-8"))
    return found


def _page(
    cases: Sequence[Case],
    corpora: Sequence[str],
    results: dict[tuple[str, str, str], dict[str, Any]],
    folds: int,
) -> str:
    sections = ["# Small classifiers on new voices"]
    first = next(iter(results.values()))
    sections.append(f"Each corpus by itself, {folds} folds: {PROTOCOL}")
    for corpus in corpora:
        own = results[cases[0].name, corpus, SPLITS[0]]
        sections.append(
            f"## {corpus}: {counted(own['clips'], 'clip')}, {counted(len(own['labels']), 'emotion')}, "
            f"{counted(len(own['per_speaker']), 'speaker')}"
        )
        header = ["classifier", *(f"{figure.upper() if figure == 'uar' else figure}, {_shown(split)}"
                                  for split in SPLITS for figure in FIGURES)]  # fmt: skip
        rows = [
            [
                case.name,
                *(
                    with_interval(results[case.name, corpus, split], figure)
                    for split in SPLITS
                    for figure in FIGURES
                ),
            ]
            for case in cases
        ]
        sections.append(markdown_table(header, rows))
    sections.append("## Published figures")
    sections.append(COMPARABLE)
    sections.append(
        markdown_table(
            ["corpus", "classifier", "protocol", "figure", "source"], [list(row) for row in PUBLISHED]
        )
    )
    sections.append("## How to make this page")
    sections.append(
        "```\npython -m bench.classifiers --data ../shared/data --out runs/classifiers\n```\n\n"
        f"with torch {first['torch']}, scikit-learn {version('scikit-learn')}, librosa {version('librosa')}, Python "
        f"{platform.python_version()}. Options that are not the defaults of `emolake train`: "
        + "; ".join(f"{case.name}: {_options(case)}" for case in cases if case.options)
        + "."
    )
    return "\n\n".join(sections) + "\n"


def _shown(split: str) -> str:
    return "new speakers" if split == "speaker" else "random split"


def _options(case: Case) -> str:
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in case.options.items())


if __name__ == "__main__":
    typer.run(main)
