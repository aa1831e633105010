"""Deep canonical correlation analysis: CCA of what small networks make of the views, trained for that.

Andrew, Arora, Bilmes and Livescu, "Deep canonical correlation analysis" (2013). Of more than two modalities, the
mean over links of the total correlation is what the networks are trained for, one network a modality, and the CCA of
their outputs is ``cca``'s. With few items the networks learn them by heart; how many epochs and which ridge, power
and number of outputs are right is told by items kept apart, which the networks never learn from.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.model_selection import DIMENSION, canonical_blocks, choose_settings
from retrieval.alignment.cca.paired_views import PairedViews, PairSummary, summarise_pairs
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.fitting import Report, feature_maps, from_pairs
from retrieval.alignment.linked_modalities import Connections
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.alignment.methods.auto import canonical_parts
from retrieval.alignment.trained.batches import by_item, parted
from retrieval.alignment.trained.networks import Input, Plan, trained
from retrieval.errors import AlignmentError

APART = 0.2
"""Share of the items that choose; the networks learn from the others."""

OUTPUTS = (16, 64)
"""Columns that are tried."""

PLAN = Plan()

RIDGE = 0.1
"""Of the inputs' scale: directions of little variance count for less, in mean variances."""


def fit(data: TrainingData) -> Alignment:
    """Networks trained to correlate on the pairs alone, and canonical correlations of their outputs.

    Raises:
        AlignmentError: as ``from_pairs``; or the pairs show nothing.
    """
    return from_pairs("dcca", data, lambda connections: _deep(connections, data))


def _deep(connections: Connections, data: TrainingData) -> tuple[list[Subspace], Report]:
    plain = feature_maps(data, None)
    if not connections.can_validate:
        parts, report = canonical_parts(connections, plain, data.seed)
        return parts, {**report, "reason": "too few items to train networks: canonical correlations alone"}
    names = connections.modalities
    views = [plain[modality] for modality in names]
    links = by_item(connections.pairs, views)
    rest, apart = parted(links, APART, data.seed)
    inputs = scaled(summarise_pairs(connections.pairs, 1, data.seed))
    tried = []
    for outputs in OUTPUTS:
        plan = replace(PLAN, outputs=outputs)
        networks, course = trained(inputs, links, rest, apart, plan, data.seed)
        own = [replace(lift, layers=networks.layers(view)) for view, lift in enumerate(views)]
        pairs = {
            link: PairedViews(each.tables, (own[link[0]], own[link[1]]))
            for link, each in connections.pairs.items()
        }
        summary = summarise_pairs(pairs, 1, data.seed, held_out=apart)
        tried.append((choose_settings(summary, own, {}), summary, own, plan, course))
    choice, summary, own, plan, course = min(tried, key=lambda each: each[0].loss)
    maps = solve(summary.whole, choice.ridge, DIMENSION)
    shares = maps.correlations if choice.confirmed is None else choice.confirmed[choice.confirmed > 0]
    if not len(shares):
        raise AlignmentError(
            f"{connections.count} pairs show no correlation that those kept apart confirm: "
            "give pairs that differ in content, or use 'auto'"
        )
    blocks = canonical_blocks(maps, shares**choice.power, own, summary.axes)
    return [Subspace("dcca", dict(zip(names, blocks, strict=True)))], {
        "outputs": plan.outputs,
        "hidden": list(plan.hidden),
        "epochs": course.best,
        "ridge": choice.ridge,
        "power": choice.power,
        "validation_loss": choice.loss,
    }


def scaled(pairs: PairSummary) -> list[Input]:
    """Of each view, the mean and the principal axes divided by their deviations, a ridge included."""
    inputs = []
    for view, axes in enumerate(pairs.axes):
        variances = np.diagonal(pairs.whole.within(view))
        deviations = np.sqrt(variances + RIDGE * variances.mean())
        center = axes @ pairs.whole.center(view)
        inputs.append((center.astype(np.float32), (axes / deviations).astype(np.float32)))
    return inputs
