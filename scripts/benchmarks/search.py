"""Search: one query, batches, filters, opening, and memory, beside raw FAISS and other vector stores.

Usage: scripts/benchmark search [--count 100000] [--dimension 384] [--k 10] [--threads 2] [--peers usearch,lancedb]

Pictures lie in clusters; the queries are other vectors of the same clusters, all shifted one way, as texts lie
beside pictures. The peers are measured where they are installed (they bring much, and not all go together):
pip install lancedb qdrant-client chromadb usearch pymilvus milvus-lite
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from _common import compare, facts, scaling
from _peers import PEERS, Matrix
from threadpoolctl import threadpool_limits

import indexer
import retrieval
from retrieval import Modality, Query
from retrieval.vectors import scan
from retrieval.vectors.effort import refining
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.faiss_module import load
from retrieval.vectors.refined import RefinedIndex

SHARES = {1000: None, 500: "share < 500", 50: "share < 50", 1: "share < 1"}
"""Thousandths of the vectors that a filter leaves, and how it is written."""

BATCH = 1000

MEMORY = """
import sys, time
import numpy as np, retrieval
from pathlib import Path
def peak():  # getrusage would tell that of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
query, opening = np.load(sys.argv[2]), retrieval.open
start = time.perf_counter(); engine = opening(sys.argv[1]); opened = time.perf_counter() - start
before = peak()
engine.search(vector=query, to="image")
first = time.perf_counter() - start
print(1e3 * opened, 1e3 * first, before, peak())
"""


def drawn(count: int, dimension: int, spread: float) -> tuple[Matrix, Matrix]:
    """Unit vectors and unit queries, always the same ones."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((max(10, count // 200), dimension), dtype=np.float32)
    shift = random.standard_normal(dimension, dtype=np.float32)

    def near(size: int) -> Matrix:
        own = random.integers(len(centres), size=size)
        return centres[own] + spread * random.standard_normal((size, dimension), dtype=np.float32)

    return _unit(near(count)), _unit(near(4 * BATCH) + 0.7 * shift)


def _unit(rows: Matrix) -> Matrix:
    unit: Matrix = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def indexed(folder: Path, vectors: Matrix, queries: Matrix, options: argparse.Namespace) -> Path:
    """The index of these vectors as pictures; 2,000 of the queries are captions, the rest ask later."""
    source = folder / f"source-{len(vectors)}"
    count = len(vectors)
    captions = queries[np.arange(count) % (2 * BATCH)].astype(np.float16)
    share = np.random.default_rng(1).permutation(count) * 1000 // count
    for name, rows in (("img_emb", vectors), ("text_emb", captions)):
        (source / name).mkdir(parents=True)
        np.save(source / name / f"{name}_0.npy", rows)
    (source / "metadata").mkdir()
    columns = {"key": [f"{at:08}" for at in range(count)], "share": share}
    columns["image_path"] = [f"{at:08}.jpg" for at in range(count)]
    columns["caption"] = ["" if at >= 2 * BATCH else f"caption {at}" for at in range(count)]
    pq.write_table(pa.table(columns), source / "metadata/metadata_0.parquet")
    start = time.perf_counter()
    out = folder / f"index-{count}"
    indexer.build([f"embeddings:{source}"], out=out, index=options.index, recall=options.recall)
    print(f"indexed {count:,} in {time.perf_counter() - start:.0f} s")
    return out


def milliseconds(work: Callable[[Matrix], Any], queries: Matrix) -> float:
    """Of one query, the median."""
    times = []
    for query in queries:
        start = time.perf_counter()
        work(query)
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


def recall(found: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    """The share of the exact answers that were found."""
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, exact, strict=True)]))


def exactly(vectors: Matrix, queries: Matrix, k: int, rounds: int) -> None:
    """Batches that are compared with everything."""
    flat = load().IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    for size in (100, BATCH):
        asking = queries[:size]
        block = np.empty((size, 2048), np.float32)

        def bare(asking: Matrix = asking, block: Matrix = block) -> int:
            for at in range(0, len(vectors), 2048):
                rows = vectors[at : at + 2048]
                np.matmul(asking, rows.T, out=block[:, : len(rows)])
            return len(asking)

        print(f"\nexact search of {size} queries at once")
        ways = {
            "the bare matrix product": bare,
            "faiss.IndexFlatIP": lambda asking=asking: len(flat.search(asking, k)[0]),
            "retrieval": lambda asking=asking: len(scan.best(asking, vectors, k)[0]),
        }
        compare(ways, rounds=rounds, unit="queries")
    same = ExactIndex(vectors).search(queries[:50], k)[1] == scan.best(queries[:50], vectors, k)[1]
    print(f"the same answers as sorting all: {bool(same.all())}")


