"""The input of transformers' speech encoders, normalised waves or Whisper's log-mel, and its padding.

A Whisper encoder sees 30 s, as it was trained and as its decoder needs, or with `own_frames` nothing but the clip: a
fifteenth of the work for 2 s, and other states, so that a head must be trained on what it is given.
"""

from functools import lru_cache
from typing import Any, cast

import torch
from torch.nn import functional

from emolake.audio.features import beside, valid_mask
from emolake.errors import ConfigurationError
from emolake.models.encoders import speech_encoder
from emolake.models.encoders.speech_encoder import SAMPLING_RATE
from emolake.models.protocol import Batching

WHISPER_HOP = 160  # samples between two mel frames, in every Whisper


def is_whisper(extractor: Any) -> bool:
    """Return whether a feature extractor of transformers is Whisper's."""
    return hasattr(extractor, "nb_max_frames")


def batching(extractor: Any, config: Any) -> Batching:
    """Return which batches are exact: Whisper's encoder sees 30 s whatever is in them, or is masked."""
    return Batching.MASKED if is_whisper(extractor) else speech_encoder.batching(config)


def max_samples(extractor: Any) -> int | None:
    """Return the length of the longest clip in samples; None where there is no bound."""
    return int(extractor.n_samples) if is_whisper(extractor) else None


def prepared(
    waves: torch.Tensor, lengths: torch.Tensor, extractor: Any, *, own_frames: bool = False
) -> torch.Tensor:
    """Return waves [B, T], each normalised over its own samples where its extractor does, or log-mel [B, bands, 3000].

    With `own_frames` the log-mel is [B, bands, T // 160]: the first of the 3000 frames, and 0 beyond a clip's own.

    Raises:
        ConfigurationError: a wave is longer than Whisper's encoder takes.
    """
    with torch.autocast(waves.device.type, enabled=False):  # features are exact, also in a training in bf16
        return _prepared(waves, lengths, extractor, own_frames=own_frames)


def _prepared(
    waves: torch.Tensor, lengths: torch.Tensor, extractor: Any, *, own_frames: bool
) -> torch.Tensor:
    if not is_whisper(extractor):
        eps = speech_encoder.HUGGING_FACE_EPS if extractor.do_normalize else None
        return speech_encoder.normalised(waves, lengths, eps)
    check_lengths(lengths, extractor.n_samples, "a Whisper encoder")
    if waves.device.type != "cpu":
        return log_mel_beside(waves, lengths, extractor, own_frames=own_frames)
    clips = [wave[:length].cpu().numpy() for wave, length in zip(waves, lengths.tolist(), strict=True)]
    # The silence is longer than a window, so that no clip's last frame sees anything else, whoever is beside it.
    padded = {"max_length": int(lengths.max()) + extractor.n_fft, "truncation": False} if own_frames else {}
    mel = extractor(
        clips, sampling_rate=SAMPLING_RATE, return_tensors="pt", device=str(waves.device), **padded
    )
    features: torch.Tensor = mel.input_features.to(waves.device)
    if not own_frames:
        return features
    frames = lengths // WHISPER_HOP
    features = features[:, :, : int(frames.max())]
    return features.masked_fill(~valid_mask(beside(frames, features), features.shape[2])[:, None], 0)


def log_mel_beside(
    waves: torch.Tensor, lengths: torch.Tensor, extractor: Any, *, own_frames: bool
) -> torch.Tensor:
    """Return what a Whisper extractor makes of waves [B, T], as `prepared` does, on their device and without a wait.

    Its own code takes arrays of the host; the formula is that of its `_torch_extract_fbank_features`.
    """
    longest = int(lengths.max())
    size = longest + extractor.n_fft if own_frames else extractor.n_samples
    padded = functional.pad(waves[:, :longest], (0, size - longest))
    window, filters = _mel_constants(extractor, str(waves.device))
    spectrum = torch.stft(
        padded, extractor.n_fft, extractor.hop_length, window=window, return_complex=True
    )[..., :-1]  # fmt: skip
    mel = (filters.T @ spectrum.abs().square()).clamp_min(1e-10).log10()
    mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 8)
    mel = (mel + 4) / 4
    if not own_frames:
        return mel
    frames = lengths // WHISPER_HOP
    mel = mel[:, :, : int(frames.max())]
    return mel.masked_fill(~valid_mask(beside(frames, mel), mel.shape[2])[:, None], 0)


