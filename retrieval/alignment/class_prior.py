"""One space for words and pictures without any pair: what a classifier and the names of its classes say.

Two readings of the same knowledge, one each way:

- ConSE takes a picture into text space: the text features of its likeliest classes' names, mixed by their
  probabilities. Norouzi et al., "Zero-shot learning by convex combination of semantic embeddings"
  (2014).
- Synthesised classifiers take a text into picture space: the classifier's rows, mixed by how close the text
  is to the classes' names. Changpinyo et al., "Synthesized classifiers for zero-shot learning" (2016), with
  the real classes as phantoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retrieval.alignment.base import ClassPrior
from retrieval.alignment.maps.layers import Layer, through
from retrieval.alignment.maps.projector import Block, Mixture
from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Matrix, Modality

TOP = 10
"""Classes that ConSE mixes: the paper's ConSE(10)."""

TEMPERATURE = 0.1
"""Of a text's shares in the classes, in units of cosine."""

AXES = 384
"""Principal axes of the classifier's rows that are kept of picture space, and of the classes' names of text space."""


@dataclass(frozen=True)
class Lift:
    """What a view looks like to a linear method: phi(x) = [f(unit(x)), shares(x) @ values].

    Attributes:
        dimension: d, columns of the features.
        mixture: None where the view is its unit features alone.
        values: (C, k) float32.
        layers: f, one after the other; none for the unit features themselves.
    """

    dimension: int
    mixture: Mixture | None = None
    values: Matrix | None = None
    layers: tuple[Layer, ...] = ()

    @property
    def width(self) -> int:
        """h, columns of f(unit(x))."""
        return len(self.layers[-1].bias) if self.layers else self.dimension

    def apply(self, features: Matrix) -> Matrix:
        """(n, h + k) float32 of (n, d) feature rows."""
        raw = np.asarray(features, np.float32)
        rows = through(self.layers, unit(raw))
        if self.mixture is None or self.values is None:
            return rows
        return np.concatenate([rows, self.mixture.shares(raw) @ self.values], axis=1)

    def block(self, weights: Matrix, offset: Matrix) -> Block:
        """The block that computes unit(phi(x) @ weights - offset), weights (h + k, m), offset (m,)."""
        linear, rest = weights[: self.width], weights[self.width :]
        mixed = None if self.values is None else self.values @ rest
        return Block(offset, linear, mixed, self.layers)


@dataclass(frozen=True)
class PriorSpace:
    """The prior as blocks and mixtures of text and of the modalities that the classifier reads.

    Attributes:
        mixtures: how each modality's rows are shared out over the classes.
        blocks: by modality, ConSE first, then the synthesised classifiers.
        lifts: each view with what the prior adds to it.
    """

    mixtures: Mapping[Modality, Mixture]
    blocks: Mapping[Modality, tuple[Block, Block]]
    lifts: Mapping[Modality, Lift]


def prior_space(prior: ClassPrior, means: Mapping[Modality, Matrix | None] | None = None) -> PriorSpace:
    """Read the prior both ways.

    Args:
        prior: the classifier and its classes' names.
        means: of each modality that the classifier reads the (d,) float32 mean of its unit features, taken off
            before they are compared with classifiers; None for zero. Without it, the prior's own at zero.

    Raises:
        AlignmentError: weights, bias and names differ in their number of classes.
    """
    weights, names = np.asarray(prior.head.weights, np.float32), unit(np.asarray(prior.text, np.float32))
    if not len(weights) == len(names) == len(prior.head.bias):
        raise AlignmentError(
            f"a class prior needs one name, weight row and bias a class, not {len(names)}, {len(weights)} "
            f"and {len(prior.head.bias)}"
        )
    common = names.mean(axis=0)
    centred = unit(names - common)
    rows = weights - weights.mean(axis=0)
    axes = np.linalg.svd(rows, full_matrices=False)[2][:AXES].T
    classifiers = rows @ axes
    classifiers /= np.sqrt(np.mean(np.sum(classifiers**2, axis=1)))
    spoken = np.eye(names.shape[1], dtype=np.float32)
    if len(spoken) > AXES:
        spoken = np.linalg.svd(centred, full_matrices=False)[2][:AXES].T
    zero, none = np.zeros(weights.shape[1], np.float32), np.zeros(spoken.shape[1], np.float32)
    mixtures = {
        Modality.TEXT: Mixture(centred.T / TEMPERATURE, -(centred @ common) / TEMPERATURE, len(names))
    }
    blocks = {
        Modality.TEXT: (
            Block(common @ spoken, linear=spoken),
            Block(np.zeros(axes.shape[1], np.float32), mixed=classifiers),
        )
    }
    lifts = {Modality.TEXT: Lift(names.shape[1], mixtures[Modality.TEXT], classifiers)}
    reading = Mixture(weights.T.copy(), np.asarray(prior.head.bias, np.float32), min(TOP, len(names)))
    for modality, mean in (means or {prior.modality: None}).items():
        mixtures[modality] = reading
        blocks[modality] = (
            Block(none, mixed=centred @ spoken),
            Block((zero if mean is None else mean) @ axes, linear=axes),
        )
        lifts[modality] = Lift(weights.shape[1])
    return PriorSpace(mixtures, blocks, lifts)
