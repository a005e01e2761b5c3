"""What a run came to, as Markdown: a few short sections for whoever looks at it in Prefect."""

from html import escape
from pathlib import Path

from emolake.lake.transact import Lake
from emolake.messages import counted, redacted
from emolake.output.table import markdown_table
from emolake.pipeline.runs import Run
from emolake.sql import statement

_EXAMPLES = 3
_MOST_REASONS = 20


def run_markdown(run: Run, lake: Lake, config: Path | None) -> str:
    """Return a run's figures, the emotions of its days, what it quarantined, and how to get the report.

    Args:
        run: one that has ended.
        lake: the lake that it wrote.
        config: its configuration file, for the commands that are named.
    """
    sections = [
        _head(run),
        _figures(run),
        _passed_over(run),
        _emotions(run, lake),
        _bad(run, lake),
        _report(run, config),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _head(run: Run) -> str:
    failed = f"\n\n**Failed:** {_shown(run.error)}" if run.error else ""
    warned = "".join(f"\n\n**Note:** {_shown(warning)}" for warning in run.warnings)
    title = f"# {run.request.flow} of {run.days}: {run.outcome}"
    return f"{title}\n\nRun `{run.run_id}`, model `{run.key.model}`.{failed}{warned}"


def _figures(run: Run) -> str:
    listing, counts = run.listing, run.counts
    rows = [
        ["listed", str(listing.found)],
        ["done before", str(listing.skipped)],
        ["analysed", str(counts.done)],
        ["of them quarantined", str(counts.quarantined)],
        ["of them truncated", str(counts.truncated)],
        ["segments", str(counts.segments)],
        ["of them labelled", str(counts.labelled)],
        ["audio", f"{counts.audio_seconds / 3600:.2f} h"],
        ["speech", f"{counts.speech_seconds / 3600:.2f} h"],
    ]
    return "## Recordings\n\n" + markdown_table(["recordings", ""], rows)


def _passed_over(run: Run) -> str:
    listing = run.listing
    number = listing.not_matched + listing.not_audio
    if not number:
        return ""
    named = "\n".join(f"- {_shown(each)}" for each in listing.named_keys[:_EXAMPLES])
    return f"{counted(number, 'key')} at the source gave no recording, such as:\n\n{named}"


def _emotions(run: Run, lake: Lake) -> str:
    found = lake.connection.execute(
        statement("run_daily_shares"), {"first": run.days.first, "last": run.days.last}
    )
    rows = []
    for each in found.to_arrow_table().to_pylist():
        shares = sorted(dict(each["shares"]).items(), key=lambda one: (-one[1], one[0]))
        emotions = ", ".join(f"{emotion} {share:.1%}" for emotion, share in shares) or "none"
        minutes = f"{each['labelled_seconds'] / 60:.1f}"
        rows.append([str(each["date"]), _shown(each["model"]), minutes, emotions])
    if not rows:
        return "## Emotions\n\nThe daily table holds nothing of these days."
    header = ["day", "model", "labelled speech, min", "emotions by their share of it"]
    return "## Emotions\n\n" + markdown_table(header, rows)


def _bad(run: Run, lake: Lake) -> str:
    found = lake.rows(statement("bad_of_run"), {"run_id": run.run_id, "examples": _EXAMPLES})
    rows = [
        [status, reason, str(recordings), "<br>".join(map(_shown, examples))]
        for status, reason, recordings, examples in found[:_MOST_REASONS]
    ]
    if not rows:
        return "## Quarantined\n\nNothing was quarantined or found truncated."
    return "## Quarantined\n\n" + markdown_table(["status", "reason", "recordings", "such as"], rows)


def _report(run: Run, config: Path | None) -> str:
    options = f" --config {config}" if config else ""
    command = f"emolake report --from {run.days.first} --to {run.days.last} -o report.html{options}"
    warehouse = run.settings.warehouse
    return (
        f"## Report\n\nThe tables are in `{redacted(warehouse.data)}`, and this writes the report of these days:\n\n"
        f"```\n{command}\n```"
    )


def _shown(text: object) -> str:
    """Return a text that others had a hand in so that nothing of it acts as HTML."""
    return escape(redacted(str(text)), quote=False)
