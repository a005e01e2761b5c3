"""What a report says of the pipeline: signals, health, agreement, runs, configurations, and the calls to listen to."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from emolake.lake.statement_rows import Row, rows_of
from emolake.lake.transact import Lake
from emolake.messages import redacted
from emolake.report.shares import Names
from emolake.report.shown_tables import ShownTable, columns
from emolake.report.signals import odd_signals
from emolake.schemas.days import DayRange
from emolake.schemas.funnel import FunnelStage, done_before, listed_of_row, listed_stages, stages_line

# The words of the view `listen_first`, by the key of the sentence that says the same.
_WHY = {
    "why_extreme": re.compile(r"(?P<share>\d+) % (?P<emotion>\w+)"),
    "why_mixed": re.compile(r"(?P<emotions>\d+) emotions, none above (?P<share>\d+) %"),
    "why_changed": re.compile(
        r"(?P<emotion>\w+) (?P<points>[+-]\d+) points from the first to the last quarter"
    ),
    "why_unsure": re.compile(r"mean probability (?P<probability>[\d.]+)"),
}
_MADE_WITH = ("model", "config_id", "device")
REASONS = ("most extreme", "most changed", "most mixed", "least sure")


def why(said: str | None) -> tuple[str, dict[str, Any]]:
    """Return the key of the sentence that says a reason of `listen_first`, and its values.

    >>> why("62 % anger")
    ('why_extreme', {'share': '62', 'emotion': 'anger'})
    """
    for key, pattern in _WHY.items():
        if found := pattern.fullmatch(said or ""):
            values: dict[str, Any] = found.groupdict()
            return key, values | {name: float(values[name]) for name in values if name == "probability"}
    return "why_said", {"said": said or ""}


def listen_table(rows: Sequence[Row]) -> ShownTable:
    """Return the first calls of each reason."""
    first = [row for reason in REASONS for row in [each for each in rows if each["reason"] == reason][:5]]
    return ShownTable(
        "listen",
        "listen",
        columns(reason="word", why="said", recording="long", day="date", role="role"),
        [
            [reason_word(row["reason"]), why(row["why"]), redacted(row["uri"]), row["date"], row["role"]]
            for row in first
        ],
    )  # fmt: skip


def listen_data(rows: Iterable[Row], names: Names) -> list[list[Any]]:
    """Return the calls as the page reads them: day, model, reason, role, groups, name, time, why, values, second."""
    found = []
    for row in rows:
        groups = [
            names.groups.index(each) for each in (row["dimensions"] or {}).items() if each in names.groups[1:]
        ]
        key, values = why(row["why"])
        found.append(
            [
                row["date"], names.models.index(row["model"]), reason_word(row["reason"]), row["role"], groups,
                redacted(row["uri"]), row["recorded_at_local"] and f"{row['recorded_at_local']:%H:%M}", key, values,
                round(row["listen_from_s"] or 0),
            ]
        )  # fmt: skip
    return found


def signal_table(lake: Lake, days: DayRange) -> ShownTable:
    """Return what is odd of the signals."""
    return ShownTable(
        "signals",
        "signals",
        columns(oddity="text", recordings="number", meaning_signal="long", example="long"),
        [
            [each.note, each.recordings, each.meaning, redacted(each.example)]
            for each in odd_signals(lake, first=days.first, last=days.last)
        ],
    )


def health_table(rows: Iterable[Row]) -> ShownTable:
    """Return each run's look at its models."""
    return ShownTable(
        "health",
        "health",
        columns(
            started="moment", model="text", verdict="text", drift="precise", logit_range="decimal",
            label_entropy="precise", commonest="text", commonest_share="percent", segments="number",
        ),
        [
            [
                row["started_at"], row["model"], row["verdict"], row["drift"], row["logit_range_mean"],
                row["label_entropy"], row["commonest_label"] or "–", row["commonest_share"], row["segments"],
            ]
            for row in rows
        ],
    )  # fmt: skip


