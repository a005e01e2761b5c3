"""Decoding: every format, every kind of damage, in constant memory, and with no sample lost in silence."""

import contextlib
import pickle
import struct
import subprocess
import sys

import av
import numpy as np
import pytest
import soundfile as sf
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from emolake.audio.decoders import _to_float
from emolake.errors import BadRecordingError, Reason
from emolake.tasks.decode import AudioReader, DecodeOptions, load_mono

from made_audio import FFMPEG, LIBSNDFILE, SECONDS, tone, write_ffmpeg, write_made

LOSSLESS = {
    "plain.wav",
    "float.wav",
    "large.wav",
    "sony.w64",
    "apple.aiff",
    "apple.caf",
    "sun.au",
    "free.flac",
}
DEFAULT = DecodeOptions()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return {name: write_made(folder / name) for name in [*LIBSNDFILE, *FFMPEG]}


def read(path, options=DEFAULT):
    """All samples [n, channels] of a file, and the outcome."""
    with AudioReader(path, options) as reader:
        blocks = list(reader.blocks())
        outcome = reader.outcome
        samples = np.concatenate([np.empty((0, reader.channels), np.float32), *blocks])
    assert all(block.dtype == np.float32 and len(block) for block in blocks)
    assert outcome.resampled == len(samples)
    assert outcome.duration_s == outcome.samples / reader.sampling_rate
    return samples, outcome


def refused(path, options=DEFAULT):
    """The error that a file ends in."""
    with pytest.raises(BadRecordingError) as caught:
        read(path, options)
    assert caught.value.stage == "decode"
    assert str(caught.value).startswith(f"{caught.value.reason}: ")
    return caught.value


def changed(tmp_path, data, name="changed"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def wav(tmp_path, samples, rate, **kwargs):
    sf.write(tmp_path / "made.wav", samples, rate, **kwargs)
    return tmp_path / "made.wav"


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
def test_every_format(name, made):
    samples, outcome = read(made[name])
    # Codecs of fixed frames add up to a frame and the encoder's delay.
    assert outcome.duration_s == pytest.approx(SECONDS, abs=1e-4 if name in LOSSLESS else 0.06)
    assert len(samples) == pytest.approx(outcome.duration_s * 16_000, abs=1)
    assert (outcome.truncated, outcome.reason) == (False, None)
    assert 0.15 < np.sqrt(np.mean(samples**2)) < 0.3


@pytest.mark.parametrize("name", sorted(LOSSLESS))
def test_lossless_formats_give_the_samples_that_were_written(name, made):
    samples, _ = read(made[name])
    np.testing.assert_allclose(samples, tone(SECONDS, 16_000), atol=2**-15)


@pytest.mark.parametrize(
    ("codec", "rate"), [("layer3.mp3", 44_100), ("voice.opus", 48_000), ("audio.m4a", 44_100)]
)
def test_lossy_formats_give_the_tone_in_its_place(codec, rate, made):
    samples, _ = read(made[codec])
    expected = soxr.resample(tone(SECONDS, rate)[:, 0], rate, 16_000)
    both = min(len(samples), len(expected))
    assert np.corrcoef(samples[:both, 0], expected[:both])[0, 1] > 0.99


@pytest.mark.parametrize("format_", ["s16", "s32", "flt", "dbl", "s16p", "fltp", "u8"])
def test_ffmpeg_sample_formats_have_full_scale_one(format_):
    wanted = np.array([[0.5, -0.25], [-1.0, 0.75]], np.float32)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wanted.T), format="fltp", layout="stereo")
    frame.sample_rate = 16_000
    (converted,) = av.AudioResampler(format=format_).resample(frame)
    np.testing.assert_allclose(_to_float(converted), wanted, atol=1 / 128)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000]),
    st.integers(1, 30_000),
    st.sampled_from([0.01, 0.3, 1.0, 7.0]),
    st.integers(1, 2),
)
def test_streaming_equals_one_resampling(tmp_path_factory, rate, count, block_s, channels):
    path = tmp_path_factory.mktemp("rates") / "made.wav"
    signal = np.random.default_rng(0).uniform(-1, 1, (count, channels)).astype(np.float32)
    sf.write(path, signal, rate, subtype="FLOAT")
    samples, outcome = read(path, DecodeOptions(block_s=block_s))
    whole = soxr.resample(signal, rate, 16_000, quality="HQ")
    assert samples.shape == whole.shape
    np.testing.assert_allclose(samples, whole, atol=1e-6)
    assert outcome.samples == count


