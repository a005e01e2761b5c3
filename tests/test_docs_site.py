"""The site is built without a warning and read without a network, and what its pages say of messages is so."""

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tools.docs_hooks import OUTSIDE, with_links_of_the_site

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
VALUE = "…"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(  # without --quiet, which would keep warnings from --strict
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    return folder


class Loaded(HTMLParser):
    """What a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio") and given.get("src"):
            self.urls.append(given["src"] or "")
        if tag == "link" and given.get("rel") in (
            "stylesheet",
            "icon",
            "preload",
            "preconnect",
            "dns-prefetch",
        ):
            self.urls.append(given["href"] or "")


def test_no_page_loads_anything_from_a_network(site: Path) -> None:
    loaded = 0
    for page in site.rglob("*.html"):
        parser = Loaded()
        parser.feed(page.read_text("utf-8"))
        for url in parser.urls:
            assert not re.match(r"\w+:|//", url), f"{page.name} loads {url}"
            if page.name != "404.html":  # whose paths are of a server's root
                assert (page.parent / url).is_file(), f"{page.name} lacks {url}"
        loaded += len(parser.urls)
    assert loaded > 50
    assert (site / "assets/iframe-worker/LICENSE").is_file()


def test_every_page_of_the_repository_is_there(site: Path) -> None:
    pages = [page.stem for page in (ROOT / "docs").glob("*.md")] + [
        Path(page).stem for page in OUTSIDE.values()
    ]
    assert [page for page in pages if not (site / f"{page}.html").is_file()] == []


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_the_search_works_from_files(site: Path, tmp_path: Path) -> None:
    shown = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}",
         "--virtual-time-budget=8000", "--dump-dom", f"{(site / 'index.html').as_uri()}?q=quarantined"],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    assert "md-search-result__item" in shown


@pytest.mark.parametrize(
    ("page", "link", "led"),
    [
        ("models.md", "../src/emolake/models/default/README.md", "default_card.md"),
        ("models.md", "training.md#options", "training.md#options"),
        ("deployments.md", "../docs/operations.md#erase", "operations.md#erase"),
        ("changelog.md", "docs/demo.ipynb", "demo.ipynb"),
        ("bench_results.md", "../docs/operators.png", "operators.png"),
        ("models.md", "https://example.org/a.md", "https://example.org/a.md"),
        ("models.md", "#anchor", "#anchor"),
        ("models.md", "gone.md", "gone.md"),  # which the build then warns of
    ],
)
def test_links_of_the_repository_lead_to_pages_of_the_site(page: str, link: str, led: str) -> None:
    assert with_links_of_the_site(f"[a]({link}) ![b]({link})", page) == f"[a]({led}) ![b]({led})"


def texts() -> Iterator[str]:
    """Yield every text of the program, with a mark for each value that is put into it."""
    for folder in ("src/emolake", "flows", "tasks", "schemas"):
        for path in (ROOT / folder).rglob("*.py"):
            yield from filter(None, map(_text, ast.walk(ast.parse(path.read_text("utf-8")))))


def _text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        parts = [each.value if isinstance(each, ast.Constant) else VALUE for each in node.values]
        return re.sub(f"{VALUE}+", VALUE, "".join(map(str, parts)))
    return ""


def test_the_program_has_every_message_that_troubleshooting_shows() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    shown = [
        line.strip()
        for block in re.findall(r"^ *```text\n(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    known = "\n".join(texts())
    assert len(shown) > 20
    assert [message for message in shown if message not in known] == []
