"""What the family "spectrogram_cnn" computes: from a waveform to an image, tracks and two numbers, and to logits.

Every layer is masked to the clip's own frames: neither the batch nor its padding changes an answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from emolake.audio.conditioning import condition
from emolake.audio.features import cepstrum, mel_power, pitch_track, power_to_db, valid_mask
from emolake.models.families.spectrogram_options import FeatureOptions, NetworkOptions

TRACKS = 4  # periodicity, pitch, whether voiced, energy
CLIP_VALUES = 2  # level, duration
# torch keeps code and buffers for each of the last thousand shapes of a convolution: 40 MB after ten hours of speech
# that is cut to its own length.
_FRAMES_STEP = 64


@dataclass(frozen=True)
class ClipFeatures:
    """What a network sees of a batch: the image, tracks of the same frames, values of the whole clip."""

    image: torch.Tensor  # [B, rows, frames] float32
    tracks: torch.Tensor  # [B, TRACKS, frames] float32
    clip: torch.Tensor  # [B, CLIP_VALUES] float32
    frames: torch.Tensor  # [B] int64: valid frames of each


def clip_features(
    power: torch.Tensor, pitch: torch.Tensor, frames: torch.Tensor, options: FeatureOptions
) -> ClipFeatures:
    """Cut [B, bands, frames] of mel power and [B, 2, frames] of pitch to speech, and scale them alike."""
    mask = valid_mask(frames, power.shape[2])
    energy = 10 * torch.log10(power.sum(dim=1).clamp_min(1e-10))
    start, end = speech_bounds(energy, frames, options)
    kept = end - start
    index = start[:, None] + torch.arange(int(kept.max()), device=power.device)
    index = index.clamp_max(power.shape[2] - 1)
    valid = valid_mask(kept, index.shape[1])
    decibels = power_to_db(power, frames, options.mel.top_db)
    loudest = decibels.masked_fill(~mask[:, None], -1000).amax(dim=(1, 2))

    cut = decibels.gather(2, index[:, None].expand(-1, power.shape[1], -1)) * valid[:, None]
    mean = cut.sum(dim=(1, 2)) / (kept * power.shape[1])
    image = (cut - mean[:, None, None]) * valid[:, None]
    if options.kind == "mfcc":
        image = cepstrum(image, options.coefficients)

    relative = energy - energy.masked_fill(~mask, -1000).amax(dim=1, keepdim=True)
    relative = relative.gather(1, index)
    periodicity, hertz = pitch.to(power.dtype).gather(2, index[:, None].expand(-1, 2, -1)).unbind(dim=1)
    voiced = (periodicity > options.voiced_periodicity) & (relative > -options.voiced_db) & valid
    # Pitch in half octaves from 150 Hz, between the registers of men and women; 0 where there is none.
    semitones = 12 * torch.log2(hertz.clamp_min(1) / 150)
    tracks = torch.stack(
        [2 * periodicity - 1, semitones / 6 * voiced, voiced, relative.clamp_min(-50) / 15 + 1], dim=1
    )
    if options.conditioning.level_dbfs is None:
        level = (loudest.clamp(-20, 60) - 10) / 15
    else:  # over the clip's own mean, which a training clip's random level does not change
        mean_power = (power.sum(dim=1).gather(1, index) * valid).sum(dim=1) / kept
        level = (loudest - 10 * torch.log10(mean_power.clamp_min(1e-10)) - 5) / 2
    duration = 2 * torch.log(kept * options.mel.hop / options.mel.sampling_rate / 1.76)
    return ClipFeatures(
        image=image.to(torch.float32),
        tracks=(tracks * valid[:, None]).to(torch.float32),
        clip=torch.stack([level, duration], dim=1).to(torch.float32),
        frames=kept,
    )


def speech_bounds(
    energy: torch.Tensor, frames: torch.Tensor, options: FeatureOptions
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first frame within `trim_db` of the loudest, and the one after the last, with the margin: [B] each.

    `energy` [B, frames] is in dB and is smoothed over three frames first, so that a click does not count.
    """
    mask = valid_mask(frames, energy.shape[1])
    floored = energy.clamp_min(-100).masked_fill(~mask, -100)
    padded = functional.pad(floored, (1, 1), value=-100.0)
    smooth = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3
    loudest = smooth.masked_fill(~mask, -1000).amax(dim=1, keepdim=True)
    loud = ((smooth > loudest - options.trim_db) & mask).to(torch.int8)
    first = loud.argmax(dim=1)
    last = energy.shape[1] - 1 - loud.flip(1).argmax(dim=1)
    start = (first - options.trim_margin_frames).clamp_min(0)
    return start, torch.minimum(last + 1 + options.trim_margin_frames, frames)