def test_the_target_rate_passes_unchanged_and_clipping_stays(tmp_path):
    signal = np.array([[0.0], [1.5], [-2.0], [0.25]], np.float32)
    samples, _ = read(wav(tmp_path, signal, 16_000, subtype="FLOAT"))
    np.testing.assert_array_equal(samples, signal)


def test_what_the_reader_knows_once_open(made, tmp_path):
    write_ffmpeg(
        tmp_path / "s.mp3", tone(1, 44_100, 2), 44_100, container="mp3", codec="libmp3lame", options={}
    )
    known = {"free.flac": "flac", "vorbis.ogg": "vorbis", "plain.wav": "pcm_16", "audio.webm": "opus"}
    for path, codec in [*((made[name], codec) for name, codec in known.items()), (tmp_path / "s.mp3", "mp3")]:
        with AudioReader(path, name="a key") as reader:
            assert reader.codec == codec
            assert (reader.channels, reader.name) == (2 if path.name == "s.mp3" else 1, "a key")
            with pytest.raises(RuntimeError, match="exhaust"):
                _ = reader.outcome


def test_load_mono_is_the_mean_of_the_channels(tmp_path):
    signal = tone(0.5, 16_000, 2)
    found = load_mono(wav(tmp_path, signal, 16_000, subtype="FLOAT"))
    np.testing.assert_allclose(found, signal.mean(axis=1), atol=1e-7)
    assert load_mono(tmp_path / "made.wav", sampling_rate=8_000).shape == (4_000,)


# --- cut and broken files ---


@pytest.mark.parametrize("name", sorted({*LIBSNDFILE, *FFMPEG} - {"bare.mp3", "phone.amr", "audio.m4a"}))
def test_cut_files_keep_what_is_there_and_say_so(name, made, tmp_path):
    data = made[name].read_bytes()
    samples, outcome = read(changed(tmp_path, data[: int(len(data) * 0.6)]))
    assert outcome.truncated
    assert outcome.reason
    # Compressed audio is not spread evenly over its bytes, and libsndfile loses the FLAC frame that breaks.
    assert 0.4 * SECONDS < outcome.duration_s < 0.75 * SECONDS
    assert len(samples) > 0


def test_cut_m4a_without_its_index_is_refused(made, tmp_path):
    data = made["audio.m4a"].read_bytes()
    assert refused(changed(tmp_path, data[: int(len(data) * 0.6)])).reason == Reason.UNDECODABLE


