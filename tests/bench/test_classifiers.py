"""The table of classifiers is made of the trainings' own results, and a finished training is not made again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from made_voices import write_voices

pytestmark = pytest.mark.slow


def run(data: Path, out: Path, page: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "bench.classifiers",
        "--data",
        str(data),
        "--out",
        str(out),
        "--page",
        str(page),
    ]
    command += ["--only", "librosa + logistic regression", "--folds", "2"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)


def test_the_table_holds_what_the_trainings_found(tmp_path: Path) -> None:
    voices = write_voices(tmp_path, speakers=4, takes=2)
    run(voices, tmp_path / "out", tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text("utf-8")
    (row,) = [line for line in page.splitlines() if line.startswith("| librosa + logistic regression")]
    found = {
        path.parent.name: json.loads(path.read_text("utf-8")) for path in tmp_path.glob("out/*/results.json")
    }
    by_speaker, at_random = (
        next(own for own in found.values() if own["split"] == split) for split in ("speaker", "random")
    )
    cells = [cell.strip().split(" ")[0] for cell in row.strip("|").split("|")[1:]]
    assert cells == [
        f"{own[figure]:.3f}" for own in (by_speaker, at_random) for figure in ("uar", "accuracy")
    ]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/results.json")}
    run(voices, tmp_path / "out", tmp_path / "again.md")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (tmp_path / "again.md").read_text("utf-8") == page
