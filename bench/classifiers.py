"""How well do classifiers recognise emotions of new voices, and how much does a random split flatter?

    python -m bench.classifiers --data ../shared/data/manifest_all.csv --out runs/classifiers --size short

trains the four experiments of the field on real weights, each on each corpus by itself, split once by speaker and once
at random, and writes a section of the page. What an earlier call finished in `--out` is not trained again, and what it
began is resumed.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import typer

from bench.classifier_cases import EMOTIONS, FOLDS, SIZES, SUITES, Case, groups_of, spread
from bench.classifier_page import SPLITS, Finished, section, write_page
from bench.common import processor_s
from bench.pretrained import weights_folder
from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, read_dataset
from emolake.evaluation.results import RESULTS_FILE
from emolake.messages import counted
from emolake.training.train import train
from emolake.training.training_run import CHECKPOINTS

ASKED_FILE = "asked.json"
"""In the folder of a training: all that was asked for."""
TIME_FILE = "time.json"
"""Beside it: the processor time that it took, of every call that worked on it."""


@dataclass(frozen=True)
class Job:
    """One cross-validation of a case on a corpus."""

    case: Case
    corpus: str
    split: str
    size: str
    clips: tuple[Clip, ...]
    folds: int
    groups: list[list[str]] | None
    """The speakers whom each fold tests; None: drawn."""
    folder: Path

    @classmethod
    def of(
        cls,
        case: Case,
        clips: Sequence[Clip],
        corpus: str,
        split: str,
        size: str,
        folds: int | None,
        place: Path,
    ) -> Self:
        """Choose the clips, and as many folds for the random split as for that by speaker."""
        chosen = tuple(spread(clips, case.clips_of(size), EMOTIONS.get(size)))
        speakers = sorted({clip.speaker for clip in chosen if clip.speaker})
        groups = groups_of(corpus, speakers) if folds is None else None
        number = folds or (len(groups) if groups else min(FOLDS, max(2, len(speakers))))
        own = groups if split == "speaker" else None
        return cls(case, corpus, split, size, chosen, number, own, place / f"{corpus}-{split}-{case.folder}")

    @property
    def key(self) -> tuple[str, str, str]:
        """Case, corpus and split."""
        return self.case.name, self.corpus, self.split

    @property
    def title(self) -> str:
        """The job in words."""
        return f"{self.case.name} on {self.corpus}, split by {self.split}"

    @property
    def asked(self) -> dict[str, Any]:
        """All that decides the figures."""
        return {
            "model": self.case.model,
            "options": self.case.options_of(self.size, self.corpus),
            "weights": self.case.weights,
            "split": self.split,
            "folds": self.folds,
            "groups": self.groups,
            "clips": [str(clip.path.resolve()) for clip in self.clips],
        }

    def run(self, weights: Path, cache: Path) -> None:
        """Train, unless that is done; resume what was begun, and replace what was asked differently.

        `cache` is for features and transcripts, which trainings of all sizes share.
        """
        if self.finished() is not None:
            return
        options = self.case.options_of(self.size, self.corpus)
        for option, name in self.case.weights.items():
            options[option] = str(weights_folder(name, weights).resolve())
        resume = _read(self.folder / ASKED_FILE) == self.asked and (self.folder / CHECKPOINTS).exists()
        self.folder.mkdir(parents=True, exist_ok=True)
        cache.mkdir(parents=True, exist_ok=True)
        if not resume:  # or figures of what was asked before would pass for those of this, should it fail
            (self.folder / RESULTS_FILE).unlink(missing_ok=True)
        (self.folder / ASKED_FILE).write_text(json.dumps(self.asked, indent=1), "utf-8")
        before = (_read(self.folder / TIME_FILE) or {}).get("cpu_s", 0.0) if resume else 0.0
        start = processor_s()
        try:
            train(
                model=self.case.model, data=self._list(), split=self.split, out=self.folder, device="cpu",
                folds=None if self.groups else self.folds, groups=self.groups, options=options, cache=cache,
                workers=1, resume=resume, force=not resume,
            )  # fmt: skip
        finally:
            spent = {"cpu_s": before + processor_s() - start}
            (self.folder / TIME_FILE).write_text(json.dumps(spent), "utf-8")

    def finished(self) -> Finished | None:
        """Return the figures of the training that was asked, if it is finished, else None."""
        if _read(self.folder / ASKED_FILE) != self.asked:
            return None
        results, spent = _read(self.folder / RESULTS_FILE), _read(self.folder / TIME_FILE)
        if results is None or spent is None or (self.folder / CHECKPOINTS).exists():
            return None
        return Finished(results, spent["cpu_s"])

    def _list(self) -> Path:
        """Write the list of clips."""
        path = self.folder / "clips.csv"
        with path.open("w", encoding="utf-8", newline="") as lines:
            writer = csv.writer(lines)
            writer.writerow(["file_path", "emotion", "speaker", "corpus"])
            writer.writerows(
                [clip.path.resolve(), clip.emotion, clip.speaker, clip.corpus] for clip in self.clips
            )
        return path


def main(
    data: Annotated[Path, typer.Option(help="Labelled clips with speakers and corpora.")],
    out: Annotated[Path, typer.Option(help="Folder for the trained models; what is finished is kept.")],
    size: Annotated[
        str,
        typer.Option(
            help="tiny: does it run, under a minute; short: some 30 minutes of one core; full: all clips, many hours."
        ),
    ] = "short",
    suite: Annotated[
        str, typer.Option(help="experiments: the four of the field; small: without pretrained weights.")
    ] = ("experiments"),
    only: Annotated[list[str] | None, typer.Option(help="Name of a classifier; may be repeated.")] = None,
    corpus: Annotated[list[str] | None, typer.Option(help="Name of a corpus; may be repeated.")] = None,
    page: Annotated[
        Path | None,
        typer.Option(help="Gets a section of this suite and size; OUT/classifiers.md when left out."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pretrained weights; OUT/weights when left out, made if it is not there."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2, help="Of every corpus; when left out EmoBox's six groups of actors for RAVDESS, else 4."
        ),
    ] = None,
) -> None:
    """Train what is missing and write the tables.

    Examples:

    python -m bench.classifiers --data ../shared/data/manifest_all.csv --out runs/classifiers --size tiny

    python -m bench.classifiers --data ../shared/data/manifest_all.csv --out runs/classifiers --page docs/classifiers.md

    python -m bench.classifiers --data ../shared/data/manifest_all.csv --out runs/classifiers --suite small --size full
    """
    known = {"--size": SIZES, "--suite": tuple(SUITES)}
    for option, value in (("--size", size), ("--suite", suite)):
        if value not in known[option]:
            raise typer.BadParameter(f"{value!r}; known are {', '.join(known[option])}", param_hint=option)
    cases = SUITES[suite]
    _require(only or [], [case.name for case in cases], "--only")
    corpora: dict[str, list[Clip]] = defaultdict(list)
    for clip in read_dataset(data):
        corpora[clip.corpus].append(clip)
    _require(corpus or [], sorted(corpora), "--corpus")
    names = corpus or (_smallest(sorted(corpora)) if size == "tiny" else sorted(corpora))

    place = out / (f"{suite}-{size}" if folds is None else f"{suite}-{size}-{folds}-folds")
    command = f"python -m bench.classifiers --data {data} --out OUT --suite {suite} --size {size}"
    command += "" if folds is None else f" --folds {folds}"
    jobs = [
        Job.of(case, corpora[name], name, split, size, folds, place)
        for case in cases
        for name in names
        for split in SPLITS
    ]
    wanted = [job for job in jobs if not only or job.case.name in only]
    target = page or out / "classifiers.md"
    for number, job in enumerate(wanted, 1):
        typer.echo(f"{number}/{len(wanted)} {job.title}", err=True)
        try:
            job.run(weights or out / "weights", out / "features")
        except ConfigurationError as error:
            typer.echo(f"{job.title}: {error}", err=True)
            raise typer.Exit(2) from error
        finished = {job.key: found for job in jobs if (found := job.finished()) is not None}
        missing = [job.title for job in jobs if job.key not in finished]
        write_page(target, f"{suite} {size}", section(suite, size, cases, finished, missing, command))
    typer.echo(f"{counted(len(finished), 'training')} of {len(jobs)} in {target}")


def _require(asked: Sequence[str], known: Sequence[str], option: str) -> None:
    for name in asked:
        if name not in known:
            raise typer.BadParameter(f"{name!r}; known are {', '.join(known)}", param_hint=option)


def _smallest(corpora: Sequence[str]) -> list[str]:
    """Return the corpus that a test of the plumbing takes: one of published folds, if there is one."""
    return ["ravdess"] if "ravdess" in corpora else [*corpora[:1]]


def _read(path: Path) -> dict[str, Any] | None:
    """Return an object of JSON; None where there is no such file."""
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


if __name__ == "__main__":
    typer.run(main)
