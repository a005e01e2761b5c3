"""tools/resolve.py with packages that the test makes: what resolves on which Python, and what is said of the rest."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.resolve import differences, locked, resolve, stand_in

Publish = Callable[..., Path]


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Put a wheel without content into the only folder that pip looks into."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return lambda name, version, *requires: stand_in(tmp_path, name, version, requires)


@pytest.mark.parametrize(("python", "found"), [("3.11", {"old"}), ("3.12", {"old"}), ("3.13", {"new"})])
def test_markers_are_those_of_the_other_python(publish, python, found):
    publish("call", "1.0", "old; python_version < '3.13'", "new; python_version >= '3.13'")
    publish("old", "1.0")
    publish("new", "1.0")
    assert resolve(python, ["call"]).versions.keys() == {"call"} | found


def test_a_package_that_is_missing_is_named(publish):
    publish("call", "1.0", "gone>=2")
    publish("gone", "1.0")
    answer = resolve("3.14", ["call"])
    assert not answer.versions
    assert answer.outcome.startswith("blocked: No matching distribution found for gone>=2")


def test_packages_that_conflict_are_named(publish):
    publish("call", "1.0", "tone<2")
    publish("night", "1.0", "tone>=2")
    publish("tone", "1.0")
    publish("tone", "2.0")
    outcome = resolve("3.14", ["call", "night"]).outcome
    assert "Cannot install call==1.0 and night==1.0" in outcome
    assert "call 1.0 depends on tone<2" in outcome
    assert "night 1.0 depends on tone>=2" in outcome


def test_a_stand_in_is_taken_for_what_is_newer(publish, tmp_path_factory):
    publish("call", "1.0", "torch>=2")
    publish("torch", "3.0", "cuda")
    empty = stand_in(tmp_path_factory.mktemp("empty"), "torch", "2.13.0")
    assert resolve("3.14", ["call"], [empty]).versions == {"call": "1.0", "torch": "2.13.0"}


def test_every_difference_from_the_lock_is_listed():
    lock = locked("# pinned\nPyYAML==6.0\nruamel.yaml==0.19\nav==18.1\n")
    assert list(differences({"pyyaml": "6.1", "av": "18.1", "whenever": "1.0"}, lock)) == [
        "1 package as in requirements.lock",
        "1 other: pyyaml 6.0 -> 6.1",
        "1 more: whenever 1.0",
        "1 in the lock only: ruamel-yaml",
    ]
