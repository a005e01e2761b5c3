"""Ask a package index whether the version ranges of pyproject.toml resolve on every Python that its classifiers name.

`make resolve` runs this with a pip of its own. pip's dry runs install nothing, and read the metadata of wheels without
downloading them where the index allows. Only wheels count: those of CPython on x86-64 Linux with glibc 2.28 or newer.
The exit code is 1 when the project, with what its tests need, does not resolve on one of the Pythons.
"""

import json
import re
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
PLATFORMS = (*(f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)), "manylinux2014_x86_64")
# Their wheels for Linux ask for gigabytes of CUDA: an empty wheel takes the place of each, and the index is asked
# only whether it has real ones.
STAND_INS = ("torch", "torchaudio")
# With --python-version pip chooses wheels for another Python, yet it evaluates environment markers for its own.
_PIP = """
import sys
from pip._vendor.packaging import markers
here, python = markers.default_environment(), sys.argv.pop(1)
there = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": "x86_64",
         "platform_system": "Linux", "sys_platform": "linux"}
markers.default_environment = lambda: here | there
from pip._internal.cli.main import main
sys.exit(main())
"""


@dataclass(frozen=True)
class Resolution:
    """What pip answers for one Python: the version of each package by its canonical name, or what blocks."""

    versions: Mapping[str, str]
    blocked: str = ""

    @property
    def outcome(self) -> str:
        """Whether it resolves, in words."""
        return f"blocked: {self.blocked}" if self.blocked else "resolves"


def canonical(name: str) -> str:
    """Return the name of a package as indexes compare it.

    >>> canonical("Ruamel.yaml_clib")
    'ruamel-yaml-clib'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, str]:
    """Return the versions that a lock file pins, by canonical name.

    >>> locked("# a comment\\nPyYAML==6.0.3\\n")
    {'pyyaml': '6.0.3'}
    """
    pins = (line.split("==") for line in text.splitlines() if "==" in line and not line.startswith("#"))
    return {canonical(name): version for name, version in pins}


def stand_in(folder: Path, name: str, version: str, requires: Iterable[str] = ()) -> Path:
    """Write a wheel that holds nothing but its metadata, and return its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {each}" for each in requires),
    ]
    kind = ["Wheel-Version: 1.0", "Generator: resolve", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    with zipfile.ZipFile(path, "w") as wheel:
        for file, lines in {"METADATA": about, "WHEEL": kind, "RECORD": []}.items():
            wheel.writestr(f"{name}-{version}.dist-info/{file}", "".join(f"{line}\n" for line in lines))
    return path


def pip(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of pip as if it ran on another Python, such as "3.13"."""
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    options += [f"--platform={platform}" for platform in PLATFORMS]
    return subprocess.run(
        [sys.executable, "-c", _PIP, python, *arguments, *options],
        capture_output=True,
        text=True,
        check=False,
    )


def resolve(python: str, requirements: Iterable[str], stand_ins: Iterable[Path] = ()) -> Resolution:
    """Return the versions that pip would install on a Python, or the package that leaves it without an answer."""
    with TemporaryDirectory() as folder:
        report, constraints = Path(folder) / "report.json", Path(folder) / "constraints.txt"
        constraints.write_text(
            "".join(f"{path.name.split('-')[0]} @ {path.as_uri()}\n" for path in stand_ins)
        )
        done = pip(
            python,
            *("install", "--dry-run", "--ignore-installed", "--use-feature=fast-deps"),
            # Older pips take wheels for another Python only into a target, which a dry run leaves empty.
            *(f"--report={report}", f"--constraint={constraints}", f"--target={folder}", *requirements),
        )
        if done.returncode:
            return Resolution({}, blocker(done.stdout + done.stderr))
        found = [each["metadata"] for each in json.loads(report.read_text("utf-8"))["install"]]
    return Resolution({canonical(each["name"]): each["version"] for each in found})


def blocker(output: str) -> str:
    """Return what of pip's output names the package that blocks.

    >>> blocker("ERROR: Could not find a version\\nERROR: No matching distribution found for jieba (from funasr)\\n")
    'No matching distribution found for jieba (from funasr)'
    """
    named = re.findall(r"^ERROR: (No matching distribution.*|Cannot install.*)$", output, re.MULTILINE)
    causes = re.findall(r"^ {4}(.* depends on .*|The user requested .*)$", output, re.MULTILINE)
    return "; ".join([*named, *causes]) or output.strip()


def wheels(python: str, name: str) -> list[str]:
    """Return the versions of a package that have a wheel for a Python, the newest first."""
    done = pip(python, "index", "versions", name, "--json")
    versions: list[str] = json.loads(done.stdout)["versions"] if done.returncode == 0 else []
    return versions


def differences(found: Mapping[str, str], lock: Mapping[str, str]) -> Iterator[str]:
    """Yield a line on each way in which a resolution is not the lock, and one on how much of it is."""
    other = sorted(name for name in found.keys() & lock.keys() if found[name] != lock[name])
    more = sorted(found.keys() - lock.keys())
    less = sorted(lock.keys() - found.keys())
    same = len(found.keys() & lock.keys()) - len(other)
    yield f"{same} package{'' if same == 1 else 's'} as in requirements.lock"
    if other:
        yield f"{len(other)} other: " + ", ".join(f"{name} {lock[name]} -> {found[name]}" for name in other)
    if more:
        yield f"{len(more)} more: " + ", ".join(f"{name} {found[name]}" for name in more)
    if less:
        yield f"{len(less)} in the lock only: " + ", ".join(less)


def check(python: str, project: Mapping[str, Any], lock: Mapping[str, str]) -> tuple[bool, str]:
    """Return whether the project resolves on a Python, and what there is to say of it and of each extra."""
    dependencies: list[str] = project["dependencies"]
    extras: dict[str, list[str]] = dict(project["optional-dependencies"])
    offered = {name: wheels(python, name) for name in STAND_INS}
    with TemporaryDirectory() as folder:
        stand_ins = [
            stand_in(Path(folder), name, lock.get(name, next(iter(versions), "0")))
            for name, versions in offered.items()
        ]
        found = resolve(python, [*dependencies, *extras.pop("dev")], stand_ins)
        beside = {extra: resolve(python, [*dependencies, *more], stand_ins) for extra, more in extras.items()}
    lines = [] if found.blocked else list(differences(found.versions, lock))
    for name, versions in offered.items():
        lines.append(
            f"{name}: wheels of {', '.join(versions[:3]) or 'no version'}; its own needs are left out"
        )
    lines += [f"with {extra}: {each.outcome}" for extra, each in beside.items()]
    wrapped = [textwrap.fill(line, 110, initial_indent="  ", subsequent_indent="      ") for line in lines]
    return not found.blocked, "\n".join([f"Python {python}: {found.outcome}", *wrapped])


def main() -> int:
    """Check the Pythons of the classifiers side by side, and print what was found in their order."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lock = locked((ROOT / "requirements.lock").read_text("utf-8"))
    pythons = re.findall(r"Python :: (3\.\d+)$", "\n".join(project["classifiers"]), re.MULTILINE)
    whole = True
    with ThreadPoolExecutor(len(pythons)) as pool:
        for resolves, text in pool.map(lambda python: check(python, project, lock), pythons):
            print(text, flush=True)
            whole &= resolves
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
