"""The options of `emolake train`: what they set, and what is refused."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from models.families.test_encoder_head import write_encoder
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.errors import ConfigurationError
from emolake.training.presets import PRESETS
from emolake.training.trainer import find_trainer, with_options
from emolake.training.trainer_names import TRAINERS

from made_voices import write_voices


def invoke(*words):
    return CliRunner().invoke(app, ["train", *words])


def test_the_help_lists_every_name_and_imports_nothing_heavy():
    program = (
        "import sys; from emolake.cli.app import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "print('HEAVY', sorted({'torch', 'numpy', 'prefect', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=True,
    )
    *names, last = TRAINERS
    assert f"{', '.join(names)} or {last}." in done.stdout
    assert "HEAVY []" in done.stdout


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("model", ["wav2vec2_finetune", "hf_finetune"])
def test_a_preset_fits_and_makes_the_same_step(preset, model):
    loop = with_options(model, find_trainer(model).recipe, PRESETS[preset]).loop
    assert loop.batch * loop.accumulate == 16


def test_named_options_win_over_a_preset_and_set_over_both(tmp_path):
    data = write_voices(tmp_path, speakers=5, takes=1)
    write_encoder("Wav2Vec2-layer", tmp_path / "encoder")
    result = invoke(
        "--model", "wav2vec2_finetune", "--encoder", str(tmp_path / "encoder"), "--data", str(data), "--preset",
        "80gb", "--batch", "2", "--precision", "fp32", "--unfreeze-layers", "1", "--epochs", "3", "--max-duration",
        "1.5", "--no-augment", "--noise-reduction", "--set", "loop.epochs=1", "--set", "loop.schedule=plateau",
        "--out", str(tmp_path / "out"), "--split", "random",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["options"] == {
        "encoder": str(tmp_path / "encoder"), "unfreeze_layers": 1, "max_duration_s": 1.5, "augment.chance": 0.0,
        "augment.noise_reduction": True, "loop.epochs": 1, "loop.batch": 2, "loop.accumulate": 1,
        "loop.schedule": "plateau",
    }  # fmt: skip
    assert results["speakers_leak"] is True
    assert [part["part"] for part in results["clips_by_part"]] == ["one split"]
    assert "split at random" in (tmp_path / "out/README.md").read_text()
    card = (tmp_path / "out/README.md").read_text()
    assert """--set 'loop.schedule="plateau"'""" in card
    assert "flatters" in (tmp_path / "out/train.log").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "3gb"), "no preset '3gb'; known are 8gb, 16gb, 24gb, 80gb"),
        (("--set", "loop.epochs"), "--set loop.epochs has no value"),
        (("--encoder", "x/y"), "mfcc_mlp has no option 'encoder'"),
        (("--preset", "24gb"), "mfcc_mlp has no option 'checkpointing'"),
        (("--epochs", "0"), "loop.epochs"),
    ],
)
def test_wrong_options_are_refused(words, message, tmp_path):
    result = invoke("--model", "mfcc_mlp", "--data", str(tmp_path), "--out", str(tmp_path / "out"), *words)
    assert isinstance(result.exception, ConfigurationError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_training_ends_with_its_figures_their_place_and_what_is_next(tmp_path):
    data = write_voices(tmp_path, speakers=3, takes=2)
    out = tmp_path / "my runs"
    result = invoke(
        "--model", "mfcc_mlp", "--data", str(data), "--out", str(out), "--epochs", "3", "--no-augment"
    )
    assert result.exit_code == 0, result.output
    results = json.loads((out / "results.json").read_text())
    assert results["folds"] == 3
    low, high = results["confidence_intervals"]["uar"]
    line = f"mfcc_mlp on 12 clips: unweighted average recall {results['uar']:.3f} [{low:.3f}, {high:.3f}], accuracy"
    assert result.stdout.startswith(line)
    assert (
        f"wrote {out}: the figures are in report.md and results.json, the card is README.md" in result.stderr
    )
    assert "3 folds instead of 4, because there are no more speakers" in (out / "train.log").read_text()
    command = result.stderr[result.stderr.index("emolake evaluate") :].replace("NEW.csv", str(data))
    again = CliRunner().invoke(app, shlex.split(command)[1:])
    assert again.exit_code == 0, again.output
    assert "model on" not in again.stdout
    assert "12 clips (ALL OF WHICH TRAINED THE MODEL)" in again.stdout
    refused = invoke("--model", "mfcc_mlp", "--data", str(data), "--out", str(tmp_path / "b"), "--folds", "4")
    assert "4 folds cannot be made of 3 speakers; ask for 2 to 3 folds" in str(refused.exception)


def test_a_small_training_leaves_its_warm_up(tmp_path):
    data = write_voices(tmp_path, speakers=5, takes=9)
    result = invoke(
        "--model",
        "mfcc_mlp",
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
        "--no-augment",
        "--folds",
        "1",
    )
    assert result.exit_code == 0, result.output
    rates = [float(line.rpartition(" ")[2]) for line in (tmp_path / "out/train.log").open() if "rate" in line]
    highest = rates.index(max(rates))
    assert max(rates) == pytest.approx(1e-3, rel=0.05)
    assert min(rates[highest:]) < max(rates)
