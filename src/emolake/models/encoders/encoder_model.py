"""What the families share whose network is a speech encoder under a head; a family of that kind is about 60 lines.

Such a family derives from `EncoderModel`: `describe` names files and labels, `plan` the encoder and how the network is
loaded, and `prediction`, where the outputs are no logits, what they mean. Loading onto torch or as a graph, batching,
predicting and showing the inside are here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel

from emolake.audio.feature_options import AS_IT_IS, ConditioningOptions
from emolake.models.encoders import speech_encoder
from emolake.models.protocol import ENCODER_PRECISIONS, Batching, Description, Prediction

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from emolake.models.runtimes.graphs import Graphs
    from emolake.models.runtimes.networks import Network
    from emolake.models.runtimes.precision_change import PrecisionChange


_COMPARED = 3  # clips whose answers in a batch are compared at load with those that they have alone


@dataclass(frozen=True)
class SpeechEncoder:
    """A speech encoder in transformers' layout, and how its input is made of waves; its weights are not loaded."""

    folder: Path
    config: Mapping[str, Any]
    """The contents of its `config.json`."""
    extractor: Any = None
    """Its feature extractor of transformers; None where `eps` alone decides the input."""
    eps: float | None = None
    """Without an extractor: what is added to the variance that a wave is divided by, or None for waves as they are."""
    conditioning: ConditioningOptions = AS_IT_IS
    """What is removed from the waves first; nothing by default."""
    own_frames: bool = False
    """Of Whisper: it sees the clip's own frames alone, and no padding to 30 s. Other encoders never see padding."""

    @classmethod
    def read(
        cls,
        folder: Path,
        *,
        own_frames: bool = False,
        conditioning: ConditioningOptions = AS_IT_IS,
    ) -> Self:
        """Return the encoder of a folder, wav2vec 2.0, HuBERT, WavLM or Whisper, with its feature extractor.

        Raises:
            ConfigurationError: it is of another kind, takes another rate, or its files are missing or broken.
        """
        from transformers import AutoFeatureExtractor

        config = speech_encoder.encoder_config(folder, speech_encoder.MODEL_TYPES_AND_WHISPER)
        extractor = speech_encoder.load_part(AutoFeatureExtractor, folder)
        speech_encoder.check_rate(folder, extractor.sampling_rate)
        return cls(folder, config, extractor, conditioning=conditioning, own_frames=own_frames)

    def load(self) -> "PreTrainedModel":
        """Load the weights, of Whisper those of its encoder, in float32 and eval mode.

        Raises:
            ConfigurationError: some are missing or left over.
        """
        from transformers import AutoModel, WhisperModel
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

        alone = self.config.get("architectures") == ["WhisperEncoder"]  # saved without a decoder
        model = speech_encoder.load_exactly(
            WhisperEncoder if alone else AutoModel, self.folder, other_heads=speech_encoder.OTHER_HEADS
        )
        return model.encoder if isinstance(model, WhisperModel) else model

    @property
    def batching(self) -> Batching:
        """Which batches are exact."""
        from emolake.models.encoders import encoder_input

        return encoder_input.batching(self.extractor, self.config)

    @property
    def max_samples(self) -> int | None:
        """Length of the longest clip in samples; None where there is no bound."""
        from emolake.models.encoders import encoder_input

        return encoder_input.max_samples(self.extractor)

    def prepare(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """Return the encoder's input of waves [B, T] float32, zero-padded, of `lengths` [B] samples."""
        from emolake.audio.conditioning import condition
        from emolake.models.encoders import encoder_input

        waves = condition(waves, lengths, self.conditioning, sampling_rate=speech_encoder.SAMPLING_RATE).to(
            waves.dtype
        )
        if self.extractor is None:
            return speech_encoder.normalised(waves, lengths, self.eps)
        return encoder_input.prepared(waves, lengths, self.extractor, own_frames=self.own_frames)

    def encode(
        self, model: "PreTrainedModel", inputs: "torch.Tensor", lengths: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor]":
        """Return a loaded encoder's last states [B, frames, hidden] of what `prepare` gives, and each clip's frames."""
        from emolake.models.encoders import encoder_input

        return encoder_input.encode(model, inputs, lengths, own_frames=self.own_frames)


@dataclass(frozen=True)
class EncoderPlan:
    """How a model is loaded: what a family knows of it before there are weights."""

    encoder: SpeechEncoder
    build: "Callable[[], torch.nn.Module]"
    """Loads the network, from what `encoder.prepare` gives and lengths [B] in samples to outputs [B, n]."""
    labels: tuple[str, ...]
    """What the outputs mean, in order; empty where they are no categories."""
    temperature: float = 1.0
    """The logits are divided by it: calibration."""


class EncoderModel(ABC):
    """A loaded network on a speech encoder. See `emolake.models.protocol.EmotionModel`."""

    Options: type[BaseModel]
    family: str
    sampling_rate = speech_encoder.SAMPLING_RATE
    min_samples = speech_encoder.MIN_SAMPLES
    precisions = ENCODER_PRECISIONS

    def __init__(self, plan: EncoderPlan, network: "Network", *, device: str, precision: str) -> None:
        """Take what runs the network that `plan` builds."""
        from emolake.models.runtimes.networks import exact_batching

        self.labels = plan.labels
        self.batching = exact_batching(plan.encoder.batching, precision, device)
        self.precision_change: PrecisionChange | None = None
        self.max_samples = plan.encoder.max_samples
        self.device = device
        self.precision = precision
        self.encoder = plan.encoder
        self._temperature = plan.temperature
        self._network = network

    @classmethod
    @abstractmethod
    def describe(cls, options: Any) -> Description:
        """See `emolake.models.protocol.Family`."""

    @classmethod
    @abstractmethod
    def plan(cls, options: Any) -> EncoderPlan:
        """Return how the model is loaded; raises ConfigurationError when a file does not fit the options."""

    @classmethod
    def load(cls, options: Any, *, device: str, precision: str, graphs: "Graphs | None" = None) -> Self:
        """See `emolake.models.protocol.ExportableFamily`."""
        from emolake.models.runtimes.networks import load_network

        plan = cls.plan(options)
        network = load_network(
            plan.build,
            plan.encoder.prepare,
            batching=plan.encoder.batching,
            device=device,
            graphs=graphs,
        )
        if graphs is not None or precision == "fp32":
            return cls(plan, network, device=device, precision=precision)
        return cls._lowered(plan, network, device=device, precision=precision)

    @classmethod
    def _lowered(cls, plan: EncoderPlan, module: Any, *, device: str, precision: str) -> Self:
        """Return the model in a lower precision, which knows how much that changes its answers."""
        import numpy as np
        import torch

        from emolake.models.runtimes.arithmetic import batches_are_exact, lowered
        from emolake.models.runtimes.probe_speech import probe_waves

        waves = probe_waves(on_gpu=device.startswith("cuda"))
        are_logits = bool(plan.labels)

        def outputs(network: "Network", batch: list[np.ndarray]) -> torch.Tensor:
            lengths = torch.tensor([len(wave) for wave in batch])
            inputs = plan.encoder.prepare(torch.from_numpy(np.stack(batch)).to(device), lengths)
            return network(inputs, lengths).to("cpu", torch.float32) / plan.temperature

        def answer(network: "Network") -> list[torch.Tensor]:
            return [outputs(network, [wave])[0] for wave in waves]

        network, change = lowered(module, precision, device, answer, are_logits=are_logits)
        model = cls(plan, network, device=device, precision=precision)
        model.precision_change = change
        if device == "cpu" and model.batching is Batching.EQUAL_LENGTH:
            some = waves[:_COMPARED]
            alike = [wave[: min(map(len, some))] for wave in some]
            with torch.inference_mode():
                alone = [outputs(network, [wave])[0] for wave in alike]
                together = list(outputs(network, alike))
            if not batches_are_exact(alone, together, are_logits=are_logits):
                model.batching = Batching.SINGLE
        return model

    def predict(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> Prediction:
        """See `emolake.models.protocol.EmotionModel`; the logits are calibrated."""
        import torch

        with torch.inference_mode():
            outputs = self.outputs(waves.to(self.device), lengths.cpu())
            return self.prediction(outputs.to("cpu", torch.float32))

    def outputs(self, waves: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
        """See `emolake.models.protocol.Staged`."""
        if waves.device.type == "cpu":
            return self._network(self.encoder.prepare(waves, lengths), lengths)
        from emolake.models.runtimes.arithmetic import fp32_products

        inputs = self.encoder.prepare(waves, lengths)
        with fp32_products(tf32=self.precision == "tf32"):
            return self._network(inputs, lengths)

    def prediction(self, outputs: "torch.Tensor") -> Prediction:
        """Return what outputs [B, n] float32 on the CPU mean: logits of the labels, unless a family overrides it."""
        return Prediction(outputs / self._temperature)

    def modules(self) -> "Mapping[str, torch.nn.Module]":
        """See `emolake.models.protocol.Inspectable`; a graph has none."""
        from emolake.models.runtimes.networks import modules_of

        return modules_of(self._network, "model")

    def layer_weights(self) -> "Mapping[str, torch.Tensor]":
        """See `emolake.models.protocol.Inspectable`; most families sum no layers."""
        return {}
