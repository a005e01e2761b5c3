"""What is installed: every package, every data file, one top-level name, a command that starts light."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
HEAVY = ("torch", "prefect", "duckdb", "librosa", "matplotlib", "onnxruntime", "pyarrow")


def folders() -> dict[str, Path]:
    """Every package by its name, as the folders have it."""
    mapped = {name: ROOT / folder for name, folder in SETUPTOOLS["package-dir"].items()}
    return {
        ".".join([package, *file.parent.relative_to(folder).parts]): file.parent
        for package, folder in mapped.items()
        for file in folder.rglob("__init__.py")
    }


def test_the_list_of_packages_is_the_folders():
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders())


def test_every_data_file_is_taken_along():
    declared = SETUPTOOLS["package-data"]
    for package, folder in folders().items():
        taken = {path for pattern in declared.get(package, ()) for path in folder.glob(pattern)}
        left = {path for path in folder.iterdir() if path.is_file() and path.suffix != ".py"} - taken
        assert not left, f"{package} leaves behind {left}"


def test_no_folder_of_the_root_hides_the_installed_package():
    assert not (ROOT / "emolake").exists()


def test_every_module_has_the_name_that_the_map_gives():
    script = "import emolake.tasks.plan, emolake.flows, emolake.schemas.tables as t; print(t.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/", check=True)
    assert done.stdout == "emolake.schemas.tables\n"


@pytest.mark.parametrize("argument", ["--help", "nightly --help", "query --help"])
def test_help_loads_nothing_heavy(argument):
    script = (
        "import sys; from emolake.cli import app\n"
        f"sys.argv = ['emolake', *{argument.split()!r}]\n"
        "try:\n    app.main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        f"print('LOADED', *sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "LOADED"


def commands() -> list[str]:
    from emolake.cli.app import app

    return [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ]


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented_with_an_example(command):
    from emolake.cli.app import app

    assert f"`{command}" in (ROOT / "README.md").read_text("utf-8"), f"README.md does not name {command}"
    (entry,) = [
        each
        for each in app.registered_commands
        if (each.name or getattr(each.callback, "__name__", None)) == command
    ]
    assert re.match(rf"Example: `emolake {command}\b", entry.epilog or ""), (
        f"{command} has no example in its help"
    )


def test_the_script_is_installed():
    script = Path(sys.executable).parent / "emolake"
    done = subprocess.run(
        [str(script), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    for command in commands():
        assert re.search(rf"\b{command}\b", done.stdout)


def test_the_lock_pins_all_that_the_project_asks_for():
    def name(requirement: str) -> str:
        return re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")

    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+\-]+", pin) for pin in pins)
    asked = {
        name(each)
        for each in [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    }
    assert asked <= {name(pin) for pin in pins}


def test_every_statement_opens_with_what_a_row_means():
    for path in sorted((ROOT / "src/emolake/sql").glob("*.sql")):
        text = path.read_text("utf-8")
        assert text.startswith("-- "), f"{path.name} does not open with a comment"
        assert ";" not in re.sub(r"--.*", "", text), f"{path.name} holds more than one statement"


def test_no_module_is_too_long():
    for folder in ("src", "tasks", "flows", "schemas"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text("utf-8").splitlines()) <= 400, (
                f"{path.relative_to(ROOT)} is over 400 lines"
            )
