"""Puts the report together: one file that needs no other, and no network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from retrieval import formatting
from retrieval.display.rendering import render
from retrieval.evaluation import text_report
from retrieval.evaluation.evaluate import Evaluation
from retrieval.evaluation.prepared_task import PreparedTask
from retrieval.evaluation.report import best_and_worst, chart_data, charts
from retrieval.types import Target


def write(path: Path, evaluation: Evaluation, values: Mapping[str, Any]) -> None:
    """Write the report of ``evaluation`` to ``path``.

    Args:
        path: an HTML file.
        evaluation: what is shown.
        values: as ``evaluation.as_dict()`` gives them; ``against`` where there was a paired test.
    """
    from markupsafe import Markup

    page = render(
        "page.html.j2",
        protocol=_flat(values["protocol"]),
        stamp=values["protocol"],
        tasks=values["tasks"],
        beside=text_report.BESIDE,
        against=values.get("against"),
        # Drawings hold no text but ours; all else is escaped.
        charts={name: Markup(drawn) for name, drawn in _charts(evaluation).items()},  # noqa: S704
        exhibits={name: best_and_worst.best_and_worst(of) for name, of in evaluation.outcomes.items()},
    )
    path.write_text(page, encoding="utf-8")


def _charts(evaluation: Evaluation) -> dict[str, str]:
    """The drawings by their titles."""
    outcomes = evaluation.outcomes
    drawn = {
        "What is found among the first k": charts.found_at(
            {name: chart_data.found_curves(outcome) for name, outcome in outcomes.items()}
        )
    }
    prepared_tasks: dict[frozenset[Target], PreparedTask] = {}
    for outcome in outcomes.values():  # both directions of a pair of modalities have the same pairs
        task = outcome.prepared.task
        prepared_tasks.setdefault(frozenset((task.query, task.target)), outcome.prepared)
    curves = {
        f"evaluated pairs, {prepared.task.query} and {prepared.task.target}": chart_data.dimension_correlations(
            prepared
        )
        for prepared in prepared_tasks.values()
    }
    manifest = next(iter(prepared_tasks.values())).index.manifest
    fitted = manifest.alignment["report"].get("correlations")
    if fitted:
        curves["canonical correlations of the fit"] = np.array(fitted)
    curves = {name: values for name, values in curves.items() if len(values)}
    if curves:
        drawn["Correlation of the dimensions"] = charts.correlations(curves)
    for prepared in prepared_tasks.values():
        name = f"{prepared.task.query} and {prepared.task.target}"
        matching, others = chart_data.similarity_samples(prepared)
        if len(matching) + len(others):
            drawn[f"Similarity of pairs, {name}"] = charts.similarities(name, matching, others)
    return drawn


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested entries in one table: ``index.encoders.text``."""
    rows: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{prefix}{name}.")
        else:
            rows[prefix + name] = "none" if value is None else formatting.number(value)
    return rows
