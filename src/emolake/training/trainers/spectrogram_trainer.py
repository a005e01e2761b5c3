"""logmel_cnn and mfcc_cnn: convolutional networks on log-mel or MFCC images; family "spectrogram_cnn"."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file

from emolake.models.families.spectrogram_network import state_to_tensors
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions, SpectrogramCnnOptions
from emolake.models.trained_folder import CONFIG_FILE, WEIGHTS_FILE
from emolake.training.folds import Part
from emolake.training.spectrogram_store import build_cache
from emolake.training.spectrogram_training import LoopOptions
from emolake.training.trainer import Corpus, Facts, Fitted, Hearing
from emolake.training.training_run import Run
from emolake.training.worker_processes import Job, Work, run_jobs


class SpectrogramRecipe(BaseModel):
    """All that decides the weights, beside the data and the seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: FeatureOptions = Field(default=FeatureOptions(), description="What the networks see.")
    network: NetworkOptions = Field(default=NetworkOptions(), description="The size of each network.")
    loop: LoopOptions = Field(default=LoopOptions(), description="How each network is trained.")
    members: int = Field(
        default=5, ge=1, description="Networks that are trained, and whose logits are averaged."
    )
    max_duration_s: float = Field(default=30.0, gt=0, description="A longer clip is cut off.")


class SpectrogramKind:
    """See `emolake.training.trainer.Kind`."""

    folds = 4
    validates = False

    def __init__(self, recipe: SpectrogramRecipe) -> None:
        self.recipe = recipe

    def hearing(self, recipe: SpectrogramRecipe) -> Hearing:
        """See `emolake.training.trainer.Kind`."""
        rate = recipe.features.mel.sampling_rate
        return Hearing(rate, max_samples=round(recipe.max_duration_s * rate))

    def fit(self, recipe: SpectrogramRecipe, corpus: Corpus, parts: Sequence[Part], run: Run) -> list[Fitted]:
        """Train `members` networks for each part, side by side in processes; their number changes no weight."""
        with tempfile.TemporaryDirectory(prefix="emolake-train-") as scratch:
            cache = Path(scratch)
            sizes = [len(wave) for wave in corpus.waves]
            build_cache(cache, corpus.waves, recipe.features, warps=recipe.loop.augment.warps, sizes=sizes)
            work = Work(
                cache=cache,
                targets=corpus.targets,
                strata=tuple(f"{clip.corpus} {clip.emotion}" for clip in corpus.clips),
                labels=len(corpus.labels),
                features=recipe.features,
                network=recipe.network,
                loop=recipe.loop,
            )
            done = run_jobs(work, _jobs(parts, recipe.members, run), workers=run.workers)
        fits = []
        for number, part in enumerate(parts):
            outcomes = [
                outcome for _, outcome in done[number * recipe.members : (number + 1) * recipe.members]
            ]
            states = [outcome.state for outcome in outcomes]
            logits = np.zeros((recipe.members, len(part.asked), len(corpus.labels)))
            logits[:] = [outcome.logits for outcome in outcomes]
            history = [row for outcome in outcomes for row in outcome.history]
            count = sum(value.numel() for value in states[0].values() if value.is_floating_point())
            fits.append(Fitted(states, logits, history, count))
        return fits

    def write(self, recipe: SpectrogramRecipe, fitted: Fitted, folder: Path, facts: Facts) -> Path:
        """See `emolake.training.trainer.Kind`."""
        save_file(state_to_tensors(fitted.state), folder / WEIGHTS_FILE)
        options = SpectrogramCnnOptions(
            labels=facts.labels,
            sampling_rate=recipe.features.mel.sampling_rate,
            features=recipe.features,
            network=recipe.network,
            members=recipe.members,
            temperature=facts.temperature,
            licence=facts.licence,
            training=facts.training,
        )
        (folder / CONFIG_FILE).write_text(options.model_dump_json(indent=2) + "\n", "utf-8")
        return folder / WEIGHTS_FILE

    def describe(self, recipe: SpectrogramRecipe, fitted: Fitted) -> str:
        """See `emolake.training.trainer.Kind`."""
        features = recipe.features
        image = f"{features.mel.bands} log-mel bands"
        if features.kind == "mfcc":
            image = f"{features.coefficients} MFCC of {image}"
        return (
            f"{recipe.members} convolutional networks of {fitted.parameters:,} parameters each, whose logits are "
            f"averaged. They see {image} of every "
            f"{1000 * features.mel.hop / features.mel.sampling_rate:.0f} ms, tracks of pitch, periodicity and energy, "
            "the level and the duration of a clip that was cut to its speech. The level was varied little in training: "
            "speech recorded far louder or quieter than in the corpora is outside of what the figures cover."
        )


def _jobs(parts: Sequence[Part], members: int, run: Run) -> list[Job]:
    """One network for each part and member."""
    jobs = []
    for part in parts:
        for member in range(members):
            own = int(np.random.SeedSequence([run.seed, part.number, member]).generate_state(1)[0])
            name = f"{part.name}, network {member + 1}/{members}"
            checkpoint = run.checkpoint(f"fit-{part.number}-{member}")
            jobs.append(Job(name, member, own, part.heard, part.asked, checkpoint))
    return jobs


LOGMEL = SpectrogramKind(SpectrogramRecipe())
MFCC = SpectrogramKind(SpectrogramRecipe(features=FeatureOptions(kind="mfcc")))
