"""Lakes at the edges: each gives a page that makes sense, with scripts and without, at the width of a phone."""

from datetime import timedelta

import pytest
from report_browser import Opened, needs_browser
from report_page import Page

from emolake.lake.connect import open_lake
from emolake.lake.schema import append
from emolake.report.build import write_report
from emolake.schemas.days import DayRange
from emolake.schemas.records import AnalysisKey
from emolake.schemas.tables import ANALYSES, SEGMENTS
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, shard_rows, sqlite_warehouse, tiled

pytestmark = [pytest.mark.slow, needs_browser]

SPEECH = tiled(["anger", "neutral", "sadness", None])
NOWHERE = [Call(f"{n}.wav", site=None, pieces=SPEECH) for n in range(3)]
BAD = Call("bad.wav", status="quarantined", error="empty: fetch: none", pieces=(), duration_s=None)


def models(number: int) -> list[AnalysisKey]:
    return [
        AnalysisKey(f"model {each} {'with a long name ' * 2}", f"{each:032x}", f"{each:016x}")
        for each in range(number)
    ]


EDGES = {
    "an empty lake": ([], [KEY], []),
    "all quarantined": ([BAD], [KEY], ["site"]),
    "one recording": ([Call("a.wav", pieces=SPEECH)], [KEY], ["site"]),
    "no dimensions": (NOWHERE, [KEY], []),
    "a dimension that recordings lack": (NOWHERE, [KEY], ["site"]),
    "one emotion": ([Call(f"{n}.wav", pieces=tiled(["calm"] * 3)) for n in range(3)], [KEY], ["site"]),
    "nothing labelled": ([Call("a.wav", status="silent", pieces=tiled([None]))], [KEY], ["site"]),
    "days far apart": (
        [Call(f"{back}.wav", day=DAY - timedelta(days=back), pieces=SPEECH) for back in (0, 29)], [KEY], ["site"]
    ),
    "many dimensions": (
        [Call(f"{n}.wav", site=f"site {n} {'long' * 20}", pieces=SPEECH) for n in range(40)],
        [KEY],
        ["site", *(f"dimension {n}" for n in range(12))],
    ),
    "20 models": ([Call(f"{n}.wav", pieces=SPEECH) for n in range(2)], models(20), ["site"]),
}  # fmt: skip


SENTENCES = {
    "an empty lake": "The lake is empty",
    "all quarantined": "nothing to say of emotions",
    "nothing labelled": "nothing to say of emotions",
    "one recording": "A change needs two days",
    "no dimensions": "broken down by no dimension",
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_lake_at_the_edge_has_a_page_that_makes_sense(browser, tmp_path, edge):
    calls, keys, dimensions = EDGES[edge]
    with open_lake(sqlite_warehouse(tmp_path)) as lake:
        if calls:
            commit_shard(lake, shard_rows(calls, key=keys[0]), key=keys[0], run_id="run-1", message="made")
            for key in keys[1:]:
                others = shard_rows(calls, key=key)
                append(lake.connection, ANALYSES, others.analyses)
                append(lake.connection, SEGMENTS, others.segments)
            days = DayRange(min(call.day for call in calls), DAY)
            list(aggregate_days(lake, days, dimensions=dimensions, run_id="run-1"))
        out = write_report(lake, first=None, last=None, out=tmp_path / "r.html").out
    page = Page(out)
    assert SENTENCES.get(edge, "") in page.seen
    assert "None" not in page.seen
    assert "nan" not in page.seen.lower().split()
    with Opened(browser, out, width=390) as opened:
        assert opened.said == []
        assert opened.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert opened.page.locator("main h2:visible").count() >= 2
        text = opened.page.locator("main").inner_text()
        assert "NaN" not in text
        assert "undefined" not in text
        assert "null" not in text
        if page.data.get("cells"):
            # With one of everything there is nothing to choose.
            assert opened.page.locator("#filter-model").is_visible() is False
            opened.page.evaluate("document.getElementById('filter-box').open = true")
            assert opened.page.locator("#filter-model").is_visible() is (len(keys) > 1)
            assert opened.page.locator("#multiples h3").count() == len(page.tables["daily"][0]) - 2
        else:
            assert opened.page.locator(".notice").first.is_visible()
