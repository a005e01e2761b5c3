"""The key `classes` of [models.NAME]: a model of any family restricted to some of its labels.

The logits of the other outputs are dropped before the softmax, so that the probabilities of what is left sum to 1.
Weights and graphs are those of the whole model.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import compress
from typing import TYPE_CHECKING

from emolake.errors import ConfigurationError
from emolake.models.protocol import EmotionModel, Prediction, Staged, Transcribing
from emolake.schemas.labels import UnknownLabelError, canonical

if TYPE_CHECKING:
    import torch

CLASSES_KEY = "classes"


def given_classes(value: object, *, model: str) -> tuple[str, ...] | None:
    """Return the value of the key as it is configured; which labels these are is found out with the description.

    An environment variable gives the list as JSON.

    Raises:
        ConfigurationError: it is no list of texts.
    """
    if value is None:
        return None
    classes = value
    if isinstance(value, str):
        with suppress(json.JSONDecodeError):
            classes = json.loads(value)
    if isinstance(classes, list | tuple) and all(isinstance(each, str) for each in classes):
        return tuple(classes)
    raise ConfigurationError(
        f"[models.{model}] has {CLASSES_KEY} = {value!r}; expected a list of the model's labels, or of emotions"
    )


def kept_labels(labels: Sequence[str], classes: Sequence[str], *, model: str) -> tuple[bool, ...]:
    """Return for each of a model's labels whether `classes` keeps it.

    A class is one of the model's own labels, or else an emotion of the shared taxonomy in any of its spellings, which
    keeps all labels of that emotion.

    Args:
        labels: the labels of all outputs, in order.
        classes: what the configuration gives.
        model: the name of the model, for errors.

    Raises:
        ConfigurationError: a class is unknown or names a label again, or fewer than two labels are left.

    >>> kept_labels(["neu", "joy", "laughter", "anger"], ["neutral", "happiness"], model="m")
    (True, True, True, False)
    >>> kept_labels(["neu", "joy", "laughter", "anger"], ["joy", "anger"], model="m")
    (False, True, False, True)
    """
    if not labels:
        raise ConfigurationError(
            f"[models.{model}] has classes, and the model gives no categories; take {CLASSES_KEY} out"
        )
    emotions = [_emotion(label) for label in labels]
    known = ", ".join(
        label if emotion in (label, None) else f"{label} ({emotion})"
        for label, emotion in zip(labels, emotions, strict=True)
    )
    by: dict[int, str] = {}
    for name in classes:
        places = [place for place, label in enumerate(labels) if label == name]
        if not places and (emotion := _emotion(name)) is not None:
            places = [place for place, own in enumerate(emotions) if own == emotion]
        if not places:
            raise ConfigurationError(
                f"[models.{model}] names the class {name!r}, which the model does not give; it gives {known}"
            )
        for place in places:
            if place in by:
                raise ConfigurationError(
                    f"[models.{model}] names the label {labels[place]!r} twice in classes, as {by[place]!r} and as "
                    f"{name!r}; name it once"
                )
            by[place] = name
    if len(by) < 2:
        raise ConfigurationError(
            f"[models.{model}] has {', '.join(map(repr, classes)) or 'nothing'} as classes, which leaves "
            f"{len(by)} of the model's labels; name at least two of {known}"
        )
    return tuple(place in by for place in range(len(labels)))


def labels_line(labels: Sequence[str], *, outputs: int) -> str:
    """Return a model's labels for a line of text, with how many of its outputs they are where they are not all.

    >>> labels_line(["neutral", "anger"], outputs=9), labels_line(["neutral", "anger"], outputs=2)
    ('neutral, anger (2 of 9)', 'neutral, anger')
    """
    restricted_to = f" ({len(labels)} of {outputs})" if len(labels) < outputs else ""
    return ", ".join(labels) + restricted_to


def restricted(model: EmotionModel, kept: Sequence[bool]) -> EmotionModel:
    """Return a loaded model that gives only the labels that are kept, in their order; see `kept_labels`."""
    if isinstance(model, Transcribing):
        return _RestrictedTranscriber(model, kept, model)
    if isinstance(model, Staged):
        return _RestrictedStaged(model, kept, model)
    return _Restricted(model, kept)


class _Restricted:
    """A loaded model without some of its labels. See `emolake.models.protocol.EmotionModel`."""

    def __init__(self, model: EmotionModel, kept: Sequence[bool]) -> None:
        self._model = model
        self._kept = tuple(kept)
        self.labels = tuple(compress(model.labels, kept))
        self.family = model.family
        self.sampling_rate = model.sampling_rate
        self.min_samples = model.min_samples
        self.max_samples = model.max_samples
        self.batching = model.batching
        self.device = model.device
        self.precision = model.precision

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`.

        A dropped logit that is not finite makes all of its segment NaN: the model is broken, whatever is kept.
        """
        return self._without_dropped(self._model.predict(waves, lengths))

    def _without_dropped(self, prediction: Prediction) -> Prediction:
        import torch

        logits = prediction.logits[:, torch.tensor(self._kept)]
        broken = ~prediction.logits.isfinite().all(dim=1, keepdim=True)
        return replace(prediction, logits=logits.masked_fill(broken, torch.nan))

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`; empty where the whole model shows none."""
        show = getattr(self._model, "modules", None)
        return show() if show is not None else {}

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`; empty where the whole model shows none."""
        show = getattr(self._model, "layer_weights", None)
        return show() if show is not None else {}


class _RestrictedTranscriber(_Restricted):
    """The same of a model that writes transcripts. See `emolake.models.protocol.Transcribing`."""

    def __init__(self, model: EmotionModel, kept: Sequence[bool], transcriber: Transcribing) -> None:
        super().__init__(model, kept)
        self._transcriber = transcriber

    def transcripts(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> tuple[str, ...]:
        """See `emolake.models.protocol.Transcribing`."""
        return self._transcriber.transcripts(waves, lengths)


def _emotion(label: str) -> str | None:
    try:
        return canonical(label)
    except UnknownLabelError:
        return None


class _RestrictedStaged(_Restricted):
    """The same of a model whose answer can be waited for later."""

    def __init__(self, model: EmotionModel, kept: Sequence[bool], staged: Staged) -> None:
        super().__init__(model, kept)
        self._staged = staged

    def outputs(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """See `emolake.models.protocol.Staged`."""
        return self._staged.outputs(waves, lengths)

    def prediction(self, outputs: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.Staged`."""
        return self._without_dropped(self._staged.prediction(outputs))
