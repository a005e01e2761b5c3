"""The tables of a report: those behind its charts, and those without one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from emolake.lake.statement_rows import Row
from emolake.messages import redacted
from emolake.report.shares import Names, Periods

_KINDS = {
    "text": "name",
    "long": "long",
    "date": "nowrap",
    "moment": "nowrap",
    "word": "",
    "emotion": "",
    "said": "",
    "role": "",
}


@dataclass(frozen=True)
class ShownColumn:
    """A column under a word of the catalogue, or a text of its own."""

    word: str | None
    format: str
    text: str = ""

    @property
    def kind(self) -> str:
        """Class of its cells; numbers stand at the right."""
        return _KINDS.get(self.format, "n")


@dataclass(frozen=True)
class ShownTable:
    """A table: `label` is the word that a screen reader says of it."""

    name: str
    label: str
    columns: Sequence[ShownColumn]
    rows: Sequence[Sequence[Any]]

    def without_empty_columns(self) -> "ShownTable":
        """Return the table without columns in which every row is empty."""
        kept = [
            place for place in range(len(self.columns)) if any(row[place] is not None for row in self.rows)
        ]
        rows = [[row[place] for place in kept] for row in self.rows]
        return replace(self, columns=[self.columns[place] for place in kept], rows=rows)


def columns(**formats: str) -> list[ShownColumn]:
    """Return columns by their words."""
    return [ShownColumn(word, format) for word, format in formats.items()]


def emotion_columns(names: Iterable[str], format: str = "share") -> list[ShownColumn]:
    """Return a column per emotion."""
    return [ShownColumn(f"emotion_{name}", format) for name in names]


def share_of(row: Row) -> list[float | None]:
    """Return a share with its interval."""
    return [row["share"], row["low"], row["high"]]


@dataclass(frozen=True)
class Shares:
    """The rows of `report_shares` of one model."""

    rows: Sequence[Row]
    names: Names

    def of(self, kind: str) -> dict[tuple[str, str], dict[str, Row]]:
        """Return the rows of a kind of selection by its dimension and value, and by emotion."""
        found: dict[tuple[str, str], dict[str, Row]] = defaultdict(dict)
        for row in self.rows:
            if row["kind"] == kind:
                found[row["dimension"], row["value"]][row["emotion"]] = row
        return found

    @property
    def emotions(self) -> list[str]:
        """The model's emotions, the commonest first."""
        seconds = {row["emotion"]: row["seconds"] for row in self.rows if row["kind"] == "range"}
        numbers = {emotion: number for number, emotion in enumerate(self.names.emotions)}
        return sorted(seconds, key=lambda emotion: (emotion == "folded", -seconds[emotion], numbers[emotion]))

    def changes(self) -> ShownTable:
        """Return what changed, the largest change first."""
        recent, before = (self.of(kind).get(("", ""), {}) for kind in ("recent", "before"))
        changed = [
            [emotion, share_of(before[emotion]), share_of(recent[emotion]), _change(recent[emotion], before[emotion])]
            for emotion in self.emotions
            if emotion in recent and emotion in before and recent[emotion]["share"] is not None
            and before[emotion]["share"] is not None
        ]  # fmt: skip
        changed.sort(key=lambda row: -abs(row[3][0]))  # type: ignore[arg-type]
        return ShownTable(
            "changes",
            "changed",
            columns(emotion="emotion", before="share", recent="share", change="change"),
            changed,
        )

    def roles(self) -> ShownTable:
        """Return the shares of each role."""
        roles = [role for role in self.names.roles[1:] if ("", role) in self.of("role")]
        found = self.of("role")
        return ShownTable(
            "roles",
            "roles",
            [*columns(emotion="emotion"), *(ShownColumn(*_role_word(role)) for role in roles)],
            [
                [emotion, *(share_of(found["", role][emotion]) for role in roles)]
                for emotion in self.emotions
                if roles
            ],
        )

    def daily(self, periods: Periods) -> ShownTable:
        """Return the shares of each period."""
        found = self.of("period")
        return ShownTable(
            "daily",
            "trends",
            [*columns(day="date", recordings="number"), *emotion_columns(self.emotions)],
            [
                [
                    day,
                    next(iter(by_emotion.values()))["all_recordings"],
                    *(share_of(by_emotion[emotion]) for emotion in self.emotions),
                ]
                for number, day in enumerate(periods.dates)
                if (by_emotion := found.get(("", str(number)), {}))
            ],
        )

    def values(self) -> ShownTable:
        """Return the shares of each value of each dimension, those with the most speech first."""
        found = sorted(
            self.of("value").items(),
            key=lambda item: (item[0][0], -max(row["all_seconds"] for row in item[1].values())),
        )
        return ShownTable(
            "values",
            "by_dimension",
            [
                *columns(dimension="text", value="text", recordings="number"),
                *emotion_columns(self.emotions),
            ],
            [
                [
                    dimension,
                    value or "(–)",
                    next(iter(by_emotion.values()))["all_recordings"],
                    *(share_of(by_emotion[emotion]) for emotion in self.emotions),
                ]
                for (dimension, value), by_emotion in found
            ],
        )


