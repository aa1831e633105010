"""All measures of COCO's 5K test, both ways, beside the bare product and topk, and clip-benchmark's recall.

Usage: python scripts/benchmarks/evaluate.py [--rounds 5] [--threads 2]

25,000 captions and 5,000 pictures of 512 dimensions, drawn at random so that a caption's own picture ranks
neither always first nor by chance. The ways take turns; memory is the peak of a process of its own for each.
clip-benchmark is measured where it is installed: pip install clip-benchmark.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from retrieval.evaluation.bootstrap import Resampling, intervals
from retrieval.evaluation.metrics import standard_measures
from retrieval.evaluation.ranking import relevant_ranks
from retrieval.evaluation.relevance import SameLabel

KS = (1, 5, 10)
CAPTIONS = 5
BATCH = 64
"""Queries clip-benchmark takes at a time; its own default."""


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of captions and pictures, and the picture of each caption."""

    captions: NDArray[np.float32]
    pictures: NDArray[np.float32]
    owners: NDArray[np.int64]

    @classmethod
    def drawn(cls, pictures: int, dimension: int = 512) -> Vectors:
        """Captions as noisy copies of their pictures; always the same ones."""
        random = np.random.default_rng(0)
        centres = random.standard_normal((pictures, dimension), dtype=np.float32)
        owners = np.repeat(np.arange(pictures), CAPTIONS)
        captions = centres[owners] + 6 * random.standard_normal((len(owners), dimension), dtype=np.float32)
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (captions, centres)]
        return cls(unit[0], unit[1], owners)


def bare(vectors: Vectors) -> dict[str, float]:
    """The product and the ten best, both ways: no figure yet."""
    import torch

    captions, pictures = torch.from_numpy(vectors.captions), torch.from_numpy(vectors.pictures)
    (captions @ pictures.T).topk(10, dim=1)
    (pictures @ captions.T).topk(10, dim=1)
    return {}


def ours(vectors: Vectors, resamples: int = 0) -> dict[str, float]:
    """Every measure, both ways."""
    numbers = np.arange(len(vectors.pictures))
    figures: dict[str, float] = {}
    for name, queries, pool, relevance in (
        ("image", vectors.captions, vectors.pictures, SameLabel(vectors.owners, numbers)),
        ("text", vectors.pictures, vectors.captions, SameLabel(numbers, vectors.owners)),
    ):
        ranks = relevant_ranks(queries, pool, relevance)
        values = {measure: measure.values(ranks) for measure in standard_measures(KS)}
        figures |= {f"{name} {measure}": float(measure.average(of) or 0) for measure, of in values.items()}
        if resamples:
            intervals(values, Resampling(resamples))
    return figures


def with_intervals(vectors: Vectors) -> dict[str, float]:
    """The same with intervals of every one, of 1,000 resamples."""
    return ours(vectors, 1000)


def clip_benchmark(vectors: Vectors) -> dict[str, float]:
    """What its ``evaluate`` does once everything is encoded: recall at three cut-offs, both ways."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = torch.from_numpy(vectors.captions) @ torch.from_numpy(vectors.pictures).T
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(scores)), torch.from_numpy(vectors.owners)] = True
    figures = {}
    for k in KS:
        for name, one_way in (("image", (scores, positive)), ("text", (scores.T, positive.T))):
            found = batchify(recall_at_k, *one_way, BATCH, "cpu", k=k)
            figures[f"{name} hit@{k}"] = (found > 0).float().mean().item()
            figures[f"{name} recall@{k}"] = found.float().mean().item()
    return figures


WAYS: Mapping[str, Callable[[Vectors], dict[str, float]]] = {
    "product and topk": bare,
    "all measures": ours,
    "with intervals": with_intervals,
    "clip-benchmark": clip_benchmark,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table: seconds, ratios, memory, and whether the figures agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    vectors = Vectors.drawn(options.pictures)
    with threadpool_limits(options.threads):
        if options.memory:
            figures = WAYS[options.memory](vectors)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"peak": peak, "figures": figures}))
            return
        names = [
            name for name in WAYS if name != "clip-benchmark" or importlib.util.find_spec("clip_benchmark")
        ]
        _compare(vectors, names, options)


def _compare(vectors: Vectors, names: Sequence[str], options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {len(vectors.captions):,} x {len(vectors.pictures):,} x 512, both ways"
    )
    apart = {name: _apart(name, options) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            start = time.perf_counter()
            WAYS[name](vectors)
            seconds[name].append(time.perf_counter() - start)
    print(f"{'':18}  {'seconds':>8}  {'ratio':>6}  {'peak MiB':>8}")
    for name, own in seconds.items():
        ratio = median(a / b for a, b in zip(own, seconds[names[0]], strict=True))
        print(f"{name:18}  {median(own):8.2f}  {ratio:6.2f}  {apart[name]['peak']:8.0f}")
    if "clip-benchmark" in apart:
        theirs, figures = apart["clip-benchmark"]["figures"], apart["all measures"]["figures"]
        largest = max(abs(theirs[name] - figures[name]) for name in theirs)
        print(f"{len(theirs)} figures of clip-benchmark's: largest difference {largest:.1e}")


def _apart(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Peak memory and figures of one way, in a process of its own."""
    command = [sys.executable, __file__, "--memory", name, "--pictures", str(options.pictures)]
    done = subprocess.run(
        [*command, "--threads", str(options.threads)], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
