"""What a trained folder says of itself: every count of its predictions, and a threshold that keeps its promise."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_predictions import predictions
from scipy.special import softmax

from emolake.errors import ConfigurationError
from emolake.models.reliability import (
    RELIABILITY_FILE,
    CoveragePoint,
    Reliability,
    read_reliability,
    write_reliability,
)
from emolake.training.reliability_figures import measured_reliability, recommended


def test_the_record_holds_every_prediction(tmp_path: Path) -> None:
    made = predictions(clips=90, corpora=3)
    found = measured_reliability(made, "corpus")
    write_reliability(tmp_path, found)
    assert read_reliability(tmp_path) == found
    assert found.left_out_by("corpus") == found.held_out
    assert found.left_out_by("speaker") == ()
    counts = np.sum([own.predicted for own in found.held_out], axis=0)
    assert counts.sum() == len(made.clips)
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(made.targets, minlength=len(made.labels)))
    assert [own.group for own in found.held_out] == sorted({clip.corpus for clip in made.clips})
    probabilities = softmax(made.logits, axis=1)
    for label in range(len(made.labels)):
        weighted = sum(np.array(own.probability[label]) * own.clips[label] for own in found.held_out)
        np.testing.assert_allclose(weighted, probabilities[made.targets == label].sum(axis=0), atol=1e-3)


def test_coverage_falls_and_begins_with_all(tmp_path: Path) -> None:
    made = predictions(clips=120, corpora=2)
    points = measured_reliability(made, "speaker").coverage
    assert points[0].coverage == 1
    coverage = [point.coverage for point in points]
    assert coverage == sorted(coverage, reverse=True)
    for point in points:
        kept = softmax(made.logits, axis=1).max(axis=1) >= point.threshold
        corpora = np.array([clip.corpus for clip in made.clips])
        shares = [kept[corpora == name].mean() for name in set(corpora)]
        assert point.coverage == pytest.approx(np.mean(shares))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=19))
def test_the_recommended_threshold_leaves_enough_that_is_right_enough(
    rows: list[tuple[float, float]],
) -> None:
    points = tuple(
        CoveragePoint(threshold=number / 20, coverage=coverage, accuracy=accuracy)
        for number, (coverage, accuracy) in enumerate([(1.0, 0.4), *rows])
    )
    chosen = next(point for point in points if point.threshold == recommended(points))
    assert chosen.coverage >= 0.2
    enough = [point for point in points if point.coverage >= 0.2 and point.accuracy >= 0.5]
    if enough:
        assert chosen.threshold == enough[0].threshold
    else:
        assert chosen.accuracy == max(point.accuracy for point in points if point.coverage >= 0.2)


def test_a_folder_without_the_file_says_nothing_and_a_broken_file_is_refused(tmp_path: Path) -> None:
    assert read_reliability(tmp_path) is None
    good = measured_reliability(predictions(clips=30), "speaker")
    odd = good.model_dump(mode="json") | {"labels": ["one", "two"]}
    for content in ("{", str(odd).replace("'", '"')):
        (tmp_path / RELIABILITY_FILE).write_text(content)
        with pytest.raises(ConfigurationError, match="is no record of a model's reliability"):
            read_reliability(tmp_path)
    with pytest.raises(ValueError, match="are not of 2 labels"):
        Reliability.model_validate(odd)
