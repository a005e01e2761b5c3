"""The report in a real browser: its scripts agree with SQL, it fits a phone, and hostile names execute nothing."""

import re
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
from report_browser import Opened, needs_browser
from report_page import Page

from bench.made_story import Story, tell
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.report import shares
from emolake.report.build import write_report
from emolake.report.wording import Language, Words, catalogue
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import RUNS
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import Call, run_row, shard_rows, sqlite_warehouse, tiled

_AXE = find_spec("axe_core_python")

pytestmark = [pytest.mark.slow, needs_browser]

STORY = Story(days=9, calls=90, segments=4)
HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"' onmouseover='document.title=1' x='",
    "{{ 7 * 7 }}</style></svg>",
    "a site with a rather long name " * 3,
]
KEY = AnalysisKey(STORY.models[0], f"{1:032x}", "0" * 16)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Nine days with roles, sites and two models, and names that try to break out."""
    with open_lake(sqlite_warehouse(tmp_path_factory.mktemp("lake"))) as lake:
        tell(lake, STORY)
        calls = [
            Call(f"{name}.wav", day=STORY.last, site=name, pieces=tiled(["anger", "neutral", "fear"]))
            for name in HOSTILE
        ]
        bad = [
            Call(f"{'long' * 40}/{name}.wav", day=STORY.last, status="quarantined", pieces=(), duration_s=None,
                 error=f"undecodable: decode: {name}")
            for name in HOSTILE
        ]  # fmt: skip
        commit_shard(lake, shard_rows(calls + bad, key=KEY), key=KEY, run_id="run-1", message="made")
        day = DayRange(STORY.last, STORY.last)
        list(aggregate_days(lake, day, dimensions=["site", "queue", "segments.role"], run_id="run-1"))
        append(
            lake.connection,
            RUNS,
            run_row("run-2", outcome="failed", error=HOSTILE[0], last_date=STORY.last, first_date=STORY.last),
        )
        yield lake


@pytest.fixture(scope="module")
def report(lake, tmp_path_factory) -> Path:
    return write_report(
        lake, first=None, last=None, out=tmp_path_factory.mktemp("report") / "report.html"
    ).out


def is_alike(found: list[list[str]], expected: list[list[str]]) -> bool:
    """Whether two tables have the same texts, and numbers that differ by no more than rounding does.

    Sums are embedded with six digits, and a browser rounds half away from zero.
    """
    number = re.compile(r"\d+(?:[.,]\d+)*")
    texts = [[[number.sub("#", cell) for cell in row] for row in table] for table in (found, expected)]
    digits = [
        [int(re.sub("[.,]", "", each)) for row in table for cell in row for each in number.findall(cell)]
        for table in (found, expected)
    ]
    return texts[0] == texts[1] and all(abs(one - other) <= 1 for one, other in zip(*digits, strict=True))


def test_tables_that_differ_by_more_than_rounding_are_not_alike():
    assert is_alike([["a 19.3% (1.0–2.0)"]], [["a 19.4% (1.0–2.0)"]])
    assert not is_alike([["a 19.3%"]], [["a 19.5%"]])
    assert not is_alike([["a 19.3%"]], [["b 19.3%"]])


@pytest.fixture(scope="module")
def opened(browser, report):
    with Opened(browser, report) as opened:
        yield opened


def test_scripts_draw_every_chart_and_nothing_is_refused_or_fetched(opened):
    assert opened.said == []
    charts = opened.page.locator("svg.plot[role=img]")
    assert charts.count() >= 5 + 7 + 2
    assert all(label for label in charts.evaluate_all("all => all.map(each => each.ariaLabel)"))
    assert opened.page.title() == f"Emotion in speech, {STORY.last - timedelta(days=8)} to {STORY.last}"


def test_no_two_ticks_of_an_axis_have_the_same_label(opened):
    labels = opened.page.evaluate(
        """() => d3.range(-9, 7).flatMap(power => d3.range(1, 10).flatMap(first => d3.range(2, 9).map(most => {
            const ticks = d3.ticks(0, first * 10 ** (power / 3), most);
            return ticks.map(emolake.sections.asPercent.tickFormat);
        })))"""
    )
    assert len(labels) > 1000
    assert [each for each in labels if len(set(each)) < len(each)] == []
    drawn = opened.page.evaluate(
        """() => [...document.querySelectorAll("svg.plot")].map(svg => [...svg.querySelectorAll(
            "g[text-anchor=end] text")].map(text => text.textContent))"""
    )
    assert any(drawn)
    assert [each for each in drawn if len(set(each)) < len(each)] == []


def test_a_trend_has_its_whole_interval(opened):
    """Clipped or not, no band reaches out of the space of its chart, whose margin at the top is 8."""
    tops = opened.page.evaluate(
        """() => [...document.querySelectorAll("#multiples [fill-opacity='0.18']")].map(path => path.getBBox().y)"""
    )
    assert tops
    assert min(tops) >= 7.9


def test_scripts_write_the_tables_that_were_there_without_them(opened, report):
    """Shares, intervals and changes by `figures.js` are those of SQL, to the last digit that is shown."""
    without = Page(report).tables
    with_scripts = opened.cells()
    assert with_scripts.keys() == without.keys()
    for name in ("changes", "roles", "daily", "coverage", "totals", "listen"):
        assert is_alike(with_scripts[name], without[name]), name
    assert is_alike(sorted(with_scripts["values"]), sorted(without["values"]))
    shown = {cell for row in with_scripts["hours"] for cell in row}
    assert shown <= {cell for row in without["hours"] for cell in row}  # of little speech nothing is shown


def test_filters_choose_what_sql_chooses(browser, report, lake):
    def asked(condition: str, *, is_whole: bool = False) -> tuple[str, str]:
        ((recordings, seconds, anger),) = lake.rows(
            "SELECT count(DISTINCT recording_id), sum(speech_s) AS s, sum(speech_s) FILTER (emotion = 'anger') / s "
            f"FROM segments_wide WHERE emotion IS NOT NULL AND {condition}"
        )
        words = Words(Language.en)
        # Only by model and day is it known what has no label.
        ((listed,),) = lake.rows("SELECT count(*) FROM recordings")
        of_all = f" of {listed:,}" if is_whole else ""
        return (
            f"{recordings:,}{of_all} {words.formatted(seconds, 'duration')}",
            words.formatted(anger, "percent"),
        )

    def shown(opened) -> tuple[str, str]:
        at = next(row for row in opened.cells()["roles"] if row[0] == "anger")
        trend = opened.page.locator("#multiples h3", has_text="anger").inner_text()
        assert at
        return f"{opened.text('recordings')} {opened.text('speech')}", re.findall(r"[\d.]+%", trend)[0]

    with Opened(browser, report) as opened:
        model = "model = 'default'"
        assert shown(opened) == asked(model, is_whole=True)
        lost = opened.text("lost")
        opened.choose("role", "Customers")
        assert shown(opened) == asked(f"{model} AND role = 'customer'")
        assert opened.text("lost") == "–" != lost
        opened.choose("group", "Seoul")
        assert shown(opened) == asked(f"{model} AND role = 'customer' AND dimensions['site'] = 'Seoul'")
        opened.page.fill("#filter-first", str(STORY.last - timedelta(days=3)))
        opened.page.dispatch_event("#filter-first", "change")
        opened.settle()
        days = f"date >= '{STORY.last - timedelta(days=3)}'"
        assert shown(opened) == asked(
            f"{model} AND role = 'customer' AND dimensions['site'] = 'Seoul' AND {days}"
        )
        assert {row[0] for row in opened.cells()["coverage"][1:]} == {
            str(STORY.last - timedelta(days=back)) for back in range(4)
        }
        opened.choose("emotion", "anger")
        assert [row[0] for row in opened.cells()["changes"][1:]] == ["anger"]
        assert opened.page.locator("#multiples h3").count() == 1
        opened.page.click("button[type=reset]")
        opened.choose("model", "small")
        assert shown(opened) == asked("model = 'small'", is_whole=True)
        assert opened.said == []


def test_hours_choose_what_sql_chooses(browser, report, lake):
    words = Words(Language.en)

    def asked(emotion: str, condition: str) -> set[tuple[str, int, str]]:
        found = lake.rows(
            "SELECT hour(recorded_at_local) AS h, isodow(recorded_at_local) AS d, sum(speech_s) AS s, "
            f"coalesce(sum(speech_s) FILTER (emotion = '{emotion}'), 0) / s "
            "FROM segments_wide JOIN (SELECT recording_id, recorded_at_local FROM recordings) USING (recording_id) "
            f"WHERE emotion IS NOT NULL AND recorded_at_local IS NOT NULL AND {condition} GROUP BY ALL HAVING s >= 60"
        )
        return {(f"{hour:02d}:00", day, words.formatted(share, "percent")) for hour, day, _, share in found}

    def shown(opened) -> set[tuple[str, int, str]]:
        _, *rows = opened.cells()["hours"]
        return {
            (row[0], day, cell)
            for row in rows
            for day, cell in enumerate(row[1:], 1)
            if cell not in ("", "–")
        }

    def alike(opened, condition: str) -> bool:
        found, expected = sorted(shown(opened)), sorted(asked("anger", f"model = 'default' AND {condition}"))
        return len(found) == len(expected) and is_alike(
            [list(map(str, each)) for each in found], [list(map(str, each)) for each in expected]
        )

    with Opened(browser, report) as opened:
        opened.choose("emotion", "anger")
        assert alike(opened, "true")
        of_all = shown(opened)
        opened.choose("group", "Seoul")
        assert alike(opened, "dimensions['site'] = 'Seoul'")
        assert shown(opened) - of_all
        opened.choose("role", "Customers")
        assert alike(opened, "dimensions['site'] = 'Seoul' AND role = 'customer'")
        opened.page.fill("#filter-first", str(STORY.last - timedelta(days=6)))
        opened.page.dispatch_event("#filter-first", "change")
        opened.settle()
        days = f"date >= '{STORY.last - timedelta(days=6)}'"
        assert alike(opened, f"dimensions['site'] = 'Seoul' AND role = 'customer' AND {days}")
        assert not opened.page.locator("#hours-note").is_visible()
        assert opened.said == []


def test_hours_that_do_not_fit_say_what_they_are_of(browser, lake, tmp_path, monkeypatch):
    """Of every value by day, of every value of the whole range, of all calls: as fine as fits."""

    def opened_with(most: int, *, note: str | None) -> dict[str, list[list[float]]]:
        monkeypatch.setattr(shares, "MOST_HOURS", most)
        out = write_report(lake, first=None, last=None, out=tmp_path / f"{most}.html").out
        with Opened(browser, out) as opened:
            opened.choose("group", "Seoul")
            opened.page.fill("#filter-first", str(STORY.last - timedelta(days=6)))
            opened.page.dispatch_event("#filter-first", "change")
            opened.settle()
            shown = opened.page.locator("#hours-note")
            assert (shown.inner_text() if shown.is_visible() else None) == note
            assert opened.said == []
            found: dict[str, list[list[float]]] = opened.page.evaluate("() => emolake.data.hours")
            return found

    words = catalogue(Language.en)
    every = opened_with(1_000_000, note=None)
    of_values = [rows for key, rows in every.items() if key.split()[1] != "0"]
    assert of_values
    assert all(period >= 0 for rows in every.values() for period, *_ in rows)
    coarse = opened_with(sum(map(len, of_values)) - 1, note=words["hours_of_range"])
    assert all((period < 0) == (key.split()[1] != "0") for key, rows in coarse.items() for period, *_ in rows)
    none = opened_with(0, note=words["hours_of_all"])
    assert {key.split()[1] for key in none} == {"0"}


@pytest.mark.parametrize("language", [Language.de, Language.ko, Language.ja])
def test_a_language_that_is_chosen_is_the_one_that_is_asked_for(opened, report, lake, tmp_path, language):
    """What `words.js` says is what `wording.py` says."""
    asked = Page(write_report(lake, first=None, last=None, out=tmp_path / "r.html", language=language).out)
    opened.page.select_option("#language", language)
    opened.settle()
    chosen = opened.cells()
    opened.page.select_option("#language", "en")
    assert opened.said == []
    for name in (
        "changes", "roles", "daily", "coverage", "totals", "listen", "fell-out", "signals", "health", "agreement",
        "runs",
    ):  # fmt: skip
        assert is_alike(chosen[name], asked.tables[name]), name
    assert catalogue(language)["trends"] in asked.seen


def test_hostile_names_execute_nothing(browser, report):
    """Even without its policy."""
    text, dropped = re.subn(
        r"<meta http-equiv=\"Content-Security-Policy\"[^>]*>", "", report.read_text("utf-8")
    )
    assert dropped == 1
    path = report.with_name("unguarded.html")
    path.write_text(text, "utf-8")
    with Opened(browser, path) as opened:
        for name in HOSTILE[:4]:
            opened.choose("group", name)
            assert opened.page.title().startswith("Emotion in speech")
            assert opened.page.locator("#values ~ #dimensions").inner_text()
        opened.page.select_option("#language", "ja")
        opened.settle()
        assert opened.page.locator("img, iframe, object, embed").count() == 0
        assert (
            opened.page.evaluate(
                "() => [...document.querySelectorAll('*')].flatMap(each => each.getAttributeNames())"
                ".filter(name => name.startsWith('on'))"
            )
            == []
        )
        assert opened.said == []  # fmt: skip


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
@pytest.mark.parametrize("width", [320, 400, 1200])
def test_nothing_sticks_out(browser, report, width, scripts):
    with Opened(browser, report, width=width, java_script_enabled=scripts) as opened:
        for _ in range(2):
            assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
            if scripts:
                opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
                opened.page.select_option("#language", "de")
                opened.settle()


def test_runs_fit_a_page_and_reasons_fit_a_phone(browser, report):
    with Opened(browser, report, width=1280) as opened:
        over = "each => each.parentElement.scrollWidth - each.parentElement.clientWidth"
        assert opened.page.locator("#table-runs").evaluate(over) <= 0
    with Opened(browser, report, width=390) as opened:
        for name in ("fell-out", "stages"):
            assert opened.page.locator(f"#table-{name}").evaluate(over) <= 0


def test_without_scripts_there_is_every_table_and_no_control(browser, report):
    with Opened(browser, report, java_script_enabled=False) as opened:
        assert not opened.page.locator(".with-scripts:visible").count()
        tables = opened.page.locator("table")
        assert tables.count() == opened.page.locator("table:visible").count() >= 12


@pytest.mark.skipif(_AXE is None, reason="axe-core-python is of the extra dev")
@pytest.mark.parametrize(("scheme", "width", "language"), [("light", 1280, "en"), ("dark", 390, "ko")])
def test_axe_finds_nothing(browser, report, scheme, width, language):
    assert _AXE is not None
    assert _AXE.origin is not None
    (axe,) = Path(_AXE.origin).parent.rglob("axe.min.js")
    with Opened(browser, report, width=width, color_scheme=scheme) as opened:
        opened.page.select_option("#language", language)
        opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        opened.settle()
        opened.page.evaluate(axe.read_text("utf-8"))
        found = opened.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations.map(v => "
            "[v.id, v.help, v.nodes.slice(0, 4).map(n => n.target.join(' ') + ' ' + n.html.slice(0, 120))]))"
        )
        assert found == []


def test_the_keyboard_reaches_everything(browser, report):
    with Opened(browser, report) as opened:
        opened.page.keyboard.press("Tab")
        assert opened.page.evaluate("document.activeElement.className") == "skip"
        seen = set()
        for _ in range(60):
            opened.page.keyboard.press("Tab")
            seen.add(opened.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
        assert {"language", "appearance", "filter-model", "filter-role", "filter-emotion", "SUMMARY"} <= seen
        opened.page.locator("#listen ~ #listen-reasons button").nth(1).focus()
        opened.page.keyboard.press("Enter")
        assert opened.page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"
        summary = opened.page.locator("#trends ~ details summary")
        summary.focus()
        opened.page.keyboard.press("Enter")
        assert opened.page.locator("#table-daily").is_visible()


def test_a_choice_of_appearance_wins_over_the_device(opened):
    def ground() -> str:
        return opened.page.evaluate("getComputedStyle(document.body).backgroundColor")

    light = ground()
    opened.page.select_option("#appearance", "dark")
    dark = ground()
    opened.page.emulate_media(media="print")
    printed = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert not opened.page.locator("#filters").is_visible()
    opened.page.emulate_media(media="screen")
    opened.page.select_option("#appearance", "automatic")
    assert light != dark
    assert printed == "rgb(255, 255, 255)"
    assert ground() == light
