"""The command that measures retrieval quality: ``xmodal evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.options import IndexFolder, JsonOption, print_json
from retrieval.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.evaluation.evaluate import Evaluation
    from retrieval.evaluation.metrics import Measure

UNDER_THRESHOLD = 1
"""Exit status."""


def evaluate(
    index: IndexFolder,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A-to-B",
            help="What to query by and what to find, e.g. text-to-image or text-to-item; repeatable. "
            "Default: every pair of modalities in the index.",
        ),
    ] = None,
    ks: Annotated[
        str, typer.Option("-k", metavar="K,...", help="Cut-offs of the metrics, separated by commas.")
    ] = "1,5,10",
    relevance: Annotated[
        str,
        typer.Option(
            metavar="item|COLUMN",
            help="What is relevant to a query: assets of the same item, or of items with the same value in COLUMN.",
        ),
    ] = "item",
    qrels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Graded relevance judgements in TREC format; they replace --relevance."
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="holdout|all",
            help="Items used as queries. Default: holdout if the index has held-out items.",
        ),
    ] = None,
    pool: Annotated[
        str | None, typer.Option(metavar="holdout|all", help="Items that are searched. Default: as --split.")
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Search only items whose metadata match this filter.")
    ] = None,
    captions: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Use only the first N captions of each item, e.g. 5 as usual for COCO."
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", help="Also report the metrics for each value of this column; repeatable."
        ),
    ] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Search exactly, without the approximate index.")
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Report exact search and the index's own search side by side, with and without --where.",
        ),
    ] = False,
    hubness: Annotated[
        str,
        typer.Option(
            metavar="none|centre|csls|qbnorm", help="Hubness correction of the scores; exact search only."
        ),
    ] = "none",
    against: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Compare with another index: a paired test on the same queries."),
    ] = None,
    resamples: Annotated[
        int, typer.Option(metavar="N", help="Bootstrap resamples for confidence intervals; 0: no intervals.")
    ] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help="Random seed of the bootstrap.")] = 0,
    run: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Evaluate this TREC run instead of searching; with one --task."),
    ] = None,
    run_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results of the search as a TREC run.")
    ] = None,
    qrels_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the relevance judgements in TREC format.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a full report as an HTML page.")
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEASURE=FIGURE",
            help="Exit with status 1 if a task scores lower, e.g. hit@10=0.7; repeatable.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure retrieval quality. Print the metrics with confidence intervals and the evaluation protocol.

    Exit status: 0 measured, 1 a metric is under --fail-under, 2 unusable arguments or input.
    """
    from retrieval.evaluation.bootstrap import Resampling
    from retrieval.evaluation.evaluate import evaluate as measure
    from retrieval.search.engine import open_index

    thresholds = [_parse_threshold(text) for text in fail_under or ()]
    resampling = Resampling(resamples, _check_seed(seed))
    common: dict[str, Any] = {
        "tasks": task, "ks": _parse_cutoffs(ks), "relevance": relevance, "split": split, "pool": pool,
        "where": where, "captions": captions, "qrels": qrels, "measures": [measure for measure, _ in thresholds],
        "exact": exact, "hubness": hubness, "resampling": resampling,
    }  # fmt: skip
    engine = open_index(index, device="cpu")
    result = measure(engine, run=run, by=by or (), compare=compare, **common)
    values = result.as_dict()
    if against is not None:
        from retrieval.evaluation.comparison import compare_evaluations

        other = measure(open_index(against, device="cpu"), **common)
        values["against"] = {
            "index": other.protocol["index"],
            "tasks": compare_evaluations(result, other, resampling),
        }
    _write_files(result, values, run_out=run_out, qrels_out=qrels_out, report=report)
    if as_json:
        print_json(values)
    else:
        from retrieval.evaluation.text_report import report_lines

        print("\n".join(report_lines(values)))
    _check_thresholds(values, thresholds)


def _write_files(
    result: Evaluation,
    values: dict[str, Any],
    *,
    run_out: Path | None,
    qrels_out: Path | None,
    report: Path | None,
) -> None:
    """Write the output files that were requested."""
    from retrieval.evaluation import runs, trec

    if run_out is not None or qrels_out is not None:
        if len(result.task_results) > 1:
            raise OptionError(
                f"a TREC file is of one task, not of {len(result.task_results)}: choose one with --task"
            )
        for name, task_result in result.task_results.items():
            prepared = task_result.prepared
            query_names = prepared.query_names[: len(prepared.query_rows)]
            if run_out is not None:
                scores, rows = runs.search_results(prepared, runs.RUN_DEPTH)
                trec.write_run(run_out, query_names, prepared.pool_names, scores, rows, f"xmodal-{name}")
            if qrels_out is not None:
                trec.write_qrels(qrels_out, query_names, prepared.pool_names, prepared.relevance)
    if report is not None:
        from retrieval.evaluation.report import html_report

        html_report.write(report, result, values)


def _check_thresholds(values: dict[str, Any], thresholds: Sequence[tuple[Measure, float]]) -> None:
    """Report on standard error which metrics are too low, and exit with status 1 if any is."""
    too_low = [
        f"{name}: {measure} is {figures[str(measure)]}, under {minimum}"
        for name, figures in values["tasks"].items()
        for measure, minimum in thresholds
        if figures[str(measure)] is None or figures[str(measure)] < minimum
    ]
    for line in too_low:
        print(f"xmodal: {line}", file=sys.stderr)
    if too_low:
        raise typer.Exit(UNDER_THRESHOLD)


def _parse_threshold(text: str) -> tuple[Measure, float]:
    from retrieval.evaluation.metrics import Measure

    name, _, figure = text.partition("=")
    try:
        minimum = float(figure)
    except ValueError:
        raise OptionError(f"--fail-under takes MEASURE=FIGURE, such as hit@10=0.7, not {text!r}") from None
    measure = Measure.parse(name.strip())
    if measure.is_rank:
        raise OptionError(
            f"for {measure} less is better: --fail-under takes measures where more is better, such as hit@10=0.7"
        )
    return measure, minimum


def _check_seed(seed: int) -> int:
    if seed < 0:
        raise OptionError(f"seed must be at least 0, not {seed}")
    return seed


def _parse_cutoffs(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"-k takes whole numbers separated by commas, such as 1,5,10, not {text!r}"
        ) from None
