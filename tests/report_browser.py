"""A report in the browser of the system, by playwright; tests skip where there is none."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

needs_browser = pytest.mark.skipif(
    _BROWSER is None or find_spec("playwright") is None,
    reason="needs chromium or google-chrome, and playwright, which is of the extra dev",
)


def launched(driver):
    """Return the browser, started; names of fonts and proxies are the system's."""
    return driver.chromium.launch(executable_path=_BROWSER, args=["--no-sandbox"])


class Opened:
    """A page in the browser, with all that it complained of and asked for."""

    def __init__(self, browser, path: Path, *, width: int = 1280, **context) -> None:
        self.said: list[str] = []
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **context)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on(
            "request",
            lambda request: None if request.url == path.as_uri() else self.said.append(request.url),
        )
        self.page.goto(path.as_uri())
        if context.get("java_script_enabled", True):
            self.settle()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def settle(self) -> None:
        """Wait until the charts that know their width are drawn."""
        self.page.evaluate(
            "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def cells(self) -> dict[str, list[list[str]]]:
        """The tables' texts, as `Page` has them."""
        return self.page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll("table[id]")].map(table => [
                table.id.replace("table-", ""),
                [...table.rows].map(row => [...row.cells].map(
                    cell => cell.textContent.replaceAll("\\u00a0", " ").trim()
                )),
            ]))"""
        )

    def text(self, id: str) -> str:
        return self.page.locator(f"#{id}").inner_text()

    def choose(self, filter: str, label: str) -> None:
        self.page.select_option(f"#filter-{filter}", label=label)
        self.settle()
