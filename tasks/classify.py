"""Classify: run the model over batches, across recordings, and give its answers back in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from emolake.errors import EmolakeError
from emolake.models.protocol import EmotionModel, Prediction
from emolake.models.runtimes.devices import held_by_others, is_out_of_memory
from emolake.tasks.featurize import Mark, Owner, batches, padded, pools
from emolake.tasks.segment import Segment

if TYPE_CHECKING:
    import torch

# Segments are sorted by length within a pool of this many batches: long enough for batches of like lengths,
# short enough for memory not to grow with the length of a recording.
_BATCHES_IN_POOL = 8
# Segments that an error names.
_NAMED = 10


class ModelError(EmolakeError):
    """A model did not answer; the message names the segments, unless it is about none in particular."""


class ModelOutputError(ModelError):
    """A model gave something else than finite logits, one per label."""


class ModelMemoryError(ModelError):
    """The device has no room for one segment by itself."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What a model says of one segment: logits and probabilities [labels] float32 in label order, affect [3] or None.

    `labelled` is False where the model itself gives no label; its probabilities then mean nothing. `transcript` is
    what was said, of models that write it down.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    affect: np.ndarray | None = None
    labelled: bool = True
    transcript: str | None = None

    @property
    def best(self) -> int | None:
        """Position of the label, or None where there is none."""
        return int(self.probabilities.argmax()) if self.labelled and self.probabilities.size else None

    @property
    def confidence(self) -> float | None:
        """Probability of the label, or None where there is none."""
        return None if self.best is None else float(self.probabilities[self.best])

    def is_uncertain(self, abstain_below: float) -> bool | None:
        """Return whether the label's probability is below one that it should have; None where there is no label."""
        return None if self.confidence is None else self.confidence < abstain_below

    @property
    def entropy(self) -> float:
        """Shannon entropy of the probabilities in nats."""
        positive = self.probabilities[self.probabilities > 0]
        return float(-(positive * np.log(positive)).sum())

    @property
    def logit_range(self) -> float:
        """Largest minus smallest logit; 0 without labels."""
        return float(np.ptp(self.logits)) if self.logits.size else 0.0


def classify(
    pieces: Iterable[tuple[Owner, Segment | Mark]],
    model: EmotionModel,
    *,
    batch_seconds: float,
    name: Callable[[Owner], str] = str,
) -> Iterator[tuple[Owner, Segment | Mark, Scores | None]]:
    """Yield every segment with its scores, in the order given; the batch never changes the answer.

    One without samples, or with fewer than the model needs, gets None and never reaches it. Marks between the segments
    come through in their places.

    Args:
        pieces: segments with whatever they belong to, and marks; taken as they are needed.
        model: its `batching` says which segments may share a batch.
        batch_seconds: seconds of audio, padding included, that make a batch.
        name: what errors call the owner of a segment.

    Raises:
        ModelOutputError: the model gave non-finite logits or logits of a wrong shape.
        ModelMemoryError: a segment does not fit on the device even by itself.
    """
    engine = Engine(model, int(batch_seconds * model.sampling_rate))
    for pool in pools(pieces, samples=lambda: _BATCHES_IN_POOL * engine.batch_samples):
        yield from _classify_pool(pool, engine, name)


