"""The frame of the report's pages: the embedded library, the words of four languages, and what may run."""

import base64
import hashlib
import json
import re
from datetime import UTC, datetime
from importlib.resources import files

import pytest

from emolake.report import layout
from emolake.report.operations import REASONS, why
from emolake.report.wording import Language, Words, catalogue
from emolake.schemas.labels import EMOTIONS
from emolake.schemas.views import LISTEN_FIRST
from emolake.sql import statement

FOLDER = files("emolake.report")
_PLACEHOLDERS = re.compile(r"\{(\w+(?::\w+)?)\}")


@pytest.mark.parametrize("script", layout.library()["scripts"], ids=lambda script: script["name"])
def test_the_library_is_what_its_publisher_released_with_its_licence(script):
    assert (
        hashlib.sha256(FOLDER.joinpath("library", script["file"]).read_bytes()).hexdigest()
        == script["sha256"]
    )
    assert script["licence"] == "ISC"
    licence = FOLDER.joinpath("library", script["licence_file"]).read_text("utf-8")
    assert "Permission to use, copy, modify, and/or distribute this software" in licence
    head = FOLDER.joinpath("library", script["file"]).read_text("utf-8")[:400]
    assert f"v{script['version']}" in head or script["version"] in head


def test_no_script_can_end_its_element_early():
    for name in ("words.js", "charts.js", "figures.js", "sections.js", "report.js"):
        assert "</" not in FOLDER.joinpath(name).read_text("utf-8")
    for script in layout.library()["scripts"]:
        assert "</script" not in FOLDER.joinpath("library", script["file"]).read_text("utf-8")


@pytest.mark.parametrize("language", Language)
def test_a_catalogue_lacks_no_key_and_no_placeholder(language):
    english, words = catalogue(Language.en), catalogue(language)
    assert words.keys() == english.keys()
    for key, text in words.items():
        assert set(_PLACEHOLDERS.findall(text)) == set(_PLACEHOLDERS.findall(english[key])), key
        assert text.strip() or not english[key].strip()


def test_every_word_that_a_page_names_is_in_the_catalogue_and_no_other():
    words = catalogue(Language.en)
    sources = {
        name.name: name.read_text("utf-8")
        for name in FOLDER.iterdir()
        if name.name.endswith((".js", ".html", ".py"))
    }
    text = "\n".join(sources.values())
    named = set(re.findall(r'(?:word|said)\("(\w+)"', text)) | set(
        re.findall(r'data-(?:word|label)="(\w+)"', text)
    )
    named |= set(re.findall(r'\bword: "(\w+)"', text)) | set(
        re.findall(r'tell\([^,]+(?:\([^)]*\))?, "(\w+)"', text)
    )
    assert {key for key in named if not key.endswith("_")} - words.keys() == set()
    # Keys that are put together from a name, or are the keyword of a column.
    together = ("emotion_", "weekday_", "stage_", "reason_", "why_", "role_", "appearance_")
    unused = {
        key
        for key in words
        if not key.startswith(together) and not key.endswith("_sound") and not re.search(rf"\b{key}\b", text)
    }  # fmt: skip
    assert unused == set()


def test_every_emotion_and_reason_has_a_word_and_every_emotion_a_colour():
    words = catalogue(Language.en)
    css = FOLDER.joinpath("base.css").read_text("utf-8")
    for emotion in (*EMOTIONS, "folded"):
        assert f"emotion_{emotion}" in words
        assert f"--emotion-{emotion}: light-dark(" in css
    colours = re.findall(r"--emotion-\w+: (light-dark\([^;]*\));", css)
    assert len(set(colours)) == len(colours) == len(EMOTIONS) + 1
    (allowed,) = [column.allowed for column in LISTEN_FIRST.columns if column.name == "reason"]
    assert sorted(REASONS) == sorted(allowed or ())
    assert {f"reason_{reason.replace(' ', '_')}" for reason in REASONS} <= words.keys()


def test_what_the_view_says_of_a_call_is_understood():
    """Its formats, filled as the view fills them: one for each reason, and nothing else."""
    formats = re.findall(r"format\('([^']*)'", statement("view_listen_first"))
    assert len(formats) == len(REASONS)
    filled = [
        text.replace("{{:.0f}}", "62").replace("{{:+.0f}}", "+46").replace("{{:.2f}}", "0.51")
        .replace("{{}} emotions", "6 emotions").replace("{{}}", "anger")
        for text in formats
    ]  # fmt: skip
    assert {why(text)[0] for text in filled} == {"why_extreme", "why_mixed", "why_changed", "why_unsure"}
    assert why("in other words") == ("why_said", {"said": "in other words"})
    for text in filled:
        key, values = why(text)
        assert Words(Language.en)(key, **values) == text


def test_a_page_runs_only_what_its_policy_knows():
    text = layout.render("base.html", {}, language=Language.ja, data={"name": "</script><b>&"})
    policy = re.search(r'content="(default-src [^"]*)"', text)
    assert policy
    assert "unsafe" not in policy[1]
    sources = policy[1].replace("&#39;", "'")
    for kind in ("script", "style"):
        for body in re.findall(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in sources
    data = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert data
    assert json.loads(data[1]) == {"language": "ja", "name": "</script><b>&"}
    assert not re.search("[<>&]", data[1])


@pytest.mark.parametrize(
    ("format", "value", "english", "german"),
    [
        ("number", 1234567, "1,234,567", "1.234.567"),
        ("percent", 0.12345, "12.3%", "12,3\N{NO-BREAK SPACE}%"),
        ("points", -0.0281, "−2.8", "−2,8"),
        ("points", 0.0004, "±0.0", "±0,0"),
        ("share", [0.5, 0.4, 0.61], "50.0% (40.0–61.0)", "50,0\N{NO-BREAK SPACE}% (40,0–61,0)"),
        ("share", [0.1, None, None],
         "10.0% (1 recording, no interval)", "10,0\N{NO-BREAK SPACE}% (1 Aufnahme, kein Intervall)"),
        ("change", [0.05, 0.01, 0.09], "+5.0 (+1.0 to +9.0)", "+5,0 (+1,0 bis +9,0)"),
        ("duration", 42, "42.0\N{NO-BREAK SPACE}s", "42,0\N{NO-BREAK SPACE}s"),
        ("duration", 90, "1.5\N{NO-BREAK SPACE}min", "1,5\N{NO-BREAK SPACE}min"),
        ("duration", 7200, "2.0\N{NO-BREAK SPACE}h", "2,0\N{NO-BREAK SPACE}h"),
        ("moment", datetime(2026, 11, 20, 3, 4, tzinfo=UTC), "2026-11-20 03:04", "2026-11-20 03:04"),
        ("percent", None, "–", "–"),
    ],
)  # fmt: skip
def test_values_read_as_in_the_language(format, value, english, german):
    assert Words(Language.en).formatted(value, format) == english
    assert Words(Language.de).formatted(value, format) == german
