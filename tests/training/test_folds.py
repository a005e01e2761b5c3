"""Folds: no speaker in two, no clip lost, strata spread."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, read_dataset, require_speakers
from emolake.training.folds import group_folds, plan_folds, possible_folds, random_folds, speaker_folds

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


@given(
    speakers=st.integers(3, 9), split=st.sampled_from(["speaker", "random"]), seed=st.integers(0, 9),
    validates=st.booleans(),
)  # fmt: skip
def test_as_many_folds_as_there_are_speakers_where_nobody_asks(speakers, split, seed, validates):
    clips = [
        Clip(f"{s}-{n}", Path(), "anger" if n % 2 else "fear", "c", speaker=f"s{s}")
        for s in range(speakers) for n in range(4)
    ]  # fmt: skip
    folds = possible_folds(clips, split=split, wanted=4)
    assert folds == (min(4, speakers) if split == "speaker" else 4)
    planned = plan_folds(clips, split=split, folds=folds, seed=seed, validates=validates)
    assert len(planned) == folds + 1
    assert sorted(i for fold in planned for i in fold.test) == list(range(len(clips)))
    assert possible_folds(clips, split=split, wanted=1) == 1


def test_more_folds_than_there_can_be_are_refused():
    with pytest.raises(ConfigurationError, match="3 folds cannot be made of 2 speakers; ask for 2 folds"):
        speaker_folds(["a", "b", "a"], [("x",)] * 3, folds=3, seed=0)
    with pytest.raises(ConfigurationError, match="1 fold cannot be made of 2 clips"):
        random_folds(["x", "y"], folds=1, seed=0)


def test_folds_of_the_shared_data_hold_every_class_of_both_corpora(shared_data):
    clips = read_dataset(shared_data)
    strata = [(f"{clip.corpus} {clip.emotion}", f"{clip.corpus} {clip.sex}", clip.corpus) for clip in clips]
    fold_of = speaker_folds(require_speakers(clips), strata, folds=4, seed=0)
    voices = {
        (fold, clip.corpus, clip.speaker, clip.sex)
        for fold, clip in zip(fold_of.tolist(), clips, strict=True)
    }
    for fold in range(4):
        assert Counter((c, sex) for f, c, _, sex in voices if f == fold) == {
            ("ravdess", "male"): 2, ("ravdess", "female"): 2, ("emodb", "male"): 1, ("emodb", "female"): 1,
        }  # fmt: skip
        assert len({stratum[0] for stratum, f in zip(strata, fold_of, strict=True) if f == fold}) == 15


@given(data=st.data(), seed=st.integers(0, 99), validates=st.booleans(), folds=st.integers(1, 5))
def test_no_voice_and_no_clip_is_in_two_pieces(data, seed, validates, folds):
    voices = data.draw(
        st.lists(st.sampled_from("abcdefghijkl"), min_size=8, max_size=80).filter(
            lambda names: len(set(names)) >= 7
        )
    )
    emotions = st.sampled_from(["anger", "fear", "joy"])
    clips = [
        Clip(str(i), Path(str(i)), data.draw(emotions), "c", speaker=voice) for i, voice in enumerate(voices)
    ]
    planned = plan_folds(clips, split="speaker", folds=folds, seed=seed, validates=validates)
    assert len(planned) == (1 if folds == 1 else folds + 1)
    for number, fold in enumerate(planned):
        assert fold.number == number
        pieces = [fold.train, fold.validation, fold.test]
        assert sorted(np.concatenate(pieces).tolist()) == list(range(len(clips)))  # each clip once, none lost
        train, validation, test = ({voices[i] for i in piece} for piece in pieces)
        assert len(train | validation | test) == len(train) + len(validation) + len(test)
        assert train
        assert bool(validation) == (validates or folds == 1)
    tested = np.concatenate([fold.test for fold in planned]).tolist()
    assert len(set(tested)) == len(tested)
    if folds > 1:
        assert sorted(tested) == list(range(len(clips)))
    again = plan_folds(clips, split="speaker", folds=folds, seed=seed, validates=validates)
    assert all(np.array_equal(one.train, two.train) for one, two in zip(planned, again, strict=True))


def test_a_random_split_trains_on_the_voices_that_it_is_tested_on():
    clips = [Clip(str(i), Path(str(i)), "ab"[i % 2], "c", speaker=str(i % 4)) for i in range(40)]
    (fold,) = plan_folds(clips, split="random", folds=1, seed=0, validates=True)
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [25, 7, 8]
    assert {clips[i].speaker for i in fold.test} <= {clips[i].speaker for i in fold.train}


def test_one_split_of_the_shared_data_holds_every_class_in_each_piece(shared_data):
    clips = read_dataset(shared_data)
    (fold,) = plan_folds(clips, split="speaker", folds=1, seed=0, validates=True)
    for piece in (fold.train, fold.validation, fold.test):
        assert len({(clips[i].corpus, clips[i].emotion) for i in piece}) == 15
        assert len({clips[i].sex for i in piece}) == 2
    shares = [len(piece) / len(clips) for piece in (fold.train, fold.validation, fold.test)]
    assert shares[0] > 0.55
    assert min(shares) > 0.1


def test_too_few_voices_are_refused():
    clips = [Clip(str(i), Path(str(i)), "a", "c", speaker=str(i % 2)) for i in range(8)]
    with pytest.raises(ConfigurationError, match="1 speaker cannot be divided into training and validation"):
        plan_folds(clips, split="speaker", folds=1, seed=0, validates=True)
    with pytest.raises(ConfigurationError, match="no split 'text'"):
        plan_folds(clips, split="text", folds=2, seed=0, validates=False)


@given(
    corpora=st.lists(st.sampled_from("abc"), min_size=12, max_size=40).filter(lambda own: len(set(own)) > 1),
    validates=st.booleans(),
)
def test_split_by_corpus_each_is_left_out_whole_once(corpora, validates):
    clips = [
        Clip(str(i), Path(str(i)), "joy", corpus, speaker=f"{corpus}{i % 5}")
        for i, corpus in enumerate([*corpora, *(name for name in "abc" for _ in range(5))])
    ]
    folds = possible_folds(clips, split="corpus", wanted=4)
    planned = plan_folds(clips, split="corpus", folds=folds, seed=0, validates=validates)
    assert [fold.name for fold in planned] == ["without a", "without b", "without c", "all clips"]
    for fold in planned:
        corpora_of = [{clips[i].corpus for i in part} for part in (fold.train, fold.validation, fold.test)]
        assert not corpora_of[2] & (corpora_of[0] | corpora_of[1])
        speakers = [{clips[i].speaker for i in part} for part in (fold.train, fold.validation)]
        assert not speakers[0] & speakers[1]
        assert bool(len(fold.validation)) == validates
        assert len(fold.train) + len(fold.validation) + len(fold.test) == len(clips)
    assert len(np.concatenate([fold.test for fold in planned])) == len(clips)


def test_a_corpus_alone_cannot_be_left_out():
    clips = [Clip(str(i), Path(str(i)), "joy", "a", speaker=str(i)) for i in range(6)]
    with pytest.raises(ConfigurationError, match="the clips are of one corpus, a, so none can be left out"):
        plan_folds(clips, split="corpus", folds=1, seed=0, validates=False)
    two = [*clips, Clip("x", Path("x"), "joy", "b", speaker="x")]
    with pytest.raises(ConfigurationError, match="4 folds cannot be made of 2 corpora"):
        plan_folds(two, split="corpus", folds=4, seed=0, validates=False)


@given(data=st.data(), seed=st.integers(0, 9), validates=st.booleans())
def test_a_fold_of_a_group_tests_that_group_and_nothing_else(data, seed, validates):
    size = data.draw(st.integers(2, 5))
    voices = data.draw(
        st.lists(st.sampled_from("abcdefghijkl"), min_size=6, max_size=60).filter(
            lambda names: len(set(names)) >= size + 2
        )
    )
    order = data.draw(st.permutations(sorted(set(voices))))
    groups = [[*order[number::size]] for number in range(size)]
    groups[0].append("not in the data")
    clips = [
        Clip(str(i), Path(str(i)), ("anger", "fear")[i % 2], "c", speaker=voice)
        for i, voice in enumerate(voices)
    ]
    planned = plan_folds(clips, split="speaker", folds=7, seed=seed, validates=validates, groups=groups)
    assert [fold.name for fold in planned] == [*(f"fold {n + 1}/{size}" for n in range(size)), "all clips"]
    for fold, group in zip(planned, groups, strict=False):
        assert [i for i, voice in enumerate(voices) if voice in group] == fold.test.tolist()
        rest = sorted(np.concatenate([fold.train, fold.validation]).tolist())
        assert rest == [i for i, voice in enumerate(voices) if voice not in group]
        assert not {voices[i] for i in fold.train} & {voices[i] for i in fold.validation}


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([["a"], ["b"]], "the speakers c are in no group"),
        ([["a", "b"], ["b", "c"]], "the speakers b are in two groups"),
        ([["a", "b", "c"], ["d", "e"]], "the group d, e has no clip"),
        ([["a", "b", "c"], []], "has no clip"),
        ([["a", "b", "c"]], "there is 1 group; expected two groups or more"),
        ([], "the speakers a, b, c are in no group"),
    ],
)
def test_groups_that_are_no_folds_are_refused(groups, said):
    with pytest.raises(ConfigurationError, match=said):
        group_folds(["a", "b", "c", "a"], groups)


def test_groups_are_of_known_speakers_and_of_their_split():
    clips = [Clip(str(i), Path(str(i)), "ab"[i % 2], "c", speaker="xyz"[i % 3]) for i in range(12)]
    planned: dict[str, Any] = {"folds": 2, "seed": 0, "validates": False, "groups": [["x"], ["y", "z"]]}
    with pytest.raises(ConfigurationError, match="split by speaker, and random was asked"):
        plan_folds(clips, split="random", **planned)
    with pytest.raises(ConfigurationError, match="has no speaker"):
        plan_folds([*clips, Clip("12", Path("12"), "a", "c")], split="speaker", **planned)
