"""Write the pictures of the report that the documentation shows: light, dark, on a phone, in Korean, and printed.

`python -m tools.screenshots` makes a lake with known stories, its report, and docs/report*.png by the chromium of the
system. Fonts for Korean and Japanese are those of this project's packages, so that every machine draws the same.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa  # noqa: F401  (before DuckDB, whose extensions bring another)
from playwright.sync_api import Browser, sync_playwright

from bench.made_story import Story, tell
from emolake.lake.connect import open_lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.report.build import write_report
from emolake.report.wording import Language

DOCS = Path(__file__).parents[1] / "docs"
MOST_BYTES = 150_000
_FONTS = ("koreanize_matplotlib", "matplotlib_fontja")


@dataclass(frozen=True)
class Setting:
    """One picture."""

    file: str
    width: int = 1280
    height: int = 900
    dark: bool = False
    language: Language = Language.en
    printed: bool = False
    at: str | None = None
    """Id of what the picture begins with; the top of the page when None."""


SETTINGS = (
    Setting("report.png"),
    Setting("report-dark.png", dark=True, at="trends"),
    Setting("report-phone.png", width=390, height=844),
    Setting("report-korean.png", language=Language.ko),
    Setting("report-print.png", width=794, height=1123, printed=True),
)


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=DOCS, help="folder of the pictures (default: docs)")
    folder = parser.parse_args().to
    with tempfile.TemporaryDirectory() as scratch, chromium(Path(scratch)) as browser:
        pages = _pages(Path(scratch))
        for setting in SETTINGS:
            take_picture(
                browser,
                pages[setting.language].as_uri(),
                folder / setting.file,
                width=setting.width,
                height=setting.height,
                dark=setting.dark,
                printed=setting.printed,
                at=setting.at,
            )


def _pages(scratch: Path) -> dict[Language, Path]:
    warehouse = WarehouseOptions(catalog=f"sqlite:{scratch / 'catalog.sqlite'}", data=str(scratch / "data"))
    languages = {setting.language for setting in SETTINGS}
    with open_lake(warehouse) as lake:
        tell(lake, Story())
        return {
            language: write_report(
                lake, first=None, last=None, out=scratch / f"{language}.html", language=language
            ).out
            for language in languages
        }


@contextmanager
def chromium(scratch: Path) -> Iterator[Browser]:
    """Start the system's chromium, with the same fonts on every machine."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        raise SystemExit("neither chromium nor google-chrome is installed")
    folders = [Path("/usr/share/fonts"), *_package_folders()]
    config = scratch / "fonts.conf"
    config.write_text(
        "<fontconfig>" + "".join(f"<dir>{folder}</dir>" for folder in folders) + f"<cachedir>{scratch}</cachedir>"
        '<match><edit name="family" mode="append">'
        "<string>DejaVu Sans</string><string>NanumGothic</string></edit></match>"
        + "</fontconfig>",
        "utf-8",
    )  # fmt: skip
    environment: dict[str, str | float | bool] = {**os.environ, "FONTCONFIG_FILE": str(config)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox"], env=environment
        )
        yield browser
        browser.close()


def _package_folders() -> Iterator[Path]:
    for name in _FONTS:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            yield Path(spec.origin).parent


def take_picture(
    browser: Browser,
    url: str,
    path: Path,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    printed: bool = False,
    wait_for: str = "body",
    rest_s: float = 1.0,
    at: str | None = None,
) -> None:
    """Write a picture of a page, and say how large it is.

    Args:
        browser: draws it.
        url: of the page.
        path: file of the picture.
        width: of the window in pixels.
        height: of the window in pixels.
        dark: ask for the dark appearance.
        printed: show it as it is printed.
        wait_for: selector of what has to be there.
        rest_s: seconds after that, until charts know their widths.
        at: id of what the picture begins with; the top of the page when left out.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
    )
    page = context.new_page()
    page.emulate_media(media="print" if printed else "screen")
    page.goto(url)
    page.wait_for_selector(wait_for, timeout=120_000)
    page.wait_for_timeout(1000 * rest_s)
    if at is not None:
        page.evaluate("id => document.getElementById(id).scrollIntoView()", at)
        page.wait_for_timeout(200)
    page.screenshot(path=path)
    context.close()
    size = path.stat().st_size
    print(f"{path}: {size / 1000:.0f} kB")
    if size > MOST_BYTES:
        raise SystemExit(f"{path} has {size} bytes, more than {MOST_BYTES}: make its window smaller")


if __name__ == "__main__":
    main()
