"""The layout: what docs/architecture.md says of it is so, and no two things of the package have one name."""

import ast
import re
import tomllib
from collections import Counter
from functools import reduce
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
MODULES = [
    path
    for folder in ("src/emolake", "flows", "tasks", "schemas")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.name != "__init__.py"
]


def test_the_page_has_the_layers_of_the_contract() -> None:
    """That imports follow the contract is import-linter's to check, in `make lint`."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    expected = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    table = PAGE.partition("## Layers")[2].partition("\n\n`flows/`")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert [re.findall(r"`(\w+)`", row) for row in rows] == expected


@pytest.mark.parametrize("name", re.findall(r"`(emolake(?:\.\w+)+)`", PAGE))
def test_what_the_page_names_is_there(name: str) -> None:
    parts = name.split(".")
    package = next(
        ".".join(parts[:end]) for end in range(len(parts), 0, -1) if _is_module(".".join(parts[:end]))
    )
    assert reduce(getattr, parts[package.count(".") + 1 :], import_module(package)) is not None


def _is_module(name: str) -> bool:
    try:
        import_module(name)
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("test", sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE))))
def test_the_tests_that_hold_the_promises_are_there(test: str) -> None:
    path, _, name = test.partition("::")
    assert not name or f"def {name}(" in (ROOT / path).read_text("utf-8")


def test_no_two_modules_have_one_name() -> None:
    counts = Counter(path.stem for path in MODULES)
    assert [name for name, count in counts.items() if count > 1] == []


def test_no_two_classes_have_one_name() -> None:
    counts = Counter(
        node.name
        for path in MODULES
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in counts.items() if count > 1] == []
