"""Benchmark of search: single queries, batches, filters, opening and memory, against raw FAISS and other vector stores.

Usage: scripts/benchmark search [--count 100000] [--dimension 384] [--k 10] [--threads 2] [--peers usearch,lancedb]
       scripts/benchmark search --count 1000000 --keep FOLDER --parts exact     # again, with another part


Image vectors are in clusters. The queries are other vectors of the same clusters, all shifted in one direction, as text
vectors are relative to image vectors. Peers are measured if they are installed, here or in the environment of --python:
pip install lancedb qdrant-client chromadb usearch pymilvus milvus-lite
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
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
from _peers import LIMITS, OURS, PEERS, Column, Matrix
from threadpoolctl import threadpool_limits

import indexer
import retrieval
from retrieval import Modality, Query
from retrieval.vectors import scan
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.faiss_module import load
from retrieval.vectors.refined import RefinedIndex
from retrieval.vectors.search_effort import refine_parameters

BATCH = 1000

PARTS = ("exact", "recall", "overhead", "peers", "opening")

MEMORY = """
import sys, time
import numpy as np, retrieval
from pathlib import Path
def peak():  # getrusage would include the peak of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
query, opening = np.load(sys.argv[2]), retrieval.open
start = time.perf_counter(); engine = opening(sys.argv[1]); opened = time.perf_counter() - start
before = peak()
engine.search(vector=query, to="image")
first = time.perf_counter() - start
print(1e3 * opened, 1e3 * first, before, peak())
"""


def make_vectors(count: int, dimension: int, spread: float) -> tuple[Matrix, Matrix]:
    """Return unit vectors and unit queries, always the same."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((max(10, count // 200), dimension), dtype=np.float32)
    shift = random.standard_normal(dimension, dtype=np.float32)

    def near(size: int, shift: Matrix) -> Matrix:
        rows = np.empty((size, dimension), np.float32)
        clusters = random.integers(len(centres), size=size)
        for at in range(0, size, 2**16):
            part = slice(at, at + 2**16)
            rows[part] = centres[clusters[part]] + shift
            rows[part] += spread * random.standard_normal(rows[part].shape, dtype=np.float32)
            rows[part] /= np.linalg.norm(rows[part], axis=1, keepdims=True)
        return rows

    return near(count, 0 * shift), near(4 * BATCH, 0.7 * shift)


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Make the vectors, the queries, the filter column and two indexes, unless they exist.

    Existing ones must have been made with the same options; otherwise the results would be wrong.
    """
    requested = {name: getattr(options, name) for name in ("count", "dimension", "spread", "index", "recall")}
    made_of = folder / "made.json"
    if made_of.is_file():
        if (existing := json.loads(made_of.read_text())) != requested:
            raise SystemExit(
                f"{folder} was made with {existing}, not {requested}: use the same options, or another --keep"
            )
        return
    if any(folder.iterdir()):
        raise SystemExit(
            f"{folder} is not empty and was not made by this benchmark: give --keep an empty folder"
        )
    vectors, queries = make_vectors(options.count, options.dimension, options.spread)
    share = np.random.default_rng(1).permutation(options.count) * 1000 // options.count
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "queries.npy", queries)
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")  # otherwise they would be in memory twice
    build_index(folder / "small", vectors[:1000], queries, share[:1000], options)
    build_index(folder / "index", vectors, queries, share, options)
    np.save(folder / "share.npy", share)
    made_of.write_text(json.dumps(requested))


def build_index(
    out: Path, vectors: Matrix, queries: Matrix, share: Column, options: argparse.Namespace
) -> None:
    """Index these vectors as images; 2,000 of the queries are captions, the others are searched later."""
    count = len(vectors)
    captions = queries[np.arange(count) % (2 * BATCH)].astype(np.float16)
    with tempfile.TemporaryDirectory(dir=out.parent) as temporary:
        source = Path(temporary)
        for name, rows in (("img_emb", vectors), ("text_emb", captions)):
            (source / name).mkdir()
            np.save(source / name / f"{name}_0.npy", rows)
        (source / "metadata").mkdir()
        columns = {"key": [f"{at:08}" for at in range(count)], "share": share}
        columns["image_path"] = [f"{at:08}.jpg" for at in range(count)]
        columns["caption"] = ["" if at >= 2 * BATCH else f"caption {at}" for at in range(count)]
        pq.write_table(pa.table(columns), source / "metadata/metadata_0.parquet")
        start = time.perf_counter()
        indexer.build([f"embeddings:{source}"], out=out, index=options.index, recall=options.recall)
        print(f"indexed {count:,} in {time.perf_counter() - start:.0f} s")


def milliseconds(work: Callable[[Matrix], Any], queries: Matrix) -> float:
    """Return the median time of one query."""
    times = []
    for query in queries:
        start = time.perf_counter()
        work(query)
        times.append(time.perf_counter() - start)
    return 1e3 * median(times)


def recall(found: Sequence[Sequence[int]], exact: Sequence[Sequence[int]]) -> float:
    """Return the share of the exact results that were found, for the queries that were searched."""
    return float(np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, exact, strict=False)]))


def measure_exact(vectors: Matrix, queries: Matrix, k: int, rounds: int) -> None:
    """Measure batches that are compared with all vectors."""
    flat = load().IndexFlatIP(vectors.shape[1])
    flat.add(vectors)
    expected = ExactIndex(vectors).search(queries[:50], k)[1]
    for size in (100, BATCH):
        batch = queries[:size]
        block = np.empty((size, 2048), np.float32)

        def product(batch: Matrix = batch, block: Matrix = block) -> int:
            for at in range(0, len(vectors), 2048):
                rows = vectors[at : at + 2048]
                np.matmul(batch, rows.T, out=block[:, : len(rows)])
            return len(batch)

        print(f"\nexact search of {size} queries at once")
        functions = {
            "the matrix product alone": product,
            "faiss.IndexFlatIP": lambda batch=batch: len(flat.search(batch, k)[0]),
            "retrieval": lambda batch=batch: len(scan.best(batch, vectors, k)[0]),
        }
        compare(functions, rounds=rounds, unit="queries")
        same = scan.best(batch, vectors, k)[1][:50] == expected
        print(f"the same results as sorting all scores: {bool(same.all())}")


def measure_recall(engine: retrieval.SearchEngine, vectors: Matrix, queries: Matrix, k: int) -> None:
    """Measure the recall of the index, as tuned."""
    exact = scan.best(queries, vectors, k)[1].tolist()
    found = engine.index.modality_index(Modality.IMAGE).index.search(queries, k)[1].tolist()
    print(f"\nrecall@{k} of {len(queries):,} other queries: {recall(found, exact):.4f}")


def measure_overhead(engine: retrieval.SearchEngine, queries: Matrix, k: int, rounds: int) -> None:
    """Measure the time that the engine adds to a FAISS search of the same index."""
    index = engine.index.modality_index(Modality.IMAGE).index
    if isinstance(index, RefinedIndex):
        refined = load().IndexRefine(index.base, index.stored.index)
        parameters = refine_parameters(index.base, index.effort, k, None)

        def raw(queries: Matrix) -> Any:
            return refined.search(queries, k, params=parameters)
    else:
        flat = load().IndexFlatIP(index.dimension)
        flat.add(index.vectors())

        def raw(queries: Matrix) -> Any:
            return flat.search(queries, k)

    singles: dict[str, list[float]] = {"raw": [], "search": []}
    for turn in range(rounds + 1):
        raw_ms = milliseconds(lambda query: raw(query[None]), queries[:200])
        search_ms = milliseconds(lambda query: engine.search(vector=query, to="image", k=k), queries[:200])
        if turn:
            singles["raw"].append(raw_ms)
            singles["search"].append(search_ms)
    more = median(b - a for a, b in zip(singles["raw"], singles["search"], strict=True))
    print(f"\none query, ms: raw FAISS {median(singles['raw']):.3f}, search with metadata "
          f"{median(singles['search']):.3f}, more {more:.3f}")  # fmt: skip
    print(f"\nbatches of {BATCH}")
    batch = queries[:BATCH]
    query_objects = [Query(vector=query) for query in batch]
    ways = {
        "raw FAISS": lambda: len(raw(batch)[0]),
        "search_arrays": lambda: len(engine.search_arrays(batch, to="image", k=k).assets),
        "search_batch": lambda: len(engine.search_batch(query_objects, to="image", k=k)),
    }
    compare(ways, rounds=rounds, unit="queries")


def compare_stores(folder: Path, vectors: Matrix, share: Column, options: argparse.Namespace) -> None:
    """Measure single queries with filters, also of the peers: each in its own process, with a time limit."""
    queries = np.load(folder / "queries.npy")[-options.asked :]
    exact = {
        limit: scan.best(
            queries, vectors, options.k, None if limit is None else np.flatnonzero(share < limit)
        )[1]
        for limit in LIMITS
    }
    names = [
        name for name in (OURS, *filter(None, options.peers.split(","))) if fill_store(name, folder, options)
    ]
    turns: dict[str, list[list[dict[str, Any]]]] = {name: [] for name in names}
    problems: dict[str, str] = {}
    for _ in range(options.turns):  # in turns, because the load of the machine varies
        for name in names:
            if name not in problems:
                answers, problem = run_store(name, "ask", folder, options)
                turns[name].append(answers)
                if problem:
                    problems[name] = problem
    print(
        f"\n{'one query':16}" + "".join(f"{(limit or 1000) / 10:>8g}%: ms, recall, hits" for limit in LIMITS)
    )
    for name, rounds in turns.items():
        notes = [answer["note"] for answer in rounds[0] if "note" in answer]
        cells = []
        for answer in (answer for answer in rounds[0] if "ms" in answer):
            same_limit = [
                each for answers in rounds for each in answers if each.get("limit", 0) == answer["limit"]
            ]
            expected = exact[answer["limit"]].tolist()
            found, hits = recall(answer["rows"], expected), min(map(len, answer["rows"]))
            ms = median(each["ms"] for each in same_limit)
            cells.append(f"{ms:8.3f} {found:6.3f} {hits:3} ({answer['first_ms']:5.0f})")
        print(
            f"{name:16}" + "  ".join([*cells, *notes, *([problems[name]] if name in problems else [])]),
            flush=True,
        )
    print(f"medians of {options.turns} turns; in brackets: the first query with that filter, ms")


def fill_store(name: str, folder: Path, options: argparse.Namespace) -> bool:
    """Fill a store, unless that was done before; return whether it has the vectors."""
    if name == OURS or (folder / name).exists():
        return True
    output, problem = run_store(name, "fill", folder, options)
    if problem:
        shutil.rmtree(folder / name, ignore_errors=True)
        print(f"{name:16}not filled: {problem}")
    else:
        print(f"({name}: {output[0]['seconds']:.0f} s to fill)", flush=True)
    return not problem


def run_store(
    name: str, work: str, folder: Path, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], str | None]:
    """Run a store; return its JSON lines, and the reason if it failed."""
    python = options.python if name != OURS else sys.executable
    script = Path(__file__).with_name("_peers.py")
    command = [python, script, name, work, folder, options.k, options.asked]
    threads = {
        f"{which}_NUM_THREADS": str(options.threads) for which in ("OMP", "OPENBLAS", "RAYON", "TOKIO_WORKER")
    }
    problem = None
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        try:
            done = subprocess.run(
                [str(word) for word in command],
                stdout=output, stderr=errors, env=os.environ | threads, timeout=options.limit, check=False,
            )  # fmt: skip
            errors.seek(0)
            if done.returncode:
                problem = (errors.read().strip().splitlines() or [f"status {done.returncode}"])[-1][:100]
        except subprocess.TimeoutExpired:
            problem = f"stopped after {options.limit} s"
        output.seek(0)
        return [json.loads(line) for line in output if line.startswith("{")], problem


def measure_opening(folder: Path, query: Matrix) -> None:
    """Measure the time and memory of opening an index and of one query, in separate processes."""
    np.save(folder / "query.npy", query)
    for path in (folder / "small", folder / "index"):
        command = [sys.executable, "-c", MEMORY, str(path), str(folder / "query.npy")]
        rounds = []
        for _ in range(3):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rounds.append([float(word) for word in done.stdout.split()])
        opened, first, before, after = (median(column) for column in zip(*rounds, strict=True))
        size = sum(file.stat().st_size for file in path.glob("generations/*/image*")) / 2**20
        print(f"{path.name}: open {opened:.0f} ms, open and search once {first:.0f} ms; peak {before:.0f} MiB before "
              f"the search, {after:.0f} after; the index's files {size:.0f} MiB")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument(
        "--spread", type=float, default=1.5, help="spread of a cluster, relative to its centre"
    )
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--asked", type=int, default=100, help="number of queries for every store")
    parser.add_argument(
        "--turns", type=int, default=3, help="number of times that all stores are measured in turn"
    )
    parser.add_argument("--index", default="auto")
    parser.add_argument("--recall", type=float, default=0.95)
    parser.add_argument(
        "--peers", default=",".join(PEERS), help="stores to compare, comma-separated; may be empty"
    )
    parser.add_argument("--python", default=sys.executable, help="Python in whose environment the stores are")
    parser.add_argument(
        "--limit",
        type=int,
        default=600,
        help="time limit in seconds for filling a store, and for its queries",
    )
    parser.add_argument(
        "--keep", type=Path, help="folder that keeps vectors, indexes and stores for the next run"
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="parts to run, separated by commas")
    options = parser.parse_args(argv)
    load().omp_set_num_threads(options.threads)
    print(facts("faiss-cpu"))
    print(f"{options.threads} threads do {scaling(options.threads):.2f} times the work of one")
    print(f"{options.count:,} vectors of {options.dimension}, {options.k} hits")
    with tempfile.TemporaryDirectory() as temporary, threadpool_limits(options.threads):
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder, options)
        run(folder, options.parts.split(","), options)


def run(folder: Path, parts: Sequence[str], options: argparse.Namespace) -> None:
    """Run the requested parts."""
    vectors, share = np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "share.npy")
    queries = np.load(folder / "queries.npy")[2 * BATCH :]
    engine = retrieval.open(folder / "index")
    print("chosen:", dict(engine.manifest.indexes[Modality.IMAGE]))
    if "exact" in parts:
        measure_exact(np.array(vectors), queries, options.k, options.rounds)  # in memory, as in FAISS
    if "recall" in parts:
        measure_recall(engine, vectors, queries, options.k)
    if "overhead" in parts:
        measure_overhead(engine, queries, options.k, options.rounds)
    if "peers" in parts:
        compare_stores(folder, vectors, share, options)
    if "opening" in parts:
        measure_opening(folder, queries[0])


if __name__ == "__main__":
    main()