@lru_cache(maxsize=8)
def _mel_constants(extractor: Any, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an extractor's window and mel filters on a device."""
    with torch.inference_mode(False):
        filters = torch.from_numpy(extractor.mel_filters).to(device, torch.float32)
        return torch.hann_window(extractor.n_fft, device=device), filters


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
    return valid_mask(beside(lengths, waves), waves.shape[1]).long()


def encode(
    encoder: Any, inputs: torch.Tensor, lengths: torch.Tensor, *, own_frames: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an encoder's last states [B, frames, hidden], and how many frames [B] belong to clips of `lengths` [B].

    `inputs` is what `prepared` gives, with the same `own_frames`; each member's states over its own frames are as if
    it were alone.
    """
    if encoder.config.model_type == "whisper":
        states = _own_states(encoder, inputs, lengths) if own_frames else encoder(inputs).last_hidden_state
        return states, whisper_frames(lengths)
    mask = attention_mask(inputs, lengths, encoder.config)
    states = encoder(inputs, attention_mask=mask).last_hidden_state
    return states, speech_encoder.frame_counts(lengths, encoder.config)


def _own_states(encoder: Any, mel: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return the last states [B, frames, hidden] of transformers' WhisperEncoder over log-mel of any length.

    Its own `forward` takes 3000 frames and no mask. On 3000 frames this is the same sum (to 0.0, transformers 5.23).
    """
    if encoder.training and encoder.config.apply_spec_augment:
        mel = _hide(mel, lengths, encoder.config)
    states = functional.gelu(encoder.conv1(mel))
    # Alone, the second convolution sees zeros after the clip, and not what the first makes of them.
    own = valid_mask(beside(lengths // WHISPER_HOP, mel), mel.shape[2])
    states = states.masked_fill(~own[:, None], 0)
    # contiguous, or each sum and norm of every layer would go against the grain of memory
    states = functional.gelu(encoder.conv2(states)).transpose(1, 2).contiguous()
    states = states + encoder.embed_positions.weight[: states.shape[1]]
    states = functional.dropout(states, p=encoder.dropout, training=encoder.training)
    mask = _key_mask(whisper_frames(lengths), states)
    for layer in encoder.layers:
        if not (encoder.training and torch.rand([]) < encoder.layerdrop):
            states = layer(states, mask)
    last: torch.Tensor = encoder.layer_norm(states)
    return last


def _hide(mel: torch.Tensor, lengths: torch.Tensor, config: Any) -> torch.Tensor:
    """Return log-mel [B, bands, T] with stretches of frames and of bands set to each clip's mean: SpecAugment."""
    from transformers.models.whisper.modeling_whisper import _compute_mask_indices

    size, bands, width = mel.shape
    own = valid_mask(beside(lengths // WHISPER_HOP, mel), width)
    mean = (mel * own[:, None]).sum(dim=(1, 2), keepdim=True) / (own.sum(dim=1) * bands)[:, None, None]
    hidden = torch.zeros_like(mel, dtype=torch.bool)
    if config.mask_time_prob and width > config.mask_time_length:
        frames = _compute_mask_indices(
            (size, width), config.mask_time_prob, config.mask_time_length,
            cast("torch.LongTensor", own.long()),
        )  # fmt: skip
        hidden |= torch.from_numpy(frames).to(mel.device)[:, None]
    if config.mask_feature_prob:
        rows = _compute_mask_indices((size, bands), config.mask_feature_prob, config.mask_feature_length)
        hidden |= torch.from_numpy(rows).to(mel.device)[:, :, None]
    return torch.where(hidden & own[:, None], mean, mel)


def _key_mask(frames: torch.Tensor, states: torch.Tensor) -> torch.Tensor | None:
    """Return what is added to the attention of states [B, T, hidden], [B, 1, T, T], or None without padding."""
    size = states.shape[1]
    if not torch.onnx.is_in_onnx_export() and bool((frames == size).all()):
        return None
    hidden = ~valid_mask(beside(frames, states), size)[:, None, None].expand(-1, 1, size, -1)
    return torch.zeros_like(hidden, dtype=states.dtype).masked_fill(hidden, torch.finfo(states.dtype).min)


def mean_over_frames(states: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Return the mean of states [B, T, hidden] over each member's first `frames` [B], at least 1: [B, hidden]."""
    # Not multiplied: what a network left in the padding may be infinite, and 0 times that is not 0.
    frames = beside(frames, states)
    own = states.float().masked_fill(~valid_mask(frames, states.shape[1])[:, :, None], 0)
    mean: torch.Tensor = own.sum(dim=1) / frames[:, None]
    return mean


def deviation_over_frames(states: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation of states [B, T, hidden] over each member's first `frames` [B]: [B, hidden].

    It is at least 0.001, where its gradient would otherwise be without bounds: of a single frame it is 0.
    """
    mean = mean_over_frames(states, frames)
    distance = states.float() - mean[:, None]
    variance = mean_over_frames(distance.square(), frames)
    return variance.clamp_min(1e-6).sqrt()


def whisper_frames(lengths: torch.Tensor) -> torch.Tensor:
    """Return how many frames of Whisper's encoder belong to clips of `lengths` [B] samples at 16 kHz.

    That is half the mel frames, rounded up: a clip has one mel frame per 160 samples, and the second convolution, of
    stride 2, sees two of them at a time. The 1500 frames of the padded 30 s go on after those.

    >>> whisper_frames(torch.tensor([400, 16_000, 480_000])).tolist()
    [1, 50, 1500]
    """
    return (lengths // WHISPER_HOP + 1) // 2
