from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from emolake.demo.encode import CODECS, EncodeError, write_audio

# By how many samples the decoder may give more: AAC and AMR fill up their last frame.
PADDED = {"m4a": 1024, "amr": 160}


def tones(sampling_rate: int, channels: int, duration_s: float = 1.5) -> np.ndarray:
    """A tone of 300 Hz on the left, of 700 Hz on the right."""
    times = np.arange(round(duration_s * sampling_rate)) / sampling_rate
    hz = np.array([300.0, 700.0])[:channels]
    return (0.4 * np.sin(2 * np.pi * hz * times[:, None])).astype(np.float32)


def decoded(path: Path, by_ffmpeg: bool) -> tuple[np.ndarray, int]:
    """Samples [n, channels], and their rate, by the library that wrote them."""
    if not by_ffmpeg:
        return soundfile.read(path, dtype="float32", always_2d=True)
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="fltp")
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T, frames[0].sample_rate


def loudest_hz(samples: np.ndarray, sampling_rate: int) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * sampling_rate / len(samples))


def cases() -> list[tuple[str, int, int]]:
    return [
        (name, rate, channels)
        for name, codec in CODECS.items()
        for rate in (8000, 16000, 22050, 48000)
        if not codec.rates_hz or rate in codec.rates_hz
        for channels in (1, 2)
        if channels <= codec.channels_max
    ]


@pytest.mark.parametrize(("codec", "sampling_rate", "channels"), cases())
def test_what_is_written_can_be_heard(codec: str, sampling_rate: int, channels: int, tmp_path: Path):
    path = tmp_path / f"new folder/tones.{CODECS[codec].extension}"
    samples = tones(sampling_rate, channels)
    write_audio(path, samples, sampling_rate, codec)
    found, found_rate = decoded(path, CODECS[codec].by_ffmpeg)
    assert found.shape[1] == channels
    surplus = len(found) * sampling_rate / found_rate - len(samples)
    assert -1 <= surplus <= PADDED.get(codec, 1)
    middle = found[found_rate // 2 : found_rate]
    for channel, expected_hz in zip(range(channels), (300.0, 700.0), strict=False):
        assert loudest_hz(middle[:, channel], found_rate) == pytest.approx(expected_hz, abs=2.5)
        assert np.abs(middle[:, channel]).max() == pytest.approx(0.4, abs=0.12)


@pytest.mark.parametrize("codec", ["wav", "wav-float", "flac"])
def test_lossless_codecs_keep_every_sample(codec: str, tmp_path: Path):
    path = tmp_path / "noise"
    samples = np.random.default_rng(3).uniform(-1, 1, (40_000, 2)).astype(np.float32)
    write_audio(path, samples, 44100, codec)
    found, rate = soundfile.read(path, dtype="float32")
    assert CODECS[codec].is_lossless
    assert rate == 44100
    np.testing.assert_allclose(found, samples, atol=0 if codec == "wav-float" else 1 / 32768)


@pytest.mark.parametrize("codec", sorted(set(CODECS) - {"ogg-vorbis"}))
def test_equal_audio_gives_equal_bytes(codec: str, tmp_path: Path):
    samples = tones(8000, 1)
    for name in ("one", "two"):
        write_audio(tmp_path / name, samples, 8000, codec)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_float_wav_keeps_what_no_integer_holds(tmp_path: Path):
    samples = np.array([[0.0], [np.nan], [np.inf], [4.0]], np.float32)
    write_audio(tmp_path / "odd.wav", samples, 8000, "wav-float")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "odd.wav", dtype="float32")[0], samples[:, 0])


@pytest.mark.parametrize(
    ("codec", "sampling_rate", "shape", "message"),
    [
        ("wma", 8000, (10, 1), "found codec 'wma'; expected one of wav"),
        ("amr", 16000, (10, 1), "found 16000 Hz; amr takes 8000"),
        ("amr", 8000, (10, 2), "up to 1 channels"),
        ("ogg-opus", 44100, (10, 1), "resample first"),
        ("wav", 8000, (10,), r"\[n, channels\]"),
    ],
)
def test_refuses_what_a_codec_cannot_hold(codec, sampling_rate, shape, message, tmp_path: Path):
    with pytest.raises(EncodeError, match=message):
        write_audio(tmp_path / "no", np.zeros(shape, np.float32), sampling_rate, codec)
    assert not (tmp_path / "no").exists()
