"""Vector stores as their users use them: vectors and one metadata column, which comes with the hits.

Run as a program it lets one store fill itself, or answer, in a process of its own; `search.py` does so. Stores are
imported only here, so that they may live in another environment than xmodal.
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

HITS, TUNED = 10, 100
"""Hits of queries that a store is tuned on, where its user has to choose a number; it is timed with others."""

LIMITS = (None, 500, 50, 1)
"""What the column must be below, in thousandths of the rows; None for no filter."""

WARMED, ASKED = 3.0, 10.0
"""Seconds after which a store that is slow is asked no more, to warm up and to be timed."""


class Search(Protocol):
    """One query, answered by row numbers; with a limit only of rows whose column is below it."""

    def __call__(self, query: Matrix, k: int, limit: int | None) -> list[int]: ...


class Store(NamedTuple):
    """How one is filled, and how it is opened again."""

    fill: Callable[[Matrix, Column, Path], Any]
    open: Callable[[Path, Column], Search]


def _parts(count: int) -> Iterator[slice]:
    return (slice(at, min(at + ROWS_AT_ONCE, count)) for at in range(0, count, ROWS_AT_ONCE))


# xmodal


def _xmodal(folder: Path, _: Column) -> Search:
    """The index that stands beside; it was made by ``indexer.build``."""
    import retrieval

    engine = retrieval.open(folder.with_name("index"))

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = None if limit is None else f"share < {limit}"
        hits = engine.search(vector=query, to="image", k=k, where=where)
        return [int(hit.id) for hit in hits if hit.metadata["share"] < (limit or 1000)]

    return search


# usearch: a graph in bfloat16. It has no columns: asked for more, of which those that match are kept.


def _fill_usearch(vectors: Matrix, _: Column, folder: Path) -> None:
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="bf16")
    index.add(np.arange(len(vectors)), vectors)
    index.save(str(folder / "index.usearch"))


def _usearch(folder: Path, column: Column) -> Search:
    return _in_graph(_opened(folder), column)


def _fill_usearch_tuned(vectors: Matrix, column: Column, folder: Path) -> None:
    """Fill nothing but what stands beside it: it is the same graph, asked with another effort."""
    beside = folder.with_name("usearch")
    if not beside.exists():
        beside.mkdir()
        _fill_usearch(vectors, column, beside)


def _usearch_tuned(folder: Path, column: Column) -> Search:
    """With the effort that was found for this graph, now if not before."""
    index = _opened(folder.with_name("usearch"))
    found = folder / "tuned.json"
    if not found.exists():
        found.write_text(json.dumps(_tuned(index, folder.parent)))
    effort = json.loads(found.read_text())
    index.expansion_search = effort["expansion"]
    note = "finds {recall:.3f} of other queries' with expansion {expansion}".format(**effort)
    print(json.dumps({"note": note}))
    return _in_graph(index, column)


def _tuned(index: Any, beside: Path) -> dict[str, Any]:
    """The least effort by which other queries find what ours is tuned to find."""
    vectors = np.load(beside / "vectors.npy", mmap_mode="r")
    asking = np.load(beside / "queries.npy")[-TUNED - 1000 : -1000]
    target = json.loads((beside / "made.json").read_text())["recall"]
    right = [{*np.argpartition(-(vectors @ query), HITS)[:HITS].tolist()} for query in asking]
    for power in range(4, 13):
        index.expansion_search = 2**power
        found = np.asarray(index.search(asking, HITS).keys).tolist()
        recall = np.mean([len({*own} & best) / HITS for own, best in zip(found, right, strict=True)])
        if recall >= target:
            break
    return {"expansion": index.expansion_search, "recall": float(recall)}


def _opened(folder: Path) -> Any:
    from usearch.index import Index

    return Index.restore(str(folder / "index.usearch"))


def _in_graph(index: Any, column: Column) -> Search:
    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        asked = k
        while True:
            found = np.asarray(index.search(query, asked).keys).astype(np.int64)
            kept = found if limit is None else found[column[found] < limit]
            if len(kept) >= k or asked >= len(column):
                column[kept[:k]].tolist()  # its user keeps the column, and looks up what comes with the hits
                return kept[:k].tolist()
            asked = min(4 * asked, len(column))

    return search


# lancedb: a table with no vector index, and one on the column.


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
        asking = table.search(query).distance_type("dot").select(["id", "share"]).limit(k)
        asking = asking if limit is None else asking.where(f"share < {limit}", prefilter=True)
        return asking.to_arrow()["id"].to_pylist()

    return search


# chromadb: its graph, on disk.


def _fill_chromadb(vectors: Matrix, column: Column, folder: Path) -> None:
    import chromadb

    client = chromadb.PersistentClient(str(folder))
    made = client.create_collection("vectors", metadata={"hnsw:space": "ip"})
    for part in _parts(len(vectors)):
        names = [str(at) for at in range(part.start, part.stop)]
        made.add(names, vectors[part], [{"share": share} for share in column[part].tolist()])


def _chromadb(folder: Path, _: Column) -> Search:
    import chromadb

    made = chromadb.PersistentClient(str(folder)).get_collection("vectors")

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = None if limit is None else {"share": {"$lt": limit}}
        found = made.query(query_embeddings=[query], n_results=k, where=where, include=["metadatas"])
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


# milvus-lite: in a file, compared flat.


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


def asked(search: Search, queries: Matrix, k: int, limit: int | None) -> dict[str, Any]:
    """What one store answers with one filter: rows of each query, and milliseconds (the median, and the first)."""
    start = time.perf_counter()
    search(queries[0], k, limit)
    first = time.perf_counter() - start
    rows, times = [], []
    for seconds in (WARMED, ASKED):
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
    """Let ``name`` ``fill`` itself or ``ask`` it, and print JSON lines."""
    vectors, column = np.load(folder / "vectors.npy", mmap_mode="r"), np.load(folder / "share.npy")
    own = folder / name
    if work == "fill":
        own.mkdir()
        start = time.perf_counter()
        PEERS[name].fill(vectors, column, own)
        print(json.dumps({"seconds": time.perf_counter() - start}))
        return
    search = (_xmodal if name == OURS else PEERS[name].open)(own, column)
    queries = np.load(folder / "queries.npy")[-count:]
    for limit in LIMITS:
        print(json.dumps(asked(search, queries, k, limit)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
