"""Folds: no speaker in two, no clip lost, strata spread."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.errors import ConfigurationError
from emolake.training.dataset import read_dataset
from emolake.training.splits import random_folds, speaker_folds

SPEAKERS = st.lists(st.sampled_from("abcdefghij"), min_size=2, max_size=80).filter(
    lambda names: len(set(names)) > 1
)


@given(speakers=SPEAKERS, data=st.data(), seed=st.integers(0, 99))
def test_no_speaker_is_in_two_folds(speakers, data, seed):
    folds = data.draw(st.integers(2, len(set(speakers))))
    strata = [(data.draw(st.sampled_from(["x", "y"])),) for _ in speakers]
    fold_of = speaker_folds(speakers, strata, folds=folds, seed=seed)
    assert fold_of.shape == (len(speakers),)
    assert set(fold_of.tolist()) == set(range(folds))  # none is empty
    seen = {(speaker, fold) for speaker, fold in zip(speakers, fold_of.tolist(), strict=True)}
    assert len(seen) == len(set(speakers))
    np.testing.assert_array_equal(fold_of, speaker_folds(speakers, strata, folds=folds, seed=seed))


def test_speakers_are_spread_by_stratum():
    speakers = [f"{sex}{number}" for sex in "mf" for number in range(8) for _ in range(5)]
    strata = [(speaker[0],) for speaker in speakers]
    fold_of = speaker_folds(speakers, strata, folds=4, seed=3)
    assert Counter(zip(fold_of.tolist(), (s for (s,) in strata), strict=True)) == {
        (fold, sex): 10 for fold in range(4) for sex in "mf"
    }


def test_the_seed_changes_the_folds():
    speakers = [str(number) for number in range(12) for _ in range(3)]
    strata = [("all",)] * len(speakers)
    folds = {tuple(speaker_folds(speakers, strata, folds=4, seed=seed)) for seed in range(5)}
    assert len(folds) == 5


@given(
    labels=st.lists(st.sampled_from("xyz"), min_size=4, max_size=60),
    folds=st.integers(2, 4),
    seed=st.integers(0, 9),
)
def test_random_folds_spread_every_label(labels, folds, seed):
    fold_of = random_folds(labels, folds=folds, seed=seed)
    assert (
        max(Counter(fold_of.tolist()).values())
        - min(Counter(fold_of.tolist()).get(f, 0) for f in range(folds))
        <= 1
    )
    for label in set(labels):
        counts = [
            sum(o == label and f == fold for o, f in zip(labels, fold_of, strict=True))
            for fold in range(folds)
        ]
        assert max(counts) - min(counts) <= 1


def test_more_folds_than_there_can_be_are_refused():
    with pytest.raises(ConfigurationError, match="3 folds were asked of 2 speakers"):
        speaker_folds(["a", "b", "a"], [("x",)] * 3, folds=3, seed=0)
    with pytest.raises(ConfigurationError, match="1 folds"):
        random_folds(["x", "y"], folds=1, seed=0)


def test_folds_of_the_shared_data_hold_every_class_of_both_corpora(shared_data):
    clips = read_dataset(shared_data)
    strata = [(f"{clip.corpus} {clip.emotion}", f"{clip.corpus} {clip.sex}", clip.corpus) for clip in clips]
    fold_of = speaker_folds([clip.speaker for clip in clips], strata, folds=4, seed=0)
    voices = {
        (fold, clip.corpus, clip.speaker, clip.sex)
        for fold, clip in zip(fold_of.tolist(), clips, strict=True)
    }
    for fold in range(4):
        assert Counter((c, sex) for f, c, _, sex in voices if f == fold) == {
            ("ravdess", "male"): 2, ("ravdess", "female"): 2, ("emodb", "male"): 1, ("emodb", "female"): 1,
        }  # fmt: skip
        assert len({stratum[0] for stratum, f in zip(strata, fold_of, strict=True) if f == fold}) == 15
