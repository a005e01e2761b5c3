"""Clips that trained a model are found again, whatever they are called now, and said so wherever figures are."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.demo.encode import write_audio
from emolake.errors import ConfigurationError
from emolake.evaluation.evaluate import evaluate, training_speakers
from emolake.evaluation.training_audio import AUDIO_FILE, audio_hash, known_audio, path_hash
from emolake.settings import Settings
from emolake.training.train import train

from made_voices import utterance, write_voices

MLP: dict[str, Any] = {
    "model": "mfcc_mlp",
    "options": {"loop.epochs": 2, "augment.copies": 0},
    "device": "cpu",
}


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voices(tmp_path_factory.mktemp("voices"), speakers=5, takes=2)


@pytest.fixture(scope="module")
def trained(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one split: 16 clips of 4 speakers trained or stopped it, 4 of one did not."""
    out = tmp_path_factory.mktemp("runs") / "model"
    train(**MLP, data=voices, split="speaker", out=out, folds=1)
    return out


def wave(samples: int = 8_000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, samples).astype(np.float32)


def in_16_bits(samples: np.ndarray) -> np.ndarray:
    return (np.rint(samples * 32_768) / 32_768).astype(np.float32)


def listed(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    with (folder / "list.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([("path", "emotion", "speaker"), *rows])
    return folder / "list.csv"


@pytest.mark.parametrize(
    "subtype_and_name",
    [("PCM_16", "a.wav"), ("PCM_24", "a.wav"), ("FLOAT", "a.wav"), ("DOUBLE", "a.wav"), ("PCM_16", "a.flac"),
     ("PCM_24", "a.flac"), ("PCM_16", "a.aiff"), ("PCM_16", "a.w64"), ("PCM_16", "a.rf64"), ("PCM_16", "a.caf")],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2])
def test_a_copy_in_any_lossless_container_is_found(
    tmp_path: Path, subtype_and_name: tuple[str, str], channels: int
) -> None:
    subtype, name = subtype_and_name
    samples = in_16_bits(wave())
    soundfile.write(tmp_path / name, np.stack([samples] * channels, axis=1), 16_000, subtype)
    assert path_hash(tmp_path / name) == audio_hash(samples)


def test_what_is_not_found_is_what_the_documentation_says(tmp_path: Path) -> None:
    samples = in_16_bits(wave(16_000))
    own = audio_hash(samples)
    write_audio(tmp_path / "a.mp3", samples[:, None], 16_000, "mp3")
    soundfile.write(tmp_path / "slow.wav", samples, 8_000)
    others = [path_hash(tmp_path / "a.mp3"), path_hash(tmp_path / "slow.wav"), audio_hash(samples / 2)]
    assert own not in [*others, audio_hash(samples[1:]), audio_hash(np.append(samples, 0))]


@given(st.integers(1, 400), st.integers(0, 9), st.integers(0, 9))
def test_the_hash_is_of_16_bit_samples_and_of_each(size: int, seed: int, place: int) -> None:
    samples = in_16_bits(wave(size, seed))
    beyond = samples + np.float32(0.4 / 32_768)
    changed = samples.copy()
    changed[place % size] += np.float32(1 / 32_768)
    assert audio_hash(samples) == audio_hash(beyond) != audio_hash(changed)


def test_silence_and_what_cannot_be_decoded_are_nobodys(tmp_path: Path) -> None:
    (tmp_path / "junk.wav").write_bytes(b"RIFF")
    assert audio_hash(np.zeros(100)) is audio_hash(np.zeros(0)) is None
    assert path_hash(tmp_path / "junk.wav") is path_hash(tmp_path / "gone.wav") is None


def test_a_training_keeps_the_hashes_and_nothing_else(trained: Path, voices: Path) -> None:
    kept = json.loads((trained / AUDIO_FILE).read_text())
    assert len(kept["clips"]) == 16
    assert kept["clips"] == sorted(kept["clips"])
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in kept["clips"])
    assert set(kept) == {"hash", "clips"}
    everything = train(**MLP, data=voices, split="speaker", out=trained.parent / "all", folds=3)
    assert len(json.loads((everything.folder / AUDIO_FILE).read_text())["clips"]) == 20


def evaluated(model: Path, data: Path, out: Path) -> dict[str, Any]:
    entry = Settings().registry.entry_or_folder(str(model))
    return evaluate(entry=entry, settings=Settings(), data=data, out=out)


def test_clips_that_trained_the_model_are_counted_and_left_out_of_further_figures(
    trained: Path, voices: Path, tmp_path: Path
) -> None:
    results = evaluated(trained, voices, tmp_path / "out")
    assert (results["clips"], results["clips_in_training"]) == (20, 16)
    assert results["of_clips_in_training"]["clips"] == 16
    assert results["of_new_clips"]["clips"] == 4
    assert "16 of 20 clips trained the model" in results["remarks"][0]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "16 of 20 clips trained the model" in report
    assert "Only clips that did not train the model: unweighted average recall" in report


