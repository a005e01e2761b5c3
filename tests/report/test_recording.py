"""The page of one recording in a real browser: it draws, plays, is used by keyboard, and executes nothing of names."""

import json
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emolake.report.wording import Language, catalogue
from emolake.upkeep.recording_page import report_recording

from made_lake import Piece
from made_recording import PIECES, Made, made_recording

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_HOSTILE = "<img src=x onerror=\"document.title='owned'\"></script><script>document.title='owned'</script>"

seen = [
    pytest.mark.slow,
    pytest.mark.skipif(
        _CHROMIUM is None or not find_spec("playwright") or not find_spec("axe_core_python"),
        reason="chromium, playwright or axe-core-python is not installed",
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return made_recording(tmp_path_factory.mktemp("plain"), pieces=PIECES[:1])


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages of a recording whose names and texts are hostile: as it lies, with its sound, and without any."""
    folder = tmp_path_factory.mktemp("hostile")
    name = "2026/11/20/x'\"&<b>#?%41/" + "call<script>.wav"
    made = made_recording(
        folder,
        name=name,
        columns={"dimensions": [("site", _HOSTILE), (_HOSTILE, "x")], "signal_notes": ["quiet"]},
        transcripts=[_HOSTILE, None, "ok"],
        roles=(_HOSTILE, "customer"),
    )
    made_pages = {
        "local": report_recording(made.settings, made.uri, out=folder / "local.html"),
        "embedded": report_recording(made.settings, made.uri, out=folder / "embedded.html", embed_audio=True),
    }
    made.file.rename(folder / "gone.wav")
    made_pages["without"] = report_recording(made.settings, made.uri, out=folder / "without.html")
    (folder / "gone.wav").rename(made.file)
    return made_pages


def opened(browser: "Browser", path: Path, **context: Any) -> "Page":
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(20_000)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.goto(path.as_uri())
    page.wait_for_selector("#tracks svg")
    assert faults == []
    return page


class TestInABrowser:
    """Of all three pages."""

    pytestmark = seen

    @pytest.mark.parametrize("name", ["local", "embedded", "without"])
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing_and_no_name_is_executed(
        self, browser: "Browser", pages: dict[str, Path], name: str, scheme: str
    ) -> None:
        from axe_core_python.sync_playwright import Axe

        page = opened(browser, pages[name], viewport={"width": 390, "height": 800}, color_scheme=scheme)
        assert page.title() != "owned"
        assert "<script>" in page.locator("h1").inner_text()
        assert page.locator("main img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        found = Axe().run(page)["violations"]
        assert [(each["id"], [node["html"][:100] for node in each["nodes"]]) for each in found] == []

    @pytest.mark.parametrize("name", ["local", "embedded"])
    def test_the_keyboard_plays_from_a_window(
        self, browser: "Browser", pages: dict[str, Path], name: str
    ) -> None:
        page = opened(browser, pages[name])
        page.wait_for_function("document.getElementById('player').readyState > 0")
        assert page.evaluate("document.getElementById('player').duration") == pytest.approx(8, abs=0.1)
        button = page.get_by_role("button", name="Play from 0:04.0").first
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("document.getElementById('player').currentTime >= 4")
        page.wait_for_selector("tr.now")
        assert page.locator(".cursor").first.is_visible()

    def test_what_is_drawn_is_what_was_found(self, browser: "Browser", pages: dict[str, Path]) -> None:
        page = opened(browser, pages["local"])
        labels = [svg.get_attribute("aria-label") for svg in page.locator("#tracks svg").all()]
        assert len(labels) == 2
        assert labels[1] is not None
        assert "Windows with an emotion: 1; of them uncertain: 1" in labels[1]
        assert (
            page.locator("#tracks rect[fill^='url(#uncertain']").count()
            + page.locator("#tracks g[fill^='url(#uncertain'] rect").count()
            == 1
        )
        page.select_option("#language", "de")
        page.get_by_text("Wer wann spricht").wait_for()
        assert page.get_by_role("button", name="Ab 0:04,0 abspielen").count() > 0

    def test_without_scripts_the_tables_have_all_of_it(
        self, browser: "Browser", pages: dict[str, Path]
    ) -> None:
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(pages["local"].as_uri())
        text = page.locator("main").inner_text()
        for said in ("anger", "40.0%", "0:04.0", "customer", "quiet"):
            assert said in text


def test_a_recording_of_an_hour_stays_small(tmp_path: Path) -> None:
    pieces = [
        Piece(10 * at, 10 * at + 10, emotion="anger", channel=channel, index=at)
        for channel in (0, 1)
        for at in range(360)
    ]
    made = made_recording(tmp_path, pieces=pieces)
    assert report_recording(made.settings, made.uri, out=tmp_path / "page.html").stat().st_size < 1_500_000


@pytest.mark.parametrize("language", Language)
def test_the_words_are_there_in_every_language(language: Language, plain: Made, tmp_path: Path) -> None:
    import emolake.report.wording as formats

    folder = Path(formats.__file__).parent / "words"
    own, english, common = (
        json.loads((folder / f"{name}.json").read_text("utf-8"))
        for name in (f"recording.{language}", "recording.en", str(language))
    )
    assert own.keys() == english.keys()
    assert not own.keys() & common.keys(), "a word that both pages say is in one catalogue only"
    assert catalogue(language).keys() >= own.keys()
    text = report_recording(
        plain.settings, plain.uri, out=tmp_path / "page.html", language=language
    ).read_text("utf-8")
    assert f'<html lang="{language}">' in text
    assert own["over_time"] in text
