"""The report in a real browser: it renders, fits a phone, and hostile names execute nothing."""

import html
import re
import shutil
import subprocess
from datetime import timedelta
from html.parser import HTMLParser
from itertools import cycle, islice
from pathlib import Path

import pytest

from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.report.build import write_report
from emolake.schemas.days import DayRange
from emolake.schemas.labels import EMOTIONS
from emolake.schemas.tables import RUNS
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, run_row, shard_rows, sqlite_warehouse, tiled

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"' onmouseover='document.title=1' x='",
    "{{ 7 * 7 }}</style></svg>",
]
_BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_BROWSER is None, reason="neither chromium nor google-chrome is installed"),
]


def browse(page: Path, profile: Path, *flags: str) -> str:
    """Open a page in a headless browser without network and return what it prints."""
    command = [
        str(_BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--disable-quic",
        f"--user-data-dir={profile}",
        *flags,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


class Tags(HTMLParser):
    """Names of the elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


def title_of(dom: str) -> str:
    found = re.search(r"<title>(.*?)</title>", dom)
    assert found
    return html.unescape(found[1])


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A month of every emotion at several sites, with names that try to break out."""
    folder = tmp_path_factory.mktemp("report")
    calls = [
        Call(f"{back}/{site}.wav", day=DAY - timedelta(days=back), site=site, duration_s=150.0,
             pieces=tiled(list(islice(cycle([*EMOTIONS, None]), back + place, back + place + 15))))
        for back in range(31) if back not in (4, 5)
        for place, site in enumerate(["oslo", "berlin", HOSTILE[0], "a site with a rather long name " * 3])
    ]  # fmt: skip
    bad = [
        Call(f"{'long' * 40}/{name}.wav", status="quarantined", error=f"undecodable: decode: {name}", pieces=(),
             duration_s=None)
        for name in HOSTILE
    ]  # fmt: skip
    with open_lake(sqlite_warehouse(folder)) as lake:
        commit_shard(lake, shard_rows(calls + bad), key=KEY, run_id="run-1", message="made")
        list(
            aggregate_days(lake, DayRange(DAY - timedelta(days=40), DAY), dimensions=["site"], run_id="run-1")
        )
        append(
            lake.connection,
            RUNS,
            run_row("nightly-20261121T023000-abcdef", found=120, done=120, quarantined=4),
        )
        append(lake.connection, RUNS, run_row("run-2", outcome="failed", error=HOSTILE[0]))
        return write_report(lake, first=None, last=None, out=folder / "report.html").out


@pytest.fixture(scope="module")
def unguarded(report) -> Path:
    """The page without its content security policy, so that scripts would run."""
    text, dropped = re.subn(r"<meta http-equiv=[^>]*>", "", report.read_text("utf-8"))
    assert dropped == 1
    path = report.with_name("unguarded.html")
    path.write_text(text, "utf-8")
    return path


def test_the_page_renders_and_holds_its_numbers(report, tmp_path):
    dom = browse(report, tmp_path, "--dump-dom")
    assert title_of(dom) == f"Emotion in speech, {DAY - timedelta(days=30)} to {DAY}"
    assert '<dd id="recordings">120</dd>' in dom
    assert dom.count('class="segment ') > 31 * 10
    assert browse(report, tmp_path, f"--screenshot={tmp_path / 'page.png'}") == ""
    assert (tmp_path / "page.png").stat().st_size > 10_000


def test_hostile_names_execute_nothing(unguarded, tmp_path):
    dom = browse(unguarded, tmp_path, "--dump-dom")
    assert title_of(dom).startswith("Emotion in speech")
    tags = Tags(dom)
    assert not {"script", "img"} & tags.names
    assert not [name for name in tags.attributes if name.startswith("on")]
    for name in HOSTILE:
        assert html.escape(name, quote=False) in dom


@pytest.mark.parametrize("width", [320, 400, 1200])
def test_nothing_sticks_out(unguarded, tmp_path, width):
    # A headless window is at least 500 wide: the page is put in a frame of the width instead.
    script = (
        "<script>onload = () => { const root = document.documentElement;"
        " parent.postMessage(root.scrollWidth - root.clientWidth + ' over in ' + innerWidth, '*') }</script>"
    )
    inner = unguarded.read_text("utf-8") + script
    frame = tmp_path / "frame.html"
    frame.write_text(
        "<title>none</title><script>onmessage = event => { document.title = event.data }</script>"
        f'<iframe style="width: {width}px; height: 800px; border: 0" srcdoc="{html.escape(inner)}"></iframe>',
        "utf-8",
    )
    dom = browse(
        frame, tmp_path / "profile", "--dump-dom", "--window-size=1300,900", "--virtual-time-budget=5000"
    )
    assert title_of(dom) == f"0 over in {width}"
