"""Registry of the alignment methods, by their names for ``--align``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.maps.pooling import PartPooling
from retrieval.alignment.methods.auto import fit_auto, fit_cca, fit_conse
from retrieval.alignment.methods.identity import fit_identity
from retrieval.option_checks import known
from retrieval.runtimes.device import training_on


@dataclass(frozen=True)
class Method:
    """An alignment method.

    Attributes:
        fit: takes the training data and returns the alignment.
        description: one line for ``--help``.
        pools: whether it uses the parts that rows may hold; other methods get only the features of the whole.
        revision: increased whenever the method makes a different alignment from the same data; the next job then
            refits alignments of an older revision.
    """

    fit: Callable[[TrainingData], Alignment]
    description: str
    revision: int = 1
    pools: bool = False


# Each function imports its module when it is called, because the module may need PyTorch.


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
            "the class prior, the items' pairs, or both in one space, depending on the data",
            revision=2,  # hub correction was added
        ),
        "conse": Method(fit_conse, "only the image classifier's classes and their names; needs no captions"),
        "identity": Method(fit_identity, "no map: the features of all modalities are already in one space"),
        "cca": Method(fit_cca, "regularised canonical correlations of the items' pairs only"),
        "attention": Method(
            _attention,
            "canonical correlations that also use parts of assets, with learned attention weights",
            pools=True,
        ),
        "kcca": Method(_kcca, "canonical correlations of random features that approximate a Gaussian kernel"),
        "dcca": Method(_dcca, "canonical correlations of small networks trained to correlate"),
        "ridge": Method(_ridge, "ridge regression onto the features of one modality: a simple baseline"),
        "procrustes": Method(
            _procrustes, "the best rotation onto the features of one modality: the simplest baseline"
        ),
        "contrastive": Method(
            _contrastive, "a linear head trained with a contrastive loss on the items' pairs only"
        ),
        "sigmoid": Method(
            _sigmoid, "the same head, trained to classify each two rows as a pair or not (sigmoid loss)"
        ),
        "adversarial": Method(
            _adversarial, "the contrastive head, also trained to hide which modality a vector came from"
        ),
        "distill": Method(
            _distill,
            "the contrastive head, also trained on similarities from a teacher: captions or another model",
        ),
    }
)


def check_alignment(method: str) -> str:
    """Return ``method`` if it is registered.

    Raises:
        OptionError: no method has that name.
    """
    return known("alignment", method, METHODS)


def fit(method: str, data: TrainingData, device: str = "cpu") -> Alignment:
    """Fit the alignment called ``method``.

    Args:
        method: its name.
        data: the training data.
        device: device for gradient training: ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises:
        OptionError: no method has that name.
        AlignmentError: the method cannot be fitted on these data; the message says what to do.
    """
    entry = METHODS[check_alignment(method)]
    with training_on(device):
        if entry.pools or not data.parts:
            return entry.fit(data)
        poolings = {modality: PartPooling(parts) for modality, parts in data.parts.items()}
        return entry.fit(data.pooled(poolings)).with_pooling(poolings)
