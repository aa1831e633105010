"""Class prior: one space for text and pictures without any pair, from a classifier and the names of its classes.

The same knowledge is used in both directions:

- ConSE maps a picture into text space: the text features of the names of its most probable classes, weighted by
  their probabilities. Norouzi et al., "Zero-shot learning by convex combination of semantic embeddings" (2014).
- Synthesised classifiers map a text into picture space: the classifier's rows, weighted by the similarity of the
  text to the class names. Changpinyo et al., "Synthesized classifiers for zero-shot learning" (2016), with the real
  classes as phantoms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from retrieval.alignment.base import ClassPrior
from retrieval.alignment.maps.layers import Layer, apply_layers
from retrieval.alignment.maps.projector import Block, ClassMixture
from retrieval.arrays.norms import unit
from retrieval.errors import AlignmentError
from retrieval.types import Matrix, Modality

TOP = 10
"""Number of classes that ConSE combines: the paper's ConSE(10)."""

TEMPERATURE = 0.1
"""Temperature of a text's class weights, in units of cosine."""

AXES = 384
"""Maximum number of principal axes: of the classifier's rows for picture space, of the class names for text space."""


@dataclass(frozen=True)
class FeatureMap:
    """The input of linear methods for one view: phi(x) = [f(unit(x)), class_weights(x) @ values].

    Attributes:
        dimension: d, number of feature columns.
        mixture: None if phi is f(unit(x)) alone.
        values: (C, k) float32.
        layers: f, applied in order; without layers f is the identity.
    """

    dimension: int
    mixture: ClassMixture | None = None
    values: Matrix | None = None
    layers: tuple[Layer, ...] = ()

    @property
    def width(self) -> int:
        """h, the number of columns of f(unit(x))."""
        return len(self.layers[-1].bias) if self.layers else self.dimension

    def apply(self, features: Matrix) -> Matrix:
        """Return (n, h + k) float32 for (n, d) feature rows."""
        raw = np.asarray(features, np.float32)
        rows = apply_layers(self.layers, unit(raw))
        if self.mixture is None or self.values is None:
            return rows
        return np.concatenate([rows, self.mixture.class_weights(raw) @ self.values], axis=1)

    def block(self, weights: Matrix, offset: Matrix) -> Block:
        """Return the block that computes unit(phi(x) @ weights - offset); weights (h + k, m), offset (m,)."""
        linear, value_weights = weights[: self.width], weights[self.width :]
        class_linear = None if self.values is None else self.values @ value_weights
        return Block(offset, linear, class_linear, self.layers)


@dataclass(frozen=True)
class PriorSpace:
    """The prior as blocks and mixtures, for text and for the modalities that the classifier reads.

    Attributes:
        mixtures: by modality, the class weights of its rows.
        blocks: by modality, ConSE first, then the synthesised classifiers.
        feature_maps: by modality, the features with the columns that the prior adds.
    """

    mixtures: Mapping[Modality, ClassMixture]
    blocks: Mapping[Modality, tuple[Block, Block]]
    feature_maps: Mapping[Modality, FeatureMap]


def prior_space(prior: ClassPrior, means: Mapping[Modality, Matrix | None] | None = None) -> PriorSpace:
    """Build the blocks of the prior in both directions.

    Args:
        prior: the classifier and the names of its classes.
        means: for each modality that the classifier reads, the (d,) float32 mean of its unit features, which is
            subtracted before they are compared with classifiers; None for zero. Without ``means``, the prior's own
            modality with a mean of zero.

    Raises:
        AlignmentError: weights, bias and names differ in their number of classes.
    """
    weights, names = np.asarray(prior.head.weights, np.float32), unit(np.asarray(prior.text, np.float32))
    if not len(weights) == len(names) == len(prior.head.bias):
        raise AlignmentError(
            f"a class prior needs one name, weight row and bias for each class, not {len(names)}, {len(weights)} "
            f"and {len(prior.head.bias)}"
        )
    mean_name = names.mean(axis=0)
    centred_names = unit(names - mean_name)
    centred_weights = weights - weights.mean(axis=0)
    picture_axes = np.linalg.svd(centred_weights, full_matrices=False)[2][:AXES].T
    classifiers = centred_weights @ picture_axes
    classifiers /= np.sqrt(np.mean(np.sum(classifiers**2, axis=1)))
    text_axes = np.eye(names.shape[1], dtype=np.float32)
    if len(text_axes) > AXES:
        text_axes = np.linalg.svd(centred_names, full_matrices=False)[2][:AXES].T
    zero_mean, zero_offset = (
        np.zeros(weights.shape[1], np.float32),
        np.zeros(text_axes.shape[1], np.float32),
    )
    text_mixture = ClassMixture(
        keys=centred_names.T / TEMPERATURE, bias=-(centred_names @ mean_name) / TEMPERATURE, top=len(names)
    )
    mixtures = {Modality.TEXT: text_mixture}
    blocks = {
        Modality.TEXT: (
            Block(mean_name @ text_axes, linear=text_axes),
            Block(np.zeros(picture_axes.shape[1], np.float32), class_linear=classifiers),
        )
    }
    feature_maps = {Modality.TEXT: FeatureMap(names.shape[1], text_mixture, classifiers)}
    picture_mixture = ClassMixture(
        keys=weights.T.copy(), bias=np.asarray(prior.head.bias, np.float32), top=min(TOP, len(names))
    )
    for modality, mean in (means or {prior.modality: None}).items():
        mixtures[modality] = picture_mixture
        blocks[modality] = (
            Block(zero_offset, class_linear=centred_names @ text_axes),
            Block((zero_mean if mean is None else mean) @ picture_axes, linear=picture_axes),
        )
        feature_maps[modality] = FeatureMap(weights.shape[1])
    return PriorSpace(mixtures, blocks, feature_maps)
