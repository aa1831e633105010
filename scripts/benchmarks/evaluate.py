"""Time all measures on data like COCO's 5K test, both directions, beside plain top-k search and clip-benchmark.

Usage: python scripts/benchmarks/evaluate.py [--rounds 5] [--threads 2]

25,000 captions and 5,000 pictures of 512 dimensions, drawn at random so that the rank of a caption's own picture is
neither always 1 nor random. The methods take turns. Memory is the peak of a separate process for each.
clip-benchmark is included if it is installed: pip install clip-benchmark.
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
CAPTIONS_PER_PICTURE = 5
BATCH = 64
"""clip-benchmark's batch size; its own default."""


@dataclass(frozen=True)
class Vectors:
    """Unit vectors of captions and pictures, and the picture number of each caption."""

    captions: NDArray[np.float32]
    pictures: NDArray[np.float32]
    caption_pictures: NDArray[np.int64]

    @classmethod
    def random(cls, pictures: int, dimension: int = 512) -> Vectors:
        """Return captions that are noisy copies of their pictures; the same at every call."""
        generator = np.random.default_rng(0)
        centres = generator.standard_normal((pictures, dimension), dtype=np.float32)
        caption_pictures = np.repeat(np.arange(pictures), CAPTIONS_PER_PICTURE)
        noise = generator.standard_normal((len(caption_pictures), dimension), dtype=np.float32)
        captions = centres[caption_pictures] + 6 * noise
        unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (captions, centres)]
        return cls(unit[0], unit[1], caption_pictures)


def plain_top_k(vectors: Vectors) -> dict[str, float]:
    """Compute the scores and the ten best, both directions, without any measure."""
    import torch

    captions, pictures = torch.from_numpy(vectors.captions), torch.from_numpy(vectors.pictures)
    (captions @ pictures.T).topk(10, dim=1)
    (pictures @ captions.T).topk(10, dim=1)
    return {}


def all_measures(vectors: Vectors, resamples: int = 0) -> dict[str, float]:
    """Compute every measure, both directions."""
    numbers = np.arange(len(vectors.pictures))
    figures: dict[str, float] = {}
    for name, queries, pool, relevance in (
        ("image", vectors.captions, vectors.pictures, SameLabel(vectors.caption_pictures, numbers)),
        ("text", vectors.pictures, vectors.captions, SameLabel(numbers, vectors.caption_pictures)),
    ):
        ranks = relevant_ranks(queries, pool, relevance)
        values = {measure: measure.values(ranks) for measure in standard_measures(KS)}
        figures |= {
            f"{name} {measure}": float(measure.average(of_queries) or 0)
            for measure, of_queries in values.items()
        }
        if resamples:
            intervals(values, Resampling(resamples))
    return figures


def with_intervals(vectors: Vectors) -> dict[str, float]:
    """Compute the same with intervals of every measure, from 1,000 resamples."""
    return all_measures(vectors, 1000)


def clip_benchmark(vectors: Vectors) -> dict[str, float]:
    """Compute recall at three cut-offs, both directions, as clip-benchmark's ``evaluate`` does after encoding."""
    import torch
    from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k

    scores = torch.from_numpy(vectors.captions) @ torch.from_numpy(vectors.pictures).T
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(scores)), torch.from_numpy(vectors.caption_pictures)] = True
    figures = {}
    for k in KS:
        for name, direction in (("image", (scores, positive)), ("text", (scores.T, positive.T))):
            recall = batchify(recall_at_k, *direction, BATCH, "cpu", k=k)
            figures[f"{name} hit@{k}"] = (recall > 0).float().mean().item()
            figures[f"{name} recall@{k}"] = recall.float().mean().item()
    return figures


METHODS: Mapping[str, Callable[[Vectors], dict[str, float]]] = {
    "plain top-k": plain_top_k,
    "all measures": all_measures,
    "with intervals": with_intervals,
    "clip-benchmark": clip_benchmark,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table of seconds, ratios and memory, and whether the figures agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    vectors = Vectors.random(options.pictures)
    with threadpool_limits(options.threads):
        if options.memory:
            figures = METHODS[options.memory](vectors)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(json.dumps({"peak": peak, "figures": figures}))
            return
        names = [
            name for name in METHODS if name != "clip-benchmark" or importlib.util.find_spec("clip_benchmark")
        ]
        _compare(vectors, names, options)


def _compare(vectors: Vectors, names: Sequence[str], options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {len(vectors.captions):,} x {len(vectors.pictures):,} x 512, both directions"
    )
    separate = {name: _run_separately(name, options) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            start = time.perf_counter()
            METHODS[name](vectors)
            seconds[name].append(time.perf_counter() - start)
    print(f"{'':18}  {'seconds':>8}  {'ratio':>6}  {'peak MiB':>8}")
    for name, own_seconds in seconds.items():
        ratio = median(a / b for a, b in zip(own_seconds, seconds[names[0]], strict=True))
        print(f"{name:18}  {median(own_seconds):8.2f}  {ratio:6.2f}  {separate[name]['peak']:8.0f}")
    if "clip-benchmark" in separate:
        theirs, figures = separate["clip-benchmark"]["figures"], separate["all measures"]["figures"]
        largest = max(abs(theirs[name] - figures[name]) for name in theirs)
        print(f"{len(theirs)} figures of clip-benchmark: largest difference {largest:.1e}")


def _run_separately(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return peak memory and figures of one method, from a separate process."""
    command = [sys.executable, __file__, "--memory", name, "--pictures", str(options.pictures)]
    done = subprocess.run(
        [*command, "--threads", str(options.threads)], capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


if __name__ == "__main__":
    main()
