"""Names that try to be SQL, markup, a formula, a path or a terminal's command: they stay names, from plan to report."""

import csv
import io
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from made_plan import work_of
from report_page import Page

from emolake.cli.app import main
from emolake.demo.encode import write_audio
from emolake.errors import BadRecordingError
from emolake.lake.connect import open_lake
from emolake.lake.query import ask
from emolake.pipeline.identity import analysis_key
from emolake.pipeline.shard import run_shard
from emolake.report.build import write_report
from emolake.schemas.days import DayRange
from emolake.schemas.records import SourceObject
from emolake.schemas.tables import TABLES
from emolake.settings import Settings, load_settings
from emolake.source.folder import FolderSource
from emolake.source.opening import open_source
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.fetch import FetchOptions, fetched
from emolake.tasks.plan import plan_day, shards
from emolake.upkeep.erase import plan_erasure, requests_by_condition
from emolake.upkeep.verify import verify, verify_rows

from made_model import write_tiny_model

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)
MODEL = "x'; DROP TABLE lake.segments; --"
FORMULAS = ["=cmd|' C'!A0", "@SUM(1+1)", "+1", "-1+1", '=HYPERLINK("x")']
NAMES = [
    "'; DROP TABLE lake.recordings; --",
    "' OR ''='",
    '"; DELETE FROM segments; --',
    "$date ? :x %s {0} {{ 7 * 7 }}",
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'",
    "[red]x[bold]",
    "\x1b[31mred\x1b]0;owned\x07",
    "\x9b31m",
    "a\nemolake: all is well\r",
    "gpj.\u202eexe",
    "..%2f..%2fetc%2fpasswd",
    "C:\\Windows\\x",
    "${jndi:ldap:x}",
    *FORMULAS,
]


@dataclass(frozen=True)
class Site:
    """A lake of one day of such names, as sites and as calls: a sound one and a broken one at each site."""

    config: Path
    settings: Settings

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        with open_lake(self.settings.warehouse, read_only=True) as lake:
            return ask(lake.connection, sql).fetchall()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("hostile")
    write_tiny_model(folder / "tiny")
    noise = np.random.default_rng(0).normal(0, 0.1, (8000, 1)).astype(np.float32)
    write_audio(folder / "call.wav", noise, 8000, "wav")
    sound = (folder / "call.wav").read_bytes()
    for name, other in pairwise([*NAMES, NAMES[0]]):
        place = folder / "calls" / f"{DAY:%Y/%m/%d}" / name
        place.mkdir(parents=True)
        (place / f"{other}.wav").write_bytes(sound)
        (place / f"broken {other}.wav").write_bytes(b"junk")
    (folder / "calls" / f"{DAY:%Y/%m/%d}" / f"stray {NAMES[7]}.wav").write_bytes(sound)
    config = folder / "emolake.toml"
    config.write_text(
        '[source]\nuri = "calls"\n[segmentation]\nmin_speech_ratio = 0.0\n[run]\nmax_bad_share = 1.0\n'
        f'[inference]\nmodel = "{MODEL}"\n[models."{MODEL}"]\npath = "tiny"\n',
        "utf-8",
    )
    settings = load_settings(config)
    entry = settings.registry.entry()
    key = analysis_key(settings, entry)
    source = open_source(settings.source.uri, settings.source.s3)
    with open_lake(settings.warehouse) as lake:
        planned = plan_day(
            source,
            settings.source.key_pattern(),
            lake,
            DAY,
            key=key,
            policy=settings.policy,
        )
        for objects in shards(work_of(planned), shard_seconds=3600, shard_objects=20):
            run_shard(objects, settings=settings, entry=entry, key=key, run_id="run-1", message=NAMES[0])
        list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=["site"], run_id="run-1"))
    return Site(config, settings)


