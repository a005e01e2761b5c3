"""Which clips a size takes, and which speakers a fold of a published protocol tests."""

import csv
from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bench.classifier_cases import EMOBOX_RAVDESS, PUBLISHED, SIZES, SUITES, groups_of, spread
from emolake.evaluation.dataset import Clip, read_dataset
from emolake.training.folds import plan_folds
from emolake.training.trainer import find_trainer, with_options

CELLS = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["anger", "fear", "joy"])), max_size=60)


@given(cells=CELLS, most=st.integers(0, 70), data=st.data())
def test_a_size_takes_clips_evenly_and_the_same_in_any_order(cells, most, data):
    clips = [Clip(str(i), Path(str(i)), emotion, "c", speaker=who) for i, (who, emotion) in enumerate(cells)]
    chosen = spread(data.draw(st.permutations(clips)), most)
    assert chosen == spread(clips, most)
    assert len(chosen) == len(set(chosen)) == min(most, len(clips))
    assert chosen[: most // 2] == spread(clips, most // 2)  # a smaller size is a part of a larger one
    there, taken = Counter(cells), Counter((clip.speaker, clip.emotion) for clip in chosen)
    largest = max(taken.values(), default=0)
    assert all(taken[cell] >= min(largest - 1, count) for cell, count in there.items())


def test_a_size_of_few_emotions_has_only_these():
    clips = [Clip(str(i), Path(str(i)), "zyx"[i % 3], "c", speaker="s") for i in range(30)]
    assert {clip.emotion for clip in spread(clips, 12, emotions=2)} == {"x", "y"}
    assert len(spread(clips, None)) == 30


def test_emobox_has_six_groups_of_four_of_the_24_actors():
    assert [len(group) for group in EMOBOX_RAVDESS] == [4] * 6
    assert sorted(actor for group in EMOBOX_RAVDESS for actor in group) == list(range(1, 25))


def test_the_folds_of_ravdess_are_emoboxs_of_the_actors_that_are_here(shared_data):
    with (shared_data / "manifest_all.csv").open(newline="") as lines:
        wanted = {
            row["path"].rpartition("/")[2] for row in csv.DictReader(lines) if row["corpus"] == "ravdess"
        }
    clips = [clip for clip in read_dataset(shared_data / "manifest_all.csv") if clip.corpus == "ravdess"]
    groups = groups_of("ravdess", sorted({str(clip.speaker) for clip in clips}))
    assert groups is not None
    assert [[int(name[-2:]) for name in group] for group in groups] == [
        [1, 11], [4, 10, 12, 14], [8, 9], [3, 5, 7], [2, 15, 16], [6, 13],
    ]  # fmt: skip
    planned = plan_folds(clips, split="speaker", folds=6, seed=0, validates=True, groups=groups)
    tested = [{clips[i].path.name for i in fold.test} for fold in planned[:-1]]
    # RAVDESS names its actor at the end of a file's name.
    assert [sorted({int(name[-7:-5]) for name in names}) for names in tested] == [
        sorted(int(name[-2:]) for name in group) for group in groups
    ]
    assert set().union(*tested) == wanted
    assert sum(map(len, tested)) == len(wanted) == 960


def test_speakers_of_no_published_protocol_have_no_groups():
    assert groups_of("emodb", ["emodb-03", "emodb-08"]) is None
    assert groups_of("ravdess", ["ravdess-01", "ravdess-25"]) is None
    assert groups_of("ravdess", ["ravdess-01", "someone"]) is None
    assert groups_of("ravdess", ["Actor_1", "Actor_11"]) is None  # of one group: no two folds
    assert groups_of("ravdess", ["Actor_1", "02"]) == [["Actor_1"], ["02"]]


def test_every_case_has_options_that_its_trainer_takes_in_every_size_and_corpus():
    corpora = sorted({corpus for corpus, *_ in PUBLISHED})
    for cases in SUITES.values():
        assert len({case.folder for case in cases}) == len(cases)
        for case in cases:
            for size in SIZES:
                for corpus in corpora:
                    options = {**case.options_of(size, corpus), **case.weights}
                    with_options(case.model, find_trainer(case.model).recipe, options)
