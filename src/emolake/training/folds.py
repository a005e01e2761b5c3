"""Which clips train, which validate and which test: disjoint in speakers, or at random."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, require_speakers
from emolake.messages import counted

_SHARES = 5  # of one train/validation/test split: a fifth tests, a fifth of the rest validates


@dataclass(frozen=True)
class Fold:
    """The clips of one fit, as indices: those that train it, those that stop it, and those that test it.

    No clip, and if split by speaker no speaker, is in two of them.
    """

    number: int
    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def part_of(self, clip: int) -> str:
        """Return what a clip is used for: training, validation or the test."""
        if clip in self.train:
            return "training"
        return "validation" if clip in self.validation else "the test"

    @property
    def predicted(self) -> np.ndarray:
        """The clips that the fit predicts in the end: validation, then test."""
        return np.concatenate([self.validation, self.test])


def fold_seed(seed: int, fold: Fold) -> int:
    """Return the seed of a fold's fit, which no other fold of a training has."""
    return int(np.random.SeedSequence([seed, fold.number]).generate_state(1)[0])


def possible_folds(clips: Sequence[Clip], *, split: str, wanted: int) -> int:
    """Return the folds of a cross-validation where nobody asked for a number: no more than there are speakers.

    A fit needs a speaker to train and one to validate beside the one to test, so two speakers are left to be refused.
    Split by corpus, each is left out once.
    """
    if split == "corpus":
        return len({clip.corpus for clip in clips})
    speakers = {clip.speaker for clip in clips}
    return min(wanted, max(3, len(speakers))) if split == "speaker" and None not in speakers else wanted


def plan_folds(
    clips: Sequence[Clip],
    *,
    split: str,
    folds: int,
    seed: int,
    validates: bool,
    groups: Sequence[Sequence[str]] | None = None,
) -> tuple[Fold, ...]:
    """Return the folds of a training; the fit of the last one gives the weights that are written.

    With `folds` of 1 there is one, with clips for training, validation and testing. With more, each clip is tested
    once by a fit on the other folds, and one more fit is trained on all clips. `validates` takes the clips for
    validation out of those that train these fits. Split by corpus there is a fold for each, which leaves it out whole.
    `groups` names the speakers whom each fold tests, `len(groups)` folds, so that a published protocol can be followed.

    Raises:
        ConfigurationError: there is no such split, too few speakers or clips for it, a clip without a speaker, or a
            speaker who is not in one group.
    """
    everything = np.arange(len(clips))
    if groups is not None:
        fold, names = group_folds(_voices(clips, split), groups), _numbered(len(groups))
    elif split == "corpus":
        fold, names = _corpus_folds(clips, folds)
    else:
        fold_of = _assignment(clips, split, seed)
        if folds == 1:
            tested = fold_of(everything, _SHARES, at_most=True) == 0
            return (_with_validation(fold_of, 0, "one split", everything[~tested], everything[tested]),)
        fold, names = fold_of(everything, folds, at_most=False), _numbered(folds)
    fits = [
        *(
            (name, everything[fold != number], everything[fold == number])
            for number, name in enumerate(names)
        ),
        ("all clips", everything, everything[:0]),
    ]
    if validates:
        fold_of = _assignment(clips, "speaker" if split == "corpus" else split, seed)
        return tuple(_with_validation(fold_of, number, *fit) for number, fit in enumerate(fits))
    return tuple(
        Fold(number, name, train, everything[:0], test) for number, (name, train, test) in enumerate(fits)
    )


def _numbered(folds: int) -> list[str]:
    return [f"fold {number + 1}/{folds}" for number in range(folds)]


def _corpus_folds(clips: Sequence[Clip], folds: int) -> tuple[np.ndarray, list[str]]:
    """Return the fold of each clip, [N] int64, which is that of its corpus, and the names of the folds."""
    names, fold = np.unique([clip.corpus for clip in clips], return_inverse=True)
    if len(names) < 2:
        raise ConfigurationError(
            f"the clips are of one corpus, {names[0] if len(names) else '-'}, so none can be left out; give the column "
            "`corpus` another value for each, or ask for --split speaker"
        )
    if folds != len(names):
        raise ConfigurationError(
            f"{counted(folds, 'fold')} cannot be made of {len(names)} corpora, of which each is left out once; leave "
            "--folds out"
        )
    return fold, [f"without {name}" for name in names]


def _with_validation(
    fold_of: Callable[..., np.ndarray], number: int, name: str, train: np.ndarray, test: np.ndarray
) -> Fold:
    share = fold_of(train, _SHARES, at_most=True)
    return Fold(number, name, train[share != 0], train[share == 0], test)


def _assignment(clips: Sequence[Clip], split: str, seed: int) -> Callable[..., np.ndarray]:
    """Return the function that divides some clips, given as indices, into folds."""
    if split not in ("speaker", "random"):
        raise ConfigurationError(f"there is no split {split!r}; ask for speaker, corpus or random")
    speakers = require_speakers(clips) if split == "speaker" else []

    def fold_of(chosen: np.ndarray, folds: int, *, at_most: bool) -> np.ndarray:
        own = [clips[i] for i in chosen]
        if split == "random":
            if at_most:
                folds = _at_most(folds, len(own), "clip")
            return random_folds([clip.emotion for clip in own], folds=folds, seed=seed)
        voices = [speakers[i] for i in chosen]
        if at_most:
            folds = _at_most(folds, len(set(voices)), "speaker")
        strata = [(f"{clip.corpus} {clip.emotion}", f"{clip.corpus} {clip.sex}", clip.corpus) for clip in own]
        return speaker_folds(voices, strata, folds=folds, seed=seed)

    return fold_of


