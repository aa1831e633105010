"""Canonical correlations of whole assets and of what their parts are pooled to, by weights learned by contrast.

A query a modality scores the parts of an asset, and the softmax of the scores weighs them: attention with a learned
context vector (Yang et al., "Hierarchical attention networks for document classification", 2016), over frozen parts.
The pooled part stands beside the row of the whole, and ``cca`` makes the map of both.

Queries begin at zero, where parts weigh the same, and are learned in rounds. Each fits canonical correlations to what
the parts are pooled to by now, and then moves the queries so that partners find each other through these maps
(symmetric InfoNCE). Items kept apart from both tell how well the maps rank. The queries of the best round are what is
kept, or zero, or the wholes alone where these rank better.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.model_selection import choose_settings
from retrieval.alignment.cca.paired_views import PairedViews, summarise_pairs
from retrieval.alignment.fitting import Report, feature_maps
from retrieval.alignment.linked_modalities import Connections, connect
from retrieval.alignment.maps.pooling import PartPooling
from retrieval.alignment.methods.auto import cca_of
from retrieval.alignment.methods.contrastive import Contrast
from retrieval.alignment.trained.attention_queries import Queries
from retrieval.alignment.trained.batches import KEPT_APART, by_item, parted
from retrieval.alignment.trained.fit_heads import starting, train_head
from retrieval.alignment.trained.head import Start
from retrieval.alignment.trained.sampled import AsIs, Sample
from retrieval.alignment.trained.training import Schedule
from retrieval.types import Integers, Matrix, Modality

SCHEDULE = Schedule(decay=0.0, epochs=20)
"""Of a round."""

ROUNDS, PATIENCE = 10, 3
"""Rounds, at most, and how many without a better one before learning ends."""

MOST = 2000
"""Items that queries are learned from, at most, for they are a few thousand numbers; the maps are of all."""

Asked = dict[Modality, Matrix]
"""The query of each modality whose parts are weighed."""


def fit(data: TrainingData) -> Alignment:
    """Learn how to pool parts, and fit ``cca`` to that; an asset without parts is the one part that it is.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    asked, report = _learned(data)
    readings = {modality: PartPooling(own, asked.get(modality)) for modality, own in data.parts.items()}
    fitted = cca_of("attention", data.pooled(readings)).with_pooling(readings)
    return replace(fitted, report={**fitted.report, **report})


def _learned(data: TrainingData) -> tuple[Asked, Report]:
    """How parts are best pooled, or nothing where they are best left alone; and what to say of it."""
    sample = Sample.of(data, MOST)
    some = sample.data
    whole = _read(some, {})
    connections = connect(whole.tables, feature_maps(whole, None), ())
    names = connections.modalities
    if not some.parts.keys() & some.tables.keys():
        return {}, {"reason": "there are no parts to weigh: canonical correlations alone"}
    if not connections.can_validate or not some.parts.keys() & set(names):
        return {}, {"reason": "too few pairs to weigh parts by: canonical correlations alone"}
    links = by_item(_pairs(some, connections), [AsIs(some.tables[name].features.shape[1]) for name in names])
    rest, apart = parted(links, KEPT_APART, data.seed)
    learner = Queries([some.parts.get(name) for name in names])
    kept, without = Asked(), _maps(whole, connections, apart)[1]
    losses = list[float]()
    for number in range(ROUNDS + 1):
        if number:
            train_head(learner, Contrast(), links, rest, None, SCHEDULE, data.seed + number)
        asked = {
            name: query for name, query in zip(names, learner.queries(), strict=True) if name in some.parts
        }
        starts, loss = _maps(_read(some, asked), connections, apart)
        if loss < min([without, *losses]):
            kept = {name: sample.axes[name] @ query for name, query in asked.items()}
        losses.append(loss)
        if number - int(np.argmin(losses)) >= PATIENCE:
            break
        learner.through(starts)
    return kept, {"validation_losses": losses, "validation_loss_without_parts": without}


def _read(data: TrainingData, asked: Asked) -> TrainingData:
    return data.pooled({name: PartPooling(own, asked.get(name)) for name, own in data.parts.items()})


def _pairs(data: TrainingData, connections: Connections) -> dict[Link, PairedViews]:
    """The links of ``connections`` in these data."""
    own = feature_maps(data, None)
    found = {}
    for link in connections.pairs:
        first, second = (connections.modalities[view] for view in link)
        found[link] = PairedViews((data.tables[first], data.tables[second]), (own[first], own[second]))
    return found


def _maps(data: TrainingData, connections: Connections, apart: Integers) -> tuple[list[Start], float]:
    """Canonical correlations of what is not kept apart, and their loss on what is."""
    summary = summarise_pairs(_pairs(data, connections), 1, data.seed, held_out=apart)
    choice = choose_settings(
        summary, [feature_maps(data, None)[modality] for modality in connections.modalities], {}
    )
    return starting(replace(summary, whole=summary.folds[0].training), choice), choice.loss
