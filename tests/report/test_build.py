"""The report: its numbers are SQL's, names cannot break out of it, and it asks nothing of the network."""

import re
from datetime import date, timedelta
from itertools import product
from pathlib import Path

import pytest
from report_page import Page

from emolake.errors import ConfigurationError
from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.lake.transact import Lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.report import build, operations, shares
from emolake.report.build import write_report
from emolake.report.wording import Language
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import RECORDINGS, RUNS
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, Piece, run_row, shard_rows, sqlite_warehouse, tiled

HOSTILE = "<script>document.title='owned'</script>"
EARLIER = DAY - timedelta(days=2)


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


def report(lake: Lake, folder: Path) -> Page:
    return Page(write_report(lake, first=None, last=None, out=folder / "r.html").out)


def test_figures_of_the_whole_range(page):
    # 10 + 10 + 2.25 + 30 + 10 s of speech, beside one segment of 8 without a label.
    assert page.by_id == {
        "recordings": "4 of 5",
        "speech": "1.0 min",
        "uncertain": "0.0%",
        "unlabelled": "12.5%",
        "confidence": "75.0%",
        "lost": "1",
    }


def test_shares_of_a_day_are_those_of_the_view(lake, page):
    shown = {row["Day"]: row for row in page.named("daily")}
    assert set(shown) == {str(DAY), str(EARLIER)}
    assert shown[str(EARLIER)]["neutral"] == "100.0% (1 recording, no interval)"
    assert shown[str(DAY)]["Recordings"] == "3"
    expected = lake.rows(
        "SELECT date, emotion, sum(speech_s) / sum(sum(speech_s)) OVER (PARTITION BY date) FROM segments_wide "
        "WHERE emotion IS NOT NULL GROUP BY date, emotion"
    )
    assert len(expected) == 4
    for day, emotion, share in expected:
        assert shown[str(day)][emotion].startswith(f"{100 * share:.1f}% (")


def test_intervals_are_those_of_the_daily_table(embedded, tmp_path):
    calls = [
        Call(f"{n}.wav", pieces=tiled(["anger"] * (n % 4) + ["neutral"] * (1 + n % 3))) for n in range(20)
    ]
    with open_lake(embedded) as lake:
        fill(lake, calls)
        (row,) = report(lake, tmp_path).named("daily")
        for emotion, share, low, high in lake.rows(
            "SELECT emotion, share, share_low, share_high FROM daily_emotions WHERE emotion IS NOT NULL"
        ):
            assert row[emotion] == f"{100 * share:.1f}% ({100 * low:.1f}–{100 * high:.1f})"


def test_changes_are_those_of_the_view(embedded, tmp_path):
    calls = [
        Call(f"{back}/{n}.wav", day=DAY - timedelta(days=back),
             pieces=tiled(["anger"] * (1 + (n + back) % 3 + 2 * (back < 7)) + ["neutral"] * 3))
        for back in (0, 2, 8, 13) for n in range(3)
    ]  # fmt: skip
    with open_lake(embedded) as lake:
        fill(lake, calls)
        page = report(lake, tmp_path)
        expected = lake.rows(
            "SELECT emotion, change, change_low, change_high FROM trend "
            "WHERE dimension IS NULL AND days = 7 AND date = (SELECT max(date) FROM trend)"
        )
    shown = {row["Emotion"]: row["Change"] for row in page.named("changes")}

    def points(value: float) -> str:
        return f"{100 * value:+.1f}".replace("-", "−")

    assert shown == {
        emotion: f"{points(change)} ({points(low)} to {points(high)})"
        for emotion, change, low, high in expected
    }
    assert (
        f"{DAY - timedelta(days=6):%m-%d} to {DAY:%m-%d}".replace("-", "\N{NON-BREAKING HYPHEN}") in page.seen
    )


