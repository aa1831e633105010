"""A contrastive head that is also trained on the similarities of a teacher.

InfoNCE treats all items but the partner as equally wrong. A teacher knows which of them are similar. Half of the
training target are the teacher's softened similarities (Hinton et al., "Distilling the knowledge in a neural network",
2015; between modalities Andonian et al., "Robust cross-modal representation learning with progressive
self-distillation", 2022). The teacher of a link is the first of these that is available:

- another model's features of both modalities (``TrainingData.teacher``), for instance those of CLIP;
- that model's features of text, or else of another modality: items are as similar as these features;
- the text encoder: items are as similar as their captions. It also teaches links without text.

Items without a teacher row are trained as in ``contrastive``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from retrieval.alignment.base import Alignment, FeatureTable, TrainingData
from retrieval.alignment.cca.linked_covariances import Link
from retrieval.alignment.cca.linked_modalities import Connections
from retrieval.alignment.methods.contrastive import ContrastiveObjective
from retrieval.alignment.trained.fit_heads import fit_heads
from retrieval.alignment.trained.head import Batch
from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Integers, Matrix, Modality

TEACHER_SHARE = 0.5
"""Share of the teacher in the training target; the rest is the share of the partners."""

TEMPERATURE = 0.05
"""Temperature that softens the teacher's cosines."""


def fit(data: TrainingData) -> Alignment:
    """Train heads with the contrastive loss and with a teacher's similarities, on the pairs alone.

    Raises:
        AlignmentError: as ``from_pairs``; or there are neither captions nor another teacher.
    """
    tables = data.teacher or {
        modality: table for modality, table in data.tables.items() if modality is Modality.TEXT
    }
    teachers = {modality: TeacherRows.of(table) for modality, table in tables.items()}
    if not teachers:
        raise AlignmentError(
            "alignment 'distill' needs a teacher, but there are neither captions nor features of another model "
            "(TrainingData.teacher): add captions, or use 'contrastive'"
        )

    def make_objective(connections: Connections, _columns: int) -> DistillationObjective:
        names = connections.modalities
        return DistillationObjective(
            {link: _link_teachers(teachers, names[link[0]], names[link[1]]) for link in connections.pairs}
        )

    return fit_heads("distill", data, make_objective)


@dataclass(frozen=True)
class TeacherRows:
    """A teacher's features of one modality.

    Attributes:
        items: (n,) int64, ascending.
        rows: (n, k) float32 of unit norm, one row for each item.
    """

    items: Integers
    rows: Matrix

    @classmethod
    def of(cls, table: FeatureTable) -> TeacherRows:
        """Keep the first row of every item."""
        items, first = np.unique(table.items, return_index=True)
        return cls(items, unit(np.asarray(table.features[first], np.float32)))

    def of_items(self, items: Integers) -> Matrix:
        """Return the (n, k) rows of these items; every one must be in ``items``."""
        return self.rows[np.searchsorted(self.items, items)]


TeacherPair = tuple[TeacherRows, TeacherRows]
"""The teacher rows of the two modalities of a link, in one space."""


def _link_teachers(
    teachers: Mapping[Modality, TeacherRows], first: Modality, second: Modality
) -> TeacherPair:
    if first in teachers and second in teachers:
        return teachers[first], teachers[second]
    teacher = teachers.get(Modality.TEXT) or next(iter(teachers.values()))
    return teacher, teacher


class DistillationObjective(ContrastiveObjective):
    """InfoNCE plus, in training, the cross-entropy with the teacher's similarities."""

    def __init__(self, teachers: Mapping[Link, TeacherPair]) -> None:
        """Take one pair of teacher rows for every link."""
        super().__init__()
        self._teachers = teachers

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch; in evaluation only that of the partners, because retrieval must find these."""
        contrast = super().forward(batch)
        if not self.training:
            return contrast
        first, second = self._teachers[batch.views]
        known = np.isin(batch.items, first.items) & np.isin(batch.items, second.items)
        if known.sum() < 2:
            return contrast
        items, rows = batch.items[known], torch.as_tensor(np.flatnonzero(known))
        teacher_logits = torch.as_tensor(first.of_items(items) @ second.of_items(items).T)
        distillation = distillation_loss(
            batch.first[rows], batch.second[rows], self.inverse_temperature(), teacher_logits / TEMPERATURE
        )
        return (1 - TEACHER_SHARE) * contrast + TEACHER_SHARE * distillation


def distillation_loss(
    first: torch.Tensor, second: torch.Tensor, inverse_temperature: torch.Tensor, teacher_logits: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of the similarities with a teacher's, averaged over both directions.

    Args:
        first: (n, m) unit rows of one view.
        second: (n, m) unit rows of the other view.
        inverse_temperature: factor of the similarities.
        teacher_logits: (n, n) teacher similarities, divided by the teacher's temperature.
    """
    scores = inverse_temperature * first @ second.T
    losses = [
        nn.functional.cross_entropy(logits, target_logits.softmax(dim=1))
        for logits, target_logits in ((scores, teacher_logits), (scores.T, teacher_logits.T))
    ]
    return torch.stack(losses).mean()
