"""Families of other distributions: they are found, predict and are listed; what cannot be is named with its owner."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from emolake.demo.encode import write_audio
from emolake.models.known_families import FAMILIES, family_names

DOCUMENT = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")


def install(site: Path, name: str, *points: str) -> None:
    """Write what an installer leaves of a distribution."""
    folder = site / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("\n".join(["[emolake.families]", *points, ""]))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder of installed distributions with the family of docs/models.md, registered as is shown there."""
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    (toml,) = re.findall(r"```toml\n(\[project.*?)```", DOCUMENT, re.DOTALL)
    points = tomllib.loads(toml)["project"]["entry-points"]["emolake.families"]
    install(tmp_path / "site", "emolake-loudness", *(f"{name} = {value}" for name, value in points.items()))
    (tmp_path / "site" / "loudness.py").write_text(code, "utf-8")
    return tmp_path / "site"


def emolake(site: Path, *arguments: str, models: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line with the distributions of a site, and these entries of [models]."""
    config = site.parent / "emolake.toml"
    config.write_text(
        f'[segmentation]\nmin_speech_ratio = 0.0\n[inference]\ndevice = "cpu"\n{models}', "utf-8"
    )
    command = "from emolake.cli.app import main; main()"
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-c", command, *arguments, "--config", str(config)],
        env=os.environ | {"PYTHONPATH": path, "COLUMNS": "200"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


LOUD = '[models.loud]\nfamily = "loudness"\nthreshold = 0.05\n'


def test_a_family_of_another_distribution_predicts(site: Path, tmp_path: Path) -> None:
    for name, level in (("quiet", 0.01), ("loud", 0.5)):
        samples = np.random.default_rng(0).uniform(-level, level, (16_000, 1)).astype(np.float32)
        write_audio(tmp_path / f"{name}.wav", samples, 16_000, "wav")
    files = [str(tmp_path / f"{name}.wav") for name in ("quiet", "loud")]
    done = emolake(site, "predict", *files, "--model", "loud", "--format", "csv", models=LOUD)
    assert done.returncode == 0, done.stderr
    header, quiet, loud = (line.split(",") for line in done.stdout.splitlines())
    label = header.index("label")
    assert (quiet[label], loud[label]) == ("neutral", "anger")


def test_the_models_of_it_are_listed(site: Path) -> None:
    done = emolake(site, "models", models=LOUD)
    assert re.search(r"loud +.*loudness +.*neutral, anger", done.stdout), done.stdout


def test_an_unknown_family_names_it_among_the_known(site: Path) -> None:
    done = emolake(site, "predict", "a.wav", "--model", "mine", models='[models.mine]\nfamily = "oracle"\n')
    assert done.returncode == 2
    assert f"expected one of {', '.join(sorted([*FAMILIES, 'loudness']))}" in done.stderr


def refused(site: Path, family: str) -> str:
    """Return the message with which a model of a family is refused."""
    models = f'[models.mine]\nfamily = "{family}"\n'
    done = emolake(site, "predict", "a.wav", "--model", "mine", models=models)
    assert done.returncode == 2, done.stderr
    return " ".join(done.stderr.split())


def test_the_name_of_a_built_in_family_cannot_be_taken(site: Path) -> None:
    install(site, "emolake-better", "s3prl = loudness:Loudness")
    message = refused(site, "s3prl")
    assert (
        "the family 's3prl' is registered by emolake and by emolake-better; uninstall emolake-better"
        in message
    )


def test_a_name_that_two_distributions_take_is_refused(site: Path) -> None:
    install(site, "emolake-shout", "loudness = loudness:Loudness")
    message = refused(site, "loudness")
    assert re.search(
        "'loudness' is registered by emolake-(loudness|shout) and by emolake-(loudness|shout)", message
    )


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ("broken = nowhere.at_all:Family", "emolake-broken cannot be imported from nowhere.at_all:Family"),
        ("broken = loudness:Nobody", "emolake-broken cannot be imported from loudness:Nobody"),
        ("broken = loudness:LoudnessOptions", "emolake-broken has no Options, precisions, describe, load"),
    ],
)
def test_what_is_no_family_is_refused_with_its_distribution(site: Path, point: str, why: str) -> None:
    install(site, "emolake-broken", point)
    assert why in refused(site, "broken")


def test_without_other_distributions_there_are_those_of_the_package() -> None:
    assert family_names() == sorted(FAMILIES)
