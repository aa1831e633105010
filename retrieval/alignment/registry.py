"""Every alignment method, by the name that ``--align`` takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import MappingProxyType

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.identity import fit_identity
from retrieval.alignment.methods import fit_auto, fit_cca, fit_conse
from retrieval.alignment.pooling import Reading
from retrieval.device import training_on
from retrieval.naming import known


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


def _by_module(name: str, data: TrainingData) -> Alignment:
    """The ``fit`` of a module that is imported only now, for it may need PyTorch."""
    fitted: Alignment = import_module(f"retrieval.alignment.{name}").fit(data)
    return fitted


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
            partial(_by_module, "attention"),
            "canonical correlations that also read parts of assets, weighed by how much they matter",
            pools=True,
        ),
        **{
            name: Method(partial(_by_module, name), description)
            for name, description in {
                "kcca": "canonical correlations of random features, which stand for a Gaussian kernel",
                "dcca": "canonical correlations of small networks, trained for them",
                "ridge": "ridge regression onto the features of one modality: a plain baseline",
                "procrustes": "the rotation closest to the features of one modality: the plainest baseline",
                "contrastive": "a linear head trained by contrast on what the items have in common, alone",
                "sigmoid": "the same, trained to tell pairs from strangers, each two by themselves",
                "adversarial": "the contrastive head, which also learns to hide what modality it was",
                "distill": "the contrastive head, also taught whom a teacher finds alike: captions, or another model",
            }.items()
        },
    }
)


def check(method: str) -> str:
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
    own = METHODS[check(method)]
    with training_on(device):
        if own.pools or not data.parts:
            return own.fit(data)
        readings = {modality: Reading(parts) for modality, parts in data.parts.items()}
        return own.fit(data.read(readings)).reading(readings)
