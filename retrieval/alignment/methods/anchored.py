"""Linear maps of all modalities into the space of one of them, the anchor. Of its features only the mean is removed.

A modality without items in common with the anchor is mapped onto one that has, and then with that one's map into the
anchor's space. The links form a tree, built from the links with the most items first. If the links fall into separate
islands, each island has its own anchor and its own columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.canonical_subspaces import FOLDS
from retrieval.alignment.cca.fitting import Report, feature_maps, from_pairs
from retrieval.alignment.cca.linked_covariances import LinkedCovariances
from retrieval.alignment.cca.linked_modalities import Connections
from retrieval.alignment.cca.model_selection import evaluate_blocks
from retrieval.alignment.cca.paired_views import PairSummary, summarise_pairs
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.projector import Block
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.types import Modality

Float64Matrix = NDArray[np.float64]

SolveMap = Callable[[Float64Matrix, Float64Matrix, float], Float64Matrix]
"""Takes a view's (d, d) covariance, its (d, a) covariance with the target, and a setting; returns the (d, a) map."""


@dataclass(frozen=True)
class AnchorStep:
    """How one modality is mapped towards the anchor.

    Attributes:
        view: the view that is mapped.
        onto: the view whose mapped rows are the target; None for the anchor itself.
        anchor: the anchor of the view's island.
    """

    view: int
    onto: int | None
    anchor: int


def fit_anchored(method: str, data: TrainingData, solve: SolveMap, settings: Sequence[float]) -> Alignment:
    """Map every linked modality into its anchor's space, with the setting that cross-validation chooses.

    The anchor is text if text is linked, otherwise the modality with the most items in common with others.

    Args:
        method: name of the method.
        data: the training rows.
        solve: computes the map of one view.
        settings: settings to choose from by cross-validation; the first is used if there are too few items.

    Raises:
        AlignmentError: as ``from_pairs``.
    """

    def fit(connections: Connections) -> tuple[list[Subspace], Report]:
        view_lifts = [feature_maps(data, None)[modality] for modality in connections.modalities]
        widest = max(lift.dimension for lift in view_lifts)
        pair_statistics = summarise_pairs(
            connections.pairs, FOLDS if connections.can_validate else 1, data.seed, max_axes=widest
        )
        steps = anchor_steps(connections)
        setting, report = settings[0], Report()
        if connections.can_validate:
            losses = [_validation_loss(pair_statistics, view_lifts, steps, solve, each) for each in settings]
            setting, report["validation_loss"] = min(
                zip(settings, losses, strict=True), key=lambda each: each[1]
            )
        blocks_by_view = _blocks(pair_statistics.whole, pair_statistics, view_lifts, steps, solve, setting)
        names = connections.modalities
        report["setting"] = setting
        report["anchors"] = {str(names[step.view]): str(names[step.anchor]) for step in steps}
        islands: dict[Modality, dict[Modality, Block]] = {}
        for step in steps:
            islands.setdefault(names[step.anchor], {})[names[step.view]] = blocks_by_view[step.view]
        return [Subspace(f"{method} {anchor}", blocks) for anchor, blocks in islands.items()], report

    return from_pairs(method, data, fit)


def anchor_steps(connections: Connections) -> list[AnchorStep]:
    """Return the steps that map every linked view to an anchor; each comes after the view that it is mapped onto."""
    names = connections.modalities
    items = {link: pairs.count for link, pairs in connections.pairs.items()}

    def priority(view: int) -> tuple[bool, int]:
        return names[view] is Modality.TEXT, sum(count for link, count in items.items() if view in link)

    steps: dict[int, AnchorStep] = {}
    while unplaced := [view for view in range(len(names)) if view not in steps]:
        anchor = max(unplaced, key=priority)
        steps[anchor] = AnchorStep(anchor, None, anchor)
        while bridges := [link for link in items if (link[0] in steps) != (link[1] in steps)]:
            link = max(bridges, key=items.__getitem__)
            onto, view = link if link[0] in steps else link[::-1]
            steps[view] = AnchorStep(view, onto, anchor)
    return list(steps.values())


def _maps(
    linked: LinkedCovariances, steps: Sequence[AnchorStep], solve: SolveMap, setting: float
) -> dict[int, Float64Matrix]:
    """Return the (d, a) map of each view; the map of an anchor is the identity."""
    maps: dict[int, Float64Matrix] = {}
    for step in steps:
        if step.onto is None:
            maps[step.view] = np.eye(len(linked.center(step.view)))
            continue
        link = (min(step.view, step.onto), max(step.view, step.onto))
        covariances = linked.links[link]
        source, target = link.index(step.view), link.index(step.onto)
        across = covariances.between(source, target) @ maps[step.onto]
        maps[step.view] = solve(covariances.between(source, source), across, setting)
    return maps


def _blocks(
    linked: LinkedCovariances,
    pair_statistics: PairSummary,
    view_lifts: Sequence[FeatureMap],
    steps: Sequence[AnchorStep],
    solve: SolveMap,
    setting: float,
) -> Mapping[int, Block]:
    blocks = {}
    anchors = {step.view: step.anchor for step in steps}
    for view, mapping in _maps(linked, steps, solve, setting).items():
        to_columns = pair_statistics.axes[anchors[view]].T  # back to the anchor's original columns
        linear = pair_statistics.axes[view] @ mapping @ to_columns
        offset = linked.center(view) @ mapping @ to_columns
        blocks[view] = view_lifts[view].block(linear.astype(np.float32), offset.astype(np.float32))
    return blocks


def _validation_loss(
    pair_statistics: PairSummary,
    view_lifts: Sequence[FeatureMap],
    steps: Sequence[AnchorStep],
    solve: SolveMap,
    setting: float,
) -> float:
    """Return the mean loss on the folds that are left out of the fit."""
    fitted = []
    for fold in pair_statistics.folds:
        blocks = _blocks(fold.training, pair_statistics, view_lifts, steps, solve, setting)
        fitted.append([blocks[view] for view in range(len(view_lifts))])
    return evaluate_blocks(pair_statistics, view_lifts, fitted)[1]
