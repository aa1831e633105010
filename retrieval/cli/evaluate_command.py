"""The command that measures: ``xmodal evaluate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.options import AsJson, Index, print_json
from retrieval.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.evaluation.evaluate import Evaluation
    from retrieval.evaluation.metrics import Measure

FAILED_UNDER = 1


def evaluate(
    index: Index,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A-to-B", help="For instance text-to-image, or text-to-item. Default: every pair."
        ),
    ] = None,
    ks: Annotated[str, typer.Option("-k", metavar="K,...", help="Cut-offs.")] = "1,5,10",
    relevance: Annotated[
        str, typer.Option(metavar="item|COLUMN", help="What is relevant: the same item, or the same value.")
    ] = "item",
    qrels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What is relevant: judgements in TREC format, graded.")
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="holdout|all", help="Which items ask.")] = None,
    pool: Annotated[str | None, typer.Option(metavar="holdout|all", help="Which items are searched.")] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Search only items whose metadata satisfy this.")
    ] = None,
    captions: Annotated[
        int | None, typer.Option(metavar="N", help="Only the first N captions of each item: COCO's 5.")
    ] = None,
    by: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Figures also for each value of this column.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Skip the approximate index.")] = False,
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Exact and served search side by side, with and without --where."),
    ] = False,
    hubness: Annotated[
        str,
        typer.Option(
            metavar="none|centre|csls|qbnorm", help="Correct scores against hubs; exact search alone."
        ),
    ] = "none",
    against: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Another index: a paired test on the same queries.")
    ] = None,
    resamples: Annotated[int, typer.Option(metavar="N", help="Of the bootstrap; 0: no intervals.")] = 1000,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the bootstrap.")] = 0,
    run: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measure this TREC run of the one --task.")
    ] = None,
    run_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what the index returns as a TREC run.")
    ] = None,
    qrels_out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what is relevant as TREC judgements.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with everything.")
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(metavar="MEASURE=FIGURE", help="Exit status 1 if a task is below: hit@10=0.7."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure retrieval: what was found, how far that can be trusted, and the protocol it was measured by.

    Exit status: 0 measured, 1 a figure is under --fail-under, 2 unusable arguments or input.
    """
    from retrieval.evaluation.bootstrap import Resampling
    from retrieval.evaluation.evaluate import evaluate as measure
    from retrieval.search.engine import open_index

    bars = [_bar(text) for text in fail_under or ()]
    resampling = Resampling(resamples, _checked_seed(seed))
    common: dict[str, Any] = {
        "tasks": task, "ks": _cutoffs(ks), "relevance": relevance, "split": split, "pool": pool,
        "where": where, "captions": captions, "qrels": qrels, "measures": [bar for bar, _ in bars],
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
    _write(result, values, run_out=run_out, qrels_out=qrels_out, report=report)
    if as_json:
        print_json(values)
    else:
        from retrieval.evaluation.text_report import report_lines

        print("\n".join(report_lines(values)))
    _fail_under(values, bars)


def _write(
    result: Evaluation,
    values: dict[str, Any],
    *,
    run_out: Path | None,
    qrels_out: Path | None,
    report: Path | None,
) -> None:
    """The files that were asked for."""
    from retrieval.evaluation import runs, trec

    if run_out is not None or qrels_out is not None:
        if len(result.task_results) > 1:
            raise OptionError(
                f"a TREC file is of one task, not of {len(result.task_results)}: say which with --task"
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


def _fail_under(values: dict[str, Any], bars: Sequence[tuple[Measure, float]]) -> None:
    """Say on standard error which figures are too low, and exit with status 1 if any is."""
    low = [
        f"{name}: {measure} is {figures[str(measure)]}, under {least}"
        for name, figures in values["tasks"].items()
        for measure, least in bars
        if figures[str(measure)] is None or figures[str(measure)] < least
    ]
    for line in low:
        print(f"xmodal: {line}", file=sys.stderr)
    if low:
        raise typer.Exit(FAILED_UNDER)


def _bar(text: str) -> tuple[Measure, float]:
    from retrieval.evaluation.metrics import Measure

    name, _, figure = text.partition("=")
    try:
        least = float(figure)
    except ValueError:
        raise OptionError(f"--fail-under takes MEASURE=FIGURE, such as hit@10=0.7, not {text!r}") from None
    measure = Measure.parse(name.strip())
    if measure.is_rank:
        raise OptionError(f"of {measure} less is better: --fail-under takes shares, such as hit@10=0.7")
    return measure, least


def _checked_seed(seed: int) -> int:
    if seed < 0:
        raise OptionError(f"seed must be at least 0, not {seed}")
    return seed


def _cutoffs(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"-k takes whole numbers separated by commas, such as 1,5,10, not {text!r}"
        ) from None
