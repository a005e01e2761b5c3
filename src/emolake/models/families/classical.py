"""Family "classical": a scikit-learn pipeline on a clip's feature vector, stored by skops.

A folder of this family holds `model.skops`, a pipeline that ends in a classifier with `predict_proba` (logistic
regression, random forest, calibrated SVC), and `config.json` (see `ClassicalConfig`). skops builds the types of
scikit-learn itself and those of a fixed list here; a file with any other is refused before anything of it runs.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, JsonValue

from emolake.errors import ConfigurationError
from emolake.models.families.classical_features import (
    SAMPLING_RATE,
    Extractor,
    Features,
    extractor,
    feature_names,
    recipe,
)
from emolake.models.families.classical_features import min_samples as shortest
from emolake.models.feature_cache import FeatureCache
from emolake.models.protocol import TORCH_FP32, Batching, Description, PersonalCacheFolder, Prediction
from emolake.models.trained_folder import CONFIG_FILE, TrainedFolder, read_config
from emolake.options import Options

if TYPE_CHECKING:
    import torch
    from sklearn.pipeline import Pipeline

MODEL_FILE: Final = "model.skops"
_FLOOR = 1e-7  # a forest gives exactly 0 to a label that none of its leaves has
_MIN_SAMPLES = 400  # as every family; a clip too short for the features gets no label
# What skops does not trust by itself and the supported classifiers hold. Never skops' own get_untrusted_types().
_TRUSTED = (
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.tree._tree.Tree",
)


class ClassicalOptions(TrainedFolder):
    """The keys of a model of this family."""

    cache: PersonalCacheFolder | None = None
    """Existing folder that keeps the features of every clip, for all runs and models that share it."""
    cache_mb: int = Field(1024, ge=1)
    """Space that the cache may take; what was unused for longest makes room."""


class ClassicalConfig(Options):
    """The contents of `config.json`."""

    family: Literal["classical"]
    """The name in the registry."""
    labels: tuple[str, ...] = Field(min_length=2)
    """The classes of the classifier, each once, in whatever order is wanted."""
    features: Features
    """What the classifier sees of a clip of 16 kHz."""
    temperature: float = Field(default=1.0, gt=0)
    """The logits are divided by it: calibration."""
    licence: str = "not stated"
    """Under which the weights may be used."""
    training: dict[str, JsonValue] = Field(default_factory=dict)
    """The recipe and the hash of the data; a record."""


class Classical:
    """A loaded pipeline. See `emolake.models.protocol.EmotionModel`.

    Features and classifier see one clip at a time, so that no batch changes an answer.
    """

    Options = ClassicalOptions
    family = "classical"
    sampling_rate = SAMPLING_RATE
    min_samples = _MIN_SAMPLES
    max_samples: int | None = None
    batching = Batching.MASKED
    device = "cpu"
    precision = "fp32"
    precisions = TORCH_FP32

    def __init__(
        self,
        pipeline: "Pipeline",
        extract: Extractor,
        *,
        labels: tuple[str, ...],
        shortest: int,
        temperature: float,
        cache: FeatureCache | None,
    ) -> None:
        self.labels = labels
        self._pipeline = pipeline
        self._columns = [list(pipeline.classes_).index(label) for label in labels]
        self._extract = extract
        self._shortest = shortest
        self._temperature = temperature
        self._cache = cache

    @classmethod
    def describe(cls, options: ClassicalOptions) -> Description:
        """Read the labels; see `emolake.models.protocol.Family`."""
        config = read_config(options.path, ClassicalConfig, cls.family)
        return Description(config.labels, options.files(MODEL_FILE), licence=config.licence)

    @classmethod
    def load(cls, options: ClassicalOptions, *, device: str, precision: str) -> Self:
        """Load the pipeline, refusing types beyond the list and what does not fit the configuration."""
        config = read_config(options.path, ClassicalConfig, cls.family)
        pipeline = _read_pipeline(options.path / MODEL_FILE)
        _check_fits(options.path / MODEL_FILE, pipeline, config)
        cache = None
        if options.cache is not None:
            cache = FeatureCache(
                options.cache, recipe(config.features), max_bytes=options.cache_mb * 1_000_000
            )
        return cls(
            pipeline,
            extractor(config.features),
            labels=config.labels,
            shortest=shortest(config.features),
            temperature=config.temperature,
            cache=cache,
        )

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; a clip too short for the features gets no label."""
        import torch

        labelled = lengths.cpu() >= self._shortest
        logits = torch.zeros(len(lengths), len(self.labels))
        long_enough = labelled.nonzero()[:, 0].tolist()
        if long_enough:
            clips = [waves[i, : int(lengths[i])].cpu().numpy() for i in long_enough]
            features = np.stack([self._features(clip) for clip in clips])
            found = log_probabilities(self._pipeline, features)[:, self._columns] / self._temperature
            logits[long_enough] = torch.from_numpy(found.astype(np.float32))
        return Prediction(logits, labelled=labelled)

    def _features(self, wave: np.ndarray) -> np.ndarray:
        return self._extract(wave) if self._cache is None else self._cache.get(wave, self._extract)


