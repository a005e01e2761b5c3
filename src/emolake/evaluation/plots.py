"""The plots of results. Figures are made without pyplot: no window, no state, and threads may draw at once."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from emolake.evaluation.fonts import PlotLabels, families_for
from emolake.messages import counted

_BLUE, _ORANGE, _GREEN, _GREY = "#1f5fa8", "#d9730d", "#2e7d4f", "#8a8f98"
_DPI = 150
_MOST_RUNS_NAMED = 8
_MOST_CELLS_WITH_COUNTS = 10


def plot_confusion(path: Path, confusion: np.ndarray, names: PlotLabels) -> None:
    """Draw counts [labels, labels], rows the truth, coloured by their share of the row."""
    size = len(names.words)
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
    with mpl.rc_context({"font.family": names.families}):
        figure = _figure(3.2 + 0.66 * size, 2.5 + 0.57 * size)
        axes = figure.subplots()
        image = axes.imshow(shares, cmap=mpl.colormaps["Blues"].with_extremes(bad="#eeeeee"), vmin=0, vmax=1)
        for row in range(size):
            for column in range(size):
                _cell(axes, row, column, int(confusion[row, column]), float(shares[row, column]), size)
        axes.set_xticks(range(size), names.words, rotation=45 if size > 3 else 0, ha="right" if size > 3 else "center",
                        rotation_mode="anchor" if size > 3 else "default")  # fmt: skip
        axes.set_yticks(range(size), names.words)
        axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("prediction")
        axes.set_ylabel("truth")
        axes.set_title("Predictions by true emotion", fontsize="medium")
        bar = figure.colorbar(image, ax=axes, shrink=0.8)
        bar.set_label("share of the row")
        bar.outline.set_visible(False)
        figure.savefig(path, dpi=_DPI)


def plot_classes(path: Path, results: Mapping[str, Any], names: PlotLabels) -> None:
    """Draw recall with its interval, precision and F1 of each label that is the truth or the prediction of a clip."""
    shown = [
        (word, label, row)
        for word, (label, row) in zip(names.words, results["classes"].items(), strict=True)
        if row["support"]
        or row["precision"]
        or np.array(results["confusion"])[:, _place(results, label)].sum()
    ]
    intervals = results["confidence_intervals"]["recall"]
    with mpl.rc_context({"font.family": names.families}):
        figure = _figure(8, 1.9 + 0.5 * len(shown))
        axes = figure.subplots()
        for height, (_, label, row) in enumerate(shown):
            if row["support"]:
                if label in intervals:
                    axes.plot(intervals[label], [height, height], color=_BLUE, linewidth=2, alpha=0.5)
                axes.plot(row["recall"], height, "o", color=_BLUE, markersize=8)
            axes.plot(row["precision"], height - 0.18, "s", color=_ORANGE, markersize=6)
            axes.plot(row["f1"], height + 0.18, "D", color=_GREEN, markersize=6)
        axes.axvline(results["uar"], color=_GREY, linestyle="--", linewidth=1)
        axes.set_yticks(
            range(len(shown)), [f"{word}, {counted(row['support'], 'clip')}" for word, _, row in shown]
        )
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set_xlim(-0.03, 1.03)
        axes.set_xticks(np.arange(0, 1.01, 0.1))
        axes.grid(axis="x", color="#e3e5e8")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        handles = [
            axes.plot([], [], "o-", color=_BLUE, markersize=8)[0],
            axes.plot([], [], "s", color=_ORANGE)[0],
            axes.plot([], [], "D", color=_GREEN)[0],
            axes.plot([], [], "--", color=_GREY)[0],
        ]
        words = ["recall, 95 % interval", "precision", "F1", f"mean recall {results['uar']:.3f}"]
        figure.legend(handles, words, loc="outside upper center", ncols=4, frameon=False)
        figure.savefig(path, dpi=_DPI)


def plot_history(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """Draw loss, recall on the validation clips and learning rate by epoch, a line for each run.

    A ring marks the epoch whose weights were kept.
    """
    families, _ = families_for("".join(str(row["run"]) for row in history))
    with mpl.rc_context({"font.family": families}):
        history_figure(history).savefig(path, dpi=_DPI)


def history_figure(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Return the figure of `plot_history`; what explains its lines is above and below the panels, not in them."""
    runs = list(dict.fromkeys(row["run"] for row in history))
    panels = [
        (title, columns)
        for title, columns in (
            ("loss", ("train_loss", "valid_loss")),
            ("unweighted average recall\nof the validation clips", ("valid_uar",)),
            ("learning rate", ("learning_rate",)),
        )
        if any(row.get(column) is not None for row in history for column in columns)
    ]
    colours = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(runs)))
    figure = _figure(8, 1.1 + 2.3 * len(panels))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, columns) in zip(grid, panels, strict=True):
        for run, colour in zip(runs, colours, strict=True):
            own = [row for row in history if row["run"] == run]
            for column, style in zip(columns, ("-", "--"), strict=False):
                _run(axes, own, column, style, colour)
        axes.set_ylabel(title)
        axes.grid(color="#e3e5e8")
        axes.spines[["top", "right"]].set_visible(False)
    figure.align_ylabels()
    grid[-1].set_xlabel("epoch")
    grid[-1].xaxis.get_major_locator().set_params(integer=True)
    if len(runs) <= _MOST_RUNS_NAMED:
        handles = [grid[0].plot([], [], color=colour)[0] for colour in colours]
        figure.legend(handles, runs, loc="outside upper center", ncols=min(4, len(runs)), frameon=False)
    else:
        figure.suptitle(f"{len(runs)} networks: {runs[0]} (dark) to {runs[-1]} (light)", fontsize="medium")
    styles = {"training": "-", "validation": "--"}
    if not any(row.get("valid_loss") is not None for row in history):
        styles.pop("validation")
    handles = [grid[0].plot([], [], style, color="black")[0] for style in styles.values()]
    words = [f"loss of the {name} clips" for name in styles]
    if any(row.get("kept") for row in history):
        handles.append(grid[0].plot([], [], "o", color="black", markerfacecolor="none", markersize=8)[0])
        words.append("epoch whose weights were kept")
    figure.legend(handles, words, loc="outside lower center", ncols=len(words), frameon=False)
    return figure


