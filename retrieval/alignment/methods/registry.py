"""Every alignment method, by the name that ``--align`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.maps.pooling import PartPooling
from retrieval.alignment.methods.auto import fit_auto, fit_cca, fit_conse
from retrieval.alignment.methods.identity import fit_identity
from retrieval.runtimes.device import training_on
from retrieval.validation import known


@dataclass(frozen=True)
class Method:
    """One way to fit an alignment.

    Attributes:
        fit: from training data to the alignment.
        description: one line for ``--help``.
        pools: whether it looks at the parts that rows may hold; the others are given the row of the whole.
        revision: raised whenever the method makes another alignment of the same evidence: what a former one fitted is
            then fitted anew by the next job.
    """

    fit: Callable[[TrainingData], Alignment]
    description: str
    revision: int = 1
    pools: bool = False


# Each loads its module when it is used, for that may need PyTorch.


def _attention(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import part_attention

    return part_attention.fit(data)


def _kcca(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import kcca

    return kcca.fit(data)


def _dcca(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import dcca

    return dcca.fit(data)


def _ridge(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import ridge

    return ridge.fit(data)


def _procrustes(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import procrustes

    return procrustes.fit(data)


def _contrastive(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import contrastive

    return contrastive.fit(data)


def _sigmoid(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import sigmoid

    return sigmoid.fit(data)


def _adversarial(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import adversarial

    return adversarial.fit(data)


def _distill(data: TrainingData) -> Alignment:
    from retrieval.alignment.methods import distill

    return distill.fit(data)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "auto": Method(
            fit_auto,
            "what the evidence supports: the class prior, the items' pairs, or both in one space",
            revision=2,  # hubs are moved away
        ),
        "conse": Method(fit_conse, "the image classifier's classes and their names alone; needs no captions"),
        "identity": Method(fit_identity, "none: the features of all modalities are of one space already"),
        "cca": Method(fit_cca, "regularised canonical correlations of what the items have in common, alone"),
        "attention": Method(
            _attention,
            "canonical correlations that also read parts of assets, weighed by how much they matter",
            pools=True,
        ),
        "kcca": Method(_kcca, "canonical correlations of random features, which stand for a Gaussian kernel"),
        "dcca": Method(_dcca, "canonical correlations of small networks, trained for them"),
        "ridge": Method(_ridge, "ridge regression onto the features of one modality: a plain baseline"),
        "procrustes": Method(
            _procrustes, "the rotation closest to the features of one modality: the plainest baseline"
        ),
        "contrastive": Method(
            _contrastive, "a linear head trained by contrast on what the items have in common, alone"
        ),
        "sigmoid": Method(_sigmoid, "the same, trained to tell pairs from strangers, each two by themselves"),
        "adversarial": Method(
            _adversarial, "the contrastive head, which also learns to hide what modality it was"
        ),
        "distill": Method(
            _distill,
            "the contrastive head, also taught whom a teacher finds alike: captions, or another model",
        ),
    }
)


def check_alignment(method: str) -> str:
    """``method`` itself.

    Raises:
        OptionError: no method has that name.
    """
    return known("alignment", method, METHODS)


def fit(method: str, data: TrainingData, device: str = "cpu") -> Alignment:
    """Fit the alignment called ``method``.

    Args:
        method: its name.
        data: what to fit it to.
        device: where what is trained by gradients is: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        OptionError: no method has that name.
        AlignmentError: the method cannot be fitted on these data; the message says what to do.
    """
    own = METHODS[check_alignment(method)]
    with training_on(device):
        if own.pools or not data.parts:
            return own.fit(data)
        readings = {modality: PartPooling(parts) for modality, parts in data.parts.items()}
        return own.fit(data.pooled(readings)).with_pooling(readings)
