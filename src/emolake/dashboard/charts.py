"""The dashboard's charts, in Vega-Lite by Altair; colours and their order are those of the report."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pyarrow as pa

from emolake.schemas.labels import EMOTIONS

# As in report/base.css, for a light page; they are told apart on a dark one too.
COLOURS = {
    "neutral": "#7d8794", "anger": "#c8452b", "frustration": "#a3560a", "sadness": "#2f6fb5", "boredom": "#6d7fa8",
    "happiness": "#b98700", "excitement": "#d0620e", "surprise": "#a8559f", "fear": "#7a4fb3", "calm": "#1f8f8a",
    "disgust": "#4f7d2c", "contempt": "#8a5a52", "other": "#949ba5",
}  # fmt: skip
_STAGES = {
    "labelled": "#1f8f8a", "no_label": "#949ba5", "no_speech": "#c9ced6", "held_back": "#a8559f",
    "not_analysed": "#b98700", "quarantined": "#c8452b", "excluded": "#5d6672",
}  # fmt: skip
_PERCENT = alt.Axis(format="%")


def _emotion(emotions: Sequence[str], **options: Any) -> alt.Color:
    known = [emotion for emotion in EMOTIONS if emotion in emotions]
    scale = alt.Scale(domain=known, range=[COLOURS[emotion] for emotion in known])
    return alt.Color("emotion:N", scale=scale, title=None, **options)


def _emotions(table: pa.Table) -> list[str]:
    return [name for name in table.column("emotion").unique().to_pylist() if name is not None]


def shares(table: pa.Table, days: int) -> alt.LayerChart:
    """Return the shares of periods by the day that they end with, each with its interval."""
    day = alt.X("date:T", title=None, axis=alt.Axis(format="%b %d", tickCount="day", labelOverlap=True))
    tooltip = [
        alt.Tooltip("date:T", format="%Y-%m-%d"),
        "emotion:N",
        *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("share", "share_low", "share_high")),
        "recordings:Q",
    ]
    colour = _emotion(
        _emotions(table), legend=alt.Legend(orient="top", columns=5, symbolType="circle", symbolOpacity=1)
    )
    base = alt.Chart(table).encode(x=day, color=colour, tooltip=tooltip)
    band = base.mark_area(opacity=0.16).encode(y=alt.Y("share_low:Q"), y2="share_high:Q")
    line = base.mark_line(strokeWidth=2.5, point=alt.OverlayMarkDef(size=45)).encode(
        y=alt.Y("share:Q", title=f"share of the {days} days up to", axis=_PERCENT)
    )
    return (band + line).properties(height=300)


def changes(table: pa.Table) -> alt.LayerChart:
    """Return the change of each emotion's share, with its interval; no interval holds 0 without being grey."""
    order = table.column("emotion").to_pylist()
    base = alt.Chart(table).encode(
        y=alt.Y("emotion:N", title=None, sort=order),
        color=_emotion(_emotions(table), legend=None),
        opacity=alt.condition(
            "datum.change_low > 0 || datum.change_high < 0", alt.value(1.0), alt.value(0.45)
        ),
        tooltip=[
            "emotion:N",
            *(
                alt.Tooltip(f"{name}:Q", format="+.1%" if name.startswith("change") else ".1%")
                for name in ("change", "change_low", "change_high", "share", "share_before")
            ),
        ],
    )
    points = alt.Axis(format="+%")
    interval = base.mark_rule(strokeWidth=3).encode(x=alt.X("change_low:Q", axis=points), x2="change_high:Q")
    point = base.mark_point(size=90, filled=True).encode(
        x=alt.X("change:Q", title="change in share (95 % interval)", axis=points)
    )
    zero = alt.Chart().mark_rule(strokeDash=[3, 3], color="#7d8794").encode(x=alt.datum(0))
    return alt.layer(zero, interval, point, data=table).properties(height=max(120, 34 * len(order)))


def by_value(table: pa.Table, dimension: str, days: int) -> alt.FacetChart:
    """Return the last day's share of each value of a dimension, with its interval, one field an emotion."""
    base = alt.Chart(table).encode(
        y=alt.Y("value:N", title=None, axis=alt.Axis(labelLimit=140)),
        color=_emotion(_emotions(table), legend=None),
        tooltip=[
            alt.Tooltip("value:N", title=dimension),
            "emotion:N",
            *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("share", "share_low", "share_high")),
            "recordings:Q",
        ],
    )
    interval = base.mark_rule(strokeWidth=3, opacity=0.6).encode(x="share_low:Q", x2="share_high:Q")
    point = base.mark_point(size=80, filled=True).encode(
        x=alt.X("share:Q", title=f"share of {days} days", axis=alt.Axis(format="%", tickCount=4))
    )
    values = len(table.column("value").unique())
    layers = alt.layer(interval, point).properties(width=190, height=max(60, 26 * values))
    return layers.facet(alt.Facet("emotion:N", title=None), columns=4, data=table)


def coverage(table: pa.Table) -> alt.Chart:
    """Return the recordings of each day by the stage at which they fell out, or as labelled."""
    stages = list(_STAGES)
    scale = alt.Scale(domain=stages, range=list(_STAGES.values()))
    legend = alt.Legend(orient="top", columns=4)
    return (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("yearmonthdate(date):O", title=None, axis=alt.Axis(format="%b %d", labelOverlap=True)),
            y=alt.Y("recordings:Q", title="recordings"),
            color=alt.Color("stage:N", scale=scale, sort=stages, title=None, legend=legend),
            order=alt.Order("rank:Q"),
            tooltip=[alt.Tooltip("date:T", format="%Y-%m-%d"), "stage:N", "recordings:Q"],
        )
        .transform_calculate(rank=f"indexof({stages}, datum.stage)")
        .properties(height=260)
    )


def timeline(table: pa.Table) -> alt.Chart:
    """Return the emotions of one call by channel over its time; what has no label is left blank."""
    return (
        alt.Chart(table)
        .transform_calculate(
            track="isValid(datum.role) ? datum.role + ' (channel ' + datum.channel + ')' : 'channel ' + datum.channel"
        )
        .transform_filter("isValid(datum.emotion)")
        .mark_bar(height=22)
        .encode(
            x=alt.X("start_s:Q", title="seconds"),
            x2="end_s:Q",
            y=alt.Y("track:N", title=None),
            color=_emotion(_emotions(table), legend=alt.Legend(orient="top", columns=6)),
            opacity=alt.Opacity(
                "mean_confidence:Q", scale=alt.Scale(domain=[0, 1], range=[0.25, 1]), legend=None
            ),
            tooltip=[
                "emotion:N",
                *(alt.Tooltip(f"{name}:Q", format=".1f") for name in ("start_s", "end_s")),
                alt.Tooltip("mean_confidence:Q", format=".2f"),
            ],
        )
        .properties(height=110)
    )
