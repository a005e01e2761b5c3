"""logmel_cnn and mfcc_cnn: convolutional networks on log-mel or MFCC images; family "spectrogram_cnn"."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field
from safetensors.torch import save_file

from emolake.audio.feature_options import ConditioningOptions
from emolake.models.families.spectrogram_network import state_to_tensors
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions, SpectrogramCnnOptions
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.options import Options
from emolake.training.folds import Fold
from emolake.training.model_card import what_is_removed
from emolake.training.spectrogram_jobs import NetworkJob, train_networks
from emolake.training.spectrogram_store import build_store
from emolake.training.spectrogram_training import LoopOptions, SpectrogramInputs
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_run import TrainingRun

_CONDITIONED = FeatureOptions(conditioning=ConditioningOptions(high_pass_hz=80, level_dbfs=-20))


class SpectrogramRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    features: FeatureOptions = _CONDITIONED
    """What the networks see."""
    network: NetworkOptions = NetworkOptions()
    """The size of each network."""
    loop: LoopOptions = LoopOptions()
    """How each network is trained."""
    members: int = Field(5, ge=1)
    """Networks that are trained, and whose logits are averaged."""
    max_duration_s: float = Field(30.0, gt=0)
    """A longer clip is cut off."""


class SpectrogramTrainer:
    """See `emolake.training.trainer.Trainer`."""

    default_folds = 4

    def __init__(self, recipe: SpectrogramRecipe) -> None:
        self.recipe = recipe

    def validates(self, recipe: SpectrogramRecipe) -> bool:
        """See `emolake.training.trainer.Trainer`."""
        return False

    def input_spec(self, recipe: SpectrogramRecipe) -> InputSpec:
        """See `emolake.training.trainer.Trainer`."""
        rate = recipe.features.mel.sampling_rate
        return InputSpec(rate, max_samples=round(recipe.max_duration_s * rate))

    def fit(
        self, recipe: SpectrogramRecipe, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun
    ) -> list[FitResult]:
        """Train `members` networks for each fold, side by side in processes; their number changes no weight."""
        with tempfile.TemporaryDirectory(prefix="emolake-train-") as scratch:
            store = Path(scratch)
            sizes = [len(wave) for wave in corpus.waves]
            build_store(store, corpus.waves, recipe.features, warps=recipe.loop.augment.warps, sizes=sizes)
            inputs = SpectrogramInputs(
                store=store,
                targets=corpus.targets,
                strata=tuple(f"{clip.corpus} {clip.emotion}" for clip in corpus.clips),
                labels=len(corpus.labels),
                features=recipe.features,
                network=recipe.network,
                loop=recipe.loop,
            )
            networks = train_networks(inputs, _jobs(folds, recipe.members, run), workers=run.workers)
        fits = []
        for start in range(0, len(networks), recipe.members):
            members = networks[start : start + recipe.members]
            states = [member.weights for member in members]
            logits = np.stack([member.logits.astype(np.float64) for member in members])
            history = [row for member in members for row in member.history]
            count = sum(value.numel() for value in states[0].values() if value.is_floating_point())
            fits.append(FitResult(states, logits, history, count))
        return fits

    def write(
        self, recipe: SpectrogramRecipe, result: FitResult, folder: Path, metadata: ModelMetadata
    ) -> list[Path]:
        """See `emolake.training.trainer.Trainer`."""
        save_file(state_to_tensors(result.state), folder / WEIGHTS_FILE)
        options = SpectrogramCnnOptions(
            labels=metadata.labels,
            sampling_rate=recipe.features.mel.sampling_rate,
            features=recipe.features,
            network=recipe.network,
            members=recipe.members,
            temperature=metadata.temperature,
            licence=metadata.licence,
            training=metadata.training,
        )
        (folder / CONFIG_FILE).write_text(options.model_dump_json(indent=2) + "\n", "utf-8")
        return [folder / WEIGHTS_FILE]

    def describe(self, recipe: SpectrogramRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        features = recipe.features
        image = f"{features.mel.bands} log-mel bands"
        if features.kind == "mfcc":
            image = f"{features.coefficients} MFCC of {image}"
        size = f"{result.parameters:,} parameters"
        networks = (
            f"{recipe.members} convolutional networks of {size} each, whose logits are averaged. They see"
        )
        if recipe.members == 1:
            networks = f"A convolutional network of {size}. It sees"
        removed = [*what_is_removed(features.conditioning)]
        removed.append(
            "The level seen is that of its loudest sound over its mean."
            if features.conditioning.level_dbfs is not None
            else "The level was varied little in training: speech recorded far louder or quieter than in the corpora "
            "is outside of what the figures cover."
        )
        hop_ms = 1000 * features.mel.hop / features.mel.sampling_rate
        return (
            f"{networks} {image} of every {hop_ms:.0f} ms, tracks of pitch, periodicity and energy, the level and the "
            f"duration of a clip that was cut to its speech. {' '.join(removed)}"
        )


def _jobs(folds: Sequence[Fold], members: int, run: TrainingRun) -> list[NetworkJob]:
    """Return a job for each member of each fold."""
    jobs = []
    for fold in folds:
        for member in range(members):
            seed = int(np.random.SeedSequence([run.seed, fold.number, member]).generate_state(1)[0])
            name = f"{fold.name}, network {member + 1}/{members}"
            checkpoint = run.checkpoint(f"fit-{fold.number}-{member}")
            jobs.append(NetworkJob(name, seed, fold.train, fold.predicted, checkpoint))
    return jobs


LOGMEL = SpectrogramTrainer(SpectrogramRecipe())
MFCC = SpectrogramTrainer(SpectrogramRecipe(features=_CONDITIONED.model_copy(update={"kind": "mfcc"})))