def log_probabilities(pipeline: "Pipeline", features: np.ndarray) -> np.ndarray:
    """Return log probabilities [N, classes] of feature vectors [N, n], in the classifier's own order."""
    return np.asarray(np.log(np.maximum(pipeline.predict_proba(features), _FLOOR)))


def _read_pipeline(path: Path) -> "Pipeline":
    from sklearn.pipeline import Pipeline
    from skops.io import load
    from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

    try:
        pipeline = load(path, trusted=list(_TRUSTED))
    except UntrustedTypesFoundException as error:
        raise ConfigurationError(
            f"{path} holds types that this family does not build, and nothing of it was run: {error}; "
            "use StandardScaler with LogisticRegression, RandomForestClassifier or CalibratedClassifierCV(SVC())"
        ) from error
    except (
        OSError,
        BadZipFile,
        UnsupportedTypeException,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        EOFError,
    ) as error:
        raise ConfigurationError(
            f"{path} cannot be read as a skops file ({type(error).__name__}: {error}); save or copy it again"
        ) from error
    if not isinstance(pipeline, Pipeline):
        raise ConfigurationError(
            f"{path} holds a {type(pipeline).__name__}, expected a Pipeline of scikit-learn"
        )
    if not hasattr(pipeline, "predict_proba"):
        raise ConfigurationError(
            f"{path} ends in a {type(pipeline[-1]).__name__} that gives no probabilities; calibrate it: "
            "CalibratedClassifierCV(SVC(), ensemble=False)"
        )
    return pipeline


def _check_fits(path: Path, pipeline: "Pipeline", config: ClassicalConfig) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(pipeline)
        classes = [str(label) for label in pipeline.classes_]
        width = int(pipeline.n_features_in_)
    except (NotFittedError, AttributeError) as error:
        raise ConfigurationError(f"{path} was never fitted ({error}); save it after fit()") from error
    if sorted(config.labels) != sorted(classes):
        raise ConfigurationError(
            f"{path} knows the classes {', '.join(classes)}, and {CONFIG_FILE} the labels "
            f"{', '.join(config.labels)}; name each class once"
        )
    expected = len(feature_names(config.features))
    if width != expected:
        raise ConfigurationError(
            f"{path} was fitted on {width} features, and {CONFIG_FILE} describes {expected} of kind "
            f"{config.features.kind}; take both files from one training"
        )
    for tree in _trees(pipeline):
        _check_tree(path, tree)


def _trees(estimator: Any) -> Iterator[Any]:
    """Yield the compiled tree of every decision tree in a pipeline, forest or calibrated classifier."""
    if hasattr(estimator, "tree_"):
        yield estimator.tree_
    inner = [step for _, step in getattr(estimator, "steps", ())]
    inner += list(getattr(estimator, "estimators_", ()))
    inner += [each.estimator for each in getattr(estimator, "calibrated_classifiers_", ())]
    for each in inner:
        yield from _trees(each)


def _check_tree(path: Path, tree: Any) -> None:
    """Refuse links that compiled code would follow out of its arrays or for ever; scikit-learn checks types only."""
    nodes = np.arange(tree.node_count)
    left, right, feature = tree.children_left, tree.children_right, tree.feature
    inner = left != -1
    children = np.stack([left[inner], right[inner]])
    if (
        (children <= nodes[inner]).any()
        or (children >= tree.node_count).any()
        or (feature[inner] < 0).any()
        or (feature[inner] >= tree.n_features).any()
    ):
        raise ConfigurationError(f"{path} holds a tree whose nodes lead nowhere; save or copy it again")
