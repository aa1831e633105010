"""How long canonical correlations take beside the matrix products that they need, and beside other packages.

Usage: python scripts/benchmarks/canonical.py [--pairs 50000] [--rounds 5] [--threads 2] [--patience 500]

Views of 1,280 and 384 columns, 64 components, ridge 0.1: streamed covariances and their solution, as every alignment
has them. cca-zoo is left out where it is not installed. scikit-learn iterates for each component, minutes of all
pairs: it is stopped after --patience times what ours took; 0 leaves it out.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
from _common import compare, facts, scaling
from threadpoolctl import threadpool_limits

from retrieval.alignment.cca.covariances import BLOCK_ROWS, Covariances
from retrieval.alignment.cca.linked_covariances import LinkedCovariances
from retrieval.alignment.cca.solver import CanonicalMaps, solve
from retrieval.arrays.lazy import slices
from retrieval.types import Matrix

FIRST, SECOND, COMPONENTS, COMMON, RIDGE = 1280, 384, 64, 100, 0.1
PART = 5


def main(argv: Sequence[str] | None = None) -> None:
    """Print rates and ratios to the products alone, extrapolated times, and peaks of memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--patience", type=float, default=500, metavar="N", help="times of ours that scikit-learn may take"
    )
    options = parser.parse_args(argv)
    print(facts("scipy", "scikit-learn", *(["cca-zoo"] if find_spec("cca_zoo") else [])))
    print(f"{options.threads} threads do {scaling(options.threads):.2f} times the work of one")
    x, y = _views(options.pairs)
    ways: dict[str, Callable[[], int]] = {
        "ours": lambda: len(_ours(x, y).correlations) and len(x),
        "products alone": lambda: _products(x, y),
    }
    if find_spec("cca_zoo"):
        ways["cca-zoo"] = lambda: _cca_zoo(x, y)
    else:
        print("cca-zoo: not installed, left out")
    with threadpool_limits(options.threads):
        rates = compare(ways, rounds=options.rounds, unit="pairs")
    ours = len(x) / rates["ours"]
    for name, rate in rates.items():
        print(f"{name:14}  {len(x) / rate:8.2f} s")
    print(f"times the products alone: {ours * rates['products alone'] / len(x):.2f}")
    for count in (len(x) // PART, len(x)):
        print(f"peak of memory beside {count} pairs: {_peak(x[:count], y[:count]) / 2**20:.0f} MiB")
    if options.patience:
        limit = options.patience * ours
        print(f"scikit-learn may take {limit:.0f} s ...", flush=True)
        seconds = _scikit_learn(len(x), limit, options.threads)
        print(
            f"scikit-learn: not done after {limit:.0f} s, {options.patience:g} times ours"
            if seconds is None
            else f"scikit-learn: {seconds:.1f} s, {seconds / ours:.0f} times ours"
        )


def _views(count: int) -> tuple[Matrix, Matrix]:
    random = np.random.default_rng(0)
    common = random.standard_normal((count, COMMON), np.float32)
    first, second = (
        common @ random.standard_normal((COMMON, size), np.float32)
        + 3 * random.standard_normal((count, size), np.float32)
        for size in (FIRST, SECOND)
    )
    return first, second


def _ours(x: Matrix, y: Matrix) -> CanonicalMaps:
    total = Covariances.empty(FIRST, SECOND)
    for rows in slices(len(x), BLOCK_ROWS):
        total = total.merge(Covariances.of(x[rows], y[rows]))
    return solve(LinkedCovariances({(0, 1): total}), RIDGE, COMPONENTS)


def _products(x: Matrix, y: Matrix) -> int:
    for left, right in ((x, x), (y, y), (x, y)):
        left.T @ right
    return len(x)


def _cca_zoo(x: Matrix, y: Matrix) -> int:
    from cca_zoo.linear import CCA

    CCA(n_components=COMPONENTS).fit([x, y])
    return len(x)


def _scikit_learn(count: int, limit: float, threads: int) -> float | None:
    """Seconds for all components of the same views, in a process of its own; None where ``limit`` is too short."""
    context = get_context("spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_iterated, args=(its, count, threads), daemon=True)
    process.start()
    its.close()
    ours.recv()  # it has its data
    seconds = float(ours.recv()) if ours.poll(limit) else None
    process.kill()
    return seconds


def _iterated(parent: Connection, count: int, threads: int) -> None:
    from sklearn.cross_decomposition import CCA
    from sklearn.exceptions import ConvergenceWarning

    x, y = _views(count)
    with (
        threadpool_limits(threads),
        warnings.catch_warnings(action="ignore", category=ConvergenceWarning),  # it gives up after 500 rounds
    ):
        parent.send("ready")
        start = time.perf_counter()
        CCA(n_components=COMPONENTS).fit(x, y)
        parent.send(time.perf_counter() - start)


def _peak(x: Matrix, y: Matrix) -> int:
    """Bytes that our own takes at most beside its input."""
    tracemalloc.start()
    _ours(x, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    main()
