"""Trainings that are really killed, and interrupted, and resumed by the command that they name."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models.families.test_encoder_head import write_encoder
from pydantic import JsonValue
from typer.testing import CliRunner

from emolake.cli.app import app
from emolake.errors import ConfigurationError
from emolake.models.threads import one_thread
from emolake.training.training_run import Checkpoint, TrainingRun

from made_voices import write_voices

pytestmark = pytest.mark.slow

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "voices").mkdir()
    write_voices(folder / "voices", speakers=5, takes=2)
    write_encoder("Wav2Vec2-layer", folder / "encoder")
    return folder


def tuned(made: Path, out: Path) -> list[str]:
    return shlex.split(
        f"train --model wav2vec2_finetune --encoder {made / 'encoder'} --unfreeze-layers 1 --epochs 12 --batch 2 "
        f"--accumulate 2 --learning-rate 1e-3 --patience 12 --data {made / 'voices/list.csv'} --out {out} --device cpu"
    )


def networks(made: Path, out: Path) -> list[str]:
    return shlex.split(
        f"train --model logmel_cnn --folds 2 --epochs 10 --workers 2 --set members=1 --set network.channels=[4,6,8,8] "
        f"--set network.hidden=16 --set loop.batch=8 --data {made / 'voices/list.csv'} --out {out} --device cpu"
    )


def emolake(words: list[str]) -> "subprocess.Popen[str]":
    program = "import sys; from emolake.cli.app import main; sys.argv[0] = 'emolake'; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )


def invoke(words: list[str]) -> tuple[int, str]:
    """Run a command that is not to be killed, in this process, and return its exit status and errors."""
    result = CliRunner().invoke(app, words)
    error = result.exception
    if isinstance(error, ConfigurationError):
        return 2, str(error)
    assert result.exit_code == 0, result.output + repr(error)
    return 0, result.stderr


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """As many threads as the processes that are killed have."""
    with one_thread():
        yield


def stopped(words: list[str], out: Path, how: signal.Signals) -> "tuple[int, str]":
    """Start, wait until two epochs are done, send a signal, and return the exit status and errors."""
    process = emolake(words)
    until = time.monotonic() + 100
    while not any(epochs(path) >= 2 for path in (out / "checkpoints").glob("*.pt")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def epochs(path: Path) -> int:
    found = Checkpoint(path).read()
    return 0 if found is None else len(found["history"])


def outcome(folder: Path) -> tuple[dict[str, object], bytes, bytes]:
    """Return what must be the same, the history in the report with it."""
    results = json.loads((folder / "results.json").read_text())
    return results, (folder / "predictions.csv").read_bytes(), (folder / "report.md").read_bytes()


@pytest.mark.parametrize("words", [tuned, networks])
def test_a_killed_training_ends_as_the_one_that_was_not(
    words: Callable[[Path, Path], list[str]], made: Path, tmp_path: Path
) -> None:
    status, _ = stopped(words(made, tmp_path / "killed"), tmp_path / "killed", signal.SIGKILL)
    assert status == -signal.SIGKILL
    assert not (tmp_path / "killed/model.safetensors").exists()
    code, error = invoke(words(made, tmp_path / "killed"))
    assert code == 2
    assert "go on with it by --resume, or start again with --force" in error
    before = {path: epochs(path) for path in (tmp_path / "killed/checkpoints").glob("*.pt")}
    time.sleep(1)  # workers of a killed parent end too, or they would go on writing
    assert {path: epochs(path) for path in (tmp_path / "killed/checkpoints").glob("*.pt")} == before
    invoke([*words(made, tmp_path / "killed"), "--resume", "--workers", "1"])
    invoke([*words(made, tmp_path / "whole"), "--workers", "1"])
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "whole")
    assert re.search(
        r"was trained up to epoch \d+ by an earlier call", (tmp_path / "killed/train.log").read_text()
    )
    assert not (tmp_path / "killed/checkpoints").exists()


def test_ctrl_c_names_the_command_that_goes_on(made: Path, tmp_path: Path) -> None:
    status, errors = stopped(tuned(made, tmp_path / "out"), tmp_path / "out", signal.SIGINT)
    assert status == 130
    line = next(line for line in errors.splitlines() if "go on with: " in line)
    command = shlex.split(line.partition("go on with: ")[2])
    assert command == ["emolake", *tuned(made, tmp_path / "out"), "--resume"]
    assert "Traceback" not in errors
    code, error = invoke([*command[1:], "--seed", "5"])
    assert code == 2
    assert "seed was 0 and is now 5" in error
    invoke(command[1:])
    assert json.loads((tmp_path / "out/results.json").read_text())["clips"] == 4


def begun(out: Path, **identity: JsonValue) -> TrainingRun:
    run = TrainingRun.open(out, resume=False, force=False, seed=1)
    run.begin({"seed": 1, **identity}, resume=False)
    return run


def test_a_folder_belongs_to_one_training(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no training, so there is nothing to resume"):
        TrainingRun.open(tmp_path / "new", resume=True, force=False, seed=1)
    run = begun(tmp_path / "out", recipe={"a": 1})
    run.checkpoint("fit-0").write({"epoch": 3})
    with pytest.raises(ConfigurationError, match="was not finished; go on with it by --resume"):
        TrainingRun.open(tmp_path / "out", resume=False, force=False, seed=1)
    again = TrainingRun.open(tmp_path / "out", resume=True, force=False, seed=1)
    with pytest.raises(
        ConfigurationError, match=r"was another one: recipe was \{'a': 1\} and is now \{'a': 2\}"
    ):
        again.begin({"seed": 1, "recipe": {"a": 2}}, resume=True)
    again.begin({"seed": 1, "recipe": {"a": 1}}, resume=True)
    assert again.checkpoint("fit-0").read() == {"epoch": 3}
    forced = TrainingRun.open(tmp_path / "out", resume=False, force=True, seed=1)
    forced.begin({"seed": 2}, resume=False)
    assert forced.checkpoint("fit-0").read() is None
    (tmp_path / "out/results.json").write_text("{}")
    forced.finish()
    with pytest.raises(ConfigurationError, match=r"holds a finished training \(results.json\)"):
        TrainingRun.open(tmp_path / "out", resume=False, force=False, seed=1)
    with pytest.raises(ConfigurationError, match="holds a finished training, so there is nothing to resume"):
        TrainingRun.open(tmp_path / "out", resume=True, force=False, seed=1)
    with pytest.raises(ConfigurationError, match="contradict"):
        TrainingRun.open(tmp_path / "out", resume=True, force=True, seed=1)
    with pytest.raises(ConfigurationError, match="is a file"):
        TrainingRun.open(tmp_path / "out/results.json", resume=False, force=False, seed=1)


def test_a_folder_has_one_training_at_a_time(tmp_path: Path) -> None:
    run = begun(tmp_path / "out")
    other = TrainingRun.open(tmp_path / "out", resume=False, force=True, seed=2)
    with (
        run.locked(),
        pytest.raises(ConfigurationError, match="another training is writing to .*--out"),
        other.locked(),
    ):
        pass
    with other.locked():
        other.begin({"seed": 2}, resume=False)


def test_a_broken_checkpoint_is_named(tmp_path: Path) -> None:
    run = begun(tmp_path / "out")
    (tmp_path / "out/checkpoints/fit-0.pt").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(ConfigurationError, match=r"fit-0.pt cannot be read .* --force"):
        run.checkpoint("fit-0").read()
