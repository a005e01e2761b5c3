"""Feature vectors of whole clips for classical classifiers: librosa's tracks summed up, or openSMILE's eGeMAPS.

Both work on one clip of 16 kHz at a time, so nothing of a batch reaches its members.
"""

import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Final, Literal

import numpy as np
from pydantic import Field, JsonValue, model_validator

from emolake.errors import ConfigurationError, EmolakeError
from emolake.options import Options

if TYPE_CHECKING:
    from opensmile import Smile

SAMPLING_RATE: Final = 16_000
STATISTICS: Final = ("mean", "sd", "min", "max", "median")
_LIBROSA_MIN_SAMPLES = 400
_EGEMAPS_MIN_SAMPLES = (
    SAMPLING_RATE // 2
)  # under 0.1 s most functionals are 0 or NaN, and none of it is an error
_DELTA_WIDTH = 9
_LAYOUT = 1  # to be raised when the arithmetic here changes, so that no feature cache gives the old numbers

log = logging.getLogger(__name__)

Extractor = Callable[[np.ndarray], np.ndarray]
"""[samples] float32 -> [n] float32."""


class FeatureError(EmolakeError):
    """A feature that is not a finite number, of a clip whose samples are."""


class LibrosaFeatures(Options):
    """Pitch, energy, tempo and cepstra by librosa; the key `features` of `config.json`."""

    kind: Literal["librosa"]
    """Which features."""
    n_fft: int = Field(1024, ge=64, le=8192)
    """Length of a frame in samples."""
    hop: int = Field(256, ge=1)
    """Samples between the centres of two frames."""
    pitch_min_hz: float = Field(65.0, gt=0)
    """Lowest pitch searched."""
    pitch_max_hz: float = Field(500.0, gt=0, lt=SAMPLING_RATE / 2)
    """Highest pitch searched."""
    voiced_db: float = Field(25.0, gt=0)
    """A frame counts for the pitch if its energy is at most so far below the loudest frame's."""
    coefficients: int = Field(13, ge=1, le=128)
    """Number of cepstral coefficients, from the zeroth; with first and second deltas."""

    @model_validator(mode="after")
    def _periods_fit_a_frame(self) -> "LibrosaFeatures":
        if not SAMPLING_RATE / (self.n_fft // 2) < self.pitch_min_hz < self.pitch_max_hz:
            raise ValueError(
                f"pitch from {self.pitch_min_hz:g} to {self.pitch_max_hz:g} Hz does not fit frames of "
                f"{self.n_fft} samples; expected a rising range above {SAMPLING_RATE / (self.n_fft // 2):g} Hz"
            )
        return self


class EgemapsFeatures(Options):
    """The 88 functionals of openSMILE's eGeMAPSv02; the key `features` of `config.json`."""

    kind: Literal["egemaps"]
    """Which features."""


Features = Annotated[LibrosaFeatures | EgemapsFeatures, Field(discriminator="kind")]


def min_samples(options: LibrosaFeatures | EgemapsFeatures) -> int:
    """Return the length of the shortest clip whose features mean something."""
    return _LIBROSA_MIN_SAMPLES if isinstance(options, LibrosaFeatures) else _EGEMAPS_MIN_SAMPLES


def feature_names(options: LibrosaFeatures | EgemapsFeatures) -> tuple[str, ...]:
    """Return the name of each feature, in order.

    >>> feature_names(LibrosaFeatures(kind="librosa", coefficients=1))[5:8]
    ('voiced_share', 'energy_mean', 'energy_sd')

    Raises:
        ConfigurationError: openSMILE is needed and not installed.
    """
    if isinstance(options, EgemapsFeatures):
        return tuple(_smile().feature_names)
    cepstra = [f"{kind}{i}" for kind in ("mfcc", "delta", "delta_delta") for i in range(options.coefficients)]
    tracks = {
        track: [f"{track}_{statistic}" for statistic in STATISTICS] for track in ("pitch", "energy", *cepstra)
    }
    return (
        *tracks.pop("pitch"),
        "voiced_share",
        *tracks.pop("energy"),
        "tempo",
        *(name for names in tracks.values() for name in names),
    )


def extractor(options: LibrosaFeatures | EgemapsFeatures) -> Extractor:
    """Return the function that computes the features of one clip.

    It raises FeatureError when one of them is not finite.

    Raises:
        ConfigurationError: openSMILE is needed and not installed.
    """
    if isinstance(options, EgemapsFeatures):
        smile = _smile()
        return lambda wave: _checked(smile(wave, SAMPLING_RATE).reshape(-1), options)
    return lambda wave: _checked(_librosa_features(wave, options), options)


def recipe(options: LibrosaFeatures | EgemapsFeatures) -> dict[str, JsonValue]:
    """Return what, beside the samples, decides the features: for the key of a cache."""
    packages = ("librosa", "scipy") if isinstance(options, LibrosaFeatures) else ("opensmile",)
    parameters: dict[str, JsonValue] = options.model_dump(mode="json")
    return {**parameters, "layout": _LAYOUT, **{package: version(package) for package in packages}}


def _librosa_features(wave: np.ndarray, options: LibrosaFeatures) -> np.ndarray:
    """Return the features in the order of `feature_names`: pitch in Hz, energy as RMS, tempo in beats a minute.

    A clip under a second or two has too few onsets for a tempo of its own, and gets the prior's.
    """
    import librosa

    # All centred and padded with zeros, librosa's default: the same number of frames.
    energy = librosa.feature.rms(y=wave, frame_length=options.n_fft, hop_length=options.hop)[0]
    pitch = librosa.yin(
        wave,
        fmin=options.pitch_min_hz,
        fmax=options.pitch_max_hz,
        sr=SAMPLING_RATE,
        frame_length=options.n_fft,
        hop_length=options.hop,
    )
    # In silence yin answers with the edge of its range; where all is silent no frame is voiced.
    voiced = (energy > 0) & (energy >= energy.max() * 10 ** (-options.voiced_db / 20))
    # Padded here, because librosa warns of every clip shorter than a frame that it pads itself.
    padded = np.pad(wave, options.n_fft // 2)
    mel = librosa.feature.melspectrogram(
        y=padded, sr=SAMPLING_RATE, n_fft=options.n_fft, hop_length=options.hop, center=False
    )
    decibels = librosa.power_to_db(mel)
    # librosa.feature.tempo, not librosa.feature.rhythm.tempo, which the lazy loader does not always know.
    onsets = librosa.onset.onset_strength(
        S=decibels, sr=SAMPLING_RATE, hop_length=options.hop, n_fft=options.n_fft
    )
    tempo = librosa.feature.tempo(onset_envelope=onsets, sr=SAMPLING_RATE, hop_length=options.hop)
    cepstra = librosa.feature.mfcc(S=decibels, n_mfcc=options.coefficients)
    tracks = np.concatenate([cepstra, _delta(cepstra, order=1), _delta(cepstra, order=2)])
    return np.concatenate(
        [
            _statistics(pitch[voiced][None] if voiced.any() else np.zeros((1, 1))),
            [voiced.mean()],
            _statistics(energy[None]),
            tempo,
            _statistics(tracks),
        ]
    )


def _delta(tracks: np.ndarray, *, order: int) -> np.ndarray:
    """Return the slope over 9 frames, or over the longest odd number of frames that there is; 0 for fewer than 3."""
    import librosa

    count = tracks.shape[1]
    width = min(_DELTA_WIDTH, count if count % 2 else count - 1)
    if width < 3:
        return np.zeros_like(tracks)
    slopes: np.ndarray = librosa.feature.delta(tracks, width=width, order=order)
    return slopes


def _statistics(tracks: np.ndarray) -> np.ndarray:
    """Return statistics [tracks * 5] of tracks [tracks, frames], track by track in the order of STATISTICS.

    The deviation is the population's.
    """
    each = [tracks.mean(1), tracks.std(1), tracks.min(1), tracks.max(1), np.median(tracks, axis=1)]
    return np.stack(each, axis=1).reshape(-1)


def _checked(values: np.ndarray, options: LibrosaFeatures | EgemapsFeatures) -> np.ndarray:
    features = values.astype(np.float32)
    odd = np.flatnonzero(~np.isfinite(features))
    if odd.size:
        names = feature_names(options)
        raise FeatureError(
            f"{odd.size} of {features.size} {options.kind} features are not finite, {names[odd[0]]} first; "
            "expected numbers from finite samples: the library in use is broken"
        )
    return features


@cache
def _smile() -> "Smile":
    """Return openSMILE with eGeMAPSv02 functionals; bit-equal across calls and threads, so that one is enough."""
    try:
        import opensmile
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            'features of kind "egemaps" need openSMILE; install it with: pip install "emolake[opensmile]"'
        ) from error
    log.warning(
        "openSMILE is used under audEERING's research licence: research, teaching and personal use only; "
        "a product needs a commercial licence"
    )
    return opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals
    )
