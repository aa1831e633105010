"""Charts of the report, as SVG in the colours of the surrounding page."""

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
"""x and y values."""

# Matplotlib writes fixed colours. These are placeholders for the page's colours, which differ in light and dark mode.
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


def recall_chart(curves: Mapping[str, tuple[Curve, Curve]]) -> str:
    """Draw hit@k (solid) and recall@k (dashed) of each task."""

    def draw(axes: Axes) -> None:
        for colour, (name, (hits, recalls)) in zip(_colours(len(curves)), curves.items(), strict=True):
            axes.plot(*hits, color=colour, label=f"{name}, hit@k")
            axes.plot(*recalls, color=colour, linestyle="--", label=f"{name}, recall@k")
        depth = max(int(hits[0][-1]) for hits, _ in curves.values())
        axes.set_xscale("log")
        ticks = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= depth]
        axes.set_xticks(ticks, [str(k) for k in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.set(xlabel="k (number of results)", ylabel="hit@k, recall@k", ylim=(0, 1.02))
        axes.legend(loc="lower right")

    return _svg("found", "hit@k and recall@k by number of results", draw)


def correlation_chart(curves: Mapping[str, NDArray[Any]]) -> str:
    """Draw the correlations of the aligned space's dimensions, each curve descending."""

    def draw(axes: Axes) -> None:
        for colour, (name, values) in zip(_colours(len(curves)), curves.items(), strict=True):
            axes.plot(np.arange(1, len(values) + 1), values, color=colour, label=name)
        axes.set(xlabel="dimension, by descending correlation", ylabel="correlation", ylim=(None, 1.02))
        axes.legend(loc="best")

    return _svg("correlations", "correlation of each dimension over relevant pairs", draw)


def similarity_chart(name: str, relevant: NDArray[Any], others: NDArray[Any]) -> str:
    """Draw the distributions of the similarity of relevant pairs and of other pairs."""
    both = np.concatenate([relevant, others])
    edges = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), 61)

    def draw(axes: Axes) -> None:
        for colour, label, values in (
            (SERIES[1], "other pairs", others),
            (SERIES[0], "relevant pairs", relevant),
        ):
            if len(values):
                shares = np.histogram(values, edges)[0] / len(values)
                axes.stairs(shares, edges, color=colour, fill=True, alpha=0.35)
                axes.stairs(shares, edges, color=colour, label=label, linewidth=1.5)
        axes.set(xlabel="similarity (inner product)", ylabel="share of pairs")
        axes.legend(loc="best")

    return _svg(f"similarities {name}", f"similarity of relevant and other pairs, {name}", draw)


def _colours(count: int) -> Sequence[str]:
    return [SERIES[number % len(SERIES)] for number in range(count)]


def _svg(salt: str, label: str, draw: Any) -> str:
    """Return the chart that ``draw`` makes on axes, as an SVG element; equal data give equal text."""
    import matplotlib
    from matplotlib.figure import Figure

    # The salt makes the ids of clips and markers unique among the charts of a page.
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt}):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        draw(figure.add_subplot())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[a-z0-9.]+_\d+"', "", svg)  # figure_1, axes_1: in every chart, unused
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for colour, variable in COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
