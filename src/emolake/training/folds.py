"""Which clips are heard, which validate and which test: disjoint in speakers, or at random."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import Clip, require_speakers

_SHARES = 5  # of one train/validation/test split: a fifth tests, a fifth of the rest validates


@dataclass(frozen=True)
class Part:
    """One fit of a training: indices of the clips that it hears, is stopped by, and is tested on.

    No clip, and if split by speaker no speaker, is in two of them.
    """

    number: int
    name: str
    heard: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def asked(self) -> np.ndarray:
        """The clips that the fit answers in the end: validation, then test."""
        return np.concatenate([self.validation, self.test])


def plan_parts(
    clips: Sequence[Clip], *, split: str, folds: int, seed: int, validates: bool
) -> tuple[Part, ...]:
    """Return the fits of a training; the last one gives the weights that are written.

    With `folds` of 1 there is one fit, with clips for training, validation and testing. With more, each clip is
    tested once by a fit of the other folds, and one more fit hears all clips. `validates` takes a validation part out
    of what these fits hear.

    Raises:
        ConfigurationError: there is no such split, too few speakers or clips for it, or a clip without a speaker.
    """
    fold_of = _folder(clips, split, seed)
    everything = np.arange(len(clips))

    def with_validation(number: int, name: str, heard: np.ndarray, test: np.ndarray) -> Part:
        share = fold_of(heard, _SHARES, at_most=True)
        return Part(number, name, heard[share != 0], heard[share == 0], test)

    if folds == 1:
        tested = fold_of(everything, _SHARES, at_most=True) == 0
        return (with_validation(0, "one split", everything[~tested], everything[tested]),)
    fold = fold_of(everything, folds, at_most=False)
    fits = [
        *(
            (f"fold {number + 1}/{folds}", everything[fold != number], everything[fold == number])
            for number in range(folds)
        ),
        ("all clips", everything, everything[:0]),
    ]
    if validates:
        return tuple(with_validation(number, *fit) for number, fit in enumerate(fits))
    return tuple(
        Part(number, name, heard, everything[:0], test) for number, (name, heard, test) in enumerate(fits)
    )


def _folder(clips: Sequence[Clip], split: str, seed: int) -> Callable[..., np.ndarray]:
    """Return what parts some clips, given as indices, into folds."""
    if split not in ("speaker", "random"):
        raise ConfigurationError(f"there is no split {split!r}; ask for speaker or random")
    speakers = require_speakers(clips) if split == "speaker" else []

    def fold_of(chosen: np.ndarray, folds: int, *, at_most: bool) -> np.ndarray:
        own = [clips[i] for i in chosen]
        if split == "random":
            if at_most:
                folds = _at_most(folds, len(own), "clips")
            return random_folds([clip.emotion for clip in own], folds=folds, seed=seed)
        voices = [speakers[i] for i in chosen]
        if at_most:
            folds = _at_most(folds, len(set(voices)), "speakers")
        strata = [(f"{clip.corpus} {clip.emotion}", f"{clip.corpus} {clip.sex}", clip.corpus) for clip in own]
        return speaker_folds(voices, strata, folds=folds, seed=seed)

    return fold_of


def _at_most(folds: int, there: int, what: str) -> int:
    if there < 2:
        raise ConfigurationError(
            f"{there} {what} are left to be parted into training and validation; expected 2 or more: "
            "ask for other folds, or give more data"
        )
    return min(folds, there)


def speaker_folds(
    speakers: Sequence[str], strata: Sequence[Sequence[str]], *, folds: int, seed: int
) -> np.ndarray:
    """Fold of each clip, [N] int64 in 0..folds-1, such that no speaker is in two folds.

    `strata` names, per clip, what each fold should hold its share of (corpus and emotion, corpus and sex,
    ...). Speakers with the most clips come first, ties in an order drawn by `seed`, and each joins the fold
    that it unbalances least, so the folds are stratified as far as whole speakers allow.

    Raises ConfigurationError if there are fewer speakers than folds.
    """
    names = sorted(set(speakers))
    if not 2 <= folds <= len(names):
        raise ConfigurationError(
            f"{folds} folds were asked of {len(names)} speakers; ask for 2 to {len(names)} folds"
        )
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


def random_folds(labels: Sequence[str], *, folds: int, seed: int) -> np.ndarray:
    """Fold of each clip, [N] int64, every label spread evenly; speakers are in several folds, which
    flatters."""
    if not 2 <= folds <= len(labels):
        raise ConfigurationError(
            f"{folds} folds were asked of {len(labels)} clips; ask for 2 to {len(labels)} folds"
        )
    generator = np.random.default_rng(seed)
    result = np.empty(len(labels), dtype=np.int64)
    start = 0
    for label in sorted(set(labels)):
        members = generator.permutation([i for i, other in enumerate(labels) if other == label])
        result[members] = (start + np.arange(len(members))) % folds
        start += len(members)  # go on where the last label ended, so that fold sizes differ by one at most
    return result


def _imbalance_added(fold: Counter[str], speaker: Counter[str], totals: Counter[str]) -> float:
    """Growth of the sum over strata of (the fold's share of the stratum) squared when `speaker` joins
    `fold`."""
    return sum(
        ((fold[stratum] + count) ** 2 - fold[stratum] ** 2) / totals[stratum] ** 2
        for stratum, count in speaker.items()
    )


def _empty_left(filled: Sequence[Counter[str]], order: Sequence[str], chosen: dict[str, int]) -> bool:
    """Whether the speakers not yet placed are just enough for the folds that have none."""
    return sum(not fold for fold in filled) >= len(order) - len(chosen)
