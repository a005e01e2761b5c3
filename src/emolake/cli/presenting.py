"""What the commands that keep the lake right came to, as tables, JSON or sentences."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from emolake.cli.arguments import TableFormat
from emolake.messages import counted
from emolake.output.table import print_table, write_json

if TYPE_CHECKING:
    from emolake.lake.export import ExportedTable
    from emolake.lake.published_file import Published
    from emolake.upkeep.erase import ErasurePlan, ErasureResult
    from emolake.upkeep.forget import ForgetPlan, ModelDay
    from emolake.upkeep.gaps import Gap
    from emolake.upkeep.relocate import Relocation
    from emolake.upkeep.upgrade import Rehearsal
    from emolake.upkeep.verify import Verdict


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def show_figures(title: str, figures: Any) -> None:
    """Show the fields of a dataclass as a table."""
    rows = [(name.replace("_", " "), value) for name, value in asdict(figures).items()]
    print_table(("", title), rows, sys.stdout)


def show_verdict(verdict: "Verdict", format: TableFormat) -> None:
    """Show the findings of a verification; a breach comes with its query."""
    if format is TableFormat.json:
        rows = [{"kind": "breach"} | asdict(each) for each in verdict.breaches]
        rows += [{"kind": "notice"} | asdict(each) for each in verdict.notices]
        write_json(rows, sys.stdout)
        return
    found = [("BREACH", each) for each in verdict.breaches] + [("notice", each) for each in verdict.notices]
    if found:
        print_table(
            ("", "check", "date", "found", "query"),
            [(kind, each.check, each.date, each.finding, each.query) for kind, each in found],
            sys.stdout,
        )


def show_gaps(gaps: "Sequence[Gap]", by: Sequence[str], format: TableFormat) -> None:
    """Show the gaps, with a column for each dimension of `by`."""
    names = ("date", "weekday", *by, "recordings", "usual", "weeks")
    rows = [(gap.date, gap.weekday, *gap.dimensions, gap.recordings, gap.usual, gap.weeks) for gap in gaps]
    if format is TableFormat.json:
        write_json((dict(zip(names, row, strict=True)) for row in rows), sys.stdout)
    elif rows:
        print_table(names, rows, sys.stdout)


def show_rehearsal(rehearsal: "Rehearsal", format: TableFormat) -> None:
    """Show what an upgrade would change, and each table before and after."""
    if format is TableFormat.json:
        write_json([asdict(rehearsal)], sys.stdout)
        return
    rows = [
        (each.table, each.rows_before, each.rows_after, "same" if each.same else "DIFFERENT")
        for each in rehearsal.tables
    ]
    print_table(("table", "rows before", "rows after", "content"), rows, sys.stdout)
    _say(
        f"DuckDB {rehearsal.duckdb} with DuckLake {rehearsal.ducklake} on a copy of a catalog made by "
        f"{rehearsal.made_by}; the lake itself was only read."
    )
    if rehearsal.must_migrate:
        _say(
            f"The catalog has to be migrated from format {rehearsal.format_before} to {rehearsal.format_after}: older "
            "versions cannot open it afterwards, so back it up."
        )
    else:
        _say(f"The catalog opens as it is, in format {rehearsal.format_after}.")
    for what, names in (
        ("tables", rehearsal.new_tables),
        ("columns", rehearsal.new_columns),
        ("views", rehearsal.new_views),
    ):
        if names:
            _say(f"The next run adds the {what} {', '.join(names)}.")


def show_erasure_plan(plan: "ErasurePlan") -> None:
    """Show what an erasure would take away."""
    stored = {each.recording_id for each in plan.stored}
    named = [
        (each.recording_id, each.uri, "yes" if each.recording_id in stored else "no")
        for each in plan.requests
    ]
    if named:
        print_table(("recording_id", "recording", "in the lake"), named, sys.stdout)
    rows = Counter[str]()
    for each in plan.stored:
        rows.update(each.rows)
    amounts = [
        counted(rows.pop("analyses", 0), "analysis", "analyses"),
        counted(rows.pop("segments", 0), "segment"),
    ]
    rows.pop("recordings", None)
    amounts += [f"{counted(number, 'row')} of {name}" for name, number in rows.items()]
    _say(
        f"{counted(len(plan.requests), 'recording')} with {', '.join(amounts[:-1])} and {amounts[-1]} on "
        f"{counted(len(plan.days), 'day')}. Their aggregates are rebuilt."
    )
    _say(
        f"Time travel ends here: all {counted(plan.snapshots, 'snapshot')} up to the erasure are lost, of every "
        "table and day."
    )
    for folder in plan.caches:
        _say(f"The cache {folder} is emptied: its entries do not say which recording they came from.")
    for held in plan.held_back:
        _say(
            f"The aggregates of {held.date} by {held.model} stay as they are: the model was degenerate there."
        )


def show_erasure(done: "ErasureResult") -> None:
    """Show what an erasure took away."""
    for name in done.unread:
        _say(
            f"{name} is no whole Parquet file and could not be searched; `emolake maintain` removes it by its age"
        )
    _say(
        f"erased; {counted(done.removed_files, 'file')} removed, {counted(done.scanned_files, 'file')} of the data "
        f"path and the catalog scanned: nothing of them is left; "
        f"{counted(done.cached_entries, 'entry', 'entries')} of caches removed"
    )


def show_forget_plan(plan: "ForgetPlan") -> None:
    """Show what forgetting a model would take away."""
    if not plan.days:
        _say(
            f"nothing is left of the model {plan.model} on these days; the table forgotten has receipts of "
            f"{counted(plan.forgotten_before, 'day')}"
        )
        return
    print_table(("date", "analyses", "segments", "rows of daily_emotions"), plan.days, sys.stdout)
    _say(
        f"{_amount(plan.days)} by the model {plan.model}. Other models' aggregates are kept, recordings, runs and "
        "model_health too; a run with this model analyses the days again."
    )


def show_forgotten(model: str, days: "Sequence[ModelDay]") -> None:
    """Show what was taken away of a model."""
    _say(
        f"forgot {_amount(days)} by the model {model}; the receipts are in the table forgotten, and the files go when "
        "`emolake maintain` expires the snapshots that need them"
    )


def _amount(days: "Sequence[ModelDay]") -> str:
    analyses = counted(sum(each.analyses for each in days), "analysis", "analyses")
    segments = counted(sum(each.segments for each in days), "segment")
    return f"{analyses} and {segments} on {counted(len(days), 'day')}"


def show_relocation(relocation: "Relocation", *, dry_run: bool) -> None:
    """Show where a lake's files are, and what the catalog says of it."""
    if not relocation.is_needed:
        _say(f"the catalog says already that its files are at {relocation.new}; nothing was changed")
        return
    verb = "would say" if dry_run else "says now"
    _say(
        f"the catalog {verb} that its files are at {relocation.new}, no longer at {relocation.old}: "
        f"{counted(relocation.files, 'file')} of {relocation.bytes / 1e6:.1f} MB are there in the sizes that it knows. "
        + ("Nothing was changed." if dry_run else "`emolake verify` compares the rows too.")
    )
    if relocation.orphans:
        _say(
            f"{counted(len(relocation.orphans), 'file')} there the catalog does not know, such as "
            f"{relocation.orphans[0]}; `emolake maintain` removes them by their age"
        )


def show_export(done: "Sequence[ExportedTable]", *, dry_run: bool) -> None:
    """Show which files an export writes, and what is left out of them."""
    rows = [
        (
            each.selection.name,
            each.rows,
            "" if each.selection.by_day else "whatever the days",
            str(each.path) + (" (replaced)" if each.replaces else ""),
            ", ".join(each.selection.left_out),
        )
        for each in done
    ]
    print_table(("table", "rows", "", "file", "left out as personal"), rows, sys.stdout)
    _say(f"{'would write' if dry_run else 'wrote'} {counted(len(rows), 'file')}")


def show_published(done: "Published") -> None:
    """Show what a published file holds."""
    rows = [(each.name, number, ", ".join(each.left_out)) for each, number in done.tables]
    print_table(("table", "rows", "left out as personal"), rows, sys.stdout)
    _say(f"wrote {done.path}: {counted(len(rows), 'table')}, {done.bytes / 1e6:.1f} MB")