def totals(shares: Iterable[Row], adjusted: Iterable[Row]) -> ShownTable:
    """Return every model's shares of the whole range, with how sure they are."""
    corrected = {(row["model"], row["emotion"]): share_of(row) for row in adjusted}
    rows = sorted(
        (row for row in shares if row["kind"] == "range" and row["seconds"] > 0),
        key=lambda row: (row["model"], -row["seconds"], row["emotion"]),
    )
    has_models = len({row["model"] for row in rows}) > 1
    shown = [*(columns(model="text") if has_models else ()), *columns(emotion="emotion", share="share")]
    measured = columns(
        speech="duration", recordings="number", segments="number", confidence="percent", uncertain="percent"
    )
    return ShownTable(
        "totals",
        "how_sure",
        [*shown, *(columns(corrected="share") if corrected else ()), *measured],
        [
            [
                *([row["model"]] if has_models else ()),
                row["emotion"],
                share_of(row),
                *([corrected.get((row["model"], row["emotion"]), [None] * 3)] if corrected else ()),
                row["seconds"],
                row["recordings"],
                row["segments"],
                row["confidence"],
                row["uncertain"],
            ]
            for row in rows
        ],
    )


def hour_table(rows: Iterable[Sequence[Any]], emotion: int) -> ShownTable:
    """Return the share of an emotion by hour and weekday; hours without speech are empty."""
    seconds: Mapping[tuple[int, int], list[float]] = defaultdict(lambda: [0.0, 0.0])
    for _, weekday, hour, each, amount in rows:
        seconds[hour, weekday][0] += amount
        seconds[hour, weekday][1] += amount if each == emotion else 0.0
    hours = sorted({hour for hour, _ in seconds})
    return ShownTable(
        "hours",
        "hours",
        [
            *columns(hour="text"),
            *columns(**{f"weekday_{weekday}": "percent" for weekday in range(1, 8)}),
        ],
        [
            [
                f"{hour:02d}:00",
                *(
                    seconds[hour, weekday][1] / seconds[hour, weekday][0]
                    if (hour, weekday) in seconds and seconds[hour, weekday][0] > 0
                    else None
                    for weekday in range(1, 8)
                ),
            ]
            for hour in hours
        ],
    )


def coverage_table(rows: Iterable[Row], model: str | None) -> ShownTable:
    """Return what became of the recordings of each day, as one model has them."""
    return ShownTable(
        "coverage",
        "coverage",
        columns(day="date", **dict.fromkeys(("listed", *STAGES), "number"), audio="duration"),
        [
            [row["date"], row["listed"], *(row[column_of(stage)] for stage in STAGES), row["audio_seconds"]]
            for row in rows
            if row["model"] in (model, None)
        ],
    )  # fmt: skip


def listed(coverage: ShownTable) -> int:
    """Return how many recordings a table of coverage is of."""
    place = [column.word for column in coverage.columns].index("listed")
    return sum(row[place] for row in coverage.rows)


STAGES = tuple(
    f"stage_{name}"
    for name in (
        "labelled",
        "no_label",
        "no_speech",
        "held_back",
        "not_analysed",
        "quarantined",
        "excluded",
    )
)
"""Where a recording fell out first; they add up to what was listed."""


def column_of(stage: str) -> str:
    """Return the column of the view `coverage` that a stage is in."""
    return stage.removeprefix("stage_")


def fell_out_table(rows: Iterable[Row]) -> ShownTable:
    """Return the recordings that got no label or broke half-way."""
    return ShownTable(
        "fell-out",
        "fell_out",
        columns(day="date", status="text", recording="long", reason="long"),
        [[row["date"], row["status"], redacted(row["uri"]), redacted(row["reason"])] for row in rows],
    )


def _role_word(role: str) -> tuple[str | None, str, str]:
    known = role in ("agent", "employee", "customer", "unassigned")
    return (f"role_{role}" if known else None, "share", role)


def _change(now: Row, before: Row) -> list[float | None]:
    """Return a change with the interval of Newcombe (1998), as the view `trend` has it."""
    by = now["share"] - before["share"]
    if now["low"] is None or before["low"] is None:
        return [by, None, None]
    return [
        by,
        by - ((now["share"] - now["low"]) ** 2 + (before["high"] - before["share"]) ** 2) ** 0.5,
        by + ((now["high"] - now["share"]) ** 2 + (before["share"] - before["low"]) ** 2) ** 0.5,
    ]


def days_of_change(periods: Periods) -> dict[str, date] | None:
    """Return the days that are compared, by the placeholders of the sentence that says so."""
    if not periods.change:
        return None
    dates = periods.dates
    start, middle = len(dates) - 2 * periods.change, len(dates) - periods.change
    return {
        "recent_first": dates[middle],
        "recent_last": periods.last,
        "before_first": dates[start],
        "before_last": date.fromordinal(dates[middle].toordinal() - 1),
    }
