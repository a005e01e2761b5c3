"""The dashboard's page, run by Streamlit for each browser: choices at the side, figures, charts and tables beside them.

Texts of recordings and configurations go only into charts, tables, selections and values, none of which reads Markdown.
"""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from emolake.dashboard import charts
from emolake.dashboard.answers import PERIODS, REASONS, Board, Choice, Choices, board, choices, timeline
from emolake.dashboard.server import CONFIG_VARIABLE
from emolake.errors import EmolakeError
from emolake.settings import Settings, load_settings

SHOWN_DAYS = 31
SHOWN_EMOTIONS = 5
FRESH_S = 15
ALL = "all recordings"
_OUTCOME_COLOURS = {"completed": "green", "failed": "red", "died": "red", "running": "blue"}
P = ParamSpec("P")
T = TypeVar("T")


def _fresh(ask: Callable[P, T]) -> Callable[P, T]:
    """Let an answer be kept for some seconds, for all browsers."""
    kept: Callable[P, T] = st.cache_data(ttl=FRESH_S, show_spinner=False)(ask)
    return kept


def _settings(config: str) -> Settings:
    return load_settings(Path(config))


@_fresh
def _choices(config: str) -> Choices:
    return choices(_settings(config))


@_fresh
def _board(config: str, choice: Choice) -> Board:
    return board(_settings(config), choice)


@_fresh
def _timeline(config: str, model: str, day: date, recording_id: str) -> pa.Table:
    return timeline(_settings(config), model=model, day=day, recording_id=recording_id)


def main() -> None:
    """Show the page."""
    st.set_page_config(page_title="emolake", page_icon="🎧", layout="wide")
    config = os.environ[CONFIG_VARIABLE]
    try:
        _show(config)
    except EmolakeError as error:
        st.error("The lake cannot be read now; this page tries again.")
        st.code(str(error), language=None, wrap_lines=True)


def _show(config: str) -> None:
    found = _choices(config)
    st.title("Emotions in calls")
    if found.first is None or found.last is None:
        st.info("The lake holds no labelled day yet. `emolake nightly` or `emolake backfill` fills it.")
        return
    choice = _chosen(found, found.first, found.last)
    st.fragment(lambda: _live(config, choice), run_every=f"{FRESH_S}s" if st.session_state.live else None)()


def _chosen(found: Choices, first: date, last: date) -> Choice:
    with st.sidebar:
        st.header("Show")
        model = st.selectbox("Model", found.models)
        begin = max(first, last - timedelta(days=SHOWN_DAYS - 1))
        since = st.date_input("From", begin, min_value=first, max_value=last)
        until = st.date_input("To, inclusive", last, min_value=first, max_value=last)
        days = st.selectbox("Shares of", PERIODS, format_func=lambda number: f"{number} days")
        dimension = st.selectbox("Break down by", [ALL, *found.dimensions])
        st.toggle(f"Ask again every {FRESH_S} s", value=True, key="live")
        st.caption(
            "Read-only, on this machine only. Shares are of labelled speech; intervals are 95 %, by how the recordings "
            "differ."
        )
    reason = st.session_state.get("reason") or REASONS[0]
    return Choice(model, since, until, days, None if dimension == ALL else dimension, reason)


def _live(config: str, choice: Choice) -> None:
    try:
        shown = _board(config, choice)
    except EmolakeError as error:
        st.error("The lake cannot be read now; this page tries again.")
        st.code(str(error), language=None, wrap_lines=True)
        return
    _show_totals(shown)
    if choice.last < choice.first:
        st.warning("The days end before they begin.")
        return
    left, right = st.columns([3, 2], gap="large")
    emotions = _emotions(shown)
    with left:
        st.subheader("Shares")
        st.altair_chart(charts.shares(_of(shown.shares, emotions), choice.days), width="stretch")
    with right:
        st.subheader("What changed")
        _show_changes(shown, choice)
    if shown.by_value is not None and choice.dimension is not None:
        st.subheader("By the chosen dimension, on the last day")
        _show_values(shown.by_value, emotions, choice)
    st.subheader("Calls to listen to first")
    _show_calls(config, shown, choice)
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader("From listed to labelled")
        st.altair_chart(charts.coverage(shown.coverage), width="stretch")
    with right:
        st.subheader("Runs")
        _show_runs(shown.runs)
    st.caption(f"Asked at {datetime.now(UTC):%H:%M:%S} UTC.")