def overhead(engine: retrieval.SearchEngine, queries: Matrix, k: int, rounds: int) -> None:
    """What the engine adds to FAISS's own search of the same index."""
    index = engine.shelf(Modality.IMAGE).index
    if isinstance(index, RefinedIndex):
        refined = load().IndexRefine(index.base, index.stored.index)
        parameters = refining(index.base, index.effort, k, None)

        def raw(asking: Matrix) -> Any:
            return refined.search(asking, k, params=parameters)
    else:
        flat = load().IndexFlatIP(index.dimension)
        flat.add(index.vectors())

        def raw(asking: Matrix) -> Any:
            return flat.search(asking, k)

    singles: dict[str, list[float]] = {"raw": [], "search": []}
    for turn in range(rounds + 1):
        own = milliseconds(lambda query: raw(query[None]), queries[:200])
        ours = milliseconds(lambda query: engine.search(vector=query, to="image", k=k), queries[:200])
        if turn:
            singles["raw"].append(own)
            singles["search"].append(ours)
    more = median(b - a for a, b in zip(singles["raw"], singles["search"], strict=True))
    print(f"\none query, ms: raw FAISS {median(singles['raw']):.3f}, search with metadata "
          f"{median(singles['search']):.3f}, more {more:.3f}")  # fmt: skip
    print(f"\nbatches of {BATCH}")
    asking = queries[:BATCH]
    listed = [Query(vector=query) for query in asking]
    ways = {
        "raw FAISS": lambda: len(raw(asking)[0]),
        "search_arrays": lambda: len(engine.search_arrays(asking, to="image", k=k).assets),
        "search_batch": lambda: len(engine.search_batch(listed, to="image", k=k)),
    }
    compare(ways, rounds=rounds, unit="queries")


def against(
    engine: retrieval.SearchEngine,
    vectors: Matrix,
    queries: Matrix,
    folder: Path,
    options: argparse.Namespace,
) -> None:
    """One query with filters, beside the peers."""
    count, asking, k = len(vectors), queries[: options.asked], options.k
    share = np.random.default_rng(1).permutation(count) * 1000 // count
    exact = {
        limit: scan.best(asking, vectors, k, None if limit == 1000 else np.flatnonzero(share < limit))[
            1
        ].tolist()
        for limit in SHARES
    }

    def ours(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = None if limit is None else SHARES[limit]
        return [int(hit.id) for hit in engine.search(vector=query, to="image", k=k, where=where)]

    print(f"\n{'one query':16}" + "".join(f"{limit / 10:>8g}%: ms, recall, hits" for limit in SHARES))
    ways: dict[str, Any] = {"xmodal": ours}
    for name in options.peers.split(",") if options.peers else ():
        try:
            start = time.perf_counter()
            ways[name] = PEERS[name](vectors, share, folder)
            print(f"({name}: {time.perf_counter() - start:.0f} s to fill)")
        except Exception as error:
            print(f"({name}: {type(error).__name__}: {str(error).splitlines()[0][:100]})")
    for name, search in ways.items():
        cells = []
        for limit in SHARES:
            among = None if limit == 1000 else limit
            start = time.perf_counter()
            found = [search(asking[0], k, among)]
            first = time.perf_counter() - start
            found += [search(query, k, among) for query in asking[1:]]
            time_taken = milliseconds(lambda query: search(query, k, among), asking)  # noqa: B023 - used at once
            hits = min(map(len, found))
            cells.append(
                f"{time_taken:8.2f} {recall(found, exact[limit]):6.3f} {hits:3} ({1e3 * first:5.0f})"
            )
        print(f"{name:16}" + "  ".join(cells))
    print("in brackets: the very first query with that filter, ms")


def opening(small: Path, large: Path, query: Matrix, folder: Path) -> None:
    """What it costs to open an index and to ask it once, in processes of their own."""
    np.save(folder / "query.npy", query)
    for path in (small, large):
        command = [sys.executable, "-c", MEMORY, str(path), str(folder / "query.npy")]
        rounds = []
        for _ in range(3):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rounds.append([float(word) for word in done.stdout.split()])
        opened, first, before, after = (median(column) for column in zip(*rounds, strict=True))
        size = sum(file.stat().st_size for file in path.glob("generations/*/image*")) / 2**20
        print(f"{path.name}: open {opened:.0f} ms, open and ask once {first:.0f} ms; peak {before:.0f} MiB before "
              f"the search, {after:.0f} after; the index's files {size:.0f} MiB")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--spread", type=float, default=1.5, help="of a cluster, its centres being 1 apart")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asked", type=int, default=100, help="queries asked of every peer")
    parser.add_argument("--index", default="auto")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument("--peers", default=",".join(PEERS), help="or nothing")
    options = parser.parse_args(argv)
    load().omp_set_num_threads(options.threads)
    print(facts("faiss-cpu"))
    print(f"{options.threads} threads do {scaling(options.threads):.2f} times the work of one")
    vectors, queries = drawn(options.count, options.dimension, options.spread)
    asking = queries[2 * BATCH :]
    with tempfile.TemporaryDirectory() as temporary, threadpool_limits(options.threads):
        folder = Path(temporary)
        small = indexed(folder, vectors[:1000], queries, options)
        large = indexed(folder, vectors, queries, options)
        engine = retrieval.open(large)
        print("chosen:", dict(engine.manifest.indexes[Modality.IMAGE]))
        exactly(vectors, asking, options.k, options.rounds)
        overhead(engine, asking, options.k, options.rounds)
        against(engine, vectors, asking, folder, options)
        opening(small, large, asking[0], folder)


if __name__ == "__main__":
    main()
