"""The report's curves, as SVG that takes its colours from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = tuple[NDArray[Any], NDArray[Any]]
"""Where, and how high."""

# Matplotlib writes plain colours. These stand for the page's, which differ between light and dark.
TEXT, GRID, SURFACE = "#010101", "#020202", "#030303"
SERIES = tuple(f"#04040{number}" for number in range(1, 9))
COLOURS = {
    TEXT: "currentColor",
    GRID: "var(--line)",
    SURFACE: "var(--surface)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, start=1)},
}

STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "figure.facecolor": "none",
    "legend.frameon": False,
}


def found_at(curves: Mapping[str, tuple[Curve, Curve]]) -> str:
    """Hit@k, drawn through, and recall@k, dashed, of each task."""

    def draw(axes: Axes) -> None:
        for colour, (name, (hits, recalls)) in zip(_colours(len(curves)), curves.items(), strict=True):
            axes.plot(*hits, color=colour, label=f"{name}, hit@k")
            axes.plot(*recalls, color=colour, linestyle="--", label=f"{name}, recall@k")
        longest = max(int(hits[0][-1]) for hits, _ in curves.values())
        axes.set_xscale("log")
        ticks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= longest]
        axes.set_xticks(ticks, [str(k) for k in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.set(xlabel="k, results looked at", ylabel="share found", ylim=(0, 1.02))
        axes.legend(loc="lower right")

    return _svg("found", "hit@k and recall@k by the number of results looked at", draw)


def correlations(curves: Mapping[str, NDArray[Any]]) -> str:
    """Correlations of the aligned space's dimensions, each set descending."""

    def draw(axes: Axes) -> None:
        for colour, (name, values) in zip(_colours(len(curves)), curves.items(), strict=True):
            axes.plot(np.arange(1, len(values) + 1), values, color=colour, label=name)
        axes.set(xlabel="dimension, from the best correlated", ylabel="correlation", ylim=(None, 1.02))
        axes.legend(loc="best")

    return _svg("correlations", "correlation of each dimension over matching pairs", draw)


def similarities(name: str, matching: NDArray[Any], others: NDArray[Any]) -> str:
    """How similar the pairs that match are, and the others."""
    both = np.concatenate([matching, others])
    edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), 61)

    def draw(axes: Axes) -> None:
        for colour, label, values in (
            (SERIES[1], "other pairs", others),
            (SERIES[0], "matching pairs", matching),
        ):
            if len(values):
                shares = np.histogram(values, edges)[0] / len(values)
                axes.stairs(shares, edges, color=colour, fill=True, alpha=0.35)
                axes.stairs(shares, edges, color=colour, label=label, linewidth=1.5)
        axes.set(xlabel="similarity (inner product)", ylabel="share of the pairs")
        axes.legend(loc="best")

    return _svg(f"similarities {name}", f"similarity of matching and other pairs, {name}", draw)


def _colours(count: int) -> Sequence[str]:
    return [SERIES[number % len(SERIES)] for number in range(count)]


def _svg(salt: str, label: str, draw: Any) -> str:
    """What ``draw`` puts on the axes, as an SVG element; the same for the same data."""
    import matplotlib
    from matplotlib.figure import Figure

    # The salt keeps the ids of one drawing's clips and markers apart from those of the others on the page.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r' id="[a-z0-9.]+_\d+"', "", drawn)  # figure_1, axes_1: on every drawing, used by none
    drawn = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", drawn, count=1)
    drawn = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", drawn, count=1)
    for colour, variable in COLOURS.items():
        drawn = drawn.replace(colour, variable)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