def damage(data, rng):
    """Cuts the bytes, flips bits in them, blanks some or takes some out; behind the first 512 bytes of header."""
    damaged = bytearray(data)
    at = int(rng.integers(512, len(data)))
    kind = rng.integers(4)
    if kind == 0:
        return damaged[:at]
    if kind == 1:
        for place in rng.integers(512, len(data), rng.integers(1, 20)):
            damaged[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        length = len(damaged[at : at + int(rng.integers(1, 4000))])
        damaged[at : at + length] = bytes(length)
    else:
        del damaged[at : at + int(rng.integers(1, 4000))]
    return damaged


DECLARING = [
    "plain.wav",
    "free.flac",
    "layer3.mp3",
    "fast.m4a",
    "audio.webm",
    "apple.aiff",
    "vorbis.ogg",
    "voice.opus",
]


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
def test_damage_never_crashes_and_never_loses_in_silence(name, made, tmp_path):
    rng = np.random.default_rng(sum(name.encode()))
    data = made[name].read_bytes()
    for _ in range(25):
        path = changed(tmp_path, damage(data, rng), name)
        try:
            _, outcome = read(path)
        except BadRecordingError:
            continue
        if name in DECLARING and not outcome.truncated:
            assert outcome.duration_s >= SECONDS - DEFAULT.truncation_tolerance_s


@pytest.mark.parametrize("share", [0.3, 0.55, 0.8])
def test_an_error_in_flac_costs_no_more_than_a_short_call(share, tmp_path):
    """FLAC is read a second at a time; what lies before an error in its second comes out all the same."""
    noise = np.random.default_rng(8).normal(0, 0.1, (10 * 48_000, 2)).clip(-1, 1)
    sf.write(tmp_path / "sound.flac", noise, 48_000)
    data = bytearray((tmp_path / "sound.flac").read_bytes())
    at = int(share * len(data))
    data[at : at + 2000] = bytes(2000)
    path = changed(tmp_path, data, "damaged.flac")
    short, decoded = np.empty((1024, 2), np.float32), 0
    with sf.SoundFile(path) as file, pytest.raises(sf.LibsndfileError):
        while count := file.buffer_read_into(short, "float32"):
            decoded += count
    samples, outcome = read(path, DecodeOptions(sampling_rate=48_000))
    assert outcome.truncated
    assert decoded % 48_128, "the error is to lie inside a second's call"
    assert len(samples) == decoded
    np.testing.assert_allclose(samples, noise[:decoded], atol=1e-4)


@pytest.mark.parametrize(
    "name", ["plain.wav", "free.flac", "layer3.mp3", "audio.m4a", "audio.webm", "voice.opus"]
)
def test_damaged_headers_never_crash(name, made, tmp_path):
    rng = np.random.default_rng(sum(name.encode()))
    data = made[name].read_bytes()
    for _ in range(40):
        damaged = bytearray(data)
        for place in rng.integers(0, 256, rng.integers(1, 5)):
            damaged[place] = rng.choice([0, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
        with contextlib.suppress(BadRecordingError):
            samples, _ = read(changed(tmp_path, damaged, name))
            assert np.isfinite(samples).all()


def test_a_stream_that_changes_its_rate_stops_there(tmp_path):
    for rate in (44_100, 22_050):
        write_ffmpeg(
            tmp_path / f"{rate}",
            tone(2, rate),
            rate,
            container="mp3",
            codec="libmp3lame",
            options={"write_xing": "0"},
        )
    joined = b"".join(
        (tmp_path / f"{rate}").read_bytes().replace(b"ID3", b"\0\0\0") for rate in (44_100, 22_050)
    )
    _, outcome = read(changed(tmp_path, joined))
    assert outcome.truncated
    assert "changes from 1 channels at 44100 Hz to 1 at 22050 Hz" in outcome.reason
    assert outcome.duration_s == pytest.approx(2, abs=0.1)


def test_concatenated_mp3_is_read_to_the_end(made, tmp_path):
    _, outcome = read(changed(tmp_path, made["layer3.mp3"].read_bytes() * 2))
    assert outcome.duration_s == pytest.approx(2 * SECONDS, abs=0.1)
    assert not outcome.truncated
    assert "the container declares" in outcome.reason


def test_chained_ogg_is_read_to_the_end(made, tmp_path):
    for name in ("voice.opus", "vorbis.ogg"):
        _, outcome = read(changed(tmp_path, made[name].read_bytes() * 2))
        assert outcome.duration_s == pytest.approx(2 * SECONDS, abs=0.1)
        assert not outcome.truncated


def test_a_tag_behind_the_audio_is_no_truncation(made, tmp_path):
    for name in ("layer3.mp3", "plain.wav"):
        _, outcome = read(changed(tmp_path, made[name].read_bytes() + b"TAG" + bytes(125)))
        assert not outcome.truncated
        assert outcome.duration_s == pytest.approx(SECONDS, abs=1e-3)


# --- headers that lie ---


@pytest.mark.parametrize(
    ("name", "at", "layout"), [("plain.wav", 40, "little"), ("sun.au", 8, "big"), ("free.flac", 22, "big")]
)
@pytest.mark.parametrize("declared", [0, 10_000])
def test_a_header_that_declares_less_loses_nothing(name, at, layout, declared, made, tmp_path):
    data = made[name].read_bytes()
    lying = data[:at] + declared.to_bytes(4, layout) + data[at + 4 :]
    samples, outcome = read(changed(tmp_path, lying))
    np.testing.assert_allclose(samples, tone(SECONDS, 16_000), atol=2**-15)
    assert not outcome.truncated
    assert (outcome.reason is None) == (declared == 0)


@pytest.mark.parametrize("name", ["plain.wav", "sun.au", "free.flac"])
def test_a_header_that_declares_more_is_a_truncation(name, made, tmp_path):
    at, layout = {"plain.wav": (40, "<I"), "sun.au": (8, ">I"), "free.flac": (22, ">I")}[name]
    data = made[name].read_bytes()
    lying = data[:at] + struct.pack(layout, 1_000_000) + data[at + 4 :]
    samples, outcome = read(changed(tmp_path, lying))
    assert outcome.truncated
    assert outcome.duration_s < outcome.declared_s
    assert len(samples) > 0.9 * SECONDS * 16_000


# --- bad recordings ---


@pytest.mark.parametrize(
    ("at", "size", "value", "said"),
    [
        (24, 4, 0, "0 Hz"),
        (24, 4, 1, "1 Hz"),
        (24, 4, 1_000_000, "1000000 Hz"),
        (24, 4, 2**32 - 1, "4294967295 Hz"),
        (22, 2, 0, "0 channels"),
        (22, 2, 32, "32 channels"),
        (22, 2, 2**16 - 1, "65535 channels"),
    ],
)
def test_absurd_headers_are_unsupported(at, size, value, said, made, tmp_path):
    data = made["plain.wav"].read_bytes()
    error = refused(changed(tmp_path, data[:at] + value.to_bytes(size, "little") + data[at + size :]))
    assert error.reason == Reason.UNSUPPORTED
    assert said in error.message
    assert "expected" in error.message


def test_an_absurd_rate_behind_a_coded_header_is_unsupported(tmp_path):
    write_ffmpeg(tmp_path / "a.mp3", tone(1, 8_000), 8_000, container="mp3", codec="libmp3lame", options={})
    error = refused(tmp_path / "a.mp3", DecodeOptions(min_source_rate=16_000))
    assert (error.reason, error.message[:7]) == (Reason.UNSUPPORTED, "8000 Hz")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e13])
def test_non_finite_samples_are_refused_with_their_place(bad, tmp_path):
    signal = tone(3, 8_000, 2)
    signal[20_000, 1] = bad
    signal[21_000, 0] = np.nan
    error = refused(wav(tmp_path, signal, 8_000, subtype="FLOAT"))
    assert error.reason == Reason.NON_FINITE
    assert "2.500000 s of channel 1" in error.message


def test_doubles_beyond_float_are_refused(tmp_path):
    error = refused(wav(tmp_path, np.full(100, 1e300), 16_000, subtype="DOUBLE"))
    assert error.reason == Reason.NON_FINITE


def test_empty_missing_and_unreadable_files(tmp_path):
    assert refused(changed(tmp_path, b"")).reason == Reason.EMPTY
    assert refused(tmp_path / "nowhere.wav").reason == Reason.VANISHED
    assert refused(tmp_path).reason == Reason.FETCH_FAILED


@pytest.mark.parametrize(
    "data",
    [
        b"hello world\n" * 100,
        b"\x89PNG\r\n\x1a\n" + bytes(500),
        b"RIFF\x00\x00\x00\x00WAVEfmt ",
        b"fLaC",
        b"OggS" + bytes(200),
        b"\xff\xfb\x90\x64",
        bytes(5000),
        np.random.default_rng(0).bytes(20_000),
    ],
)
def test_junk_is_refused(data, tmp_path):
    assert refused(changed(tmp_path, data, "junk.wav")).reason in {Reason.UNDECODABLE, Reason.NO_SAMPLES}


def test_a_header_without_samples(made, tmp_path):
    assert refused(changed(tmp_path, made["plain.wav"].read_bytes()[:44])).reason == Reason.NO_SAMPLES
    assert refused(wav(tmp_path, np.zeros((0, 1)), 16_000)).reason == Reason.NO_SAMPLES


def test_video_without_sound(tmp_path):
    with av.open(str(tmp_path / "v.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        output.mux(stream.encode(None))
    error = refused(tmp_path / "v.mp4")
    assert (error.reason, error.message) == (
        Reason.NO_AUDIO_STREAM,
        "the file has video, and no audio stream",
    )


def test_a_codec_that_nobody_knows(made, tmp_path):
    data = made["fast.m4a"].read_bytes().replace(b"mp4a", b"zzzz").replace(b"esds", b"free")
    assert refused(changed(tmp_path, data)).reason == Reason.UNSUPPORTED


@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:5,\n{}\n", "ffconcat version 1.0\nfile '{}'\n"])
def test_a_playlist_opens_no_other_file(text, made, tmp_path):
    path = changed(made["raw.aac"].parent, text.format("raw.aac").encode(), "list.m3u8")
    assert refused(path).reason == Reason.UNDECODABLE


def test_decoders_write_nothing_to_the_terminal(made, tmp_path, capfd):
    for name in ("layer3.mp3", "free.flac", "audio.webm", "voice.opus"):
        data = bytearray(made[name].read_bytes())
        data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
        read(changed(tmp_path, data))
    assert capfd.readouterr() == ("", "")


def test_real_clips(shared_data):
    for clip in sorted(shared_data.rglob("*.flac"))[::200]:
        samples, outcome = read(clip)
        info = sf.info(clip)
        assert outcome.samples == info.frames
        assert not outcome.truncated
        assert len(samples) == pytest.approx(info.frames * 16_000 / info.samplerate, abs=1)


# --- memory ---


LONG_RUN = """
import resource
import sys
from pathlib import Path
from emolake.tasks.decode import AudioReader
from emolake.tasks.segment import SegmentOptions, segment
from emolake.audio.voice_activity import SpeechDetector

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def watched(blocks):
    seen = 0
    for block in blocks:
        seen += len(block)
        if seen // 16_000 == 120 and not early:
            early.append(peak())
        yield block

early, end_s = [], 0.0
with AudioReader(Path(sys.argv[1])) as reader:
    blocks = watched(reader.blocks())
    if sys.argv[2] == "decode":
        end_s = sum(len(block) for block in blocks) / 16_000
    else:
        for found in segment(blocks, options=SegmentOptions(method=sys.argv[2]), vad=SpeechDetector()):
            assert found.start_s == end_s
            end_s = found.end_s
print(reader.outcome.duration_s, end_s, peak() - early[0])
"""


@pytest.mark.parametrize(
    ("container", "step", "minutes"),
    [("WAV", "decode", 120), ("FLAC", "decode", 60), ("FLAC", "window", 20), ("WAV", "vad", 20)],
)
def test_memory_does_not_grow_with_the_length(container, step, minutes, tmp_path):
    """Peak memory at the end is what it was after two minutes; 20 minutes held as floats would be 73 MiB."""
    path = tmp_path / "long"
    minute = np.random.default_rng(0).integers(-3000, 3000, (60 * 8_000, 1)).astype(np.int16)
    minute[8_000:] = 0
    with sf.SoundFile(path, "w", 8_000, 1, "PCM_16", format=container) as file:
        for _ in range(minutes):
            file.write(minute)
    command = [sys.executable, "-c", LONG_RUN, str(path), step]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    path.unlink()
    assert done.returncode == 0, done.stderr
    duration_s, end_s, growth_mib = (float(word) for word in done.stdout.split())
    assert duration_s == end_s == minutes * 60
    assert growth_mib < 16


def test_errors_cross_processes():
    error = BadRecordingError(Reason.NO_SAMPLES, "nothing", stage="decode")
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.message, again.stage, str(again)) == (
        Reason.NO_SAMPLES, "nothing", "decode", "no_samples: nothing",
    )  # fmt: skip
    assert [reason for reason in Reason if reason.transient] == [Reason.VANISHED, Reason.FETCH_FAILED]
