"""Vector stores as their users use them: vectors and one metadata column, which is returned with the hits.

Run as a program, this module fills or queries one store in its own process; `search.py` does so. Stores are imported
only here, so that they may be installed in another environment than xmodal.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
Column = NDArray[np.int64]

ROWS_AT_ONCE = 5_000

HITS, TUNING_QUERIES = 10, 100
"""Hits and number of queries for tuning a store whose user must choose an effort; other queries are timed."""

LIMITS = (None, 500, 50, 1)
"""Upper limits for the filter column, in thousandths of the rows; None for no filter."""

WARM_UP_SECONDS, TIMED_SECONDS = 3.0, 10.0
"""Time limits of the warm-up and of the measurement, for slow stores."""


class Search(Protocol):
    """A search function that returns row numbers; with a limit, only of rows whose column is below it."""

    def __call__(self, query: Matrix, k: int, limit: int | None) -> list[int]: ...


class Store(NamedTuple):
    """How a store is filled, and how it is opened again."""

    fill: Callable[[Matrix, Column, Path], Any]
    open: Callable[[Path, Column], Search]


def _parts(count: int) -> Iterator[slice]:
    return (slice(at, min(at + ROWS_AT_ONCE, count)) for at in range(0, count, ROWS_AT_ONCE))


# xmodal


def _xmodal(folder: Path, _: Column) -> Search:
    """Open the index beside the folder; it was made by ``indexer.build``."""
    import retrieval

    engine = retrieval.open(folder.with_name("index"))

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = None if limit is None else f"share < {limit}"
        hits = engine.search(vector=query, to="image", k=k, where=where)
        return [int(hit.id) for hit in hits if hit.metadata["share"] < (limit or 1000)]

    return search


# usearch: a graph in bfloat16. It has no columns: more hits are requested, and those that match are kept.


def _fill_usearch(vectors: Matrix, _: Column, folder: Path) -> None:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="bf16")
    index.add(np.arange(len(vectors)), vectors)
    index.save(str(folder / "index.usearch"))


def _usearch(folder: Path, column: Column) -> Search:
    return _graph_search(_open_graph(folder), column)


def _fill_usearch_tuned(vectors: Matrix, column: Column, folder: Path) -> None:
    """Fill the store of plain usearch, if needed: it is the same graph, searched with another effort."""
    beside = folder.with_name("usearch")
    if not beside.exists():
        beside.mkdir()
        _fill_usearch(vectors, column, beside)


def _usearch_tuned(folder: Path, column: Column) -> Search:
    """Open the graph with its tuned effort; tune it first if that was not done before."""
    index = _open_graph(folder.with_name("usearch"))
    tuned = folder / "tuned.json"
    if not tuned.exists():
        tuned.write_text(json.dumps(_tune(index, folder.parent)))
    effort = json.loads(tuned.read_text())
    index.expansion_search = effort["expansion"]
    note = "recall {recall:.3f} on other queries with expansion {expansion}".format(**effort)
    print(json.dumps({"note": note}))
    return _graph_search(index, column)


def _tune(index: Any, beside: Path) -> dict[str, Any]:
    """Find the smallest effort with which the tuning queries reach the target recall of our index."""
    vectors = np.load(beside / "vectors.npy", mmap_mode="r")
    queries = np.load(beside / "queries.npy")[-TUNING_QUERIES - 1000 : -1000]
    target = json.loads((beside / "made.json").read_text())["recall"]
    exact = [{*np.argpartition(-(vectors @ query), HITS)[:HITS].tolist()} for query in queries]
    for power in range(4, 13):
        index.expansion_search = 2**power
        found = np.asarray(index.search(queries, HITS).keys).tolist()
        recall = np.mean([len({*rows} & best) / HITS for rows, best in zip(found, exact, strict=True)])
        if recall >= target:
            break
    return {"expansion": index.expansion_search, "recall": float(recall)}


def _open_graph(folder: Path) -> Any:
    from usearch.index import Index

    return Index.restore(str(folder / "index.usearch"))


def _graph_search(index: Any, column: Column) -> Search:
    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        requested = k
        while True:
            found = np.asarray(index.search(query, requested).keys).astype(np.int64)
            kept = found if limit is None else found[column[found] < limit]
            if len(kept) >= k or requested >= len(column):
                column[kept[:k]].tolist()  # the user keeps the column, and looks up the values of the hits
                return kept[:k].tolist()
            requested = min(4 * requested, len(column))

    return search


# lancedb: a table without a vector index, with an index on the column.


def _fill_lancedb(vectors: Matrix, column: Column, folder: Path) -> None:
    import lancedb
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        for part in _parts(len(vectors)):
            flat = pa.array(vectors[part].ravel())
            rows = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            ids = pa.array(np.arange(part.start, part.stop))
            yield pa.record_batch([ids, pa.array(column[part]), rows], names=["id", "share", "vector"])

    table = lancedb.connect(str(folder)).create_table("t", data=pa.Table.from_batches(list(batches())))
    table.create_scalar_index("share")


def _lancedb(folder: Path, _: Column) -> Search:
    import lancedb

    table = lancedb.connect(str(folder)).open_table("t")

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        request = table.search(query).distance_type("dot").select(["id", "share"]).limit(k)
        request = request if limit is None else request.where(f"share < {limit}", prefilter=True)
        return request.to_arrow()["id"].to_pylist()

    return search


# chromadb: its graph, on disk.


def _fill_chromadb(vectors: Matrix, column: Column, folder: Path) -> None:
    import chromadb

    client = chromadb.PersistentClient(str(folder))
    collection = client.create_collection("vectors", metadata={"hnsw:space": "ip"})
    for part in _parts(len(vectors)):
        names = [str(at) for at in range(part.start, part.stop)]
        collection.add(names, vectors[part], [{"share": share} for share in column[part].tolist()])


def _chromadb(folder: Path, _: Column) -> Search:
    import chromadb

    collection = chromadb.PersistentClient(str(folder)).get_collection("vectors")

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = None if limit is None else {"share": {"$lt": limit}}
        found = collection.query(query_embeddings=[query], n_results=k, where=where, include=["metadatas"])
        return [int(name) for name in found["ids"][0]]

    return search


# qdrant-client: its local mode.


def _fill_qdrant(vectors: Matrix, column: Column, folder: Path) -> None:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))
    client.create_collection(
        "c", vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
    )
    for part in _parts(len(vectors)):
        payload = [{"share": share} for share in column[part].tolist()]
        ids = list(range(part.start, part.stop))
        client.upsert("c", models.Batch(ids=ids, vectors=vectors[part].tolist(), payloads=payload))
    client.close()


def _qdrant(folder: Path, _: Column) -> Search:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder))

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        condition = models.FieldCondition(key="share", range=models.Range(lt=limit))
        where = None if limit is None else models.Filter(must=[condition])
        found = client.query_points("c", query=query.tolist(), limit=k, query_filter=where, with_payload=True)
        return [int(point.id) for point in found.points]

    return search


# milvus-lite: in a file, with a flat index.


def _fill_milvus(vectors: Matrix, column: Column, folder: Path) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "milvus.db"))
    client.create_collection("c", dimension=vectors.shape[1], metric_type="IP")
    for part in _parts(len(vectors)):
        rows = zip(range(part.start, part.stop), column[part].tolist(), vectors[part], strict=True)
        client.insert("c", [{"id": at, "share": share, "vector": vector} for at, share, vector in rows])
    client.flush("c")
    client.close()


def _milvus(folder: Path, _: Column) -> Search:
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "milvus.db"))
    client.load_collection("c")

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = "" if limit is None else f"share < {limit}"
        found = client.search("c", [query.tolist()], limit=k, filter=where, output_fields=["share"])
        return [int(hit["id"]) for hit in found[0]]

    return search


PEERS = {
    "usearch": Store(_fill_usearch, _usearch),
    "usearch-tuned": Store(_fill_usearch_tuned, _usearch_tuned),
    "lancedb": Store(_fill_lancedb, _lancedb),
    "chromadb": Store(_fill_chromadb, _chromadb),
    "qdrant-client": Store(_fill_qdrant, _qdrant),
    "milvus-lite": Store(_fill_milvus, _milvus),
}

OURS = "xmodal"


def measure(search: Search, queries: Matrix, k: int, limit: int | None) -> dict[str, Any]:
    """Return the rows found for each query with one filter, and milliseconds (the median, and of the first query)."""
    start = time.perf_counter()
    search(queries[0], k, limit)
    first = time.perf_counter() - start
    rows, times = [], []
    for seconds in (WARM_UP_SECONDS, TIMED_SECONDS):
        rows, times, began = [], [], time.perf_counter()
        for query in queries:
            start = time.perf_counter()
            found = search(query, k, limit)
            times.append(time.perf_counter() - start)
            rows.append(found)
            if time.perf_counter() - began > seconds:
                break
    return {"limit": limit, "first_ms": 1e3 * first, "ms": 1e3 * median(times), "rows": rows}


def main(name: str, work: str, folder: Path, k: int, count: int) -> None:
    """Fill the store ``name`` (``fill``) or query it (``ask``), and print JSON lines."""
    vectors, column = np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "share.npy")
    store_folder = folder / name
    if work == "fill":
        store_folder.mkdir()
        start = time.perf_counter()
        PEERS[name].fill(vectors, column, store_folder)
        print(json.dumps({"seconds": time.perf_counter() - start}))
        return
    search = (_xmodal if name == OURS else PEERS[name].open)(store_folder, column)
    queries = np.load(folder / "queries.npy")[-count:]
    for limit in LIMITS:
        print(json.dumps(measure(search, queries, k, limit)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
