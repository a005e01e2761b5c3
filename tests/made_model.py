"""A tiny model of random weights in the layout that `emolake train` writes, for tests that need any model at all."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from emolake.models.families.spectrogram_network import EmotionNetwork, state_to_tensors
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions, SpectrogramCnnOptions
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE

LABELS = ("anger", "happiness", "neutral", "sadness")


def write_tiny_model(folder: Path, *, seed: int = 0) -> Path:
    """Write the folder and return it; equal seeds give equal bytes."""
    options = SpectrogramCnnOptions(
        labels=LABELS,
        features=FeatureOptions(),
        network=NetworkOptions(channels=(2, 2, 2, 2)),
        members=1,
        licence="CC0-1.0",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = EmotionNetwork(options.network, rows=options.features.rows, labels=len(LABELS))
        # Spread the answers: a fresh head says the same of everything.
        torch.nn.init.normal_(network.output.weight, std=1.0)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state_to_tensors([network.state_dict()]), folder / WEIGHTS_FILE)
    (folder / CONFIG_FILE).write_text(options.model_dump_json(), "utf-8")
    return folder
