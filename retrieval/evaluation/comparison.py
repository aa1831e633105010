"""Two indexes on the same queries: which is better, by how much, and whether that could be chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from retrieval.errors import OptionError
from retrieval.evaluation.bootstrap import Resampling, paired
from retrieval.evaluation.evaluate import Evaluation, Outcome
from retrieval.types import Integers

SHOWN = 3

Identity: TypeAlias = tuple[str, int, str]


def compare(first: Evaluation, second: Evaluation, resampling: Resampling) -> dict[str, dict[str, Any]]:
    """How much better ``first`` is than ``second``, for each task and every measure that is a mean.

    Returns:
        By task and measure ``difference``, ``interval``, ``p_value`` and ``queries``; None where the
        difference is not finite. Beside the measures ``same_pool``: whether both searched the same assets.

    Raises:
        OptionError: a task is missing in one, or their queries are not the same, by id and caption.
    """
    tables = {}
    for name, outcome in first.outcomes.items():
        if name not in second.outcomes:
            raise OptionError(f"the second index has no task {name}: choose with --task what both have")
        other = second.outcomes[name]
        order = _matching(name, outcome, other)
        tests: dict[str, Any] = {}
        for measure, values in outcome.values.items():
            if measure.is_mean:
                found = paired(values, other.values[measure][order], resampling)
                tests[str(measure)] = found and asdict(found)
        prints = [each.protocol["tasks"][name]["pool_fingerprint"] for each in (first, second)]
        tables[name] = {"same_pool": prints[0] == prints[1], "measures": tests}
    return tables


def _matching(task: str, first: Outcome, second: Outcome) -> Integers:
    """(q,) for each query of the first, where the same one is in the second."""
    ours, theirs = _identities(first), _identities(second)
    only = [[*(each.keys() - other.keys())] for each, other in ((ours, theirs), (theirs, ours))]
    if any(only):
        parts = [
            f"{len(names)} only in the {which} index ({_shown(names)})"
            for which, names in zip(("first", "second"), only, strict=True)
            if names
        ]
        raise OptionError(
            f"a paired test of {task} needs the same queries in both, by id and caption: "
            f"{' and '.join(parts)}; index the same items, or choose a --split both have"
        )
    return np.array([theirs[query] for query in ours], dtype=np.int64)


def _identities(outcome: Outcome) -> Mapping[Identity, int]:
    """The place of each query by its item's id, its number in the item, and its caption."""
    prepared = outcome.prepared
    queries = prepared.queries
    asked = [
        (queries.keys[row], int(queries.ordinals[row]), queries.texts[row] or "")
        for row in prepared.asking.tolist()
    ]
    return {query: at for at, query in enumerate([*asked, *((name, 0, "") for name in prepared.missing)])}


def _shown(queries: list[Identity]) -> str:
    names = [f"{name} {text[:60]!r}" if text else name for name, _, text in sorted(queries)[:SHOWN]]
    return ", ".join([*names, *(["..."] if len(queries) > SHOWN else [])])
