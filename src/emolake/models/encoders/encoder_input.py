"""What speech encoders of transformers are given: normalised waves, or Whisper's log-mel of 30 s."""

from typing import Any

import torch

from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.protocol import Batching

SAMPLING_RATE = 16_000


def is_whisper(extractor: Any) -> bool:
    """Whether a feature extractor of transformers is Whisper's."""
    return hasattr(extractor, "nb_max_frames")


def batching(extractor: Any, config: Any) -> Batching:
    """Which batches are exact: Whisper's encoder sees 30 s whatever is in them."""
    return Batching.MASKED if is_whisper(extractor) else speech_encoder.batching(config)


def max_samples(extractor: Any) -> int | None:
    """The longest clip in samples."""
    return int(extractor.n_samples) if is_whisper(extractor) else None


def prepared(waves: torch.Tensor, lengths: torch.Tensor, extractor: Any) -> torch.Tensor:
    """Return waves [B, T], each normalised over its own samples where its extractor does, or log-mel [B, bands, 3000].

    Raises:
        ConfigurationError: a wave is longer than Whisper's encoder takes.
    """
    if not is_whisper(extractor):
        eps = speech_encoder.HUGGING_FACE_EPS if extractor.do_normalize else None
        return speech_encoder.normalised(waves, lengths, eps)
    check_lengths(lengths, extractor.n_samples, "a Whisper encoder")
    clips = [wave[:length].cpu().numpy() for wave, length in zip(waves, lengths.tolist(), strict=True)]
    mel = extractor(clips, sampling_rate=SAMPLING_RATE, return_tensors="pt", device=str(waves.device))
    features: torch.Tensor = mel.input_features.to(waves.device)
    return features


def check_lengths(lengths: torch.Tensor, most: int, listener: str) -> None:
    """Raise ConfigurationError when one of `lengths` [B] is beyond the `most` samples that a listener takes."""
    longest = int(lengths.max())
    if longest > most:
        raise ConfigurationError(
            f"a segment of {longest / SAMPLING_RATE:.1f} s was given to {listener}, which takes at most "
            f"{most / SAMPLING_RATE:g} s; make segmentation's windows that short"
        )