def test_breakdown_by_site(lake, page):
    shown = {row["Value"]: row for row in page.named("values")}
    assert shown["berlin"]["sadness"].startswith("100.0%")
    assert shown["oslo"]["Recordings"] == "3"
    anger = lake.rows(
        "SELECT sum(speech_seconds) FILTER (emotion = 'anger') / sum(speech_seconds) FROM daily_emotions "
        "WHERE dimensions['site'] = 'oslo' AND emotion IS NOT NULL"
    )[0][0]
    assert shown["oslo"]["anger"].startswith(f"{100 * anger:.1f}% (")


def test_what_is_uncertain_is_shown_beside_the_shares_of_the_same_labels(embedded, tmp_path):
    pieces = (
        Piece(0, 10, 1.0, "anger", 0.4), Piece(10, 20, 1.0, "anger", 0.9, index=1), Piece(20, 30, 1.0, "fear", index=2),
    )  # fmt: skip
    with open_lake(embedded) as lake:
        fill(lake, [Call("a.wav", pieces=pieces), Call("b.wav", site="berlin", pieces=pieces)])
        page = report(lake, tmp_path)
    shown = {row["Emotion"]: row for row in page.named("totals")}
    assert {emotion: row["Uncertain"] for emotion, row in shown.items()} == {"anger": "50.0%", "fear": "0.0%"}
    assert {emotion: row["Share"].partition(" ")[0] for emotion, row in shown.items()} == {
        "anger": "66.7%",
        "fear": "33.3%",
    }
    assert page.by_id["uncertain"] == "33.3%"


def test_rare_emotions_are_folded_and_named(embedded, tmp_path):
    common = ["anger", "neutral", "sadness", "happiness", "calm", "surprise"] * 20
    with open_lake(embedded) as lake:
        fill(lake, [Call(f"{n}.wav", pieces=tiled([*common, "fear", "disgust"])) for n in range(2)])
        page = report(lake, tmp_path)
    head = page.tables["daily"][0]
    assert head[-1] == "other emotions"
    assert len(head) == 2 + 6 + 1
    assert not {"fear", "disgust"} & set(head)
    assert "Other emotions of m: disgust 0.8%, fear 0.8%." in page.seen


def test_a_single_rare_emotion_keeps_its_name(embedded, tmp_path):
    common = ["anger", "neutral", "sadness", "happiness", "calm", "surprise"] * 20
    with open_lake(embedded) as lake:
        fill(lake, [Call(f"{n}.wav", pieces=tiled([*common, "fear"])) for n in range(2)])
        assert "fear" in report(lake, tmp_path).tables["daily"][0]


def test_a_lake_of_an_earlier_version_has_a_report_and_is_left_as_it_is(embedded, tmp_path):
    with open_lake(embedded) as lake:
        fill(lake, CALLS)
        for view in ("calls", "listen_first", "segments_wide"):
            lake.connection.execute(f"DROP VIEW lake.{view}")
        for table, column in (
            ("segments", "uncertain"), ("segments", "role"), ("daily_emotions", "uncertain_seconds"),
            ("daily_emotions", "share_adjusted"), ("recordings", "recorded_at_local"), ("recordings", "signal_notes"),
        ):  # fmt: skip
            lake.connection.execute(f"ALTER TABLE lake.{table} DROP COLUMN {column}")
        lake.connection.execute("DROP TABLE lake.recording_dynamics")
        before = lake.latest_snapshot()
    with open_lake(embedded, read_only=True) as lake:
        page = report(lake, tmp_path)
        assert lake.latest_snapshot() == before
    assert page.by_id["recordings"] == "4 of 5"
    assert page.by_id["uncertain"] == "0.0%"
    assert len(page.named("listen")) > 0


def test_coverage_counts_each_recording_once_and_names_what_fell_out(page):
    shown = {row["Day"]: row for row in page.named("coverage")}
    day = shown[str(DAY)]
    assert (day["Listed"], day["labelled"], day["quarantined"]) == ("4", "3", "1")
    assert {row["Recording"] for row in page.named("fell-out")} == {
        f"s3://calls/{HOSTILE}.wav",
        "s3://calls/half.mp3",
    }


