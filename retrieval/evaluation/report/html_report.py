"""The evaluation report: one HTML file that needs no other file and no network."""

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
        evaluation: the evaluation to show.
        values: ``evaluation.as_dict()``, with ``against`` added if there was a paired test.
    """
    from markupsafe import Markup

    page = render(
        "page.html.j2",
        protocol_rows=_flatten(values["protocol"]),
        protocol=values["protocol"],
        tasks=values["tasks"],
        not_figures=text_report.NOT_FIGURES,
        against=values.get("against"),
        # The charts contain only our own text; everything else is escaped.
        charts={title: Markup(svg) for title, svg in _charts(evaluation).items()},  # noqa: S704
        examples={
            name: best_and_worst.best_and_worst(task_result)
            for name, task_result in evaluation.task_results.items()
        },
    )
    path.write_text(page, encoding="utf-8")


def _charts(evaluation: Evaluation) -> dict[str, str]:
    """Return the charts as SVG, by title."""
    task_results = evaluation.task_results
    drawings = {
        "Hits and recall among the first k results": charts.recall_chart(
            {name: chart_data.recall_curves(task_result) for name, task_result in task_results.items()}
        )
    }
    prepared_tasks: dict[frozenset[Target], PreparedTask] = {}
    for task_result in task_results.values():  # both directions of a pair of modalities share their pairs
        task = task_result.prepared.task
        prepared_tasks.setdefault(frozenset((task.query, task.target)), task_result.prepared)
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
        drawings["Correlation of the dimensions"] = charts.correlation_chart(curves)
    for prepared in prepared_tasks.values():
        name = f"{prepared.task.query} and {prepared.task.target}"
        relevant, others = chart_data.similarity_samples(prepared)
        if len(relevant) + len(others):
            drawings[f"Similarity of pairs, {name}"] = charts.similarity_chart(name, relevant, others)
    return drawings


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested entries as one flat table, with names like ``index.encoders.text``."""
    rows: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= _flatten(value, f"{prefix}{name}.")
        else:
            rows[prefix + name] = "none" if value is None else formatting.number(value)
    return rows