def _run(axes: Axes, rows: Sequence[Mapping[str, Any]], column: str, style: str, colour: Any) -> None:
    """Draw one column of one run's epochs, with a ring around the one whose weights were kept."""
    known = [row for row in rows if row.get(column) is not None]
    if not known:
        return
    epochs, values = [row["epoch"] for row in known], [row[column] for row in known]
    axes.plot(epochs, values, style, color=colour, linewidth=1.4, marker="." if len(known) < 25 else None)
    kept = [row for row in known if row.get("kept")][-1:]
    axes.plot([row["epoch"] for row in kept], [row[column] for row in kept], "o", color=colour,
              markerfacecolor="none", markersize=8)  # fmt: skip


def plot_comparison(path: Path, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Draw accuracy and unweighted average recall with their intervals, one row for each name and its figures."""
    families, _ = families_for("".join(name for name, _ in rows))
    with mpl.rc_context({"font.family": families}):
        figure = _figure(8, 1.6 + 0.6 * len(rows))
        axes = figure.subplots()
        for height, (_, figures) in enumerate(rows):
            for column, offset, colour, marker in (
                ("uar", -0.12, _BLUE, "o"),
                ("accuracy", 0.12, _ORANGE, "s"),
            ):
                low, high = figures["confidence_intervals"][column]
                axes.plot([low, high], [height + offset] * 2, color=colour, linewidth=2, alpha=0.6)
                axes.plot(figures[column], height + offset, marker, color=colour, markersize=7)
                axes.annotate(f"{figures[column]:.3f}", (high, height + offset), xytext=(5, 0),
                              textcoords="offset points", va="center", fontsize="small", color=colour)  # fmt: skip
        axes.set_yticks(range(len(rows)), [name for name, _ in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1.06)
        axes.set_xticks(np.arange(0, 1.01, 0.1))
        axes.grid(axis="x", color="#e3e5e8")
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        handles = [
            axes.plot([], [], "o-", color=_BLUE)[0],
            axes.plot([], [], "s-", color=_ORANGE)[0],
        ]
        words = ["unweighted average recall, 95 % interval", "accuracy, 95 % interval"]
        figure.legend(handles, words, loc="outside upper center", ncols=2, frameon=False)
        figure.savefig(path, dpi=_DPI)


def plot_distribution(path: Path, counts: Mapping[str, int], names: PlotLabels) -> None:
    """Draw how many clips are of each label, in the order given."""
    total = sum(counts.values())
    with mpl.rc_context({"font.family": names.families}):
        figure = _figure(8, 1.2 + 0.42 * len(counts))
        axes = figure.subplots()
        bars = axes.barh(range(len(counts)), list(counts.values()), color=_BLUE, height=0.7)
        axes.bar_label(bars, [f"{count} ({count / total:.0%})" for count in counts.values()], padding=4)
        axes.set_yticks(range(len(counts)), names.words)
        axes.set_ylim(len(counts) - 0.5, -0.5)
        axes.margins(x=0.15)
        axes.set_xlabel("clips")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        figure.savefig(path, dpi=_DPI)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    return figure


def _cell(axes: Axes, row: int, column: int, count: int, share: float, size: int) -> None:
    if not count:
        return
    text = f"{share:.0%}" if size > _MOST_CELLS_WITH_COUNTS else f"{count}\n{share:.0%}"
    axes.text(
        column, row, text, ha="center", va="center", fontsize=8.5, color="white" if share > 0.5 else "black"
    )


def _place(results: Mapping[str, Any], label: str) -> int:
    place: int = results["labels"].index(label)
    return place