def test_runs_with_their_errors(page):
    completed = next(row for row in page.named("runs") if row["Run"] == "run-1")
    names = ("Outcome", "Found", "Skipped", "Done", "Quarantined", "Audio", "Took", "Speed (×)")
    assert [completed[name] for name in names] == [
        "completed", "7", "2", "5", "1", "1.0 h", "36.0 s", "100.0",
    ]  # fmt: skip
    assert f"no {HOSTILE}" in page.seen
    left = {row["Run"]: row["Recordings left, and names of what fell out"] for row in page.named("stages")}
    assert (
        left["run-1"]
        == "listed 7 → matched 7 → audio 7 → done 5 (2 done before) → decoded 0 → speech 0 → labelled 0"
    )


def test_a_figure_that_all_runs_share_is_said_once(page):
    assert not {"Model", "config_id", "Device"} & set(page.tables["runs"][0])
    (said,) = re.findall(r"All of them:.*", page.seen)
    assert " ".join(said.split()) == f"All of them: Model {KEY.model}, config_id {KEY.config_id}, Device cpu"


def test_a_figure_that_runs_differ_in_is_a_column():
    rows = [run_row(f"run-{device}", device=device).to_pylist()[0] for device in ("cpu", "cuda", None)]
    table = operations.run_table(rows)
    assert [column.word for column in table.columns][-2:] == ["device", "run"]
    assert [row[-2] for row in table.rows] == ["cpu", "cuda", "–"]
    assert operations.same_of_runs(rows).keys() == {"model", "config_id"}


def test_a_single_model_is_no_column_of_how_sure_it_is(page):
    assert page.tables["totals"][0][:2] == ["Emotion", "Share"]


def test_what_is_not_known_takes_a_line_and_no_card(page):
    assert not {"roles", "hours"} & page.tables.keys()
    ids = {given.get("id") for _, given in page.tags}
    assert "hint-roles" in ids
    assert not {"roles", "hours", "chart-hours"} & ids
    assert "hold no time of day" in page.seen


def test_the_stages_of_every_run_add_up():
    for found, skipped, done in product(range(4), repeat=3):
        if skipped + done > found:
            continue
        (run,) = run_row("run-1", found=found, skipped=skipped, done=done).to_pylist()
        ((*_, line),) = operations.stage_table([run]).rows
        reached = re.search(r"done (\d+)(?: \((.*?)\))?", line)
        assert reached
        passed = [int(each) for each in re.findall(r"\d+", reached[2] or "")]
        assert int(reached[1]) + sum(passed) == found, line


def test_ledger_names_what_made_the_numbers(page):
    (row,) = page.named("configurations")
    assert (row["Fingerprint"], row["config_id"], row["Recordings"]) == (
        KEY.model_fingerprint,
        KEY.config_id,
        "5",
    )


def test_names_are_text_and_nothing_else(page):
    assert HOSTILE not in page.text
    assert HOSTILE in page.seen
    assert f"undecodable: decode: {HOSTILE}" in {row["Reason"] for row in page.named("fell-out")}


def test_the_page_asks_nothing_of_the_network(page):
    assert not {"link", "img", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    assert not any({"src", "srcset", "action", "style"} & set(attributes) for _, attributes in page.tags)
    assert {attributes["href"] for _, attributes in page.tags if "href" in attributes} == {"#content"}
    assert not re.findall(r"url\(", page.text.partition("<script")[0])
    assert "@import" not in page.text.partition("<script")[0]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]


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
        append(
            lake.connection,
            RUNS,
            run_row(
                "run-1", outcome="failed", error="host=db password=hunter2", named_keys=["a?token=hunter2"]
            ),
        )
        page = report(lake, tmp_path)
    assert "hunter2" not in page.text
    assert page.named("fell-out")[0]["Recording"] == "s3://***@calls/x.wav?X-Amz-Signature=***"


