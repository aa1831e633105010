"""Which modalities have enough common items to learn from, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from retrieval.alignment.base import FeatureTable
from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.paired_views import PairedViews
from retrieval.alignment.class_prior import FeatureMap
from retrieval.types import Modality

MIN_VALIDATION_ITEMS = 20
"""Minimum number of items with a pair for cross-validation; with fewer, the default settings are used."""


@dataclass(frozen=True)
class Connections:
    """The pairs of modalities to learn from.

    Attributes:
        modalities: modalities with a link, in the order of their view numbers.
        pairs: by view numbers.
        count: number of all pairs, including those of refused links.
        refused: for every other two modalities, the reason why they are not linked.
    """

    modalities: tuple[Modality, ...]
    pairs: Mapping[Link, PairedViews]
    count: int
    refused: tuple[str, ...]

    def name(self, link: Link) -> str:
        """Return the name of a link, for example ``audio-video``."""
        return "-".join(self.modalities[view] for view in link)

    def link(self, modalities: Sequence[Modality]) -> Link:
        """Return the view numbers of two modalities."""
        return self.modalities.index(modalities[0]), self.modalities.index(modalities[1])

    def only(self, link: Link) -> Connections:
        """Return one link by itself."""
        pairs = self.pairs[link]
        modalities = tuple(self.modalities[view] for view in link)
        return Connections(modalities, {(0, 1): pairs}, len(pairs.items), ())

    @property
    def can_validate(self) -> bool:
        """Whether a link has enough items for cross-validation."""
        return any(views.count >= MIN_VALIDATION_ITEMS for views in self.pairs.values())


def connect(
    tables: Mapping[Modality, FeatureTable],
    feature_maps: Mapping[Modality, FeatureMap],
    known: Collection[Modality],
) -> Connections:
    """Link every two modalities that have enough different common items.

    Two items are enough if nothing else is known. ``MIN_VALIDATION_ITEMS`` are needed as soon as one link has that
    many, and between two modalities that are already in one space: a few pairs would only add noise.

    Args:
        tables: the training rows.
        feature_maps: by modality.
        known: modalities that share a space without any pair.
    """
    candidates = {
        (a, b): PairedViews((tables[a], tables[b]), (feature_maps[a], feature_maps[b]))
        for a, b in combinations(tables, 2)
    }
    can_validate = any(views.count >= MIN_VALIDATION_ITEMS for views in candidates.values())
    accepted, refused = {}, []
    for modality_pair, views in candidates.items():
        needed = MIN_VALIDATION_ITEMS if can_validate or set(modality_pair) <= set(known) else 2
        name = "-".join(modality_pair)
        if views.count < needed:
            refused.append(f"{name}: {views.count} training items have a pair, fewer than {needed}")
        elif constant := [modality for view, modality in enumerate(modality_pair) if not views.varies(view)]:
            refused.append(f"{name}: {constant[0]} does not vary among its pairs")
        else:
            accepted[modality_pair] = views
    modalities = tuple(modality for modality in tables if any(modality in pair for pair in accepted))
    number = {modality: view for view, modality in enumerate(modalities)}
    pairs = {(number[a], number[b]): views for (a, b), views in accepted.items()}
    count = sum(len(views.items) for views in candidates.values())
    return Connections(modalities, pairs, count, tuple(refused))
