"""What telephone systems leave in a bucket: files without a header, gzip bodies, foreign tags, side files."""

import gzip
import struct

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from emolake.audio.containers.formats import bytes_per_second, headerless_extensions, is_audio
from emolake.audio.containers.gzipped import unpack
from emolake.errors import BadRecordingError, Reason
from emolake.prediction.files import audio_files
from emolake.settings import Settings
from emolake.tasks.decode import AudioReader, DecodeOptions, load_mono

from made_audio import FFMPEG, LIBSNDFILE, tone, write_made

pytestmark = pytest.mark.slow

SECONDS = 2.0


def read(path, options=DecodeOptions(), name=None):  # noqa: B008 - it is frozen
    with AudioReader(path, options, name=name) as reader:
        samples = np.concatenate([np.empty((0, reader.channels), np.float32), *reader.blocks()])
        return samples, reader.outcome, reader


def coded(codec, rate, samples):
    """Samples as a stream of a codec, without any container."""
    context = av.CodecContext.create(codec, "w")
    context.sample_rate, context.layout = rate, "mono"
    context.format = "s16"
    frame = av.AudioFrame.from_ndarray(
        np.round(samples * 32_767).astype("<i2").T, format="s16", layout="mono"
    )
    frame.sample_rate = rate
    return b"".join(bytes(packet) for each in (frame, None) for packet in context.encode(each))


HEADERLESS = {
    **dict.fromkeys(("ulaw", "ulw", "ul"), ("pcm_mulaw", 8000)),
    **dict.fromkeys(("alaw", "alw", "al"), ("pcm_alaw", 8000)),
    **dict.fromkeys(("sln", "slin"), ("pcm_s16le", 8000)),
    **{f"sln{n}": ("pcm_s16le", n * 1000) for n in (12, 16, 24, 32, 48, 96, 192)},
    "sln44": ("pcm_s16le", 44_100),
    "g722": ("g722", 16_000),
}


def test_all_endings_are_tried():
    assert set(HEADERLESS) == set(headerless_extensions())


@pytest.mark.parametrize("ending", [*HEADERLESS, "ULAW", "Sln16"])
def test_files_without_a_header_are_read_by_their_ending(ending, tmp_path):
    codec, rate = HEADERLESS[ending.lower()]
    wanted = tone(SECONDS, rate)
    path = tmp_path / f"call.{ending}"
    path.write_bytes(coded(codec, rate, wanted))
    samples, outcome, reader = read(path, DecodeOptions(sampling_rate=rate))
    assert (reader.sampling_rate, reader.channels) == (rate, 1)
    assert outcome.duration_s == outcome.declared_s == pytest.approx(SECONDS, abs=0.001)
    assert not outcome.truncated
    # G.722's filters delay by 22 samples.
    lag = 22 if ending == "g722" else 0
    assert np.corrcoef(samples[lag:, 0], wanted[: len(samples) - lag, 0])[0, 1] > 0.999
    assert is_audio(path.name)
    assert bytes_per_second(path.name) == pytest.approx(path.stat().st_size / SECONDS, rel=0.01)


def test_their_rate_can_be_configured(tmp_path):
    path = tmp_path / "call.ulaw"
    path.write_bytes(coded("pcm_mulaw", 16_000, tone(SECONDS, 16_000)))
    rates = Settings(decode={"headerless_rates": {"ulaw": 16_000}}).decode.options
    assert read(path, rates)[1].duration_s == SECONDS
    assert read(path)[1].duration_s == 2 * SECONDS


@pytest.mark.parametrize("rates", [{"wav": 8_000}, {"ulaw": 0}, {"ulaw": -8_000}])
def test_rates_of_other_endings_are_refused(rates):
    with pytest.raises(ValidationError):
        Settings(decode={"headerless_rates": rates})


@pytest.mark.parametrize("head", [b"\xff\xfb\x90\x00", b"\xff\xf1\x50\x80", b"\xff" * 64, bytes(64)])
def test_samples_that_look_like_frames_are_samples(head, tmp_path):
    """Silence in mu-law is 0xFF, of which MPEG frames begin too."""
    path = tmp_path / "call.ulaw"
    path.write_bytes(head + coded("pcm_mulaw", 8_000, tone(SECONDS, 8_000)))
    assert read(path)[2].codec == "pcm_mulaw"


@pytest.mark.parametrize("name", ["plain.wav", "free.flac", "voice.opus", "audio.m4a"])
def test_a_container_under_such_a_name_is_a_container(name, tmp_path):
    path = write_made(tmp_path / name, seconds=SECONDS)
    assert read(path, name="x/call.ulaw")[1].duration_s == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
def test_gzip_around_any_format_changes_nothing(name, tmp_path):
    plain = write_made(tmp_path / name, seconds=SECONDS)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    wanted, outcome, _ = read(plain)
    for key in (name, f"{name}.gz", "a.txt"):
        samples, found, _ = read(packed, name=key)
        np.testing.assert_array_equal(samples, wanted)
        assert found == outcome
    assert is_audio(f"{name}.gz") == is_audio(name)


