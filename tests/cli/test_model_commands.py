"""What the commands that measure models write to the terminal and to files."""

import csv
import io
import json

import numpy as np
import pytest
import soundfile
from made_predictions import predictions
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.evaluation.results import figures, write_results

from made_model import LABELS, write_tiny_model


@pytest.fixture
def table(tmp_path):
    text = "path,corpus,speaker,emotion\n1.wav,a,s,sad\n2.wav,a,s,sad\n3.wav,a,s,ang\n4.wav,b,,ang\n"
    (tmp_path / "list.csv").write_text(text)
    return tmp_path / "list.csv"


def invoke(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def test_a_distribution_is_written_in_every_format_and_drawn(table, tmp_path):
    written = {
        format: invoke("distribution", table, "--format", format, "-o", tmp_path / f"{format}.png").stdout
        for format in ("table", "json", "csv")
    }
    assert json.loads(written["json"])[0] == {
        "corpus": "a", "emotion": "sadness", "clips": 2, "share": 2 / 3, "speakers": 1,
    }  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(written["csv"])))
    assert [row["clips"] for row in rows] == ["2", "1", "1"]
    assert [row["speakers"] for row in rows] == ["1", "1", ""]
    assert "sadness" in written["table"]
    for format in written:
        assert (tmp_path / f"{format}.png").read_bytes().startswith(b"\x89PNG")


def test_a_comparison_is_a_table_and_a_sentence_or_says_why_there_is_none(tmp_path):
    for name, clips in (("one", 30), ("two", 30), ("three", 60)):
        made = predictions(clips=clips)
        write_results(tmp_path / name, {"model": name, **figures(made)}, made, [])
    done = invoke("compare", tmp_path / "one", tmp_path / "two")
    assert "two against one on the same 30 clips: unweighted average recall +0.000" in done.stdout
    assert "unweighted average recall ┃" in done.stdout
    assert done.stderr == ""
    done = invoke("compare", tmp_path / "one", tmp_path / "three", "-o", tmp_path / "compared")
    assert "against" not in done.stdout
    assert done.stderr == (
        "emolake: no two of the results are of the same clips, so no difference is paired\n"
    )
    assert (tmp_path / "compared/compare.md").is_file()
    assert invoke("compare", tmp_path / "one").stderr == ""


def test_a_submission_goes_to_standard_output_or_to_a_file(tmp_path):
    write_tiny_model(tmp_path / "tiny")
    soundfile.write(tmp_path / "T0.wav", np.random.default_rng(0).normal(0, 0.1, 8_000), 16_000)
    (tmp_path / "sample.csv").write_text('id,note,label\nT0,"a, b",?\n')
    words = ("predict", tmp_path, "--model", tmp_path / "tiny", "--submission", tmp_path / "sample.csv")
    printed = invoke(*words).stdout
    header, row = csv.reader(io.StringIO(printed))
    assert header == ["id", "note", "label"]
    assert row[:2] == ["T0", "a, b"]
    assert row[2] in LABELS
    assert invoke(*words, "-o", tmp_path / "filled.csv").stdout == ""
    assert (tmp_path / "filled.csv").read_text("utf-8") == printed
