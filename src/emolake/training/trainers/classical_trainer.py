"""classical: scikit-learn on a clip's feature vector; family "classical"."""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from emolake.errors import ConfigurationError
from emolake.messages import counted
from emolake.models.families.classical import MODEL_FILE, ClassicalConfig, log_probabilities
from emolake.models.families.classical_features import (
    Features,
    LibrosaFeatures,
    extractor,
    feature_names,
    min_samples,
)
from emolake.models.families.classical_features import recipe as feature_recipe
from emolake.models.trained_folder import CONFIG_FILE
from emolake.options import Options
from emolake.training.folds import Fold, fold_seed
from emolake.training.heads import compute_features
from emolake.training.trainer import Corpus, FitResult, InputSpec, ModelMetadata
from emolake.training.training_bar import training_bar
from emolake.training.training_run import TrainingRun
from emolake.training.waves import WaveAugmentOptions

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

_FOLDS = 5  # of the calibration of a support vector classifier


class ClassicalRecipe(Options):
    """All that decides the weights, beside the data and the seed."""

    features: Features = LibrosaFeatures(kind="librosa")
    """What the classifier sees: librosa, or egemaps."""
    classifier: Literal["svc", "random_forest", "logistic_regression"] = "svc"
    """Which classifier of scikit-learn."""
    regularisation: float = Field(1.0, gt=0)
    """C of the support vectors and of the regression: lower is smoother."""
    trees: int = Field(300, ge=1)
    """Of the random forest."""
    class_weights: bool = True
    """A clip counts by the inverse of its label's share."""
    max_duration_s: float = Field(30.0, gt=0)
    """A longer clip is cut off."""
    augment: WaveAugmentOptions = WaveAugmentOptions(chance=0, copies=0)
    """Changes to training clips; every copy is one more clip."""


class ClassicalTrainer:
    """See `emolake.training.trainer.Trainer`."""

    recipe = ClassicalRecipe()
    default_folds = 4

    def validates(self, recipe: ClassicalRecipe) -> bool:
        """See `emolake.training.trainer.Trainer`."""
        return False

    def input_spec(self, recipe: ClassicalRecipe) -> InputSpec:
        """See `emolake.training.trainer.Trainer`."""
        feature_names(recipe.features)  # raises where a package is not installed
        return InputSpec(
            min_samples=max(400, min_samples(recipe.features)),
            max_samples=round(recipe.max_duration_s * 16_000),
        )

    def fit(
        self, recipe: ClassicalRecipe, corpus: Corpus, folds: Sequence[Fold], run: TrainingRun
    ) -> list[FitResult]:
        """See `emolake.training.trainer.Trainer`."""
        features = compute_features(
            corpus, extractor(recipe.features), feature_recipe(recipe.features), recipe.augment,
            self.input_spec(recipe), run,
        )  # fmt: skip
        fits = []
        with training_bar(len(folds), "fits") as bar:
            for fold in folds:
                given = np.concatenate([own[fold.train] for own in features.versions])
                wanted = np.tile(
                    [corpus.labels[i] for i in corpus.targets[fold.train]], len(features.versions)
                )
                pipeline = _new_pipeline(recipe, wanted, fold_seed(run.seed, fold))
                pipeline.fit(given, wanted)
                logits = np.full((len(fold.predicted), len(corpus.labels)), np.log(1e-7))
                columns = [corpus.labels.index(str(label)) for label in pipeline.classes_]
                if len(fold.predicted):
                    logits[:, columns] = log_probabilities(pipeline, features.plain[fold.predicted])
                fits.append(FitResult(pipeline, logits[None]))
                bar.advance(fold.name, clips=len(fold.train))
        return fits

    def write(
        self, recipe: ClassicalRecipe, result: FitResult, folder: Path, metadata: ModelMetadata
    ) -> list[Path]:
        """See `emolake.training.trainer.Trainer`."""
        (folder / MODEL_FILE).write_bytes(_skops_bytes(result.state))
        config = ClassicalConfig(
            family="classical", labels=metadata.labels, features=recipe.features, temperature=metadata.temperature,
            licence=metadata.licence, training=metadata.training,
        )  # fmt: skip
        (folder / CONFIG_FILE).write_text(config.model_dump_json(indent=2) + "\n", "utf-8")
        return [folder / MODEL_FILE]

    def describe(self, recipe: ClassicalRecipe, result: FitResult) -> str:
        """See `emolake.training.trainer.Trainer`."""
        names = {
            "svc": "A support vector classifier with calibrated probabilities",
            "random_forest": f"A random forest of {counted(recipe.trees, 'tree')}",
            "logistic_regression": "A logistic regression",
        }
        kind = {"librosa": "librosa's pitch, energy, tempo and cepstra", "egemaps": "openSMILE's eGeMAPS"}
        return (
            f"{names[recipe.classifier]} on {len(feature_names(recipe.features))} statistics of "
            f"{kind[recipe.features.kind]}."
        )


def _new_pipeline(recipe: ClassicalRecipe, wanted: np.ndarray, seed: int) -> "Pipeline":
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    weight = "balanced" if recipe.class_weights else None
    classifier: Any
    if recipe.classifier == "svc":
        names, counts = np.unique(wanted, return_counts=True)
        if counts.min() < 2:
            raise ConfigurationError(
                f"the emotion {names[counts.argmin()]} has 1 training clip, and the probabilities of an svc are "
                "calibrated on 2 or more; give more clips, or another classifier"
            )
        folds = min(_FOLDS, int(counts.min()))  # a number, since the family's files hold no splitter
        classifier = CalibratedClassifierCV(
            SVC(C=recipe.regularisation, class_weight=weight), ensemble=False, cv=folds
        )
    elif recipe.classifier == "random_forest":
        classifier = RandomForestClassifier(recipe.trees, class_weight=weight, random_state=seed)
    else:
        classifier = LogisticRegression(
            C=recipe.regularisation, class_weight=weight, max_iter=2000, random_state=seed
        )
    return make_pipeline(StandardScaler(), classifier)


def _skops_bytes(pipeline: "Pipeline") -> bytes:
    """Return a skops file that is the same for the same pipeline: without addresses in memory and the time of day."""
    from skops.io import dumps

    with zipfile.ZipFile(io.BytesIO(dumps(pipeline))) as found:
        content = {name: found.read(name) for name in found.namelist()}
    schema = content.pop("schema.json").decode("utf-8")
    numbers = {own: str(i) for i, own in enumerate(dict.fromkeys(re.findall(r'"__id__": (\d+)', schema)))}
    renamed = {name: f"{number:06}{Path(name).suffix}" for number, name in enumerate(content)}
    text = re.sub(r'("__id__": )(\d+)', lambda match: match[1] + numbers[match[2]], schema)
    for old, new in renamed.items():
        text = text.replace(json.dumps(old), json.dumps(new))
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as written:
        for name, data in [("schema.json", text.encode()), *((renamed[n], d) for n, d in content.items())]:
            written.writestr(zipfile.ZipInfo(name), data)
    return result.getvalue()


CLASSICAL = ClassicalTrainer()
