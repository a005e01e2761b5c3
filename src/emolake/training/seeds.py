"""What makes a training on a processor give the same weights again."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*seeds: int) -> Iterator[np.random.Generator]:
    """Seed every global generator that networks draw from, and give a generator; afterwards all are as before."""
    sequence = np.random.SeedSequence(seeds)
    state = np.random.get_state()  # transformers draws SpecAugment's masks from NumPy's global generator
    with torch.random.fork_rng():
        torch.manual_seed(int(sequence.generate_state(1)[0]))
        np.random.seed(sequence.generate_state(4))
        try:
            yield np.random.default_rng(sequence)
        finally:
            np.random.set_state(state)
