"""Compare two indexes on the same queries: the difference of each measure and a paired test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation.bootstrap import Resampling, paired_test
from retrieval.evaluation.evaluate import Evaluation, TaskResult
from retrieval.types import Integers

MAX_NAMED = 3
"""Queries that an error message names at most."""

QueryKey: TypeAlias = tuple[str, int, str]
"""A query's item id, its number among the item's assets, and its caption."""


def compare_evaluations(
    first: Evaluation, second: Evaluation, resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Compare ``first`` with ``second`` for each task and each measure that is a mean.

    Returns:
        By task, ``same_pool`` (whether both searched the same assets) and ``measures``: by measure ``difference``
        (first minus second), ``interval``, ``p_value`` and ``queries``; None where the difference is not finite.

    Raises:
        OptionError: the second evaluation lacks a task, or their queries differ in id or caption.
    """
    tables = {}
    for name, task_result in first.task_results.items():
        if name not in second.task_results:
            raise OptionError(f"the second index has no task {name}: choose with --task tasks that both have")
        other = second.task_results[name]
        order = _match_queries(name, task_result, other)
        tests: dict[str, Any] = {}
        for measure, values in task_result.values.items():
            if measure.is_mean:
                difference = paired_test(values, other.values[measure][order], resampling)
                tests[str(measure)] = difference and asdict(difference)
        pools = [each.protocol["tasks"][name]["pool_fingerprint"] for each in (first, second)]
        tables[name] = {"same_pool": pools[0] == pools[1], "measures": tests}
    return tables


def _match_queries(task: str, first: TaskResult, second: TaskResult) -> Integers:
    """Return, for each query of the first, the position of the same query in the second, (q,)."""
    first_keys, second_keys = _query_keys(first), _query_keys(second)
    unmatched = [
        [*(keys.keys() - other.keys())]
        for keys, other in ((first_keys, second_keys), (second_keys, first_keys))
    ]
    if any(unmatched):
        parts = [
            f"{len(keys)} only in the {which} index ({_names(keys)})"
            for which, keys in zip(("first", "second"), unmatched, strict=True)
            if keys
        ]
        raise OptionError(
            f"a paired test of {task} needs the same queries in both indexes, by id and caption: "
            f"{' and '.join(parts)}; index the same items, or choose a --split that both have"
        )
    return np.array([second_keys[key] for key in first_keys], dtype=np.int64)


def _query_keys(task_result: TaskResult) -> Mapping[QueryKey, int]:
    """Return the position of each query, by its key."""
    prepared = task_result.prepared
    assets = prepared.query_assets
    indexed = [
        (assets.item_ids[row], int(assets.ordinals[row]), assets.texts[row] or "")
        for row in prepared.query_rows.tolist()
    ]
    missing = [(name, 0, "") for name in prepared.missing]
    return {key: position for position, key in enumerate([*indexed, *missing])}


def _names(keys: list[QueryKey]) -> str:
    names = [f"{name} {text[:60]!r}" if text else name for name, _, text in sorted(keys)[:MAX_NAMED]]
    return ", ".join([*names, *(["..."] if len(keys) > MAX_NAMED else [])])
