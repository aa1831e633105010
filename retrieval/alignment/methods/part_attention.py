"""Canonical correlation analysis (CCA) of whole assets and their pooled parts, with trained pooling weights.

Each modality has one query. It scores the parts of an asset, and the softmax of the scores weights the parts. This is
attention with a learned context vector (Yang et al., "Hierarchical attention networks for document classification",
2016) over frozen parts. The pooled part is put beside the row of the whole asset, and ``cca`` maps both.

Queries start at zero, where all parts have equal weights, and are trained in rounds. Each round fits CCA to the
currently pooled parts, then moves the queries so that partners find each other through these maps (symmetric InfoNCE).
Validation items, used in neither step, measure how well the maps rank. The result is the best of the queries of all
rounds, the zero queries, and the whole assets without their parts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.fitting import Report, feature_maps
from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.linked_modalities import Connections, connect
from retrieval.alignment.cca.model_selection import choose_settings
from retrieval.alignment.cca.paired_views import PairedViews, summarise_pairs
from retrieval.alignment.maps.pooling import PartPooling
from retrieval.alignment.methods.auto import fit_cca_as
from retrieval.alignment.methods.contrastive import ContrastiveObjective
from retrieval.alignment.trained.attention_queries import AttentionQueries
from retrieval.alignment.trained.batches import VALIDATION_SHARE, items_by_link, split_items
from retrieval.alignment.trained.fit_heads import cca_initial_maps, train_head
from retrieval.alignment.trained.head import InitialMap
from retrieval.alignment.trained.training import Schedule
from retrieval.alignment.trained.training_sample import IdentityLift, Sample
from retrieval.types import Integers, Matrix, Modality

SCHEDULE = Schedule(decay=0.0, epochs=20)
"""Training schedule of one round."""

ROUNDS, PATIENCE = 10, 3
"""Most rounds, and the rounds without improvement after which training stops."""

MAX_ITEMS = 2000
"""Most items that queries are trained on: queries are only a few thousand numbers. Maps are fitted on all items."""

QueriesByModality = dict[Modality, Matrix]
"""The query of each modality whose parts are pooled."""


def fit(data: TrainingData) -> Alignment:
    """Train the queries that pool parts, then fit ``cca`` to the pooled rows; other modalities are used as they are.

    Raises:
        AlignmentError: as ``from_pairs``.
    """
    queries, report = _learn_queries(data)
    readings = {
        modality: PartPooling(layout, queries.get(modality)) for modality, layout in data.parts.items()
    }
    fitted = fit_cca_as("attention", data.pooled(readings)).with_pooling(readings)
    return replace(fitted, report={**fitted.report, **report})


def _learn_queries(data: TrainingData) -> tuple[QueriesByModality, Report]:
    """Return the best queries and facts for the report; no queries if the whole assets alone rank better."""
    sample = Sample.of(data, MAX_ITEMS)
    sampled = sample.data
    without_parts = _pool(sampled, {})
    connections = connect(without_parts.tables, feature_maps(without_parts, None), ())
    names = connections.modalities
    if not sampled.parts.keys() & sampled.tables.keys():
        return {}, {"reason": "there are no parts to pool: only canonical correlations were fitted"}
    if not connections.can_validate or not sampled.parts.keys() & set(names):
        return {}, {
            "reason": "too few pairs to train the pooling of parts: only canonical correlations were fitted"
        }
    links = items_by_link(
        _pair_views(sampled, connections),
        [IdentityLift(sampled.tables[name].features.shape[1]) for name in names],
    )
    training_items, validation_items = split_items(links, VALIDATION_SHARE, data.seed)
    learner = AttentionQueries([sampled.parts.get(name) for name in names])
    _, loss_without_parts = _fit_maps(without_parts, connections, validation_items)
    best_queries = QueriesByModality()
    losses = list[float]()
    for round_number in range(ROUNDS + 1):
        if round_number:
            train_head(
                learner,
                ContrastiveObjective(),
                links=links,
                training_items=training_items,
                validation_items=None,
                schedule=SCHEDULE,
                seed=data.seed + round_number,
            )
        queries = {
            name: query for name, query in zip(names, learner.queries(), strict=True) if name in sampled.parts
        }
        initial_maps, loss = _fit_maps(_pool(sampled, queries), connections, validation_items)
        if loss < min([loss_without_parts, *losses]):
            best_queries = {name: sample.axes[name] @ query for name, query in queries.items()}
        losses.append(loss)
        if round_number - int(np.argmin(losses)) >= PATIENCE:
            break
        learner.set_maps(initial_maps)
    return best_queries, {"validation_losses": losses, "validation_loss_without_parts": loss_without_parts}


def _pool(data: TrainingData, queries: QueriesByModality) -> TrainingData:
    return data.pooled({name: PartPooling(layout, queries.get(name)) for name, layout in data.parts.items()})


def _pair_views(data: TrainingData, connections: Connections) -> dict[Link, PairedViews]:
    """Return the pairs of every link of ``connections``, taken from these data."""
    lifted = feature_maps(data, None)
    pairs = {}
    for link in connections.pairs:
        first, second = (connections.modalities[view] for view in link)
        pairs[link] = PairedViews((data.tables[first], data.tables[second]), (lifted[first], lifted[second]))
    return pairs


def _fit_maps(
    data: TrainingData, connections: Connections, validation_items: Integers
) -> tuple[list[InitialMap], float]:
    """Fit CCA without the validation items; return its maps and its loss on the validation items."""
    summary = summarise_pairs(_pair_views(data, connections), 1, data.seed, held_out=validation_items)
    choice = choose_settings(
        summary, [feature_maps(data, None)[modality] for modality in connections.modalities], {}
    )
    return cca_initial_maps(replace(summary, whole=summary.folds[0].training), choice), choice.loss
