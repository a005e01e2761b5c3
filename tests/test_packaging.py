"""What is installed: every package, every data file, one top-level name, a command that starts light."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
# The lock that the tests of an extra run with; make test-extras keeps SpeechBrain apart.
LOCKS = {
    "dashboard": "requirements-dashboard.lock",
    "dev": "requirements.lock",
    "emotion2vec": "requirements-families.lock",
    "keras": "requirements-families.lock",
    "opensmile": "requirements-families.lock",
    "pandas": "requirements.lock",
    "polars": "requirements.lock",
    "ray": "requirements-ray.lock",
    "speechbrain": "requirements-extras.lock",
    "telemetry": "requirements.lock",
    "yamnet": "requirements-families.lock",
}
HEAVY = ("torch", "prefect", "duckdb", "librosa", "matplotlib", "onnxruntime", "pyarrow")


def folders() -> dict[str, Path]:
    """Every package by its name, as the folders have it."""
    mapped = {name: ROOT / folder for name, folder in SETUPTOOLS["package-dir"].items()}
    return {
        ".".join([package, *file.parent.relative_to(folder).parts]): file.parent
        for package, folder in mapped.items()
        for file in folder.rglob("__init__.py")
    }


def files_of(folder: Path) -> list[Path]:
    """Every file of a package, those of folders without code included."""
    inner = [path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"]
    data = [path for path in inner if not (path / "__init__.py").exists()]
    return [path for each in (folder, *data) for path in each.iterdir() if path.is_file()]


def test_the_list_of_packages_is_the_folders():
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders())


def test_every_data_file_is_taken_along():
    declared = SETUPTOOLS["package-data"]
    for package, folder in folders().items():
        taken = {path for pattern in declared.get(package, ()) for path in folder.glob(pattern)}
        left = {path for path in files_of(folder) if path.suffix != ".py"} - taken
        assert not left, f"{package} leaves behind {left}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of emolake, built from a copy: a build would write over the links of the strict editable install."""
    copy, built = tmp_path_factory.mktemp("checkout"), tmp_path_factory.mktemp("dist")
    for name in ("src", "tasks", "flows", "schemas"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    script = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(built)], cwd=copy, check=True)
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_has_one_top_level_name_and_every_file_of_the_packages(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"emolake"}
    assert names == {
        "/".join([*package.split("."), *path.relative_to(folder).parts])
        for package, folder in folders().items()
        for path in files_of(folder)
    }


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command, installed from the wheel into an environment of its own, outside of the checkout.

    Its dependencies are those of this environment, whose files it sees: a full installation takes minutes.
    """
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    install = ["pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)
    (own,) = (home / "lib").glob("python*/site-packages")
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return home / "bin" / "emolake"


def outside(command: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the installed command where nothing of the checkout is at hand."""
    names = ("PYTHONPATH", "EMOLAKE_CONFIG", "PREFECT_API_URL", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment["PATH"] = f"{command.parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        [command, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=250, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def test_the_wheel_works_outside_of_a_checkout(installed, tmp_path):
    script = "import emolake, pathlib; print(pathlib.Path(emolake.__file__).parent)"
    place = outside(installed.with_name("python"), "-c", script, cwd=tmp_path).stdout.strip()
    assert Path(place).is_relative_to(installed.parents[1])
    shown = outside(installed, "--help", cwd=tmp_path).stdout
    assert all(re.search(rf"\b{command}\b", shown) for command in commands())
    outside(installed, "init", cwd=tmp_path)
    assert (tmp_path / "emolake.toml").is_file()
    models = outside(installed, "models", cwd=tmp_path).stdout
    assert re.search(r"default .* neutral", models)
    assert "unusable" not in models


@pytest.mark.slow
def test_the_demo_runs_outside_of_a_checkout(installed, tmp_path):
    done = outside(installed, "demo", "--nights", "1", cwd=tmp_path)
    assert "2026-11-20" in done.stdout
    assert "anger" in done.stdout
    assert (tmp_path / "demo" / "report.html").is_file()
    assert "\n   emolake query " in done.stderr
    outside(installed, "publish", "--config", "demo/emolake.toml", cwd=tmp_path)
    assert (tmp_path / "demo" / "analytics.duckdb").is_file()


def test_the_wheel_carries_the_licences_of_the_code_the_weights_and_the_charting_library(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        fields = HeaderParser().parsestr(archive.read(metadata).decode())
        licences = {
            file: archive.read(metadata.replace("METADATA", f"licenses/{file}")).decode()
            for file in fields.get_all("License-File", ())
        }
        beside = {
            name: archive.read(name).decode() for name in archive.namelist() if name.endswith("/LICENSE")
        }
    assert fields["License-Expression"] == "Apache-2.0"
    models, library = "src/emolake/models", "src/emolake/report/library"
    assert set(licences) == {
        "LICENSE", f"{models}/default/LICENSE", f"{models}/default/encoder/LICENSE", f"{models}/small/LICENSE",
        f"{library}/LICENSE-d3", f"{library}/LICENSE-plot",
    }  # fmt: skip
    assert "Apache License" in licences["LICENSE"]
    for name in ("default/LICENSE", "default/encoder/LICENSE", "small/LICENSE"):
        assert licences[f"{models}/{name}"] == beside[f"emolake/models/{name}"]
    for named in ("CC BY-NC-SA 4.0", "RAVDESS", "EmoDB", "nEMO", "MIT"):
        assert named in licences[f"{models}/default/LICENSE"]
    assert "OpenAI" in licences[f"{models}/default/encoder/LICENSE"]
    assert all("Copyright" in text for name, text in licences.items() if name.startswith(library))


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

    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert f"\n## {command}\n" in page, "run: python -m tools.docs_reference"
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


def pins(lock: str) -> dict[str, str]:
    """The version of each package in a lock file, by the package's canonical name."""
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+\-]+", pin) for pin in pinned)
    return {canonicalize_name(name): version for name, version in (pin.split("==") for pin in pinned)}


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        pytest.param(lock, asked, id=extra)
        for extra, lock, asked in [
            ("the project", "requirements.lock", PROJECT["project"]["dependencies"]),
            *(
                (extra, LOCKS[extra], asked)
                for extra, asked in PROJECT["project"]["optional-dependencies"].items()
            ),
        ]
    ],
)
def test_the_lock_pins_a_version_within_every_range(lock, requirements):
    pinned = pins(lock)
    for requirement in map(Requirement, requirements):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{lock} does not pin {requirement.name}"
        assert version in requirement.specifier, f"{lock} pins {requirement.name}=={version}: {requirement}"


def test_help_names_every_target_with_what_it_does():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.findall(r"^([a-z][a-z-]*):(?!=)", makefile, re.MULTILINE)
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets[0] == "help", "plain `make` shows the help"
    assert sorted(targets) == sorted(phony.split())
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [re.fullmatch(r"make (\S+) +(\S.*)", line) for line in printed.splitlines()]
    assert [line and line[1] for line in lines] == targets
    assert len({line.start(2) for line in lines if line}) == 1, "the descriptions are not aligned"
    assert printed in (ROOT / "CONTRIBUTING.md").read_text("utf-8"), "CONTRIBUTING.md shows another help"


def test_the_citation_and_the_changelog_name_the_version():
    version = re.escape(PROJECT["project"]["version"])
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert re.search(
        rf"^## {version} - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )


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