def test_a_range_shows_its_days_only(lake, tmp_path):
    summary = write_report(lake, first=EARLIER, last=EARLIER, out=tmp_path / "r.html")
    assert (summary.first, summary.last, summary.recordings) == (EARLIER, EARLIER, 1)
    page = Page(tmp_path / "r.html")
    assert [row["Day"] for row in page.named("daily")] == [str(EARLIER)]
    assert "fell-out" not in page.tables
    assert "No run was asked for these days" in page.seen
    assert "A change needs two days" in page.seen


def test_without_days_the_last_31_are_covered(own_lake, tmp_path):
    fill(
        own_lake,
        [Call("old.wav", day=DAY - timedelta(days=31)), Call("older.wav", day=DAY - timedelta(days=90))],
    )
    summary = write_report(own_lake, first=None, last=None, out=tmp_path / "r.html")
    assert (summary.first, summary.last) == (DAY - timedelta(days=30), DAY)
    summary = write_report(own_lake, first=None, last=DAY - timedelta(days=60), out=tmp_path / "r.html")
    assert (summary.first, summary.last) == (DAY - timedelta(days=90), DAY - timedelta(days=60))


def test_a_long_range_is_in_weeks_that_end_with_its_last_day(own_lake, tmp_path):
    fill(
        own_lake,
        [Call("old.wav", day=DAY - timedelta(days=7)), Call("older.wav", day=DAY - timedelta(days=99))],
    )
    write_report(own_lake, first=DAY - timedelta(days=99), last=DAY, out=tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert [row["Day"] for row in page.named("daily")] == [
        str(DAY - timedelta(days=back)) for back in (99, 13, 6)
    ]
    assert len(page.data["periods"]) == 15
    assert page.data["periods"][0] == str(DAY - timedelta(days=99))
    assert "a dot is a week" in page.seen


def test_snapshot_is_the_one_that_was_read(lake, tmp_path):
    summary = write_report(lake, first=None, last=None, out=tmp_path / "r.html")
    assert summary.snapshot_id == lake.latest_snapshot()
    assert f"snapshot {summary.snapshot_id} of the lake" in Page(tmp_path / "r.html").seen


def test_an_outdated_daily_table_is_said(own_lake, tmp_path):
    assert "does not hold all" not in report(own_lake, tmp_path).seen
    commit_shard(own_lake, shard_rows([Call("late.wav")]), key=KEY, run_id="run-3", message="made")
    assert f"has been committed for {DAY}." in report(own_lake, tmp_path).seen


def test_two_models_are_never_added_up(own_lake, tmp_path):
    fill(own_lake, CALLS, AnalysisKey("other", "e" * 32, "d" * 16))
    page = report(own_lake, tmp_path)
    assert page.by_id["speech"] == "1.0 min"
    assert page.data["models"] == ["m", "other"]
    assert len(page.named("configurations")) == 2
    (agreement,) = page.named("agreement")
    assert (agreement["Models"], agreement["Agree"], agreement["Kappa"]) == ("m / other", "100.0%", "1.000")


def test_a_model_without_a_label_may_have_sites_and_roles_that_the_others_lack(own_lake, tmp_path):
    pieces = (Piece(emotion=None, role="agent"), Piece(10, 20, emotion=None, index=1))
    affect = [Call(f"{site}.wav", site=site, pieces=pieces) for site in ("bergen", None)]
    key = AnalysisKey("affect", "e" * 32, "d" * 16)
    commit_shard(own_lake, shard_rows(affect, key=key), key=key, run_id="run-1", message="made")
    page = report(own_lake, tmp_path)
    assert page.data["models"] == ["m", "affect"]
    assert ["site", "bergen"] in page.data["groups"]
    assert page.data["roles"] == [None, "agent"]
    assert {row["Value"] for row in page.named("values")}.isdisjoint({"bergen"})


def test_a_day_of_which_a_model_is_held_back_is_not_outdated(own_lake, tmp_path):
    key = AnalysisKey("stuck", "e" * 32, "d" * 16)
    commit_shard(own_lake, shard_rows(CALLS, key=key), key=key, run_id="run-2", message="made")
    own_lake.connection.execute("UPDATE lake.analyses SET run_id = 'run-2' WHERE model = 'stuck'")
    own_lake.connection.execute(
        "INSERT INTO lake.model_health BY NAME SELECT 'run-2' AS run_id, 'stuck' AS model, 'x' AS model_fingerprint, "
        "9 AS segments, 'flat' AS verdict, now() AS committed_at"
    )
    list(aggregate_days(own_lake, DayRange(EARLIER, DAY), dimensions=["site"], run_id="run-2"))
    assert "does not hold all" not in report(own_lake, tmp_path).seen
    commit_shard(own_lake, shard_rows([Call("late.wav")]), key=KEY, run_id="run-3", message="made")
    assert f"has been committed for {DAY}." in report(own_lake, tmp_path).seen


def test_labels_of_a_flat_model_are_left_out(own_lake, tmp_path):
    own_lake.connection.execute(
        "INSERT INTO lake.model_health BY NAME SELECT 'run-1' AS run_id, 'm' AS model, 'x' AS model_fingerprint, "
        "9 AS segments, 'flat' AS verdict, now() AS committed_at"
    )
    page = report(own_lake, tmp_path)
    assert "No speech of these days has a label" in page.seen
    assert {row["held back"] for row in page.named("coverage")} == {"1", "3"}


def test_long_lists_are_cut_and_say_so(embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "MOST_RECORDINGS", 3)
    monkeypatch.setattr(build, "MOST_RUNS", 2)
    monkeypatch.setattr(shares, "MOST_CELLS", 3)
    with open_lake(embedded) as lake:
        fill(lake, [Call(f"{site}.wav", site=f"site {site}") for site in range(7)])
        fill(lake, [Call(f"bad {each}.wav", status="quarantined", error="empty: fetch: none", pieces=())
                    for each in range(5)])  # fmt: skip
        for number in range(4):
            append(lake.connection, RUNS, run_row(f"run-{number}"))
        page = report(lake, tmp_path)
    assert len(page.named("fell-out")) == 3
    assert len(page.named("runs")) == 2
    assert len(page.named("values")) == 2
    assert page.data["groups"] == [["", ""], ["site", "site 0"], ["site", "site 1"]]
    assert "The newest 3; 2 more are in" in page.seen
    assert "The newest 2; 2 more are in" in page.seen
    assert "more are in daily_emotions: site +5" in page.seen


def test_the_page_does_not_grow_with_the_recordings(embedded, tmp_path):
    """Absolute figures: `python -m bench.reporting`."""
    pieces = tiled(["anger", "neutral", "sadness"])
    with open_lake(embedded) as lake:
        fill(lake, [Call(f"{n}.wav", pieces=pieces) for n in range(10)])
        few = len(report(lake, tmp_path).text)
        fill(lake, [Call(f"{n}.wav", pieces=pieces) for n in range(10, 400)])
        page = report(lake, tmp_path)
    assert page.by_id["recordings"] == "400 of 400"
    assert len(page.text) < 1.01 * few


def test_a_range_without_recordings_names_the_days_that_are_there(lake, tmp_path):
    write_report(lake, first=date(2020, 1, 1), last=date(2020, 1, 2), out=tmp_path / "r.html")
    seen = Page(tmp_path / "r.html").seen
    assert "no recordings of the days 2020-01-01 to 2020-01-02" in seen
    assert f"emolake report --from {EARLIER} --to {DAY}" in seen


def test_a_range_backwards_is_refused(lake, tmp_path):
    with pytest.raises(ConfigurationError, match="before it begins"):
        write_report(lake, first=DAY, last=EARLIER, out=tmp_path / "r.html")


@pytest.mark.parametrize("language", [Language.de, Language.ko])
def test_the_page_opens_in_a_language(lake, tmp_path, language):
    write_report(lake, first=None, last=None, out=tmp_path / "r.html", language=language)
    page = Page(tmp_path / "r.html")
    assert ("html", {"lang": language}) in page.tags
    assert page.data["language"] == language
    assert page.by_id["unlabelled"] == ("12,5 %" if language is Language.de else "12.5%")
