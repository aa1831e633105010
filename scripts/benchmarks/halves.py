"""Compare deep and kernel CCA with linear CCA on the two halves of handwritten digits.

Usage: python scripts/benchmarks/halves.py [--seeds 0 1 2 3 4]

The classic test of deep CCA: the left half of a digit's image is one view, the right half the other. Each seed splits
scikit-learn's 1,797 digits: 1,200 to fit, 200 to choose all settings, 397 to test. The figure is the sum of the first
10 canonical correlations on the test digits, of the variates fitted on the 1,200.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from statistics import mean, stdev

import numpy as np
from _common import facts
from sklearn.datasets import load_digits

from retrieval.alignment.base import FeatureTable
from retrieval.alignment.cca.linked_covariances import LinkedCovariances
from retrieval.alignment.cca.paired_views import PairedViews, summarise_pairs
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.class_prior import FeatureMap
from retrieval.alignment.maps.layers import Layer, apply_layers
from retrieval.alignment.methods.dcca import CONFIG, input_maps
from retrieval.alignment.methods.kcca import random_features
from retrieval.alignment.trained.batches import items_by_link
from retrieval.alignment.trained.networks import NetworkConfig, train_networks
from retrieval.arrays.norms import unit
from retrieval.types import Matrix

FIT, CHOOSE, COUNT = 1200, 200, 10
RIDGES = (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0)
WIDTHS = (0.5, 0.7, 1.0, 1.5, 2.0)
CONFIGS = [
    replace(CONFIG, hidden=hidden, outputs=outputs, noise=0.1)
    for hidden, outputs in product(((256,), (256, 256)), (10, 20))
]

Halves = tuple[Matrix, Matrix]
Layers = tuple[tuple[Layer, ...], tuple[Layer, ...]]
Trial = tuple[float, float, str]
"""The sum of correlations on the digits that choose the settings, the sum on the test digits, and the settings."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print one line for each method: the mean over seeds of the sum on the test digits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args(argv)
    print(facts("scikit-learn", "torch"))
    sums: dict[str, list[float]] = {}
    for seed in options.seeds:
        for name, method in METHODS.items():
            chosen, test, settings = max(method(seed), key=lambda each: each[0])
            sums.setdefault(name, []).append(test)
            print(f"seed {seed}  {name:5}  chosen by {chosen:.3f}  test {test:.3f}  {settings}", flush=True)
    for name, test_sums in sums.items():
        ratios = [each / base for each, base in zip(test_sums, sums["cca"], strict=True)]
        spread = stdev(test_sums) if len(test_sums) > 1 else 0.0
        print(
            f"{name:5}  {mean(test_sums):.3f} +- {spread:.3f}  ratio to cca {mean(ratios):.3f}, min {min(ratios):.3f}"
        )


def _splits(seed: int) -> list[Halves]:
    """Return the halves to fit on, to choose settings on, and to test on: (n, 32) unit rows."""
    images = load_digits().images.astype(np.float32)
    images = images[np.random.default_rng(seed).permutation(len(images))]
    halves = [unit(half.reshape(len(half), -1)) for half in (images[:, :, :4], images[:, :, 4:])]
    first, second = (np.split(half, [FIT, FIT + CHOOSE]) for half in halves)
    return list(zip(first, second, strict=True))


def _correlation_sums(splits: Sequence[Halves], layers: Layers, settings: str) -> Iterator[Trial]:
    """Yield the correlation sums of the layers' outputs, at every ridge."""
    fitted, choosing, test = (
        LinkedCovariances.of(
            *(apply_layers(chain, half).astype(float) for chain, half in zip(layers, part, strict=True))
        )
        for part in splits
    )
    for ridge in RIDGES:
        maps = solve(fitted, ridge, COUNT)
        sums = [float(maps.correlations_on(each).sum()) for each in (choosing, test)]
        yield sums[0], sums[1], f"{settings} ridge {ridge:g}"


def _cca(seed: int) -> Iterator[Trial]:
    yield from _correlation_sums(_splits(seed), ((), ()), "")


def _kcca(seed: int) -> Iterator[Trial]:
    splits = _splits(seed)
    for width in WIDTHS:
        random = np.random.default_rng(seed)
        first, second = (random_features(half.shape[1], width, random, 1024) for half in splits[0])
        yield from _correlation_sums(splits, ((first,), (second,)), f"width {width}")


def _dcca(seed: int) -> Iterator[Trial]:
    for config in CONFIGS:
        yield from _train_dcca(seed, config)


def _train_dcca(seed: int, config: NetworkConfig) -> Iterator[Trial]:
    splits = _splits(seed)
    first, second = (
        FeatureTable(np.concatenate(half), np.arange(FIT + CHOOSE)) for half in zip(*splits[:2], strict=True)
    )
    lifts = [FeatureMap(table.features.shape[1]) for table in (first, second)]
    pairs = {(0, 1): PairedViews((first, second), (lifts[0], lifts[1]))}
    fitted = {
        (0, 1): PairedViews(
            tuple(FeatureTable(table.features[:FIT], table.items[:FIT]) for table in (first, second)),
            (lifts[0], lifts[1]),
        )
    }
    networks, history = train_networks(
        input_maps(summarise_pairs(fitted, 1, seed)),
        items_by_link(pairs, lifts),
        np.arange(FIT),
        np.arange(FIT, FIT + CHOOSE),
        config,
        seed,
    )
    settings = f"hidden {config.hidden} outputs {config.outputs} epochs {history.best_epoch}"
    yield from _correlation_sums(splits, (networks.layers(0), networks.layers(1)), settings)


METHODS: dict[str, Callable[[int], Iterator[Trial]]] = {"cca": _cca, "kcca": _kcca, "dcca": _dcca}


if __name__ == "__main__":
    main()
