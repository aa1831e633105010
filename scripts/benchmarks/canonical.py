"""Compare the time of canonical correlations with that of the matrix products they need, and with other packages.

Usage: python scripts/benchmarks/canonical.py [--pairs 50000] [--rounds 5] [--threads 2] [--patience 500]

The views have 1,280 and 384 columns; 64 components, ridge 0.1. Our time includes streamed covariances and their
solution, as in every alignment. cca-zoo is skipped if it is not installed. scikit-learn iterates for each component,
which takes minutes on all pairs: it is stopped after --patience times our time, and 0 skips it.
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
SMALL_SHARE = 5
"""The memory peak is also measured on one pair in this many."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print rates, their ratios to the matrix products alone, times, and memory peaks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--patience",
        type=float,
        default=500,
        metavar="N",
        help="limit of scikit-learn, in multiples of our time",
    )
    options = parser.parse_args(argv)
    print(facts("scipy", "scikit-learn", *(["cca-zoo"] if find_spec("cca_zoo") else [])))
    print(f"{options.threads} threads do {scaling(options.threads):.2f} times the work of one")
    x, y = _views(options.pairs)
    implementations: dict[str, Callable[[], int]] = {
        "ours": lambda: len(_ours(x, y).correlations) and len(x),
        "products alone": lambda: _products(x, y),
    }
    if find_spec("cca_zoo"):
        implementations["cca-zoo"] = lambda: _cca_zoo(x, y)
    else:
        print("cca-zoo: not installed, skipped")
    with threadpool_limits(options.threads):
        rates = compare(implementations, rounds=options.rounds, unit="pairs")
    ours = len(x) / rates["ours"]
    for name, rate in rates.items():
        print(f"{name:14}  {len(x) / rate:8.2f} s")
    print(f"times the products alone: {ours * rates['products alone'] / len(x):.2f}")
    for count in (len(x) // SMALL_SHARE, len(x)):
        print(f"memory peak beyond the {count} pairs: {_peak(x[:count], y[:count]) / 2**20:.0f} MiB")
    if options.patience:
        limit = options.patience * ours
        print(f"scikit-learn may take {limit:.0f} s ...", flush=True)
        seconds = _scikit_learn(len(x), limit, options.threads)
        print(
            f"scikit-learn: not finished after {limit:.0f} s, {options.patience:g} times ours"
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
    """Return seconds for all components of the same views, in a separate process; None if it exceeds ``limit``."""
    context = get_context("spawn")
    parent_end, child_end = context.Pipe()
    process = context.Process(target=_run_scikit_learn, args=(child_end, count, threads), daemon=True)
    process.start()
    child_end.close()
    parent_end.recv()  # the child has made its data
    seconds = float(parent_end.recv()) if parent_end.poll(limit) else None
    process.kill()
    return seconds


def _run_scikit_learn(parent: Connection, count: int, threads: int) -> None:
    from sklearn.cross_decomposition import CCA
    from sklearn.exceptions import ConvergenceWarning

    x, y = _views(count)
    with (
        threadpool_limits(threads),
        # It warns when it stops after 500 iterations.
        warnings.catch_warnings(action="ignore", category=ConvergenceWarning),
    ):
        parent.send("ready")
        start = time.perf_counter()
        CCA(n_components=COMPONENTS).fit(x, y)
        parent.send(time.perf_counter() - start)


def _peak(x: Matrix, y: Matrix) -> int:
    """Return the memory peak of our implementation in bytes, without its input."""
    tracemalloc.start()
    _ours(x, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    main()
