"""The methods: each takes training data and gives a fitted alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca import solve
from retrieval.alignment.joint import DIMENSION, FOLDS, PairedViews, canonical_blocks, choose, study
from retrieval.alignment.prior import Lift, PriorSpace, prior_space
from retrieval.alignment.projector import Block, Projector, blocks, unit
from retrieval.errors import AlignmentError
from retrieval.types import Matrix, Modality

ENOUGH = 20
"""Items with a pair below which folds say nothing, and settings are taken as they are."""

DEFAULT_RIDGE, DEFAULT_POWER = 1.0, 1.0


def fit_conse(data: TrainingData) -> Alignment:
    """The class prior's text space alone; pairs are not looked at.

    Raises:
        AlignmentError: there is no class prior.
    """
    if data.prior is None:
        raise AlignmentError(
            "alignment 'conse' needs an image encoder whose classifier has named classes, and there is none: "
            "use 'cca' with captioned items, or another image encoder"
        )
    return _prior_alone(
        "conse", prior_space(data.prior), 1, {"reason": "the class prior alone was asked for"}
    )


def fit_cca(data: TrainingData) -> Alignment:
    """Canonical correlations of the pairs alone; the class prior is not looked at.

    Raises:
        AlignmentError: there are not exactly two modalities, or fewer than two different pairs.
    """
    return _joint("cca", data, _plain_lifts(data), None)


def fit_auto(data: TrainingData) -> Alignment:
    """What the evidence supports: the prior, the pairs, or both in one space; no error while one is there.

    Raises:
        AlignmentError: several modalities, and neither a class prior nor pairs to bring them together.
    """
    space = prior_space(data.prior, _mean(data)) if data.prior else None
    if space is None:
        if len(data.tables) == 1:
            return _identity("auto", data)
        return _joint("auto", data, _plain_lifts(data), None)
    if not set(data.tables) <= set(space.lifts):
        raise AlignmentError(
            f"alignment 'auto' joins {', '.join(space.lifts)} so far, not {', '.join(data.tables)}"
        )
    items = _views(data, space.lifts).count if len(data.tables) == 2 else 0
    if items < ENOUGH:
        reason = f"{items} training items have a pair, fewer than {ENOUGH}: the class prior alone"
        return _prior_alone("auto", space, 2, {"pairs": items, "reason": reason})
    try:
        return _joint("auto", data, space.lifts, space)
    except AlignmentError as error:
        return _prior_alone("auto", space, 2, {"pairs": items, "reason": f"the class prior alone: {error}"})


def _joint(
    method: str, data: TrainingData, lifts: Mapping[Modality, Lift], space: PriorSpace | None
) -> Alignment:
    """Canonical variates of the pairs, beside the prior's blocks where there is a prior."""
    views, modalities = _views(data, lifts), tuple(lifts)
    if views.count < 2:
        raise AlignmentError(
            f"alignment {method!r} needs at least 2 items with both {' and '.join(modalities)} outside the "
            f"held-out share, and there are {views.count}: add captions, or use an image encoder with a "
            "classifier"
        )
    known = [_projector(space, modality, space.blocks[modality]) for modality in modalities] if space else []
    report: dict[str, Any] = {"pairs": len(views.items), "items": views.count}
    ridge, power, weights = DEFAULT_RIDGE, DEFAULT_POWER, np.ones(len(known[0].blocks) + 1 if known else 1)
    if views.count < ENOUGH:
        summary = study(views, 1, data.seed)
        report["reason"] = f"fewer than {ENOUGH} items have a pair: settings are defaults"
    else:
        summary = study(views, FOLDS, data.seed)
        choice = choose(summary, views.lifts, known)
        ridge, power, weights = choice.ridge, choice.power, choice.evidence.weights
        report |= {
            "folds": FOLDS,
            "validation_loss": choice.evidence.loss,
            "validation_mrr": choice.evidence.mrr,
        }
    maps = solve(summary.whole, ridge, DIMENSION)
    if len(maps.correlations) == 0:
        raise AlignmentError(
            f"{views.count} pairs show no correlation at all: give pairs that differ in content"
        )
    if not weights.any():  # no block tells partners from strangers: none is better than another
        weights = np.ones_like(weights)
    total = float(weights.sum())
    report |= {
        "ridge": ridge,
        "power": power,
        "components": len(maps.correlations),
        "correlations": [round(float(value), 4) for value in maps.correlations[:10]],
        "weights": dict(
            zip(("conse", "classifiers", "cca")[-len(weights) :], (weights / total).tolist(), strict=True)
        ),
    }
    scales = np.sqrt(weights / total).astype(np.float32)
    projectors = {
        modality: Projector(
            lifts[modality].dimension,
            (*(space.blocks[modality] if space else ()), block),
            scales,
            space.mixtures[modality] if space else None,
        )
        for modality, block in zip(
            modalities, canonical_blocks(maps, power, views.lifts, summary.axes), strict=True
        )
    }
    return Alignment(method, projectors, report)


def _prior_alone(method: str, space: PriorSpace, count: int, report: Mapping[str, Any]) -> Alignment:
    """The first ``count`` blocks of the prior, each worth the same."""
    projectors = {
        modality: _projector(space, modality, blocks_[:count]) for modality, blocks_ in space.blocks.items()
    }
    return Alignment(method, projectors, report)


def _projector(space: PriorSpace, modality: Modality, own: tuple[Block, ...]) -> Projector:
    reads_shares = any(block.mixed is not None for block in own)
    scales = np.full(len(own), len(own) ** -0.5, np.float32)
    mixture = space.mixtures[modality] if reads_shares else None
    return Projector(space.lifts[modality].dimension, own, scales, mixture)


def _identity(method: str, data: TrainingData) -> Alignment:
    """The features themselves, where there is one modality and nothing to align it with."""
    ((modality, table),) = data.tables.items()
    size = table.features.shape[1]
    block = Block(np.zeros(size, np.float32), linear=np.eye(size, dtype=np.float32))
    projector = Projector(size, (block,), np.ones(1, np.float32))
    return Alignment(
        method, {modality: projector}, {"pairs": 0, "reason": f"nothing but {modality} to search"}
    )


def _plain_lifts(data: TrainingData) -> dict[Modality, Lift]:
    if len(data.tables) != 2:
        raise AlignmentError(
            f"canonical correlations align exactly two modalities, and the training items have "
            f"{', '.join(data.tables) or 'none'}: index items with pictures and captions"
        )
    return {modality: Lift(table.features.shape[1]) for modality, table in data.tables.items()}


def _views(data: TrainingData, lifts: Mapping[Modality, Lift]) -> PairedViews:
    first, second = lifts
    for modality, lift in lifts.items():
        columns = data.tables[modality].features.shape[1]
        if columns != lift.dimension:
            raise AlignmentError(
                f"{modality} features have {columns} columns, but the class prior was made for "
                f"{lift.dimension}: use the encoders that the prior belongs to"
            )
    return PairedViews((data.tables[first], data.tables[second]), (lifts[first], lifts[second]))


def _mean(data: TrainingData) -> Matrix | None:
    """(d,) mean unit feature row of the modality that the prior's classifier reads."""
    table = data.tables.get(data.prior.modality) if data.prior else None
    if table is None or len(table.features) == 0:
        return None
    total = np.zeros(table.features.shape[1])
    for chunk in blocks(len(table.features)):
        total += unit(np.asarray(table.features[chunk], np.float32)).sum(axis=0, dtype=np.float64)
    return (total / len(table.features)).astype(np.float32)
