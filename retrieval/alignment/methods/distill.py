"""A contrastive head that is also taught whom a teacher finds alike.

Partners are the only truth that InfoNCE knows: everyone else is equally wrong. A teacher knows better, and half of
what is aimed at are its similarities, softened (Hinton et al., "Distilling the knowledge in a neural network", 2015;
between modalities Andonian et al., "Robust cross-modal representation learning with progressive self-distillation",
2022). The teacher is, in this order, for each link:

- another model's features of both modalities, if given (``TrainingData.teacher``), CLIP's for instance;
- of either text, or another modality that it has: two items are as alike as these features of theirs;
- the text encoder: two items are as alike as their captions are. It teaches links without text, too.

Items that the teacher does not know are learned from as ``contrastive`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.linked_modalities import Connections
from retrieval.alignment.methods.contrastive import Contrast
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch
from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Integers, Matrix, Modality

SHARE = 0.5
"""Of the teacher in what is aimed at; the rest are the partners."""

TEMPERATURE = 0.05
"""That softens the teacher's cosines."""


def fit(data: TrainingData) -> Alignment:
    """A head trained by contrast and by a teacher's similarities, on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``; or there are neither captions nor another teacher.
    """
    tables = data.teacher or {
        modality: table for modality, table in data.tables.items() if modality is Modality.TEXT
    }
    lessons = {modality: Lesson.of(table) for modality, table in tables.items()}
    if not lessons:
        raise AlignmentError(
            "alignment 'distill' needs a teacher, and there are neither captions nor another model's features "
            "(TrainingData.teacher): add captions, or use 'contrastive'"
        )

    def aim(connections: Connections, _columns: int) -> Distilled:
        names = connections.modalities
        return Distilled(
            {link: _of_link(lessons, names[link[0]], names[link[1]]) for link in connections.pairs}
        )

    return fit_heads("distill", data, aim)


@dataclass(frozen=True)
class Lesson:
    """What a teacher makes of one modality.

    Attributes:
        items: (n,) int64, ascending.
        rows: (n, k) float32 of unit norm, one an item.
    """

    items: Integers
    rows: Matrix

    @classmethod
    def of(cls, table: FeatureTable) -> Lesson:
        """The first row of every item."""
        items, first = np.unique(table.items, return_index=True)
        return cls(items, unit(np.asarray(table.features[first], np.float32)))

    def of_items(self, items: Integers) -> Matrix:
        """(n, k) rows of items, all of which are known."""
        return self.rows[np.searchsorted(self.items, items)]


Lessons = tuple[Lesson, Lesson]
"""Of the two modalities of a link, in one space."""


def _of_link(lessons: Mapping[Modality, Lesson], first: Modality, second: Modality) -> Lessons:
    if first in lessons and second in lessons:
        return lessons[first], lessons[second]
    one = lessons.get(Modality.TEXT) or next(iter(lessons.values()))
    return one, one


class Distilled(Contrast):
    """InfoNCE, and while training the cross-entropy with whom the teacher finds alike."""

    def __init__(self, lessons: Mapping[Link, Lessons]) -> None:
        """With a teacher for every link."""
        super().__init__()
        self._lessons = lessons

    def forward(self, batch: Batch) -> torch.Tensor:
        """The loss of a batch; in evaluation that of the partners alone, who are to be found."""
        contrast = super().forward(batch)
        if not self.training:
            return contrast
        own, other = self._lessons[batch.views]
        known = np.isin(batch.items, own.items) & np.isin(batch.items, other.items)
        if known.sum() < 2:
            return contrast
        items, rows = batch.items[known], torch.as_tensor(np.flatnonzero(known))
        told = torch.as_tensor(own.of_items(items) @ other.of_items(items).T)
        taught = soft_loss(batch.first[rows], batch.second[rows], self.sharpness(), told / TEMPERATURE)
        return (1 - SHARE) * contrast + SHARE * taught


def soft_loss(
    first: torch.Tensor, second: torch.Tensor, sharpness: torch.Tensor, told: torch.Tensor
) -> torch.Tensor:
    """The cross-entropy of (n, m) unit rows' similarities with a teacher's (n, n) logits, the mean of both ways."""
    scores = sharpness * first @ second.T
    both = [
        nn.functional.cross_entropy(mine, theirs.softmax(dim=1))
        for mine, theirs in ((scores, told), (scores.T, told.T))
    ]
    return torch.stack(both).mean()
