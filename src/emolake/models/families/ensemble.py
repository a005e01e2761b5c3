"""Family "ensemble": the weighted mean of what other models of the configuration predict, in the shared taxonomy.

The probability of an emotion is `sum_m w_m p_m(emotion) / sum_m w_m`, with p_m the sum of a member's probabilities of
its labels for that emotion, 0 where it has none. A member that gives a segment no label has no vote on it, and one
without categories none at all. Arousal, dominance and valence are averaged alike over the members that give them.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    ValidationInfo,
    model_validator,
)

from emolake.errors import ConfigurationError
from emolake.models.inference import InferenceOptions
from emolake.models.protocol import Batching, Description, EmotionModel, Prediction
from emolake.models.registry import ModelEntry, Registry
from emolake.options import Options
from emolake.schemas.labels import EMOTIONS, canonical

if TYPE_CHECKING:
    import torch

# From the loosest to the strictest: what the strictest allows, all allow.
_STRICTNESS = (Batching.MASKED, Batching.EQUAL_LENGTH, Batching.SINGLE)


def _named(name: object, info: ValidationInfo) -> object:
    """Return the model of the configuration that a member names.

    The registry gives itself, and the names of the models that ask, as the validation's context.

    Raises:
        ConfigurationError: there is no such model, it is wrong itself, or it is one of those that ask.
    """
    if not isinstance(name, str):
        return name
    if info.context is None:
        raise ValueError("members are names of the configuration's models, and there is no configuration")
    within: tuple[str, ...] = info.context["within"]
    if name in within:
        raise ConfigurationError(
            f"the model {name!r} would be a member of itself, through {' -> '.join((*within, name))}; "
            f"correct members in [models.{within[-1]}]"
        )
    registry: Registry = info.context["registry"]
    return registry.entry(name, within=within)


class EnsembleOptions(Options):
    """The keys of a model of this family."""

    model_config = ConfigDict(arbitrary_types_allowed=True)  # of the members

    members: tuple[Annotated[ModelEntry, BeforeValidator(_named)], ...] = Field(min_length=2)
    """Names of other models of the configuration."""
    weights: tuple[Annotated[FiniteFloat, Field(gt=0)], ...] | None = None
    """How much each member's answer counts, in the order of members; all the same when left out."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"members are {', '.join(names)}; name each once, and give it a larger weight")
        if self.weights is not None and len(self.weights) != len(names):
            raise ValueError(
                f"there are {len(self.weights)} weights for {len(names)} members; give one for each"
            )
        return self


class Ensemble:
    """Loaded members and their weights. See `emolake.models.protocol.EmotionModel`."""

    Options = EnsembleOptions
    family = "ensemble"
    precisions: ClassVar = {
        "torch": ("fp32", "tf32", "bf16", "fp16", "int8")
    }  # the members refuse what they lack

    def __init__(self, members: Sequence[EmotionModel], weights: Sequence[float]) -> None:
        """Join loaded models.

        Args:
            members: models that take one sampling rate.
            weights: positive, one for each; their sum does not matter.

        Raises:
            ConfigurationError: the members take different rates, or no length of segment suits all.
            UnknownLabelError: the taxonomy does not know a member's label.
        """
        rates = sorted({member.sampling_rate for member in members})
        if len(rates) > 1:
            raise ConfigurationError(
                f"the members of an ensemble take {' and '.join(map(str, rates))} Hz; choose members of one rate"
            )
        self.sampling_rate = rates[0]
        self.labels = _emotions([member.labels for member in members])
        self.min_samples = max(member.min_samples for member in members)
        self.max_samples = min((m.max_samples for m in members if m.max_samples is not None), default=None)
        if self.max_samples is not None and self.max_samples < self.min_samples:
            raise ConfigurationError(
                f"a member of the ensemble takes at most {self.max_samples} samples, and another at least "
                f"{self.min_samples}; choose members that some segment suits"
            )
        self.batching = max((member.batching for member in members), key=_STRICTNESS.index)
        self.device = members[0].device
        self.precision = members[0].precision
        self._members = tuple(members)
        self._weights = tuple(weights)
        self._places = [_places(member.labels, self.labels) for member in members]

    @classmethod
    def describe(cls, options: EnsembleOptions) -> Description:
        """Join what is known of the members; see `emolake.models.protocol.Family`."""
        described = [member.description for member in options.members]
        files = {
            f"member{index}/{name}": path
            for index, member in enumerate(described)
            for name, path in member.files.items()
        }
        # Names and weights' common factor change no number, so they are no part of the fingerprint.
        parameters: list[JsonValue] = [
            {"family": entry.family, "labels": list(member.labels), "parameters": dict(member.parameters)}
            for entry, member in zip(options.members, described, strict=True)
        ]
        weights = _weights(options)
        shares: list[JsonValue] = [weight / sum(weights) for weight in weights]
        licences = dict.fromkeys(member.licence for member in described)
        return Description(
            _emotions([member.labels for member in described]),
            files,
            {"weights": shares, "members": parameters},
            licence=", ".join(licences),
        )

    @classmethod
    def load(cls, options: EnsembleOptions, *, device: str, precision: str) -> Self:
        """Load every member as it would be loaded by itself."""
        inference = InferenceOptions.model_validate(
            {"device": device, "precision": precision, "runtime": "torch"}
        )
        return cls([member.load(inference) for member in options.members], _weights(options))

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are logarithms of the mean probabilities."""
        import torch

        from emolake.models.families.ensemble_mean import weighted_mean

        with torch.inference_mode():
            predictions = [member.predict(waves, lengths) for member in self._members]
            return weighted_mean(predictions, self._weights, self._places, emotions=len(self.labels))

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`."""
        return {
            f"member{index}.{name}": module
            for index, member in enumerate(self._members)
            for name, module in _shown(member, "modules").items()
        }

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`."""
        return {
            f"member{index}.{name}": weights
            for index, member in enumerate(self._members)
            for name, weights in _shown(member, "layer_weights").items()
        }


def _emotions(labels: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the emotions of all members' labels, in the order of the taxonomy."""
    known = {canonical(label) for own in labels for label in own}
    return tuple(emotion for emotion in EMOTIONS if emotion in known)


def _places(labels: Sequence[str], emotions: tuple[str, ...]) -> list[int]:
    """Return the position of each label's emotion."""
    return [emotions.index(canonical(label)) for label in labels]


def _weights(options: EnsembleOptions) -> tuple[float, ...]:
    return options.weights or (1.0,) * len(options.members)


def _shown(member: EmotionModel, what: str) -> Mapping[str, Any]:
    """Return what a member shows of its inside; not every family does."""
    show = getattr(member, what, None)
    return show() if show is not None else {}
