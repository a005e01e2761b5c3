"""Data sets as folders and as CSV files, good and broken."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emolake.demo.encode import write_audio
from emolake.errors import ConfigurationError
from emolake.evaluation.dataset import (
    Clip,
    data_hash,
    label_meanings,
    load_clips,
    read_dataset,
    require_speakers,
)
from emolake.schemas.labels import UnknownLabelError


def tone(path, hertz=200, seconds=0.3):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * 16000)) / 16000), 16000)
    return path


def test_a_folder_of_emotions(tmp_path):
    tone(tmp_path / "ang" / "b.wav")
    tone(tmp_path / "ang" / "deep" / "a.flac")
    tone(tmp_path / "happy" / "c.WAV")
    (tmp_path / "happy" / "notes.txt").write_text("no audio")
    (tmp_path / ".cache").mkdir()
    clips = read_dataset(tmp_path)
    assert [(clip.name, clip.emotion) for clip in clips] == [
        ("ang/b.wav", "anger"),
        ("ang/deep/a.flac", "anger"),
        ("happy/c.WAV", "happiness"),
    ]
    assert {clip.speaker for clip in clips} == {None}


@pytest.mark.parametrize(
    ("header", "row", "speaker", "corpus"),
    [
        ("file_path,emotion,speaker", "x/a.wav,sad,s1", "s1", None),
        ("file_path,emotion", "x/a.wav,SAD", None, None),
        ("path,corpus,speaker,sex,language,emotion", "x/a.wav,emodb,s1,female,de,sadness", "s1", "emodb"),
        ("id,path,label", "17,x/a.wav,sadness", None, None),
        ("\ufefffile_path,emotion,speaker", "x/a.wav,sad,s1", "s1", None),
    ],
)
def test_csv_files_of_every_kind(tmp_path, header, row, speaker, corpus):
    table = tmp_path / "list.csv"
    table.write_text(f"{header}\n{row}\n", "utf-8")
    (clip,) = read_dataset(table)
    assert (clip.name, clip.path, clip.emotion) == ("x/a.wav", tmp_path / "x/a.wav", "sadness")
    assert (clip.speaker, clip.corpus) == (speaker, corpus or tmp_path.name)


def layout(tmp_path, *names):
    for name in names:
        tone(tmp_path / "data" / name)
    return [(clip.emotion, clip.corpus, clip.speaker) for clip in read_dataset(tmp_path / "data")]


def test_folders_of_corpora_and_of_speakers(tmp_path):
    assert layout(tmp_path / "a", "emodb/ang/x.wav", "ravdess/sad/y.wav") == [
        ("anger", "emodb", None),
        ("sadness", "ravdess", None),
    ]
    # a folder that is not called a speaker's may be a session's, and is none
    assert layout(tmp_path / "b", "ang/Actor_01/x.wav", "ang/session1/x.wav") == [
        ("anger", "data", "Actor_01"),
        ("anger", "data", None),
    ]
    assert layout(tmp_path / "c", "speaker-1/ang/x.wav", "speaker-2/sad/x.wav") == [
        ("anger", "data", "speaker-1"),
        ("sadness", "data", "speaker-2"),
    ]
    assert layout(tmp_path / "d", "emodb/spk3/ang/x.wav") == [("anger", "emodb", "spk3")]


def test_folders_that_can_be_read_in_two_ways_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"both 'speech' and 'ang' of speech/ang.*manifest.csv"):
        layout(tmp_path, "speech/ang/x.wav", "speech/sad/y.wav")
    with pytest.raises(ConfigurationError, match=r"holds loose\.wav beside the folders"):
        layout(tmp_path / "b", "loose.wav", "ang/x.wav")


def test_labels_of_other_scripts_in_whatever_form_the_disk_keeps_them(tmp_path):
    taken_apart = unicodedata.normalize("NFD", "분노")
    assert taken_apart != "분노"
    tone(tmp_path / taken_apart / "a.wav")
    tone(tmp_path / "悲しみ" / "b.wav")
    clips = read_dataset(tmp_path)
    assert {(clip.emotion, unicodedata.normalize("NFC", clip.label or "")) for clip in clips} == {
        ("anger", "분노"),
        ("sadness", "悲しみ"),
    }


def test_labels_that_are_numbers_are_explained_beside_the_data(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("id,path,label\nT1,./train/a.wav,0\nT2,./train/b.wav,1\n")
    with pytest.raises(
        UnknownLabelError, match=r"line 2: .*'0'.*labels\.csv \(label,emotion\) beside the data"
    ):
        read_dataset(table)
    (tmp_path / "labels.csv").write_text("label,emotion\n0,angry\n1,fear\n")
    assert [(clip.emotion, clip.label) for clip in read_dataset(table)] == [("anger", "0"), ("fear", "1")]
    assert label_meanings(tmp_path / "labels.csv") == {"0": "anger", "1": "fear"}
    (tmp_path / "labels.csv").write_text("label,emotion\n0,angry\n0,fear\n")
    with pytest.raises(ConfigurationError, match=r"line 3 says that '0' is fear, and an earlier line anger"):
        read_dataset(table)


def test_every_format_is_listed_and_decoded(tmp_path):
    samples = 0.3 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)[:, None]
    endings = {"wav": "wav", "flac": "flac", "mp3": "mp3", "m4a": "m4a", "ogg": "ogg-vorbis"}
    for ending, codec in endings.items():
        write_audio(tmp_path / "ang" / f"a.{ending}", samples, 16000, codec)
    kept, waves, skipped = load_clips(read_dataset(tmp_path), sampling_rate=16000)
    assert not skipped
    assert {clip.path.suffix for clip in kept} == {f".{ending}" for ending in endings}
    assert all(abs(len(wave) - 16000) < 2400 for wave in waves)


def test_a_csv_of_another_encoding_is_named(tmp_path):
    table = tmp_path / "list.csv"
    table.write_bytes("path,emotion\na.wav,분노\n".encode("cp949"))
    with pytest.raises(ConfigurationError, match=r"list\.csv is not UTF-8.*save it as UTF-8"):
        read_dataset(table)


def test_a_manifest_in_the_folder_wins(tmp_path):
    tone(tmp_path / "anger" / "a.wav")
    (tmp_path / "manifest.csv").write_text("path,emotion,speaker\nanger/a.wav,fear,s\n")
    assert [clip.emotion for clip in read_dataset(tmp_path)] == ["fear"]


@pytest.mark.parametrize("written", ["x\\a.wav", ".\\x\\a.wav", "x/a.wav", "x\\.\\a.wav"])
def test_paths_that_windows_wrote(tmp_path, written):
    tone(tmp_path / "x" / "a.wav")
    (tmp_path / "list.csv").write_text(f"path,emotion\n{written},sad\n")
    (clip,) = read_dataset(tmp_path / "list.csv")
    assert (clip.name, clip.path.is_file()) == ("x/a.wav", True)
    (tmp_path / "twice.csv").write_text("path,emotion\nx\\a.wav,sad\nx/a.wav,sad\n")
    with pytest.raises(ConfigurationError, match=r"lists x/a\.wav on lines 2 and 3"):
        read_dataset(tmp_path / "twice.csv")


def test_a_name_with_a_backslash_in_it_is_no_path_of_windows(tmp_path):
    tone(tmp_path / "x\\a.wav")
    (tmp_path / "list.csv").write_text("path,emotion\nx\\a.wav,sad\n")
    (clip,) = read_dataset(tmp_path / "list.csv")
    assert clip.path.is_file()


@pytest.mark.parametrize(
    "written", ["C:\\data\\a.wav", "c:/data/a.wav", "\\\\server\\share\\data\\a.wav", "\\data\\a.wav"]
)
def test_a_drive_or_a_server_of_windows_is_named(tmp_path, written):
    (tmp_path / "list.csv").write_text(f"path,emotion\n{written},sad\n")
    with pytest.raises(
        ConfigurationError, match=r"list\.csv line 2 names .*a path of a Windows machine; make it relative"
    ) as refused:
        read_dataset(tmp_path / "list.csv")
    assert written in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    (tmp_path / "list.csv").write_text("path,emotion\nx\\gone.wav,sad\n")
    with pytest.raises(ConfigurationError, match=r"the first, x/gone\.wav: there is no file .*x/gone\.wav"):
        load_clips(read_dataset(tmp_path / "list.csv"), sampling_rate=16_000)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("file,emotion\na.wav,sad\n", ConfigurationError, "expected one named file_path or path"),
        ("path,mood\na.wav,sad\n", ConfigurationError, "expected one named emotion or label"),
        ("path,emotion\n", ConfigurationError, "lists no clip"),
        ("path,emotion\na.wav,\n", ConfigurationError, "line 2 has path 'a.wav' and label ''"),
        ("path,emotion\na.wav,hungry\n", UnknownLabelError, "line 2: .*hungry"),
        ("", ConfigurationError, "has the columns none"),
        ("path,emotion\na.wav,sad\nb.wav,sad\na.wav,fear\n", ConfigurationError, "a.wav on lines 2 and 4"),
    ],
)
def test_a_broken_csv_is_refused(tmp_path, text, error, message):
    table = tmp_path / "list.csv"
    table.write_text(text)
    with pytest.raises(error, match=message):
        read_dataset(table)


def test_no_data_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="no file and no folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="lists no clip"):
        read_dataset(tmp_path)
    tone(tmp_path / "hungry" / "a.wav")
    with pytest.raises(UnknownLabelError, match="hungry"):
        read_dataset(tmp_path)


def test_clips_that_cannot_be_decoded_are_named_and_left_out(tmp_path):
    good = Clip("good", tone(tmp_path / "good.wav"), "anger", "c")
    (tmp_path / "bad.wav").write_bytes(b"RIFF nothing else")
    bad = Clip("bad", tmp_path / "bad.wav", "anger", "c")
    gone = Clip("gone", tmp_path / "gone.wav", "anger", "c")
    kept, waves, skipped = load_clips([bad, good, gone], sampling_rate=16000)
    assert kept == [good]
    assert [(wave.shape, wave.dtype) for wave in waves] == [((4800,), np.float32)]
    assert [skip.name for skip in skipped] == ["bad", "gone"]
    assert all(skip.reason for skip in skipped)
    with pytest.raises(ConfigurationError, match="none of 2 clips"):
        load_clips([bad, gone], sampling_rate=16000)


def test_the_speaker_split_needs_speakers():
    named = Clip("a", Path("a"), "anger", "c", speaker="s1")
    assert require_speakers([named, named]) == ["s1", "s1"]
    with pytest.raises(ConfigurationError, match=r"clip b has no speaker.*--split random"):
        require_speakers([named, Clip("b", Path("b"), "anger", "c")])


def test_the_hash_is_of_content_and_not_of_order():
    clips = [Clip(name, Path(name), "anger", "c", speaker="s") for name in "ab"]
    waves = [np.arange(5, dtype=np.float32), np.ones(3, dtype=np.float32)]
    same = data_hash(clips, waves)
    assert data_hash(clips[::-1], waves[::-1]) == same
    assert data_hash(clips, [waves[0], waves[1] * 2]) != same
    assert data_hash([clips[0], Clip("b", Path("b"), "fear", "c", speaker="s")], waves) != same


def test_the_shared_data_are_read_whole(shared_data):
    clips = read_dataset(shared_data)
    assert len(clips) == 1368
    assert len(set(require_speakers(clips))) == 24
    assert len({clip.emotion for clip in clips}) == 9
