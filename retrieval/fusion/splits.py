"""What fusions are fitted and tested on: one part of an item asks for the item as the rest of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.fusion.base import Parts

MOST = 1000
"""Items of a modality that are asked by and for."""


@dataclass(frozen=True)
class Split:
    """Items that have several parts, cut in two.

    Attributes:
        asking: each item's one part of one modality.
        asked: the rest of the same items, in the same order.
    """

    asking: Parts
    asked: Parts


def splits(parts: Parts, seed: int) -> list[Split]:
    """A split by each modality that two items or more have beside another one."""
    random = np.random.default_rng(seed)
    several = parts.present.sum(axis=1) > 1
    found = []
    for at in range(len(parts.modalities)):
        rows = np.flatnonzero(several & parts.present[:, at])
        rows = np.sort(random.choice(rows, min(MOST, len(rows)), replace=False))
        if len(rows) > 1:
            own = np.zeros((1, len(parts.modalities)), np.bool_)
            own[:, at] = True
            chosen = parts.taken(rows)
            found.append(Split(chosen.only(own), chosen.only(~own)))
    return found
