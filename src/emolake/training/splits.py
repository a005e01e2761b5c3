"""Folds for cross-validation: disjoint in speakers, or at random."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from emolake.errors import ConfigurationError


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