def test_gzip_in_gzip_and_around_a_file_without_a_header(tmp_path):
    path = tmp_path / "call.ulaw.gz"
    path.write_bytes(gzip.compress(gzip.compress(coded("pcm_mulaw", 8_000, tone(SECONDS, 8_000)))))
    assert read(path)[1].duration_s == SECONDS


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.binary(max_size=3000), min_size=1, max_size=4),
    st.integers(0, 4_000_000),
    st.binary(max_size=50),
)
def test_unpacking_gives_every_member_and_no_more_than_the_limit(tmp_path_factory, members, limit, behind):
    folder = tmp_path_factory.mktemp("gzip")
    wanted = b"".join(members) * 1000
    packed = folder / "packed"
    behind = b"" if behind.startswith(b"\x1f\x8b\x08") else behind
    packed.write_bytes(b"".join(gzip.compress(member) for member in [wanted, *members]) + behind)
    wanted += b"".join(members)
    if len(wanted) > limit:
        with pytest.raises(BadRecordingError, match=r"decode\.unpacked_mb") as caught:
            unpack(packed, folder / "unpacked", most_bytes=limit)
        assert caught.value.reason is Reason.TOO_LARGE
        assert (folder / "unpacked").stat().st_size <= limit
    else:
        assert unpack(packed, folder / "unpacked", most_bytes=limit) is None
        assert (folder / "unpacked").read_bytes() == wanted


def test_a_bomb_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    bomb = tmp_path / "bomb.wav"
    bomb.write_bytes(gzip.compress(bytes(30_000_000)))
    with pytest.raises(BadRecordingError) as caught:
        read(bomb, DecodeOptions(unpacked_mb=20))
    assert caught.value.reason is Reason.TOO_LARGE
    assert not list((tmp_path / "scratch").iterdir())
    read(write_gzip(tmp_path / "good.wav"))
    assert not list((tmp_path / "scratch").iterdir())


def write_gzip(path, share=1.0):
    plain = path.with_name("plain.wav")
    sf.write(plain, np.random.default_rng(2).normal(0, 0.1, 32_000), 16_000)
    packed = gzip.compress(plain.read_bytes())
    path.write_bytes(packed[: int(share * len(packed))])
    return path


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.9999])
def test_a_gzip_stream_that_breaks_off_keeps_what_was_there(share, tmp_path):
    _, outcome, _ = read(write_gzip(tmp_path / "cut.wav", share))
    assert outcome.truncated
    assert "the gzip stream breaks off" in outcome.reason
    assert outcome.duration_s == pytest.approx(2 * share, abs=0.2)


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08", b"\x1f\x8b\x08" + bytes(100), gzip.compress(b"", mtime=0)])
def test_gzip_of_nothing_has_a_reason(body, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(body)
    with pytest.raises(BadRecordingError) as caught:
        read(path)
    assert caught.value.reason is Reason.EMPTY


TAG = b"ID3\x03\x00\x00" + bytes([0, 0, 7, 118]) + bytes(1014)


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
@pytest.mark.parametrize("tags", [1, 2])
def test_a_tag_before_a_container_costs_nothing(name, tags, tmp_path):
    plain = write_made(tmp_path / name, seconds=SECONDS)
    wanted, outcome, _ = read(plain)
    plain.write_bytes(tags * TAG + plain.read_bytes())
    samples, found, _ = read(plain)
    assert (found.truncated, found.reason) == (outcome.truncated, outcome.reason)
    assert found.declared_s == outcome.declared_s
    np.testing.assert_array_equal(samples, wanted)


SIDE_FILE = struct.pack(">II16xH", 0x00051607, 0x00020000, 2) + bytes(100)


@pytest.mark.parametrize(
    "key",
    [
        "._a.wav", "2026/11/20/._a.wav", "__MACOSX/._a.mp3", "._a.ulaw", "._a.wav.gz", ".DS_Store", "x/.DS_Store",
        "._.wav",
    ],
)  # fmt: skip
def test_side_files_of_macos_are_no_audio(key):
    assert not is_audio(key)


def test_folders_are_read_without_them(tmp_path):
    sf.write(tmp_path / "a.wav", tone(1, 16_000), 16_000)
    (tmp_path / "._a.wav").write_bytes(SIDE_FILE)
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert audio_files([tmp_path]) == [tmp_path / "a.wav"]


def test_a_side_file_that_is_named_says_what_it_is(tmp_path):
    (tmp_path / "._a.wav").write_bytes(SIDE_FILE)
    with pytest.raises(BadRecordingError, match="AppleDouble") as caught:
        read(tmp_path / "._a.wav")
    assert caught.value.reason is Reason.NO_AUDIO_STREAM


@pytest.mark.parametrize("name", ["audio.m4a", "fast.m4a"])
def test_a_missing_moov_box_is_named(name, tmp_path):
    path = write_made(tmp_path / name, seconds=SECONDS)
    data = path.read_bytes()
    at = data.index(b"moov") - 4
    length = int.from_bytes(data[at : at + 4])
    for broken in (data[:at] + data[at + length :], data[:at]):
        path.write_bytes(broken)
        with pytest.raises(BadRecordingError, match="no moov box"):
            read(path)


def mpeg_in_wav(path, codec="libmp3lame", tag=0x55):
    """A WAV of MPEG audio, with bytes in it that libmpg123 has something to say of."""
    raw = write_made(path.with_name("layer3.mp3"), seconds=SECONDS).read_bytes()
    raw = raw[raw.index(b"\xff\xfb") :]
    body = raw[:4000] + bytes(100) + raw[4000:]
    head = struct.pack("<HHIIHHHHIHHH", tag, 1, 44_100, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(body)) + body
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def test_mpeg_in_wav_is_read_in_silence(tmp_path, capfd):
    samples, outcome, _ = read(mpeg_in_wav(tmp_path / "call.wav"))
    assert outcome.duration_s == pytest.approx(SECONDS, abs=0.2)
    assert np.abs(samples).max() > 0.2
    assert capfd.readouterr() == ("", "")


def test_training_reads_them_all(tmp_path):
    for path in (write_gzip(tmp_path / "a.wav"), mpeg_in_wav(tmp_path / "b.wav")):
        assert len(load_mono(path)) == pytest.approx(32_000, abs=3000)
