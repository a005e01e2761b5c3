"""What containers declare: as written, cut short, and with headers that lie."""

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from emolake.audio.containers.formats import format_of
from emolake.audio.containers.inspection import declaration

from made_audio import FFMPEG, LIBSNDFILE, SECONDS, tone, write_ffmpeg, write_made

UNDECLARED = {"bare.mp3", "live.webm", "raw.aac", "phone.amr", "sound.avi"}
"""Files whose headers say nothing of their duration."""
UNMARKED = {"bare.mp3", "raw.aac", "phone.amr"}
"""Files that, cut short, carry no sign of it in any header."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return {name: write_made(folder / name) for name in [*LIBSNDFILE, *FFMPEG]}


def changed(tmp_path, data: bytes, name="changed") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def patched(data: bytes, offset: int, layout: str, value: int) -> bytes:
    new = struct.pack(layout, value)
    return data[:offset] + new + data[offset + len(new) :]


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
def test_a_whole_file_declares_its_duration_and_no_fault(name, made):
    found = declaration(made[name])
    assert found.declared.fault is None
    assert not found.declared.understated
    if name in UNDECLARED:
        assert found.declared.duration_s is None
    else:
        # Codecs of fixed frames round up: AAC by 1024 samples, and WebM counts Opus' pre-skip.
        assert found.declared.duration_s == pytest.approx(SECONDS, abs=0.04)
    assert found.decoder == ("libsndfile" if name in LIBSNDFILE else "ffmpeg")


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_cut_file_declares_more_than_its_bytes_or_a_fault(name, share, made, tmp_path):
    data = made[name].read_bytes()
    declared = declaration(changed(tmp_path, data[: int(len(data) * share)])).declared
    if name in UNMARKED:
        assert declared == (None, None, *declared[2:])
    elif declared.fault is None:
        assert declared.duration_s == pytest.approx(SECONDS, abs=0.04)


@pytest.mark.parametrize(
    "name", ["voice.opus", "vorbis.ogg", "live.webm", "audio.webm", "fast.m4a", "audio.m4a", "sound.avi"]
)
def test_a_cut_file_of_pages_boxes_or_elements_has_a_fault(name, made, tmp_path):
    data = made[name].read_bytes()
    for cut in range(len(data) // 2, len(data), max(1, len(data) // 97)):
        assert declaration(changed(tmp_path, data[:cut])).declared.fault is not None, cut


def test_ogg_that_ends_on_a_page_lacks_its_end_mark(made, tmp_path):
    data = made["voice.opus"].read_bytes()
    declared = declaration(changed(tmp_path, data[: data.rindex(b"OggS")])).declared
    assert declared.fault == "the last page carries no end-of-stream mark"


def test_ogg_with_a_page_taken_out(made, tmp_path):
    data = made["voice.opus"].read_bytes()
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    declared = declaration(changed(tmp_path, data[: pages[3]] + data[pages[4] :])).declared
    assert "pages are missing" in (declared.fault or "")
    assert declared.duration_s == pytest.approx(SECONDS, abs=0.01)


def test_ogg_cut_out_of_a_stream_is_as_long_as_it_is(made, tmp_path):
    data = made["voice.opus"].read_bytes()
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    later = bytearray(data)
    for at in pages[2:]:
        granule = struct.unpack_from("<q", later, at + 6)[0]
        struct.pack_into("<q", later, at + 6, granule + 3600 * 48_000)
    assert declaration(changed(tmp_path, bytes(later))).declared.duration_s == pytest.approx(
        SECONDS, abs=0.05
    )


def test_chained_ogg_declares_the_sum(made, tmp_path):
    for name in ("voice.opus", "vorbis.ogg"):
        found = declaration(changed(tmp_path, made[name].read_bytes() * 2))
        assert found.declared.duration_s == pytest.approx(2 * SECONDS, abs=0.01)
        assert (found.declared.links, found.decoder) == (2, "ffmpeg")


@pytest.mark.parametrize("size", [0xFFFF_FFFF, 0x7FFF_F000, 0x7FFF_FFFF])
def test_streamed_wav_declares_nothing(size, made, tmp_path):
    data = made["plain.wav"].read_bytes()
    found = declaration(changed(tmp_path, patched(data, 40, "<I", size)))
    assert found.declared == (None, None, 16_000, 1, False, None, 1)


@pytest.mark.parametrize(("size", "seconds"), [(0, None), (32_000, 1.0)])
def test_wav_that_declares_less_is_read_to_the_end(size, seconds, made, tmp_path):
    found = declaration(changed(tmp_path, patched(made["plain.wav"].read_bytes(), 40, "<I", size)))
    assert found.declared.understated
    assert found.declared.duration_s == seconds
    assert (found.decoder, found.demuxer_options) == ("ffmpeg", {"ignore_length": "1"})


@pytest.mark.parametrize(
    "behind", [b"LIST" + struct.pack("<I", 50_000) + bytes(50_000), b"TAG" + bytes(125), b""]
)
def test_chunks_and_tags_behind_the_audio_are_not_audio(behind, made, tmp_path):
    found = declaration(changed(tmp_path, made["plain.wav"].read_bytes() + behind))
    assert not found.declared.understated
    assert found.declared.duration_s == pytest.approx(SECONDS)


def test_a_second_wav_behind_the_first_is_audio(made, tmp_path):
    assert declaration(changed(tmp_path, made["plain.wav"].read_bytes() * 2)).declared.understated


def test_big_endian_wav(tmp_path):
    sf.write(tmp_path / "big.wav", tone(1.5, 16_000), 16_000, endian="BIG")
    assert (tmp_path / "big.wav").read_bytes()[:4] == b"RIFX"
    assert declaration(tmp_path / "big.wav").declared.duration_s == 1.5


def test_flac_that_declares_less_or_nothing_goes_to_ffmpeg(made, tmp_path):
    data = made["free.flac"].read_bytes()
    for frames in (0, 20_000):
        packed = int.from_bytes(data[18:26]) >> 36 << 36 | frames
        found = declaration(changed(tmp_path, data[:18] + packed.to_bytes(8) + data[26:]))
        assert found.declared.understated
        assert found.decoder == "ffmpeg"
        assert found.declared.duration_s == (frames / 16_000 or None)


def test_au_that_declares_less(made, tmp_path):
    data = made["sun.au"].read_bytes()
    assert declaration(changed(tmp_path, patched(data, 8, ">I", 20_000))).declared.understated
    assert declaration(changed(tmp_path, patched(data, 8, ">I", 0xFFFF_FFFF))).declared.duration_s is None


def test_aiff_that_declares_less_has_a_fault(made, tmp_path):
    data = made["apple.aiff"].read_bytes()
    declared = declaration(changed(tmp_path, patched(data, data.index(b"SSND") + 4, ">I", 20_008))).declared
    assert "declares 20000 bytes" in (declared.fault or "")


def test_mp3_behind_a_tag_declares_the_same(made, tmp_path):
    data = made["layer3.mp3"].read_bytes()
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 7, 118]) + bytes(1014)
    found = declaration(changed(tmp_path, tag + data))
    assert found.container == "mp3"
    assert found.declared == declaration(made["layer3.mp3"]).declared


def test_matroska_with_video_does_not_declare_the_sound(made, tmp_path):
    """The duration of the file is that of its longest track."""
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=10, width=32, height=32, pix_fmt="yuv420p")
        audio = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for _ in range(40):
            output.mux(video.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        output.mux([*audio.encode(frame), *audio.encode(None), *video.encode(None)])
    assert declaration(path).declared == (None, None, None, None, False, None, 1)


def test_fragmented_mp4_declares_by_its_boxes_alone(tmp_path):
    path = tmp_path / "fragments.m4a"
    options = {"movflags": "frag_keyframe+empty_moov", "frag_duration": "500000"}
    write_ffmpeg(path, tone(3, 44_100), 44_100, container="ipod", codec="aac", options=options)
    assert declaration(path).declared[:2] == (None, None)
    path.write_bytes(path.read_bytes()[:-300])
    assert "should end at byte" in (declaration(path).declared.fault or "")


@pytest.mark.parametrize("name", [*LIBSNDFILE, *FFMPEG])
def test_the_extension_has_no_say(name, made, tmp_path):
    data = made[name].read_bytes()
    assert declaration(changed(tmp_path, data, "other.txt")) == declaration(changed(tmp_path, data, name))


@given(st.binary(max_size=64))
def test_sniffing_takes_any_bytes(head):
    assert format_of(head).name in {
        "unknown", "wav", "w64", "aiff", "au", "caf", "flac", "ogg", "mp3", "adts", "amr", "mp4", "matroska", "asf",
        "avi", "flv", "voc", "nist",
    }  # fmt: skip


def test_damaged_headers_raise_nothing(made, tmp_path):
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged"
    for source in made.values():
        data = source.read_bytes()
        for _ in range(30):
            damaged = bytearray(data[: rng.integers(1, len(data) + 1)])
            for at in rng.integers(0, min(len(damaged), 400), 6):
                damaged[at] = rng.choice([0, 0x7F, 0x80, 0xFF, int(rng.integers(256))])
            path.write_bytes(damaged)
            found = declaration(path)
            assert found.declared.duration_s is None or found.declared.duration_s >= 0
