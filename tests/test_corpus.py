from collections import Counter
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import av
import numpy as np
import pytest
import soundfile
import soxr

from emolake.demo.encode import CODECS
from emolake.source.pattern import KeyPattern

from corpus import CLIP_HZ, PATTERN, LaidObject, Truth, make_corpus

pytestmark = pytest.mark.slow

DAYS = [date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20)]


@pytest.fixture(scope="module")
def made(tmp_path_factory, shared_data: Path) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("corpus") / "calls"
    return folder, make_corpus(folder, shared_data, days=DAYS, seed=11)


def decoded(path: Path) -> tuple[np.ndarray, int]:
    """Samples [n, channels] by FFmpeg up to its first error, and their rate."""
    blocks: list[np.ndarray] = []
    resampler = av.AudioResampler(format="fltp")
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        try:
            for frame in container.decode(audio=0):
                blocks += [out.to_ndarray() for out in resampler.resample(frame)]
        except av.error.InvalidDataError:
            assert blocks, "not one sample could be decoded"
    return np.concatenate(blocks, axis=1).T, rate


def test_the_truth_names_every_object_and_survives_its_file(made):
    folder, truth = made
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {laid.key for laid in truth.objects}
    assert len(found) == len(truth.objects)
    assert Truth.read(folder.parent / "truth.json") == truth


def test_keys_follow_the_pattern(made):
    _, truth = made
    pattern = KeyPattern(PATTERN, ZoneInfo("Europe/Berlin"))
    for laid in truth.objects:
        matched = pattern.match(laid.key)
        assert matched is not None, laid.key
        assert matched.date == laid.day
    assert all(any(mark in laid.key for laid in truth.objects) for mark in " +#'\"%&=?ü問\u0301😀")
    assert set(Counter(laid.day for laid in truth.objects).values()) <= {13, 14, 15}


def test_holds_every_kind_of_object(made):
    _, truth = made
    good = truth.of("ok")
    assert {laid.codec for laid in good} == set(CODECS)
    assert {laid.channels for laid in good} == {1, 2}
    assert {8000, 16000, 48000} <= {laid.sampling_rate for laid in good}
    assert min(laid.duration_s for laid in good) == 10.0
    assert max(laid.duration_s for laid in good) == 1200.0
    assert Counter(laid.fault for laid in truth.of("quarantined")) == {
        "cut": 1,
        "empty": 1,
        "junk bytes": 3,
        "text": 1,
        "NaN sample": 1,
        "no samples": 1,
        "too short": 1,
        "no audio stream": 1,
    }
    assert {laid.codec for laid in truth.of("truncated")} == {"wav", "flac", "mp3", "ogg-opus", "webm-opus"}
    assert len(truth.of("silent")) == len(truth.of("not_audio")) == 1


def test_lossless_recordings_have_the_samples_that_are_told(made):
    folder, truth = made
    exact = [laid for laid in truth.objects if laid.samples is not None]
    assert len(exact) > 12
    for laid in exact:
        with soundfile.SoundFile(folder / laid.key) as file:
            found = (len(file.read(always_2d=True)), file.samplerate, file.channels)
        assert found == (laid.samples, laid.sampling_rate, laid.channels), laid.key
        assert laid.duration_s == laid.samples / laid.sampling_rate


def test_lossy_recordings_have_the_length_that_is_told(made):
    folder, truth = made
    lossy = [laid for laid in truth.of("ok") if laid.samples is None]
    assert len(lossy) > 10
    for laid in lossy:
        samples, rate = decoded(folder / laid.key)
        # A frame of AAC has 1024 samples, two of AMR 320; the others tell how much of the last is padding.
        padding_s = {"m4a": 1024, "amr": 320}.get(laid.codec, 2) / laid.sampling_rate
        assert -1 / laid.sampling_rate <= len(samples) / rate - laid.duration_s <= padding_s, laid.key
        assert samples.shape[1] == laid.channels


def assert_clips_lie_where_told(laid: LaidObject, samples: np.ndarray, rate: int, shared_data: Path):
    """Each clip correlates with its place in the recording, and what is between them is silent."""
    resampled = soxr.resample(samples, rate, CLIP_HZ) if rate != CLIP_HZ else samples
    silent = np.ones(resampled.shape, bool)
    for clip in laid.clips:
        start, end = round(clip.start_s * CLIP_HZ), round(clip.end_s * CLIP_HZ)
        original, _ = soundfile.read(shared_data / clip.source, dtype="float32")
        assert end - start == len(original)
        found = resampled[start:end, clip.channel]
        likeness = found @ original / np.sqrt((found @ found) * (original @ original) + 1e-20)
        assert likeness > 0.8, (laid.key, clip, likeness)
        silent[max(0, start - 800) : end + 800, clip.channel] = False
    assert np.sqrt(np.mean(resampled[silent] ** 2)) < 0.002, laid.key


def test_clips_lie_where_the_truth_says(made, shared_data: Path):
    folder, truth = made
    for codec in sorted(set(CODECS) - {"amr"}):  # AMR keeps too little of the waveform
        laid = min((laid for laid in truth.of("ok") if laid.codec == codec), key=lambda laid: laid.duration_s)
        assert laid.clips
        if codec in {"wav", "flac", "ogg-vorbis"}:
            samples, rate = soundfile.read(folder / laid.key, dtype="float32", always_2d=True)
        else:
            samples, rate = decoded(folder / laid.key)
        assert_clips_lie_where_told(laid, samples, rate, shared_data)


def test_the_emotions_are_those_of_the_manifest(made, shared_data: Path):
    _, truth = made
    lines = (shared_data / "manifest.csv").read_text(encoding="utf-8").splitlines()[1:]
    manifest = {line.split(",")[0]: line.split(",") for line in lines}
    clips = [clip for laid in truth.objects for clip in laid.clips]
    assert len(clips) > 400
    for clip in clips:
        row = manifest[clip.source]
        assert (clip.speaker, clip.emotion) == (row[2], row[5])
    for laid in truth.objects:
        assert len({clip.speaker for clip in laid.clips}) == len({clip.channel for clip in laid.clips})


def test_cut_recordings_give_less_than_they_declare(made):
    folder, truth = made
    for laid in truth.of("truncated"):
        samples, rate = decoded(folder / laid.key)
        assert 0.4 * laid.declared_s < len(samples) / rate < 0.8 * laid.declared_s, laid.key


def test_nothing_can_be_made_of_the_quarantined(made):
    folder, truth = made
    for laid in truth.of("quarantined"):
        path = folder / laid.key
        if laid.fault == "NaN sample":
            samples = soundfile.read(path)[0]
            assert np.isnan(samples).sum() == 1
        elif laid.fault in {"no samples", "too short"}:
            assert soundfile.info(path).frames == {"no samples": 0, "too short": 399}[laid.fault]
        elif laid.fault == "no audio stream":
            with av.open(str(path)) as container:
                assert len(container.streams.video) == 1
                assert len(container.streams.audio) == 0
        else:
            with pytest.raises(av.error.InvalidDataError):
                decoded(path)
            with pytest.raises(soundfile.LibsndfileError):
                soundfile.read(path)


def test_equal_seeds_lay_equal_corpora(made, tmp_path: Path, shared_data: Path):
    folder, truth = made
    again = make_corpus(tmp_path / "calls", shared_data, days=DAYS, seed=11)
    assert again == truth
    for laid in truth.objects:
        if laid.codec != "ogg-vorbis":  # its stream number comes from the clock
            assert (folder / laid.key).read_bytes() == (tmp_path / "calls" / laid.key).read_bytes(), laid.key
