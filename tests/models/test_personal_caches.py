"""The folders of personal data are found wherever a family's options name them, also beside what is wrong."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from pydantic import Field

from emolake.errors import ConfigurationError
from emolake.models.known_families import FAMILIES
from emolake.models.personal_caches import named_folders
from emolake.models.protocol import TORCH_FP32, PersonalCache, PersonalCacheFolder
from emolake.models.registry import Registry
from emolake.options import Options


class InnerOptions(Options):
    """Options within options."""

    folder: PersonalCacheFolder
    """A folder."""
    other: Path | None = None
    """No cache."""


class OddOptions(Options):
    """Every place that a mark can have."""

    optional: PersonalCacheFolder | None = None
    """A folder or none."""
    whole: Annotated[Path | None, PersonalCache()] = None
    """The same, marked as a whole."""
    several: tuple[PersonalCacheFolder, ...] = ()
    """Folders."""
    named: dict[str, PersonalCacheFolder] = Field(default_factory=dict)
    """Folders by name."""
    inner: InnerOptions | None = None
    """Options within options."""
    usual: PersonalCacheFolder = Path("usual")
    """A folder that has a default."""
    model: Path | None = None
    """No cache."""
    needed: int
    """A key that must be given."""


class Odd:
    """A family that is never loaded."""

    Options = OddOptions
    precisions = TORCH_FP32


@pytest.mark.parametrize(
    ("keys", "folders"),
    [
        ({}, []),
        ({"optional": "a", "model": "m"}, ["a"]),
        ({"whole": "a"}, ["a"]),
        ({"several": ["a", "b"], "needed": "not a number"}, ["a", "b"]),
        ({"named": {"x": "a", "y": "b"}}, ["a", "b"]),
        ({"inner": {"folder": "a", "other": "m"}}, ["a"]),
        ({"optional": 3, "colour": "red", "whole": None}, []),
    ],
)
def test_a_marked_folder_is_found_whatever_else_is_wrong(keys: dict[str, Any], folders: list[str]) -> None:
    assert set(named_folders(OddOptions, keys)) == {Path("usual"), *map(Path, folders)}


def test_a_default_is_replaced_by_what_is_given() -> None:
    assert set(named_folders(OddOptions, {"usual": "a"})) == {Path("a")}


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "odd", "odd_family:Odd")
    monkeypatch.setitem(sys.modules, "odd_family", SimpleNamespace(Odd=Odd))


@pytest.mark.usefixtures("odd")
def test_the_registry_finds_those_that_are_there(tmp_path: Path) -> None:
    for name in ("features", "text", "odd"):
        (tmp_path / name).mkdir()
    (tmp_path / "trained").mkdir()
    config = {"family": "odd", "options": {"optional": "text"}}
    (tmp_path / "trained" / "config.json").write_text(json.dumps(config))
    (tmp_path / "trained" / "text").mkdir()
    models: dict[str, dict[str, Any]] = {
        "a": {"family": "classical", "path": str(tmp_path / "gone"), "cache": str(tmp_path / "features")},
        "b": {"family": "classical", "path": "x", "cache": str(tmp_path / "not there")},
        "c": {"family": "odd", "whole": str(tmp_path / "odd")},
        "d": {"path": str(tmp_path / "trained")},
        "both": {"family": "ensemble", "members": ["a", "nobody"]},
    }
    found = [tmp_path / name for name in ("features", "odd", "trained/text")]
    assert Registry(models).cache_folders() == found


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"path": "/gone", "cache": "/tmp"}, "'mine' has no /gone/config.json"),
        ({"family": "oracle", "cache": "/tmp"}, "'mine' is of family 'oracle'; expected one of"),
        ({"cache": "/tmp"}, r"\[models.mine\] holds cache"),
    ],
)
def test_a_model_of_an_unknown_family_is_an_error_that_names_it(entry: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\[models\.mine\] has is unknown: .*{why}.*take it out"):
        Registry({"mine": entry}).cache_folders()
