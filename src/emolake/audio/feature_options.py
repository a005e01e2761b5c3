"""How features are computed of a waveform: the options of `emolake.audio.features`, without torch."""

from pydantic import Field

from emolake.options import Options


class ConditioningOptions(Options):
    """What is removed from a waveform before its features; nothing by default."""

    high_pass_hz: float | None = Field(None, gt=0)
    """Cutoff of a high-pass filter that removes what is below three quarters of it: with 80, DC and mains hum."""
    level_dbfs: float | None = Field(None, le=0)
    """Root mean square that each clip is brought to, in dB of full scale; its own level is then in no feature."""


AS_IT_IS = ConditioningOptions()


class MelOptions(Options):
    """How a waveform becomes a log-mel spectrogram."""

    sampling_rate: int = Field(16000, gt=0)
    """Rate of the waveform in Hz."""
    n_fft: int = Field(1024, ge=16)
    """Length of the periodic Hann window and of its transform, in samples."""
    hop: int = Field(256, ge=1)
    """Samples between the centres of two frames."""
    bands: int = Field(64, ge=1)
    """Number of mel bands."""
    f_min_hz: float = Field(0.0, ge=0)
    """Lower edge of the lowest band."""
    f_max_hz: float | None = Field(None, gt=0)
    """Upper edge of the highest band; half the rate if None."""
    top_db: float = Field(80.0, gt=0)
    """Values further below the clip's maximum are raised to this bound."""


class MfccOptions(Options):
    """How a waveform becomes mel-frequency cepstral coefficients: librosa's defaults, with 40 coefficients."""

    coefficients: int = Field(40, ge=1)
    """Number of cepstral coefficients kept, from the zeroth."""
    mel: MelOptions = MelOptions(n_fft=2048, hop=512, bands=128)
    """The log-mel spectrogram that they are taken from."""


class PitchOptions(Options):
    """How a waveform becomes a track of fundamental frequency: the peak of each frame's normalised autocorrelation."""

    sampling_rate: int = Field(16000, gt=0)
    """Rate of the waveform in Hz."""
    window: int = Field(1024, ge=16)
    """Length of the Hann window in samples, several periods long."""
    hop: int = Field(256, ge=1)
    """Samples between the centres of two frames."""
    f_min_hz: float = Field(60.0, gt=0)
    """Lowest pitch searched."""
    f_max_hz: float = Field(500.0, gt=0)
    """Highest pitch searched."""
    octave_cost: float = Field(0.0005, ge=0)
    """Taken from the autocorrelation per sample of lag, against octaves."""