def score_alone(model: EmotionModel, wave: np.ndarray) -> Scores:
    """Return what a model says of one array [samples] float32, in a batch of its own."""
    return Engine(model, len(wave)).scores([wave])[0]


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities over the last axis, in double precision inside."""
    with np.errstate(invalid="ignore"):  # who gave what is not finite is found out elsewhere
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities.astype(np.float32)


def described(owner: str, segment: Segment) -> str:
    """Return what errors call a segment of a recording."""
    return f"{owner} (channel {segment.channel}, from {segment.start_s:g} s)"


def is_scorable(piece: object, model: EmotionModel) -> TypeGuard[Segment]:
    """Return whether a piece is a segment that reaches the model: not a mark, and as long as it needs."""
    return isinstance(piece, Segment) and len(piece.samples) >= model.min_samples


def _classify_pool(
    pool: Sequence[tuple[Owner, Segment | Mark]], engine: "Engine", name: Callable[[Owner], str]
) -> Iterator[tuple[Owner, Segment | Mark, Scores | None]]:
    scored = [
        (position, owner, piece)
        for position, (owner, piece) in enumerate(pool)
        if is_scorable(piece, engine.model)
    ]

    def named(place: int) -> str:
        _, owner, segment = scored[place]
        return described(name(owner), segment)

    answers = engine.scores([segment.samples for _, _, segment in scored], named)
    scores = {position: answer for (position, _, _), answer in zip(scored, answers, strict=True)}
    for position, (owner, piece) in enumerate(pool):
        yield owner, piece, scores.get(position)


class Engine:
    """Runs a model over arrays of any lengths; remembers the batch size that the device could hold."""

    def __init__(self, model: EmotionModel, batch_samples: int) -> None:
        self.model = model
        self.batch_samples = batch_samples

    def scores(
        self, waves: Sequence[np.ndarray], name: Callable[[int], str] = "segment {}".format
    ) -> list[Scores]:
        """Return the scores of each array, in the order given; `name` is what errors call the one at a position.

        Raises:
            ModelOutputError: see `classify`.
            ModelMemoryError: see `classify`.
        """
        scores: dict[int, Scores] = {}
        lengths = [len(wave) for wave in waves]
        for batch in batches(lengths, batching=self.model.batching, batch_samples=self.batch_samples):
            scores.update(zip(batch, self._batch(waves, batch, name), strict=True))
        return [scores[position] for position in range(len(waves))]

    def _batch(
        self, waves: Sequence[np.ndarray], batch: Sequence[int], name: Callable[[int], str]
    ) -> list[Scores]:
        """Return the scores of one batch of positions; when memory runs out, halve it and all that follow."""
        longest = max(len(waves[position]) for position in batch)
        padded = len(batch) * longest
        if len(batch) == 1 or padded <= self.batch_samples:
            try:
                return self._forward([waves[position] for position in batch], [*map(name, batch)])
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                if len(batch) == 1:
                    raise no_room(self.model, longest, name(batch[0])) from error
            self.batch_samples = padded // 2
            release_cached_memory()
        half = (len(batch) + 1) // 2
        return self._batch(waves, batch[:half], name) + self._batch(waves, batch[half:], name)

    def _forward(self, waves: Sequence[np.ndarray], names: Sequence[str]) -> list[Scores]:
        import torch

        with torch.inference_mode():
            prediction = self.model.predict(*padded(waves))
        scores, broken = read_prediction(prediction, self.model, len(waves))
        for what in ("logits", "affect"):
            if named := [name for name, found in zip(names, broken, strict=True) if found == what]:
                raise not_finite(what, named)
        return scores


def read_prediction(
    prediction: Prediction, model: EmotionModel, count: int
) -> tuple[list[Scores], list[str | None]]:
    """Return the scores of the `count` members of a batch, and of each what is not finite in it, if anything.

    Raises:
        ModelOutputError: the model gave something else than an answer for each member.
    """
    logits, broken_logits = _rows_of("logits", prediction.logits, len(model.labels), count)
    affect: Sequence[np.ndarray | None] = [None] * count
    broken_affect = np.zeros(count, bool)
    if prediction.affect is not None:
        rows, broken_affect = _rows_of("affect", prediction.affect, 3, count)
        affect = list(rows)
    labelled = [True] * count if prediction.labelled is None else prediction.labelled.tolist()
    transcripts = prediction.transcripts or [None] * count
    probabilities = softmax(logits) if logits.shape[1] else logits
    scores = [
        Scores(*each) for each in zip(logits, probabilities, affect, labelled, transcripts, strict=True)
    ]
    broken = [
        "logits" if of_logits else "affect" if of_affect else None
        for of_logits, of_affect in zip(broken_logits, broken_affect, strict=True)
    ]
    return scores, broken


def _rows_of(what: str, values: "torch.Tensor", columns: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows, and which of them are not finite."""
    array: np.ndarray = values.detach().cpu().float().numpy()
    if array.shape != (count, columns):
        raise ModelOutputError(f"the model gave {what} of shape {array.shape}, expected {(count, columns)}")
    return array, ~np.isfinite(array).all(axis=1)


def not_finite(what: str, names: Sequence[str]) -> ModelOutputError:
    """Return the error that logits or affect of these segments are not finite."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ModelOutputError(
        f"the model gave {what} that are not finite for {', '.join(names[:_NAMED])}{more}; "
        "its weights or its precision are broken"
    )


def no_room(model: EmotionModel, samples: int, name: str) -> ModelMemoryError:
    """Return the error that a segment of so many samples does not fit on the device by itself."""
    return ModelMemoryError(
        f"{model.device} has no room for {name} by itself, {samples / model.sampling_rate:g} s of audio"
        f"{held_by_others(model.device)}; free the device's memory, or shorten segmentation.window_s"
    )


def release_cached_memory() -> None:
    """Give what torch keeps of a GPU's memory for later back to the GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