def run(site: Site, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Return all that a command writes, after looking that it controls no terminal."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "argv", ["emolake", *command, "--config", str(site.config)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code in (0, 1, None)
    output, errors = capsys.readouterr()
    written = output + errors
    assert written
    assert not {each for each in written if unicodedata.category(each) == "Cc"} - {"\n", "\t"}
    assert "\u202e" not in written
    assert "\nemolake: all is well" not in written
    return written


def test_every_name_is_a_row_as_it_is(site: Site) -> None:
    found = site.ask("SELECT dimensions['site'], dimensions['call_id'], status FROM recordings")
    assert len(found) == 2 * len(NAMES)
    assert {row for row in found if row[2] == "ok"} == {
        (name, other, "ok") for name, other in pairwise([*NAMES, NAMES[0]])
    }
    daily = site.ask(
        "SELECT DISTINCT dimensions['site'], model FROM daily_emotions WHERE dimensions <> MAP {}"
    )
    assert set(daily) == {(name, MODEL) for name in NAMES}
    tables = {
        name for (name,) in site.ask("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'")
    }
    assert tables == {table.name for table in TABLES}
    verdict = verify(site.settings)
    assert verdict.breaches == []


def test_no_command_lets_a_name_control_the_terminal(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(site, capsys, "query", "SELECT uri, dimensions, error FROM recordings")
    for text in (
        "[red]x[bold]", r"\x1b[31mred\x1b]0;owned\x07", r"\x9b31m", r"gpj.\u202eexe", "<img src=x", "DROP TABLE",
    ):  # fmt: skip
        assert text in shown
    for command in (
        ("query", 'SELECT 1 AS "[red]\x1b[31m"'),
        ("query", "SELECT * FROM nothing_of_\x1b[31m"),
        ("query", "SELECT 'a' AS \"\x1b\" FROM recordings", "--format", "table"),
        ("backfill", str(DAY), str(DAY), "--plan"),
        ("doctor",),
        ("gaps", "--from", str(DAY), "--to", str(DAY)),
        ("verify",),
        ("retry", "--quarantined", "--dry-run"),
        ("erase", "--where", "true", "--dry-run"),
        ("models",),
        ("predict", str(site.config.parent / "calls"), "--model", MODEL),
    ):
        run(site, capsys, *command)


def test_queries_that_verify_prints_are_one_select_that_shows_the_breach(site: Site, tmp_path: Path) -> None:
    def corrupted() -> None:
        lake.connection.execute("DELETE FROM lake.analyses WHERE segments > 0")
        lake.connection.execute("INSERT INTO lake.segments SELECT * FROM lake.segments")
        lake.connection.execute("UPDATE lake.daily_emotions SET segments = segments + 1")
        verdict = verify_rows(lake, site.settings, DayRange(DAY, DAY))
        queries = {each.query for each in verdict.breaches if each.query}
        assert {each.check for each in verdict.breaches} >= {"segments_twice", "segments_against_ledger"}
        assert any("x''; DROP TABLE" in query for query in queries)
        for query in sorted(queries)[:200]:
            assert ask(lake.connection, query).fetchall()

    with open_lake(site.settings.warehouse) as lake:
        lake.answer(corrupted)  # which is undone
    assert site.ask("SELECT count(*) FROM segments") == [(len(NAMES),)]


@pytest.mark.parametrize("name", [name for name in NAMES if set(name) & set("'\n$\\")])
def test_a_condition_of_an_erasure_finds_the_name_and_no_other(site: Site, name: str) -> None:
    quoted = name.replace("'", "''")
    asked = requests_by_condition(site.settings, f"dimensions['site'] = '{quoted}' AND status = 'ok'")
    assert [name in each.uri for each in asked] == [True]
    plan = plan_erasure(site.settings, asked)
    assert [each.rows for each in plan.stored] == [
        {"recordings": 1, "analyses": 1, "segments": 1, "recording_dynamics": 1}
    ]


def test_csv_and_json_hold_every_name_unchanged(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that a spreadsheet would take for a formula is data: docs/operations.md says how to open it."""
    with pytest.MonkeyPatch.context() as patched:
        sql = "SELECT dimensions['site'] AS site FROM recordings WHERE status = 'ok'"
        patched.setattr(
            sys, "argv", ["emolake", "query", sql, "--format", "csv", "--config", str(site.config)]
        )
        with pytest.raises(SystemExit, match="0"):
            main()
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out, newline="")))
    assert {row["site"] for row in rows} == set(NAMES)


def test_the_report_shows_names_and_runs_none(site: Site, tmp_path: Path) -> None:
    """In a browser: tests/report/test_page.py."""
    with open_lake(site.settings.warehouse, read_only=True) as lake:
        write_report(lake, first=None, last=None, out=tmp_path / "r.html")
    page = Page(tmp_path / "r.html")
    assert not {"img", "iframe", "object", "embed"} & {name for name, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    # The scripts are the report's own, whose hashes its policy has; names are in data that no browser runs.
    policy = next(tag["content"] for name, tag in page.tags if name == "meta" and tag.get("http-equiv"))
    assert policy is not None
    assert len(page.scripts) == policy.partition("style-src")[0].count("'sha256-")
    assert not any(name in text for text in page.scripts for name in (*NAMES[:8], *FORMULAS[:1]))
    assert MODEL in page.seen
    for name in NAMES:
        assert name.replace("\r", "\n") in page.seen.replace("\r", "\n")


@pytest.mark.parametrize(
    "key", ["../secret.wav", "/etc/passwd", "2026/../../secret.wav", "2026/link/secret.wav"]
)
def test_no_key_leads_out_of_a_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.wav").write_bytes(b"private")
    (tmp_path / "calls" / "2026").mkdir(parents=True)
    (tmp_path / "calls" / "2026" / "link").symlink_to(tmp_path)
    source = FolderSource(tmp_path / "calls")
    assert [entry.key for entry in source.list("")] == ["2026/link"]
    for read in (lambda: source.local_path(key), lambda: list(source.read(key, "v", 0))):
        with pytest.raises(BadRecordingError, match="leads out of the source's folder"):
            read()


class Bucket:
    """A source whose keys lead anywhere, as those of a bucket may."""

    uri = "s3://calls"

    def local_path(self, key: str) -> None:
        return None

    def read(self, key: str, version: str, offset: int) -> Iterator[bytes]:
        yield b"junk"


def test_a_download_lands_in_its_own_folder_whatever_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    keys = ["../../escaped.wav", str(tmp_path / "absolute.wav"), "a/../../escaped.wav", "..", "a\x00b"]
    objects = [SourceObject(key, f"s3://calls/{key}", "0" * 32, "v", 4, DAY, None, {}) for key in keys]
    with fetched(Bucket(), objects, options=FetchOptions()) as downloads:  # type: ignore[arg-type]
        for _, path in downloads:
            assert isinstance(path, Path)
            assert path.parent.parent == tmp_path
            assert path.name.isdigit()
    assert list(tmp_path.iterdir()) == []