class EmotionNetwork(nn.Module):
    """Four convolutions over the image and two over the tracks, pooled over time by mean and deviation."""

    def __init__(self, options: NetworkOptions, *, rows: int, labels: int) -> None:
        super().__init__()
        sizes = (1, *options.channels)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(
                before,
                after,
                5 if i == 0 else 3,
                stride=2 if i == 0 else 1,
                padding=1 if i else 2,
                bias=False,
            )
            for i, (before, after) in enumerate(pairwise(sizes))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in options.channels)
        height = rows
        for _ in range(4):  # the stride of the first layer and the pooling after the others
            height = -(-height // 2)
        tracks = options.track_channels
        self.track_convolutions = nn.ModuleList(
            [
                nn.Conv1d(TRACKS, tracks, 5, padding=2, bias=False),
                nn.Conv1d(tracks, tracks, 3, padding=1, bias=False),
            ]
        )
        self.track_norms = nn.ModuleList(nn.BatchNorm1d(tracks) for _ in range(2))
        self.join = nn.Conv1d(sizes[-1] * height + tracks, options.hidden, 1, bias=False)
        self.join_norm = nn.BatchNorm1d(options.hidden)
        self.map_dropout = nn.Dropout2d(options.map_dropout)
        self.dropout = nn.Dropout(options.dropout)
        self.output = nn.Linear(2 * options.hidden + CLIP_VALUES, labels)
        self.register_buffer("image_mean", torch.zeros(rows))
        self.register_buffer("image_scale", torch.ones(rows))
        self.image_mean: torch.Tensor
        self.image_scale: torch.Tensor
        # twice as fast on processors
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: ClipFeatures) -> torch.Tensor:
        """Return logits [B, labels]."""
        image = (features.image - self.image_mean[:, None]) / self.image_scale[:, None]
        full = features.frames.to(image.device)
        half, quarter, eighth = ((full + size - 1) // size for size in (2, 4, 8))
        tracks = _halve(self._track_layer(0, features.tracks, full))
        tracks = _halve(_halve(self._track_layer(1, tracks, half)))
        maps = _masked(image, full)[:, None].contiguous(memory_format=torch.channels_last)
        maps = self._image_layer(0, maps, half)
        maps = self.map_dropout(functional.max_pool2d(self._image_layer(1, maps, half), 2, ceil_mode=True))
        maps = self.map_dropout(functional.max_pool2d(self._image_layer(2, maps, quarter), 2, ceil_mode=True))
        maps = functional.max_pool2d(self._image_layer(3, maps, eighth), (2, 1), ceil_mode=True)
        joined = functional.relu(self.join_norm(self.join(torch.cat([maps.flatten(1, 2), tracks], dim=1))))
        pooled = self.dropout(_mean_and_deviation(joined, eighth))
        logits: torch.Tensor = self.output(torch.cat([pooled, features.clip], dim=1))
        return logits

    def _image_layer(self, layer: int, maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        return _masked(functional.relu(self.norms[layer](self.convolutions[layer](maps))), frames)

    def _track_layer(self, layer: int, maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
        return _masked(functional.relu(self.track_norms[layer](self.track_convolutions[layer](maps))), frames)


def waveform_features(waves: torch.Tensor, lengths: torch.Tensor, options: FeatureOptions) -> ClipFeatures:
    """Return what the networks see of waveforms [B, T] of `lengths` [B] samples."""
    waves = condition(waves, lengths, options.conditioning, sampling_rate=options.mel.sampling_rate)
    power, frames = mel_power(waves, lengths, options.mel)
    pitch, _ = pitch_track(waves, lengths, options.pitch)
    return clip_features(power, pitch, frames, options)


def lengthened(features: ClipFeatures) -> ClipFeatures:
    """Append frames that count for nothing, up to a multiple of `_FRAMES_STEP`."""
    more = -features.image.shape[2] % _FRAMES_STEP
    return replace(
        features,
        image=functional.pad(features.image, (0, more)),
        tracks=functional.pad(features.tracks, (0, more)),
    )


def state_to_tensors(states: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Return what `model.safetensors` holds of the networks' states: matrices in float16, the rest in float32."""
    return {
        f"members.{member}.{name}": tensor.to(
            torch.float16 if tensor.ndim > 1 else torch.float32
        ).contiguous()
        for member, state in enumerate(states)
        for name, tensor in stored(state).items()
    }


def stored(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return all of a network's state but the batch counters of the norms, which serve training only."""
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def _masked(maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Zero what is past each member's frames on the last axis."""
    mask = valid_mask(frames, maps.shape[-1])
    return maps * mask.view(mask.shape[0], *([1] * (maps.ndim - 2)), mask.shape[1])


def _halve(maps: torch.Tensor) -> torch.Tensor:
    """Return the maximum of pairs of frames; maps are not negative, so a masked neighbour counts for nothing."""
    halved: torch.Tensor = functional.max_pool1d(maps, 2, ceil_mode=True)
    return halved


def _mean_and_deviation(maps: torch.Tensor, frames: torch.Tensor) -> torch.Tensor:
    """Return mean and standard deviation over each member's own frames, [B, 2 C] of [B, C, T]."""
    mask = valid_mask(frames, maps.shape[2])[:, None]
    count = frames[:, None]
    mean = (maps * mask).sum(dim=2) / count
    variance = ((maps - mean[:, :, None]).square() * mask).sum(dim=2) / count
    return torch.cat([mean, variance.clamp_min(1e-4).sqrt()], dim=1)