def _voices(clips: Sequence[Clip], split: str) -> list[str]:
    """Return the speaker of each clip, for folds that are groups of speakers."""
    if split != "speaker":
        raise ConfigurationError(
            f"groups of speakers are folds of the split by speaker, and {split} was asked; leave the groups out"
        )
    return require_speakers(clips)


def _at_most(folds: int, available: int, noun: str) -> int:
    if available < 2:
        raise ConfigurationError(
            f"{counted(available, noun)} cannot be divided into training and validation; expected 2 or more: "
            "ask for other folds, or give more data"
        )
    return min(folds, available)


def speaker_folds(
    speakers: Sequence[str], strata: Sequence[Sequence[str]], *, folds: int, seed: int
) -> np.ndarray:
    """Return the fold of each clip, [N] int64 in 0..folds-1, such that no speaker is in two folds.

    `strata` names, per clip, what each fold should hold its share of (corpus and emotion, corpus and sex,
    ...). Speakers with the most clips come first, ties in an order drawn by `seed`, and each joins the fold
    that it unbalances least, so the folds are stratified as far as whole speakers allow.

    Raises:
        ConfigurationError: there are fewer speakers than folds.
    """
    names = sorted(set(speakers))
    _check_enough(folds, len(names), "speaker")
    counts: dict[str, Counter[str]] = {name: Counter() for name in names}
    for speaker, of_clip in zip(speakers, strata, strict=True):
        counts[speaker].update(of_clip)
        counts[speaker][""] += 1  # the fold's size counts as a stratum of its own
    totals: Counter[str] = sum(counts.values(), Counter())
    generator = np.random.default_rng(seed)
    order = [names[i] for i in generator.permutation(len(names))]
    order.sort(key=lambda name: -sum(counts[name].values()))
    filled: list[Counter[str]] = [Counter() for _ in range(folds)]
    chosen: dict[str, int] = {}
    for name in order:
        costs = [_imbalance_added(fold, counts[name], totals) for fold in filled]
        # A fold without any speaker comes first, so that none stays empty.
        fold = min(
            range(folds), key=lambda f: (bool(filled[f]) and _empty_left(filled, order, chosen), costs[f], f)
        )
        chosen[name] = fold
        filled[fold].update(counts[name])
    return np.array([chosen[speaker] for speaker in speakers], dtype=np.int64)


def group_folds(speakers: Sequence[str], groups: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the fold of each clip, [N] int64: the place of its speaker's group.

    >>> group_folds(["a", "b", "c", "a"], [["c", "a"], ["b"]]).tolist()
    [0, 1, 0, 0]

    Raises:
        ConfigurationError: a speaker is in no group or in two, or a group has none of the speakers.
    """
    found = Counter(speaker for group in groups for speaker in group)
    missing, twice = sorted(set(speakers) - set(found)), [name for name, count in found.items() if count > 1]
    idle = [group for group in groups if not set(group) & set(speakers)]
    for wrong, what in ((missing, "are in no group"), (twice, "are in two groups")):
        if wrong:
            raise ConfigurationError(
                f"the speakers {', '.join(wrong)} {what} of folds; name each speaker in one of the groups"
            )
    if idle or len(groups) < 2:
        named = (
            f"the group {', '.join(idle[0])} has no clip"
            if idle
            else f"there is {counted(len(groups), 'group')}"
        )
        raise ConfigurationError(f"{named}; expected two groups or more, each of speakers in the data")
    of_speaker = {speaker: number for number, group in enumerate(groups) for speaker in group}
    return np.array([of_speaker[speaker] for speaker in speakers], dtype=np.int64)


def random_folds(labels: Sequence[str], *, folds: int, seed: int) -> np.ndarray:
    """Return the fold of each clip, [N] int64, every label spread evenly; speakers are in several folds.

    Raises:
        ConfigurationError: there are fewer clips than folds.
    """
    _check_enough(folds, len(labels), "clip")
    generator = np.random.default_rng(seed)
    result = np.empty(len(labels), dtype=np.int64)
    start = 0
    for label in sorted(set(labels)):
        members = generator.permutation([i for i, other in enumerate(labels) if other == label])
        result[members] = (start + np.arange(len(members))) % folds
        start += len(members)  # go on where the last label ended, so that fold sizes differ by one at most
    return result


def _check_enough(folds: int, available: int, noun: str) -> None:
    if not 2 <= folds <= available:
        possible = "2" if available == 2 else f"2 to {available}"
        remedy = f"ask for {possible} folds" if available >= 2 else "give more data"
        raise ConfigurationError(
            f"{counted(folds, 'fold')} cannot be made of {counted(available, noun)}; {remedy}"
        )


def _imbalance_added(fold: Counter[str], speaker: Counter[str], totals: Counter[str]) -> float:
    """Return the growth of the sum over strata of (the fold's share of the stratum)² when `speaker` joins `fold`."""
    return sum(
        ((fold[stratum] + count) ** 2 - fold[stratum] ** 2) / totals[stratum] ** 2
        for stratum, count in speaker.items()
    )


def _empty_left(filled: Sequence[Counter[str]], order: Sequence[str], chosen: dict[str, int]) -> bool:
    """Return whether the speakers not yet placed are just enough for the folds that have none."""
    return sum(not fold for fold in filled) >= len(order) - len(chosen)
