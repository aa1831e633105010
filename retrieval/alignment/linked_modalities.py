"""Which modalities have enough items in common to learn from, and why the others do not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from retrieval.alignment.base import FeatureTable
from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.paired_views import PairedViews
from retrieval.alignment.class_prior import Lift
from retrieval.types import Modality

ENOUGH = 20
"""Items with a pair below which folds say nothing, and settings are taken as they are."""


@dataclass(frozen=True)
class Connections:
    """The links to learn from.

    Attributes:
        modalities: those that have a link, in the order in which views are numbered.
        pairs: by view numbers.
        count: pairs of all, those of too few items too.
        refused: of every other two modalities, what is the matter.
    """

    modalities: tuple[Modality, ...]
    pairs: Mapping[Link, PairedViews]
    count: int
    refused: tuple[str, ...]

    def name(self, link: Link) -> str:
        """For instance ``audio-video``."""
        return "-".join(self.modalities[view] for view in link)

    def link(self, two: Sequence[Modality]) -> Link:
        """Two modalities' numbers."""
        return self.modalities.index(two[0]), self.modalities.index(two[1])

    def only(self, link: Link) -> Connections:
        """One link by itself."""
        own = self.pairs[link]
        return Connections(tuple(self.modalities[view] for view in link), {(0, 1): own}, len(own.items), ())

    @property
    def tested(self) -> bool:
        """Whether folds can say something."""
        return any(views.count >= ENOUGH for views in self.pairs.values())


def connect(
    tables: Mapping[Modality, FeatureTable], lifts: Mapping[Modality, Lift], known: Collection[Modality]
) -> Connections:
    """Link every two modalities that have enough different items in common.

    Two items are enough where nothing else is known. Where one link has ``ENOUGH``, and between modalities that
    are in one space already, it takes as many: a handful of pairs would add noise to what is known.

    Args:
        tables: the training rows.
        lifts: by modality.
        known: modalities that share a space without any pair.
    """
    found = {
        (a, b): PairedViews((tables[a], tables[b]), (lifts[a], lifts[b])) for a, b in combinations(tables, 2)
    }
    tested = any(views.count >= ENOUGH for views in found.values())
    kept, refused = {}, []
    for two, views in found.items():
        needed = ENOUGH if tested or set(two) <= set(known) else 2
        if views.count < needed:
            refused.append(f"{'-'.join(two)}: {views.count} training items have a pair, fewer than {needed}")
        elif constant := [modality for view, modality in enumerate(two) if not views.varies(view)]:
            refused.append(f"{'-'.join(two)}: {constant[0]} does not vary among its pairs")
        else:
            kept[two] = views
    modalities = tuple(modality for modality in tables if any(modality in two for two in kept))
    number = {modality: view for view, modality in enumerate(modalities)}
    pairs = {(number[a], number[b]): views for (a, b), views in kept.items()}
    count = sum(len(views.items) for views in found.values())
    return Connections(modalities, pairs, count, tuple(refused))