def agreement_table(lake: Lake) -> ShownTable:
    """Return how far each two models agree, over all that the lake holds."""
    rows = rows_of(lake, "report_agreement")
    return ShownTable(
        "agreement",
        "agreement",
        columns(
            models="text", agree="percent", by_chance="percent", kappa="precise", segments="number",
            most_confused="text",
        ),
        [
            [
                f"{row['model_a']} / {row['model_b']}", row["agree_share"], row["expected_share"], row["kappa"],
                row["segments"], row["most_confused"] or "–",
            ]
            for row in rows
        ],
    )  # fmt: skip


def run_table(rows: Sequence[Row]) -> ShownTable:
    """Return the runs, the newest first, without what `same_of_runs` says of all of them."""
    same = same_of_runs(rows)
    made_with = [name for name in _MADE_WITH if name not in same]
    shown = columns(
        started="moment", flow="text", outcome="text", days="date", found="number", skipped="number",
        done="number", lost="number", audio="duration", took="duration", speed="decimal",
        **dict.fromkeys(made_with, "text"), run="text",
    )  # fmt: skip
    return ShownTable(
        "runs",
        "runs",
        shown,
        [
            [
                run["started_at"], run["flow"], run["outcome"], _days_of(run),
                run["found"], run["skipped"], run["done"], run["quarantined"], run["audio_seconds"], run["wall_s"],
                1 / run["real_time_factor"] if run["real_time_factor"] else None,
                *(run[name] or "–" for name in made_with), run["run_id"],
            ]
            for run in rows
        ],
    )  # fmt: skip


def _days_of(run: Row) -> str:
    first, last = run["first_date"], run["last_date"]
    return str(first) if first == last else f"{first} – {last}"


def same_of_runs(rows: Sequence[Row]) -> dict[str, str]:
    """Return model, configuration and device, as far as all runs have the same, by the words of their columns."""
    found = {name: {run[name] or "–" for run in rows} for name in _MADE_WITH}
    return {name: values.pop() for name, values in found.items() if len(values) == 1}


def said_by_runs(rows: Iterable[Row]) -> list[dict[str, str]]:
    """Return the errors and warnings of runs."""
    found = []
    for run in rows:
        if run["error"]:
            found.append({"run_id": run["run_id"], "kind": "bad", "text": run["error"]})
        found += [{"run_id": run["run_id"], "kind": "quiet", "text": text} for text in run["warnings"]]
    return found


def stage_table(rows: Iterable[Row]) -> ShownTable:
    """Return from listed keys to labelled recordings by run, with names of what fell out."""
    return ShownTable(
        "stages",
        "stages",
        columns(started="moment", run="text", left="long"),
        [[run["started_at"], run["run_id"], stages_line(_stages_of(run))] for run in rows],
    )


def configuration_table(rows: Iterable[Row]) -> ShownTable:
    """Return what made the numbers."""
    return ShownTable(
        "configurations",
        "configurations",
        columns(
            model="text", fingerprint="text", config_id="text", recordings="number", segments="number", days="date"
        ),
        [
            [
                row["model"], row["model_fingerprint"], row["config_id"], row["recordings"], row["segments"],
                f"{row['first']} – {row['last']}",
            ]
            for row in rows
        ],
    )  # fmt: skip


def _stages_of(run: Row) -> list[FunnelStage]:
    """Return the stages of a run by the figures in its row; runs of earlier versions have none after the audio."""
    stages = [
        FunnelStage(stage.name, stage.left, stage.fell_out, tuple(map(redacted, stage.examples)))
        for stage in listed_stages(listed_of_row(run))
    ]
    if run["done"] is not None:
        before, found = run["skipped"] or 0, run["found"] or 0
        left = found - before - run["done"]
        reasons = (*done_before(before), *((f"{left} not analysed",) if left > 0 else ()))
        stages.append(FunnelStage("done", run["done"], max(found - run["done"], 0), reasons=reasons))
    counts = [("decoded", "decoded"), ("speech", "with_speech"), ("labelled", "with_label")]
    return [*stages, *(FunnelStage(name, run[column]) for name, column in counts if run[column] is not None)]


def reason_word(reason: str) -> str:
    """Return the word of the catalogue for a reason of `listen_first`."""
    return "reason_" + reason.replace(" ", "_")
