"""The report: its numbers are SQL's, names cannot break out of it, and it asks nothing of the network."""

import re
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.report import build
from emolake.report.build import write_report
from emolake.schemas.days import DayRange
from emolake.schemas.labels import EMOTIONS
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import RECORDINGS, RUNS
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, Piece, run_row, shard_rows, sqlite_warehouse, tiled

HOSTILE = "<script>document.title='owned'</script>"
EARLIER = DAY - timedelta(days=2)


class Page(HTMLParser):
    """Cells of the tables by their class, texts by id, and every tag with its attributes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.by_id: dict[str, str] = {}
        self._rows: list[list[str]] | None = None
        self._id: str | None = None
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "table":
            self._rows = self.tables.setdefault(given["class"] or "", [])
        elif tag == "tr" and self._rows is not None:
            self._rows.append([])
        elif tag in ("td", "th") and self._rows is not None:
            self._rows[-1].append("")
        elif tag == "dd":
            self._id = given["id"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._rows = None
        elif tag == "dd":
            self._id = None

    def handle_data(self, data: str) -> None:
        data = data.replace("\N{NO-BREAK SPACE}", " ")
        if self._id:
            self.by_id[self._id] = data
        elif self._rows and self._rows[-1]:
            self._rows[-1][-1] = (self._rows[-1][-1] + data).strip()

    def named(self, table: str) -> list[dict[str, str]]:
        """Rows of a table by the names in its head."""
        head, *rows = self.tables[table]
        return [dict(zip(head, row, strict=True)) for row in rows]


def fill(lake: Lake, calls: list[Call], key: AnalysisKey = KEY) -> None:
    commit_shard(lake, shard_rows(calls, key=key), key=key, run_id="run-1", message="made")
    days = [call.day for call in calls]
    list(aggregate_days(lake, DayRange(min(days), max(days)), dimensions=["site"], run_id="run-1"))


CALLS = [
    Call("a.wav", pieces=tiled(["anger", "neutral", None]), duration_s=30.0),
    Call("b.wav", site="berlin", pieces=(Piece(0, 4.5, 0.5, "sadness"),), duration_s=4.5),
    Call("c.wav", day=EARLIER, pieces=tiled(["neutral"] * 3), duration_s=30.0),
    Call(f"{HOSTILE}.wav", site=HOSTILE, status="quarantined", error=f"undecodable: decode: {HOSTILE}",
         pieces=(), duration_s=None),
    Call("half.mp3", status="truncated", error="truncated: decode: 10 s were decoded", pieces=tiled(["anger"])),
]  # fmt: skip


def filled(warehouse: WarehouseOptions) -> None:
    with open_lake(warehouse) as lake:
        fill(lake, CALLS)
        append(lake.connection, RUNS, run_row("run-1", found=7, skipped=2, done=5, quarantined=1))
        append(lake.connection, RUNS, run_row("run-2", outcome="failed", error=f"no {HOSTILE}"))


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """The calls above, to be read only."""
    warehouse = sqlite_warehouse(tmp_path_factory.mktemp("lake"))
    filled(warehouse)
    with open_lake(warehouse, read_only=True) as lake:
        yield lake


@pytest.fixture
def own_lake(embedded):
    """The calls above, to be written to."""
    filled(embedded)
    with open_lake(embedded) as lake:
        yield lake


@pytest.fixture(scope="module")
def page(lake, tmp_path_factory) -> Page:
    out = tmp_path_factory.mktemp("page") / "new" / "report.html"
    write_report(lake, first=None, last=None, out=out)
    return Page(out)


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def test_totals(page):
    # 30 + 4.5 + 30 + 10 s of audio; the same less the half of b.wav of speech.
    assert page.by_id == {
        "recordings": "5",
        "audio": "1.2 min",
        "speech": "1.2 min",
        "days": "2",
        "truncated": "1",
        "quarantined": "1",
    }


def test_daily_shares_are_those_of_the_segments(lake, page):
    expected = lake.rows(
        """
        SELECT date, emotion, sum(speech_ratio * (end_s - start_s)) AS s, s / sum(s) OVER (PARTITION BY date)
        FROM segments WHERE emotion IS NOT NULL GROUP BY date, emotion
        """
    )
    shown = {row["Day"]: row for row in page.named("daily")}
    assert set(shown) == {str(DAY), str(EARLIER)}
    assert len(expected) == 4
    for day, emotion, _, share in expected:
        assert shown[str(day)][emotion] == percent(share)
    assert shown[str(EARLIER)]["anger"] == "–"
    assert shown[str(DAY)]["Unlabelled"] == percent(1 / 5)
    assert shown[str(DAY)]["Segments"] == "5"


def test_bars_stack_to_the_whole(page):
    bars = [
        tag for name, tag in page.tags if name == "rect" and "segment" in (tag["class"] or "") and "y" in tag
    ]
    assert len(bars) == 4
    by_day: dict[str, list[tuple[float, float]]] = {}
    for bar in bars:
        y, height = (float((bar[name] or "").rstrip("%")) for name in ("y", "height"))
        by_day.setdefault(bar["x"] or "", []).append((y, height))
    for pieces in by_day.values():
        pieces.sort()
        bottom = 0.0
        for y, height in pieces:
            assert y == pytest.approx(bottom, abs=0.01)
            bottom = y + height
        assert bottom == pytest.approx(100, abs=0.01)
    # The first day of three is in the first third, the last in the last: the empty day between keeps its place.
    assert sorted(float(x.rstrip("%")) // (100 / 3) for x in by_day) == [0, 2]


def test_breakdown_by_site(lake, page):
    shown = {row["site"]: row for row in page.named("breakdown")}
    assert shown["oslo"]["Segments"] == "7"
    assert shown["berlin"]["sadness"] == percent(1.0)
    anger = lake.rows(
        "SELECT sum(speech_seconds) FILTER (emotion = 'anger') / sum(speech_seconds) FROM daily_emotions "
        "WHERE dimensions['site'] = 'oslo' AND emotion IS NOT NULL"
    )[0][0]
    assert shown["oslo"]["anger"] == percent(anger)


def test_all_days_together_name_what_got_no_label(page):
    shown = {row["Emotion"]: row for row in page.named("emotions")}
    assert shown["neutral"]["Segments"] == "4"
    assert shown["no label"] == {
        "Emotion": "no label", "Share": "–", "Speech": "10.0 s", "Segments": "1", "Recordings": "1",
        "Mean confidence": "–", "Uncertain": "–",
    }  # fmt: skip
    assert sum(
        float(row["Share"].rstrip(" %")) for row in shown.values() if row["Share"] != "–"
    ) == pytest.approx(100, abs=0.2)


def test_what_is_uncertain_is_shown_beside_the_shares_of_the_same_labels(warehouse, tmp_path):
    pieces = (
        Piece(0, 10, 1.0, "anger", 0.4), Piece(10, 20, 1.0, "anger", 0.9, index=1), Piece(20, 30, 1.0, "fear", index=2),
    )  # fmt: skip
    with open_lake(warehouse) as lake:
        fill(lake, [Call("a.wav", pieces=pieces), Call("b.wav", site="berlin", pieces=pieces)])
        write_report(lake, first=DAY, last=DAY, out=tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert {row["Emotion"]: row["Uncertain"] for row in page.named("emotions")} == {
        "anger": "50.0 %",
        "fear": "0.0 %",
    }
    assert {row["Emotion"]: row["Share"] for row in page.named("emotions")} == {
        "anger": "66.7 %",
        "fear": "33.3 %",
    }
    assert "33.3\N{NO-BREAK SPACE}% of the labelled speech is uncertain" in page.text


def test_where_nothing_is_marked_there_is_no_sentence(page):
    assert "labelled speech is uncertain" not in page.text
    assert {row["Uncertain"] for row in page.named("emotions")} == {percent(0.0), "–"}


def test_a_lake_of_before_the_mark_has_a_report_and_gets_it_with_the_next_run(embedded, tmp_path):
    with open_lake(embedded) as lake:
        fill(lake, CALLS)
        lake.connection.execute("ALTER TABLE lake.segments DROP COLUMN uncertain")
        lake.connection.execute("ALTER TABLE lake.daily_emotions DROP COLUMN uncertain_seconds")
    with open_lake(embedded, read_only=True) as lake:
        write_report(lake, first=DAY, last=DAY, out=tmp_path / "r.html")
        assert "Uncertain" not in (tmp_path / "r.html").read_text("utf-8")
    with open_lake(embedded) as lake:
        assert lake.rows("SELECT DISTINCT uncertain FROM segments") == [(None,)]
        fill(lake, [Call("new.wav", pieces=tiled(["anger"]))])
        assert lake.rows(
            "SELECT DISTINCT uncertain_seconds FROM daily_emotions WHERE date = (SELECT max(date) FROM daily_emotions)"
        ) == [(0.0,)]
        write_report(lake, first=None, last=DAY, out=tmp_path / "r.html")
    assert {row["Uncertain"] for row in Page(tmp_path / "r.html").named("emotions")} == {"0.0 %", "–"}


def test_statuses_by_day(page):
    shown = {row["Day"]: row for row in page.named("statuses")}
    assert shown[str(DAY)] == {
        "Day": str(DAY), "Recordings": "4", "ok": "2", "truncated": "1", "silent": "0", "excluded": "0",
        "quarantined": "1", "Audio": "44.5 s",
    }  # fmt: skip


def test_runs_with_their_errors(page):
    rows = page.tables["runs"]
    completed = next(row for row in rows if row[-1] == "run-1")
    assert completed[1:13] == [
        "nightly", "completed", f"{DAY} to {DAY}", "7", "2", "5", "1", "1.0 h", "36.0 s", "0.0100", "100×", "m",
    ]  # fmt: skip
    assert ["", f"no {HOSTILE}"] in rows


def test_ledger_names_what_made_the_numbers(page):
    (row,) = page.named("configurations")
    assert (row["Fingerprint"], row["config_id"], row["Recordings"]) == (
        KEY.model_fingerprint,
        KEY.config_id,
        "5",
    )


def test_names_are_text_and_nothing_else(page):
    assert HOSTILE not in page.text
    assert "script" not in {tag for tag, _ in page.tags}
    bad = page.named("bad-recordings")
    assert {row["Recording"] for row in bad} == {f"s3://calls/{HOSTILE}.wav", "s3://calls/half.mp3"}
    assert f"undecodable: decode: {HOSTILE}" in {row["Reason"] for row in bad}


def test_the_page_asks_nothing_of_the_network(page):
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert not {"script", "link", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert not any({"src", "href", "srcset", "action"} & set(attributes) for _, attributes in page.tags)
    assert set(re.findall(r"url\(([^)]*)\)", page.text)) <= {f"#{emotion}" for emotion in EMOTIONS}
    assert "@import" not in page.text


def test_secrets_stay_out(embedded, tmp_path):
    with open_lake(embedded) as lake:
        rows = shard_rows([Call("x.wav", status="quarantined", error="empty: fetch: no bytes", pieces=())])
        uris = rows.recordings.schema.get_field_index("uri")
        secret = rows.recordings.set_column(
            uris,
            rows.recordings.schema.field("uri"),
            [["s3://key:hunter2@calls/x.wav?X-Amz-Signature=hunter2"]],
        )
        append(lake.connection, RECORDINGS, secret)
        write_report(lake, first=None, last=None, out=tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert "hunter2" not in page.text
    assert page.named("bad-recordings")[0]["Recording"] == "s3://***@calls/x.wav?X-Amz-Signature=***"


def test_a_range_shows_its_days_only(lake, tmp_path):
    summary = write_report(lake, first=EARLIER, last=EARLIER, out=tmp_path / "r.html")
    assert (summary.first, summary.last, summary.recordings) == (EARLIER, EARLIER, 1)
    page = Page(tmp_path / "r.html")
    assert [row["Day"] for row in page.named("daily")] == [str(EARLIER)]
    assert "bad-recordings" not in page.tables
    assert "No run was asked for these days" in page.text


def test_without_days_the_last_31_are_covered(own_lake, tmp_path):
    fill(
        own_lake,
        [Call("old.wav", day=DAY - timedelta(days=31)), Call("older.wav", day=DAY - timedelta(days=90))],
    )
    summary = write_report(own_lake, first=None, last=None, out=tmp_path / "r.html")
    assert (summary.first, summary.last) == (DAY - timedelta(days=30), DAY)
    summary = write_report(own_lake, first=None, last=DAY - timedelta(days=60), out=tmp_path / "r.html")
    assert (summary.first, summary.last) == (DAY - timedelta(days=90), DAY - timedelta(days=60))


def test_snapshot_is_the_one_that_was_read(lake, tmp_path):
    summary = write_report(lake, first=None, last=None, out=tmp_path / "r.html")
    assert summary.snapshot_id == lake.latest_snapshot()
    assert f"snapshot {summary.snapshot_id} of the lake" in (tmp_path / "r.html").read_text()


def test_an_outdated_daily_table_is_said(own_lake, tmp_path):
    assert "may be out of date" not in Page(report(own_lake, tmp_path)).text
    late = shard_rows([Call("late.wav")])
    commit_shard(own_lake, late, key=KEY, run_id="run-3", message="made")
    assert (
        f"committed for {DAY}: the shares below may be out of date" in Page(report(own_lake, tmp_path)).text
    )


def report(lake: Lake, folder: Path) -> Path:
    return write_report(lake, first=None, last=None, out=folder / "r.html").out


def test_two_models_are_never_added_up(own_lake, tmp_path):
    fill(own_lake, CALLS, AnalysisKey("other", "e" * 32, "d" * 16))
    page = Page(report(own_lake, tmp_path))
    assert page.by_id["speech"] == "1.2 min"
    assert [tag["id"] for name, tag in page.tags if name == "h2" and (tag["id"] or "").startswith("model-")] == [
        "model-1", "model-2",
    ]  # fmt: skip
    assert len(page.named("configurations")) == 2


def test_long_lists_are_cut_and_say_so(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "MOST_RECORDINGS", 3)
    monkeypatch.setattr(build, "MOST_RUNS", 2)
    monkeypatch.setattr(build, "MOST_VALUES", 2)
    with open_lake(embedded) as lake:
        fill(lake, [Call(f"{site}.wav", site=f"site {site}") for site in range(5)])
        fill(lake, [Call(f"bad {each}.wav", status="quarantined", error="empty: fetch: none", pieces=())
                    for each in range(5)])  # fmt: skip
        for number in range(4):
            append(lake.connection, RUNS, run_row(f"run-{number}"))
        page = Page(report(lake, tmp_path))
    assert len(page.named("bad-recordings")) == 3
    assert len(page.named("runs")) == 2
    assert len(page.named("breakdown")) == 2
    assert "The newest 3; 2 more are in" in page.text
    assert "The newest 2; 2 more are in" in page.text
    assert "The 2 with the most labelled speech; 3 more are in" in page.text


def test_an_empty_lake_is_a_page_that_says_so(embedded, tmp_path):
    with open_lake(embedded) as lake:
        summary = write_report(lake, first=None, last=None, out=tmp_path / "r.html")
    assert (summary.first, summary.recordings) == (None, 0)
    page = Page(tmp_path / "r.html")
    assert "The lake is empty" in page.text
    assert "No run was asked for these days" in page.text


def test_a_range_without_recordings_names_the_days_that_are_there(lake, tmp_path):
    write_report(lake, first=date(2020, 1, 1), last=date(2020, 1, 2), out=tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text()
    assert "no recordings of the days 2020-01-01 to 2020-01-02" in text
    assert f"Ask for days between {EARLIER} and {DAY}" in text


def test_a_day_of_bad_recordings_only(embedded, tmp_path):
    with open_lake(embedded) as lake:
        fill(
            lake,
            [Call("bad.wav", status="quarantined", error="empty: fetch: none", pieces=(), duration_s=None)],
        )
        page = Page(report(lake, tmp_path))
    assert "nothing to say of emotions" in page.text
    assert page.by_id["audio"] == "0.0 s"


def test_speech_without_a_label_draws_no_bar(embedded, tmp_path):
    with open_lake(embedded) as lake:
        fill(lake, [Call("silent.wav", status="silent", pieces=(Piece(emotion=None, speech_ratio=0.0),))])
        page = Page(report(lake, tmp_path))
    assert page.named("daily")[0]["Unlabelled"] == "100.0 %"
    assert not [tag for name, tag in page.tags if name == "rect" and "segment" in (tag["class"] or "")]


def test_a_range_backwards_is_refused(lake, tmp_path):
    with pytest.raises(ConfigurationError, match="before it begins"):
        write_report(lake, first=DAY, last=EARLIER, out=tmp_path / "r.html")


def test_every_emotion_has_its_colour_and_no_two_look_alike():
    css = (Path(build.__file__).parent / "report.css").read_text()
    colours: dict[str, str] = {}
    for selectors, colour in re.findall(r"^([.a-z, ]+) \{ --emotion: (#\w+); \}", css, re.MULTILINE):
        colours |= dict.fromkeys(re.findall(r"\.([a-z]+)", selectors), colour)
    hatched = set(re.findall(r"^\.([a-z]+) \{ fill: url\(#\1\); \}", css, re.MULTILINE))
    assert set(colours) == set(EMOTIONS)
    looks = {(colour, emotion in hatched) for emotion, colour in colours.items()}
    assert len(looks) == len(EMOTIONS)