def _emotions(shown: Board) -> list[str]:
    """Return the emotions with the largest shares of the last day."""
    rows = sorted(shown.changes.to_pylist(), key=lambda row: -(row["share"] or 0))
    return [row["emotion"] for row in rows[:SHOWN_EMOTIONS]]


def _of(table: pa.Table, emotions: list[str]) -> pa.Table:
    return table.filter(pc.is_in(table.column("emotion"), pa.array(emotions, pa.string())))


def _show_totals(shown: Board) -> None:
    totals = shown.totals
    listed, labelled = totals["listed"], totals["labelled"]
    run = shown.runs.slice(0, 1).to_pylist()
    outcome = run[0]["outcome"] if run else None
    figures = [
        ("Recordings", f"{listed:,}"),
        ("Labelled", f"{100 * labelled / listed:.0f} %" if listed else "–"),
        ("Audio", f"{totals['audio_hours']:,.1f} h"),
        ("Speech", f"{totals['speech_hours']:,.1f} h"),
        ("Quarantined", f"{totals['quarantined']:,}"),
    ]
    *columns, last = st.columns([2] * len(figures) + [3])
    for column, (name, value) in zip(columns, figures, strict=True):
        column.metric(name, value, border=True)
    last.metric(
        "Last run",
        f"{run[0]['started_at']:%d %b}" if run else "–",
        outcome,
        delta_color=_OUTCOME_COLOURS.get(outcome or "", "off"),
        delta_arrow="off",
        border=True,
    )


def _show_changes(shown: Board, choice: Choice) -> None:
    if pc.all(pc.is_null(shown.changes.column("change"))).as_py() is not False:
        st.info(f"There is no speech of the {choice.days} days before these to compare with.")
        st.dataframe(
            shown.changes.select(["emotion", "share", "share_low", "share_high", "recordings"]),
            hide_index=True,
            column_config={name: _percent() for name in ("share", "share_low", "share_high")},
        )
        return
    st.altair_chart(charts.changes(shown.changes), width="stretch")
    st.caption(
        f"The last {choice.days} days against as many before; pale where the interval holds no change."
    )


def _show_values(table: pa.Table, emotions: list[str], choice: Choice) -> None:
    table = _of(table, emotions)
    if not table.num_rows:
        st.info("The daily table has no value of it on these days.")
        return
    last = table.filter(pc.equal(table.column("date"), pc.max(table.column("date"))))
    st.altair_chart(charts.by_value(last, choice.dimension or "", choice.days))


def _show_calls(config: str, shown: Board, choice: Choice) -> None:
    st.segmented_control(
        "Why", REASONS, default=REASONS[0], key="reason", label_visibility="collapsed", required=True
    )
    if not shown.calls.num_rows:
        st.info("None on these days.")
        return
    picked = st.dataframe(
        shown.calls.drop_columns(["recording_id", "score"]),
        hide_index=True,
        height=300,
        on_select="rerun",
        selection_mode="single-row",
        key="calls",
        column_config={
            "listen_from_s": st.column_config.NumberColumn("from", format="%.0f s"),
            "labelled_seconds": st.column_config.NumberColumn("labelled", format="%.0f s"),
            "uri": st.column_config.TextColumn("recording", width="large"),
            "recorded_at_local": st.column_config.DatetimeColumn("began", format="HH:mm"),
        },
    )
    chosen = picked["selection"]["rows"]
    if not chosen or chosen[0] >= shown.calls.num_rows:
        st.caption("Choose a row at its left edge to see how the call went.")
        return
    call = shown.calls.slice(chosen[0], 1).to_pylist()[0]
    st.code(call["uri"], language=None, wrap_lines=True)
    stretches = _timeline(config, choice.model, call["date"], call["recording_id"])
    st.altair_chart(charts.timeline(stretches), width="stretch")


def _show_runs(runs: pa.Table) -> None:
    st.dataframe(
        runs,
        hide_index=True,
        height=290,
        column_config={
            "started_at": st.column_config.DatetimeColumn("started", format="YYYY-MM-DD HH:mm"),
            "first_date": "from",
            "last_date": "to",
            "audio_hours": st.column_config.NumberColumn("audio", format="%.2f h"),
            "wall_s": st.column_config.NumberColumn("took", format="%.0f s"),
        },
    )


def _percent() -> Any:
    return st.column_config.NumberColumn(format="percent")


if __name__ == "__main__":
    main()
