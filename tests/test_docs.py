"""The examples of the documentation run, and give what is written there."""

import doctest
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def test_the_examples_of_the_api_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "api.md"
    found = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert found.attempted > 25
    assert found.failed == 0


def test_the_notebook_goes_from_the_demo_to_three_plots(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "demo.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells), "what it gives is not committed"
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": tmp_path}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert (tmp_path / "demo" / "report.html").is_file()
