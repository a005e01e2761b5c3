"""The experiments run from clips to the page on tiny weights; what is finished stays, what was begun is resumed."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from models.families.test_encoder_head import write_encoder
from models.families.test_multimodal import write_bert, write_whisper
from pydantic import JsonValue

from bench import classifier_cases, classifiers
from emolake.evaluation.results import RESULTS_FILE
from emolake.models.threads import one_thread
from emolake.training.training_run import CHECKPOINTS, Checkpoint

from made_voices import write_voices

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of six actors of RAVDESS and of two speakers of another corpus."""
    folder = tmp_path_factory.mktemp("voices")
    with write_voices(folder, speakers=8, takes=1).open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["file_path"] != "broken.wav"]
    with (folder / "manifest.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(["path", "emotion", "speaker", "corpus"])
        for row in rows:
            number = int(row["speaker"].rpartition("-")[2]) + 1
            corpus = "ravdess" if number <= 6 else "other"
            writer.writerow([row["file_path"], row["emotion"], f"{corpus}-{number:02}", corpus])
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny random networks under the names of the real ones."""
    folder = tmp_path_factory.mktemp("weights")
    write_encoder("Whisper", folder / "whisper-base-encoder")
    write_whisper(folder / "whisper-base")
    write_bert(folder / "all-MiniLM-L6-v2")
    return folder


def run(data: Path, out: Path, weights: Path, **options: Any) -> None:
    classifiers.main(data, out, **{"size": "tiny", "suite": "experiments", "weights": weights, **options})


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = {path.parent.name: path for path in out.glob(f"*/*/{RESULTS_FILE}")}
    return {name: json.loads(path.read_text("utf-8")) for name, path in found.items()}


def rows(page: Path) -> dict[str, list[str]]:
    """The cells of each case's row without their intervals."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.read_text("utf-8").partition("<!-- published")[0].splitlines()
        if line.startswith("| ") and not line.startswith(("| classifier", "| ---"))
    ]
    return {name: [re.sub(r" \[.*", "", cell) for cell in rest] for name, *rest in cells}


def test_the_four_experiments_run_and_a_second_call_trains_none_again(
    data: Path, weights: Path, tmp_path: Path
) -> None:
    run(data, tmp_path, weights)
    found = results(tmp_path)
    assert len(found) == 8
    for name, own in found.items():
        assert own["folds"] == 5  # actor 1, 4, 3 and 5, 2, 6: as EmoBox groups them
        assert own["clips"] == 12
        groups = [
            ["ravdess-01"],
            ["ravdess-04"],
            ["ravdess-03", "ravdess-05"],
            ["ravdess-02"],
            ["ravdess-06"],
        ]
        assert own.get("groups") == (groups if "-speaker-" in name else None)
    page = tmp_path / "classifiers.md"
    table = rows(page)
    assert list(table) == ["MFCC-CNN", "Frozen Whisper head", "Fine-tuned Whisper", "Multimodal"]
    for case in classifier_cases.EXPERIMENTS:
        pair = [found[f"ravdess-{split}-{case.folder}"] for split in ("speaker", "random")]
        figures = [f"{own[figure]:.3f}" for own in pair for figure in ("uar", "accuracy")]
        assert table[case.name] == ["12", *figures, f"{pair[1]['uar'] - pair[0]['uar']:+.3f}"]
    text = page.read_text("utf-8")
    for said in (
        "EmoBox's groups of actors",
        "folds of\nEmoDB share speakers",
        "Chance is a UAR of 0.500",
        "cores (",
    ):
        assert said.replace("\n", " ") in text.replace("\n", " ")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"*/*/{RESULTS_FILE}")}
    run(data, tmp_path, weights)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert rows(page) == table


