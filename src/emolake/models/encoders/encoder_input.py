"""The input of transformers' speech encoders, normalised waves or Whisper's log-mel of 30 s, and its padding."""

from typing import Any

import torch

from emolake.audio.features import valid_mask
from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.speech_encoder import SAMPLING_RATE
from emolake.models.protocol import Batching

WHISPER_HOP = 160  # samples between two mel frames, in every Whisper


def is_whisper(extractor: Any) -> bool:
    """Return whether a feature extractor of transformers is Whisper's."""
    return hasattr(extractor, "nb_max_frames")


def batching(extractor: Any, config: Any) -> Batching:
    """Return which batches are exact: Whisper's encoder sees 30 s whatever is in them."""
    return Batching.MASKED if is_whisper(extractor) else speech_encoder.batching(config)


def max_samples(extractor: Any) -> int | None:
    """Return the length of the longest clip in samples; None where there is no bound."""
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


def check_lengths(lengths: torch.Tensor, most: int, model: str) -> None:
    """Raise ConfigurationError when one of `lengths` [B] is beyond the `most` samples that a model takes."""
    longest = int(lengths.max())
    if longest > most:
        raise ConfigurationError(
            f"a segment of {longest / SAMPLING_RATE:.1f} s was given to {model}, which takes at most "
            f"{most / SAMPLING_RATE:g} s; make segmentation's windows that short"
        )


def attention_mask(waves: torch.Tensor, lengths: torch.Tensor, config: Any) -> torch.Tensor | None:
    """Return what the encoder is to leave out of waves [B, T], [B, T] int64, or None where there is nothing.

    A graph that is traced has to mask whatever its input is; a group-normalised encoder is never padded.
    """
    if speech_encoder.batching(config.to_dict()) is Batching.EQUAL_LENGTH:
        return None
    if not torch.onnx.is_in_onnx_export() and bool((lengths == waves.shape[1]).all()):
        return None
    return valid_mask(lengths, waves.shape[1]).long()


def encode(encoder: Any, inputs: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an encoder's last states [B, frames, hidden], and how many frames [B] belong to clips of `lengths` [B].

    `inputs` is what `prepared` gives; each member's states over its own frames are as if it were alone.
    """
    if encoder.config.model_type == "whisper":
        return encoder(inputs).last_hidden_state, whisper_frames(lengths)
    mask = attention_mask(inputs, lengths, encoder.config)
    states = encoder(inputs, attention_mask=mask).last_hidden_state
    return states, speech_encoder.frame_counts(lengths, encoder.config)


def mean_over_frames(states: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Return the mean of states [B, T, hidden] over each member's first `frames` [B], at least 1: [B, hidden]."""
    # Not multiplied: what a network left in the padding may be infinite, and 0 times that is not 0.
    own = states.float().masked_fill(~valid_mask(frames, states.shape[1])[:, :, None], 0)
    mean: torch.Tensor = own.sum(dim=1) / frames[:, None]
    return mean


def whisper_frames(lengths: torch.Tensor) -> torch.Tensor:
    """Return how many frames of Whisper's encoder belong to clips of `lengths` [B] samples at 16 kHz.

    That is half the mel frames, rounded up: a clip has one mel frame per 160 samples, and the second convolution, of
    stride 2, sees two of them at a time. The 1500 frames of the padded 30 s go on after those.

    >>> whisper_frames(torch.tensor([400, 16_000, 480_000])).tolist()
    [1, 50, 1500]
    """
    return (lengths // WHISPER_HOP + 1) // 2
