"""The Markdown of a run: its figures, the emotions of its days, what it quarantined, and the way to the report."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from emolake.lake.connect import open_lake
from emolake.lake.warehouse import WarehouseOptions
from emolake.pipeline.run_request import RunRequest
from emolake.pipeline.run_summary import run_markdown
from emolake.pipeline.runs import Run
from emolake.schemas.days import DayRange
from emolake.schemas.records import Counts, Listing
from emolake.settings import Settings
from emolake.tasks.aggregate import aggregate_days
from emolake.tasks.commit import commit_shard

from made_lake import DAY, KEY, Call, shard_rows, tiled

SECTIONS = ["# nightly", "## Recordings", "## Emotions", "## Quarantined", "## Report"]


def made_run(warehouse: WarehouseOptions, **figures: Any) -> Run:
    return Run(
        RunRequest("nightly", (DAY - timedelta(days=1), DAY)),
        KEY,
        Settings(warehouse=warehouse),
        counts=replace(Counts(), **figures),
    )


def test_a_night_reads_as_short_sections(embedded: WarehouseOptions) -> None:
    run = made_run(embedded, done=7, quarantined=5, segments=4, labelled=3)
    run.list_more(
        Listing(found=9, skipped=2, not_matched=1, named_keys=("does not match the pattern: <b>|x",))
    )
    calls = [
        Call("a.wav", pieces=tiled(["anger", "anger", "neutral", None])),
        Call("b.wav", pieces=tiled(["anger"])),
    ]
    for number in range(5):
        error = "empty: the object has no bytes" if number else "undecodable: junk"
        calls.append(
            Call(f"bad|{number}<i>.wav", status="quarantined", error=error, pieces=(), analysed=False)
        )
    with open_lake(embedded) as lake:
        commit_shard(lake, shard_rows(calls, run_id=run.run_id), key=KEY, run_id=run.run_id, message="1")
        commit_shard(
            lake,
            shard_rows([Call("old.wav", status="quarantined", error="crashed: x", pieces=())], run_id="before"),
            key=KEY, run_id="before", message="1",
        )  # fmt: skip
        list(aggregate_days(lake, DayRange(DAY, DAY), dimensions=("site",), run_id=run.run_id))
        text = run_markdown(run, lake, Path("/srv/emolake.toml"))
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        f"# nightly of {DAY - timedelta(days=1)} to {DAY}: completed", *SECTIONS[1:]
    ]  # fmt: skip
    assert max(map(len, lines)) < 200
    for row in ("| listed | 9 |", "| done before | 2 |", "| analysed | 7 |", "| of them quarantined | 5 |"):
        assert row in lines
    assert f"| {DAY} | m | 0.7 | anger 75.0%, neutral 25.0% |" in lines
    examples = "<br>".join(f"s3://calls/bad\\|{number}&lt;i&gt;.wav" for number in (1, 2, 3))
    assert f"| quarantined | empty | 4 | {examples} |" in lines
    assert "| quarantined | undecodable | 1 | s3://calls/bad\\|0&lt;i&gt;.wav |" in lines
    assert "crashed" not in text
    assert "- does not match the pattern: &lt;b&gt;|x" in lines
    command = f"emolake report --from {DAY - timedelta(days=1)} --to {DAY} -o report.html"
    assert f"{command} --config /srv/emolake.toml" in lines
    assert embedded.data in text


def test_a_night_that_failed_says_why_and_one_without_work_says_so(embedded: WarehouseOptions) -> None:
    run = made_run(embedded)
    run.failures.append("the day cannot be listed: password=hunter2")
    with open_lake(embedded) as lake:
        text = run_markdown(run, lake, None)
    assert "**Failed:** the day cannot be listed: password=***" in text
    assert "Nothing was quarantined or found truncated." in text
    assert "The daily table holds nothing of these days." in text
    assert "--config" not in text