def test_it_is_loud_on_the_command_line_under_other_names_and_speakers(
    trained: Path, voices: Path, tmp_path: Path
) -> None:
    (tmp_path / "copies").mkdir()
    rows = []
    with voices.open() as lines:
        for number, row in enumerate(csv.DictReader(lines)):
            if row["file_path"] != "broken.wav":
                samples, rate = soundfile.read(voices.parent / row["file_path"])
                soundfile.write(tmp_path / "copies" / f"{number}.flac", samples, rate)
                rows.append((f"{number}.flac", row["emotion"], f"other-{row['speaker']}"))
    data = listed(tmp_path / "copies", rows)
    words = ["evaluate", "--model", str(trained), "--data", str(data), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "model on 20 clips (16 OF WHICH TRAINED THE MODEL): unweighted average recall" in done.stdout
    assert "\nwithout those: unweighted average recall" in done.stdout
    assert "16 of 20 clips trained the model: such figures say how well it remembers" in done.stderr
    kept = set(json.loads((trained / AUDIO_FILE).read_text())["clips"])
    old = listed(
        tmp_path / "copies", [row for row in rows if path_hash(tmp_path / "copies" / row[0]) in kept]
    )
    words[4] = str(old)
    done = CliRunner().invoke(app, words)
    assert "model on 16 clips (ALL OF WHICH TRAINED THE MODEL): unweighted" in done.stdout
    assert "without those" not in done.stdout
    compared = CliRunner().invoke(app, ["compare", str(tmp_path / "out")])
    assert "out: 16 of 16 clips trained the model" in compared.stderr


def test_new_clips_leave_it_quiet(trained: Path, tmp_path: Path) -> None:
    for emotion in ("angry", "sad"):
        soundfile.write(tmp_path / f"{emotion}.wav", utterance(9, emotion, 7), 16_000)
    data = listed(tmp_path, [("angry.wav", "angry", "new"), ("sad.wav", "sad", "new")])
    results = evaluated(trained, data, tmp_path / "out")
    assert results["clips_in_training"] == 0
    assert not [remark for remark in results["remarks"] if "train" in remark]
    assert "of_new_clips" not in results


def test_a_folder_without_hashes_says_so_and_a_broken_file_is_named(
    trained: Path, voices: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "model"))
    (folder / AUDIO_FILE).write_text("{}")
    with pytest.raises(ConfigurationError, match=r"training_audio\.json is not what `emolake train` writes"):
        evaluated(folder, voices, tmp_path / "out")
    (folder / AUDIO_FILE).unlink()
    results = evaluated(folder, voices, tmp_path / "out")
    assert results["clips_in_training"] is None
    assert "keeps no hashes of its training audio" in results["remarks"][0]


def test_an_ensemble_was_trained_on_what_its_members_were(
    trained: Path, voices: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    (other / AUDIO_FILE).unlink()
    models = {
        "one": {"path": str(other)},
        "two": {"path": str(trained)},
        "both": {"family": "ensemble", "members": ["one", "two"]},
    }
    registry = Settings(models=models).registry
    assert known_audio(registry.entry("one")) is None
    assert len(known_audio(registry.entry("both")) or ()) == 16
    assert training_speakers(registry.entry("both")) == training_speakers(registry.entry("two"))


def test_clips_of_one_audio_in_the_test_data_are_named(trained: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "b.flac"):
        soundfile.write(tmp_path / name, in_16_bits(utterance(9, "angry", 7)), 16_000, "PCM_16")
    data = listed(tmp_path, [("a.wav", "angry", "x"), ("b.flac", "angry", "y")])
    results = evaluated(trained, data, tmp_path / "out")
    assert results["same_audio"] == [["a.wav", "b.flac"]]
    assert "clips that are the same audio count as several: 1 pair (a.wav and b.flac)" in results["remarks"]


def with_a_copy(folder: Path, speaker: str) -> Path:
    """Write voices of which one has a copy under a speaker's name."""
    data = write_voices(folder, speakers=5, takes=2)
    soundfile.write(folder / "copy.flac", soundfile.read(folder / "0-angry-0.wav")[0], 16_000)
    with data.open("a") as lines:
        lines.write(f"copy.flac,angry,{speaker}\n")
    return data


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("split", ["speaker", "random"])
def test_one_audio_under_two_speakers_is_refused(tmp_path: Path, split: str, folds: int) -> None:
    data = with_a_copy(tmp_path, "speaker-4")
    for seed in range(3):
        with pytest.raises(ConfigurationError) as refused:
            train(**MLP, data=data, split=split, out=tmp_path / "out", folds=folds, seed=seed)
        message = str(refused.value)
        assert f"{tmp_path / '0-angry-0.wav'} and {tmp_path / 'copy.flac'} are the same audio" in message
        assert "two speakers for it, speaker-0 and speaker-4" in message
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("split", "named"), [("random", True), ("speaker", False)])
def test_two_names_of_one_voices_audio_are_named_where_a_split_divides_them(
    tmp_path: Path, split: str, named: bool
) -> None:
    data = with_a_copy(tmp_path, "speaker-0")
    train(**MLP, data=data, split=split, out=tmp_path / "out", folds=3)
    message = f"{tmp_path / '0-angry-0.wav'} and {tmp_path / 'copy.flac'} are the same audio, and one trains"
    assert (message in (tmp_path / "out" / "train.log").read_text()) == named