def test_what_was_stopped_is_resumed_and_what_is_asked_differently_is_trained_again(
    data: Path,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    options: dict[str, JsonValue] = {"loop.epochs": 12, "loop.patience": 12, "augment.copies": 0}
    case = classifier_cases.Case("Head", "whisper_head", options, weights={"encoder": "whisper-base-encoder"})
    monkeypatch.setitem(classifier_cases.SUITES, "experiments", (case,))
    folder = tmp_path / "experiments-tiny" / "ravdess-random-head"
    write = Checkpoint.write

    def write_and_stop(self: Checkpoint, content: Mapping[str, Any]) -> None:
        write(self, content)
        if folder in self.path.parents:
            raise KeyboardInterrupt

    with monkeypatch.context() as stopping, pytest.raises(KeyboardInterrupt):
        stopping.setattr(Checkpoint, "write", write_and_stop)
        run(data, tmp_path, weights)
    assert list(results(tmp_path)) == ["ravdess-speaker-head"]
    assert rows(tmp_path / "classifiers.md")["Head"][3:] == ["-", "-", "-"]
    assert "goes on with: Head on ravdess, split by random." in (tmp_path / "classifiers.md").read_text(
        "utf-8"
    )
    begun = json.loads((folder / classifiers.TIME_FILE).read_text("utf-8"))["cpu_s"]
    assert [path.name for path in (folder / CHECKPOINTS).glob("fit-*.pt")] == ["fit-0.pt"]
    run(data, tmp_path, weights)
    assert "was trained up to epoch 1 by an earlier call" in (folder / "train.log").read_text("utf-8")
    assert json.loads((folder / classifiers.TIME_FILE).read_text("utf-8"))["cpu_s"] > begun > 0
    assert set(results(tmp_path)) == {"ravdess-speaker-head", "ravdess-random-head"}

    other = classifier_cases.Case("Head", "whisper_head", {**options, "loop.epochs": 1}, weights=case.weights)
    monkeypatch.setitem(classifier_cases.SUITES, "experiments", (other,))
    run(data, tmp_path, weights, only=["Head"])
    assert {own["options"]["loop.epochs"] for own in results(tmp_path).values()} == {1}

    wrong = classifier_cases.Case("Head", "whisper_head", {"loop.epochs": 0}, weights=case.weights)
    monkeypatch.setitem(classifier_cases.SUITES, "experiments", (wrong,))
    with pytest.raises(typer.Exit):
        run(data, tmp_path, weights)
    assert "ravdess-speaker-head" not in results(tmp_path)  # figures of other options would pass for its own


def test_the_small_suite_takes_a_number_of_folds_and_a_page_keeps_its_other_sections(
    data: Path, weights: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Old\n\n<!-- experiments full -->\n## Those of before\n", "utf-8")
    run(
        data, tmp_path, weights,
        size="short", suite="small", only=["librosa + logistic regression"], folds=2, page=page, corpus=["ravdess"],
    )  # fmt: skip
    assert {own["folds"] for own in results(tmp_path).values()} == {2}
    assert not any("groups" in own for own in results(tmp_path).values())
    text = page.read_text("utf-8")
    assert "## Those of before" in text
    assert "--suite small --size short --folds 2" in text
    assert list(rows(page)) == ["librosa + logistic regression"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": "huge"}, "'huge'; known are tiny, short, full"),
        ({"suite": "all"}, "'all'; known are experiments, small"),
        ({"only": ["MFCC"]}, "'MFCC'; known are MFCC-CNN, "),
        ({"corpus": ["iemocap"]}, "'iemocap'; known are other, ravdess"),
    ],
)
def test_unknown_names_are_refused_with_those_that_are_known(
    data: Path, weights: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(typer.BadParameter, match=said):
        run(data, tmp_path, weights, **options)


def test_weights_that_cannot_be_made_name_the_experiment_and_the_remedy(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.pretrained._SHARED", tmp_path / "nothing")
    with pytest.raises(typer.Exit):
        run(data, tmp_path, tmp_path / "weights", only=["Frozen Whisper head"])
    error = capsys.readouterr().err
    assert "Frozen Whisper head on ravdess, split by speaker: there are no weights" in error
    assert "--only" in error
    assert not [*(tmp_path / "weights").iterdir()]
