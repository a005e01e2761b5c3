"""Predictions of no classifier at all, right as often as asked."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emolake.evaluation.dataset import Clip
from emolake.evaluation.results import Predictions

EMOTIONS = ("anger", "fear", "happiness")


def predictions(
    *,
    clips: int = 90,
    right: float = 0.7,
    seed: int = 0,
    labels: Sequence[str] = EMOTIONS,
    words: Sequence[str] = EMOTIONS,
    speakers: int = 6,
    corpora: int = 1,
) -> Predictions:
    """`words` are the data's own labels; the last clips of `labels` beyond them have none."""
    generator = np.random.default_rng(seed)
    targets = np.arange(clips) % len(words)
    guess = np.where(generator.random(clips) < right, targets, (targets + 1) % len(labels))
    logits = generator.normal(size=(clips, len(labels)))
    logits[np.arange(clips), guess] += 5
    listed = tuple(
        Clip(
            f"{clip}.wav",
            Path(f"{clip}.wav"),
            labels[target],
            f"corpus-{clip * corpora // clips}",
            f"speaker-{clip * speakers // clips}" if speakers else None,
            label=words[target],
        )
        for clip, target in enumerate(targets.tolist())
    )
    return Predictions(listed, tuple(labels), targets, logits, np.arange(clips) % 2)
