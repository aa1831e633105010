"""Linear maps of all modalities into one of them, the anchor, whose features stay as they are but for their mean.

A modality that has no items in common with the anchor is brought to one that has, and with that one's map into
the anchor's space: a tree of links, those of most items first. Where the links fall into separate islands, each has
an anchor and columns of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.canonical_subspaces import FOLDS
from retrieval.alignment.cca.linked_covariances import LinkedCovariances
from retrieval.alignment.cca.model_selection import evaluate_blocks
from retrieval.alignment.cca.paired_views import PairSummary, summarise_pairs
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.fitting import Report, feature_maps, from_pairs
from retrieval.alignment.linked_modalities import Connections
from retrieval.alignment.maps.projector import Block
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.types import Modality

Moment = NDArray[np.float64]

Solve = Callable[[Moment, Moment, float], Moment]
"""From the (d, d) covariance of a view, the (d, a) one with its target, and a setting, to the (d, a) map."""


@dataclass(frozen=True)
class Step:
    """One modality's way towards the anchor.

    Attributes:
        view: which is mapped.
        onto: the view whose place in the space is what it is mapped to; None for the anchor itself.
        anchor: where the way ends.
    """

    view: int
    onto: int | None
    anchor: int


def fit_anchored(method: str, data: TrainingData, solve: Solve, settings: Sequence[float]) -> Alignment:
    """Map every linked modality into its anchor's space, at the setting that held-out pairs speak for.

    The anchor is text if it is linked, and else the modality with the most items in common with others.

    Args:
        method: its name.
        data: the training rows.
        solve: the map of one view.
        settings: to choose from by cross-validation; the first where there are too few items.

    Raises:
        AlignmentError: as ``from_pairs``.
    """

    def fit(connections: Connections) -> tuple[list[Subspace], Report]:
        own = [feature_maps(data, None)[modality] for modality in connections.modalities]
        widest = max(lift.dimension for lift in own)
        pairs = summarise_pairs(
            connections.pairs, FOLDS if connections.can_validate else 1, data.seed, max_axes=widest
        )
        steps = way(connections)
        setting, report = settings[0], Report()
        if connections.can_validate:
            tried = [_judged(pairs, own, steps, solve, each) for each in settings]
            setting, report["validation_loss"] = min(
                zip(settings, tried, strict=True), key=lambda each: each[1]
            )
        views = _blocks(pairs.whole, pairs, own, steps, solve, setting)
        names = connections.modalities
        report["setting"] = setting
        report["anchors"] = {str(names[step.view]): str(names[step.anchor]) for step in steps}
        islands: dict[Modality, dict[Modality, Block]] = {}
        for step in steps:
            islands.setdefault(names[step.anchor], {})[names[step.view]] = views[step.view]
        return [Subspace(f"{method} {anchor}", blocks) for anchor, blocks in islands.items()], report

    return from_pairs(method, data, fit)


def way(connections: Connections) -> list[Step]:
    """How every linked view comes to an anchor, each after the one that it is mapped onto."""
    names, items = connections.modalities, {link: own.count for link, own in connections.pairs.items()}

    def liked(view: int) -> tuple[bool, int]:
        return names[view] is Modality.TEXT, sum(own for link, own in items.items() if view in link)

    steps: dict[int, Step] = {}
    while left := [view for view in range(len(names)) if view not in steps]:
        anchor = max(left, key=liked)
        steps[anchor] = Step(anchor, None, anchor)
        while bridges := [link for link in items if (link[0] in steps) != (link[1] in steps)]:
            link = max(bridges, key=items.__getitem__)
            onto, view = link if link[0] in steps else link[::-1]
            steps[view] = Step(view, onto, anchor)
    return list(steps.values())


def _maps(
    linked: LinkedCovariances, steps: Sequence[Step], solve: Solve, setting: float
) -> dict[int, Moment]:
    """By view, (d, a): the anchor's is the identity."""
    maps: dict[int, Moment] = {}
    for step in steps:
        if step.onto is None:
            maps[step.view] = np.eye(len(linked.center(step.view)))
            continue
        link = (min(step.view, step.onto), max(step.view, step.onto))
        own = linked.links[link]
        here, there = link.index(step.view), link.index(step.onto)
        maps[step.view] = solve(own.between(here, here), own.between(here, there) @ maps[step.onto], setting)
    return maps


def _blocks(
    linked: LinkedCovariances,
    pairs: PairSummary,
    own: Sequence[FeatureMap],
    steps: Sequence[Step],
    solve: Solve,
    setting: float,
) -> Mapping[int, Block]:
    blocks = {}
    anchors = {step.view: step.anchor for step in steps}
    for view, turned in _maps(linked, steps, solve, setting).items():
        linear = pairs.axes[view] @ turned @ pairs.axes[anchors[view]].T  # in the anchor's own columns
        offset = linked.center(view) @ turned @ pairs.axes[anchors[view]].T
        blocks[view] = own[view].block(linear.astype(np.float32), offset.astype(np.float32))
    return blocks


def _judged(
    pairs: PairSummary, own: Sequence[FeatureMap], steps: Sequence[Step], solve: Solve, setting: float
) -> float:
    """The loss in the folds left out."""
    fitted = []
    for fold in pairs.folds:
        blocks = _blocks(fold.training, pairs, own, steps, solve, setting)
        fitted.append([blocks[view] for view in range(len(own))])
    return evaluate_blocks(pairs, own, fitted)[1]
