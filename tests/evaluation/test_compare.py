"""Results side by side: the table, paired differences, and folders that hold none."""

import csv
import json

import numpy as np
import pytest
from made_predictions import predictions

from emolake.errors import ConfigurationError
from emolake.evaluation.compare import COLUMNS, compare, paired_differences, read_results, write_comparison
from emolake.evaluation.results import figures, write_results


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three results: two of the same clips, one better than the other, and one of other clips."""
    folder = tmp_path_factory.mktemp("runs")
    for name, made in (
        ("worse", predictions(right=0.5, seed=1, clips=180, speakers=12, corpora=2)),
        ("better", predictions(right=0.9, seed=2, clips=180, speakers=12, corpora=2)),
        ("others", predictions(clips=60)),
    ):
        write_results(folder / name, {"model": name, **figures(made)}, made, [])
    return folder


def test_the_rows_the_plot_and_the_files(runs, tmp_path):
    compared = compare([runs / "worse", runs / "better", runs / "others"])
    write_comparison(compared, tmp_path / "out")
    results = json.loads((runs / "better" / "results.json").read_text())
    low, high = results["confidence_intervals"]["uar"]
    written = f"{results['uar']:.3f} [{low:.3f}, {high:.3f}]"
    markdown = (tmp_path / "out" / "compare.md").read_text("utf-8")
    assert compared.rows()[3][:4] == ["better", "all", "180", written]
    assert {len(row) for row in compared.rows()} == {len(COLUMNS)}
    assert written in markdown
    (difference,) = compared.differences
    assert "better against worse on the same 180 clips: unweighted average" in difference.sentence()
    assert difference.sentence() in markdown
    assert "0 lies outside" in markdown
    assert "others against" not in markdown
    with (tmp_path / "out" / "compare.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["result"], row["corpus"]) for row in rows] == [
        ("worse", "all"), ("worse", "corpus-0"), ("worse", "corpus-1"),
        ("better", "all"), ("better", "corpus-0"), ("better", "corpus-1"),
        ("others", "corpus-0"),
    ]  # fmt: skip
    assert float(rows[3]["uar"]) == results["uar"]
    assert float(rows[3]["uar_low"]) == low
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_differences_are_paired(runs):
    (difference,) = paired_differences(read_results([runs / "worse", runs / "better"]))
    assert difference.drawn == "speakers"
    change, low, high = difference.uar
    assert 0 < low < change < high
    (none,) = paired_differences(read_results([runs / "worse", runs / "worse"]))
    assert none.uar == none.accuracy == (0, 0, 0)


def test_pairing_is_sharper_than_two_intervals(tmp_path):
    one = predictions(right=0.6, clips=300, speakers=20)
    logits = one.logits.copy()
    logits[np.arange(0, 300, 15), one.targets[::15]] += 20  # a few more right, all else equal
    two = type(one)(one.clips, one.labels, one.targets, logits, one.folds)
    for name, made in (("one", one), ("two", two)):
        write_results(tmp_path / name, figures(made), made, [])
    first, second = read_results([tmp_path / "one", tmp_path / "two"])
    (difference,) = paired_differences([first, second])
    ends = [result.figures["confidence_intervals"]["uar"] for result in (first, second)]
    assert ends[1][0] < ends[0][1]  # the intervals overlap
    assert difference.uar[1] > 0  # and the difference is none of chance


def test_folders_without_results_are_refused_with_the_remedy(runs, tmp_path):
    with pytest.raises(ConfigurationError, match=r"no .*results\.json; give a folder that `emolake train`"):
        read_results([runs / "worse", tmp_path])
    (tmp_path / "results.json").write_text('{"accuracy": 1.0}')
    with pytest.raises(ConfigurationError, match=r"lacks uar, .*run it again"):
        read_results([tmp_path])
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ConfigurationError, match="is not JSON"):
        read_results([tmp_path])


def test_results_of_one_name_are_shown_by_their_paths(runs, tmp_path):
    made = predictions(clips=30)
    write_results(tmp_path / "worse", figures(made), made, [])
    names = [result.name for result in read_results([runs / "worse", tmp_path / "worse"])]
    assert names == [(runs / "worse").as_posix(), (tmp_path / "worse").as_posix()]
