"""Vector stores as their users use them: vectors and one metadata column, each imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

ROWS_AT_ONCE = 5_000


class Search(Protocol):
    """One query, answered by row numbers; with a limit only of rows whose column is below it."""

    def __call__(self, query: Matrix, k: int, limit: int | None) -> list[int]: ...


def _parts(count: int) -> Iterator[slice]:
    return (slice(at, min(at + ROWS_AT_ONCE, count)) for at in range(0, count, ROWS_AT_ONCE))


def usearch(vectors: Matrix, column: NDArray[np.int64], _folder: Path) -> Search:
    """A graph in bfloat16; it has no columns: asked for more, of which those that match are kept."""
    from usearch.index import Index

    index = Index(ndim=vectors.shape[1], metric="ip", dtype="bf16")
    index.add(np.arange(len(vectors)), vectors)

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        asked = k
        while True:
            found = np.asarray(index.search(query, asked).keys).astype(np.int64)
            kept = found if limit is None else found[column[found] < limit]
            if len(kept) >= k or asked >= len(vectors):
                return kept[:k].tolist()
            asked = min(4 * asked, len(vectors))

    return search


def lancedb(vectors: Matrix, column: NDArray[np.int64], folder: Path) -> Search:
    """A table with no vector index, and one on the column."""
    import lancedb
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        for part in _parts(len(vectors)):
            flat = pa.array(vectors[part].ravel())
            rows = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
            ids = pa.array(np.arange(part.start, part.stop))
            yield pa.record_batch([ids, pa.array(column[part]), rows], names=["id", "share", "vector"])

    table = lancedb.connect(str(folder / "lancedb")).create_table(
        "t", data=pa.Table.from_batches(list(batches()))
    )
    table.create_scalar_index("share")

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        asking = table.search(query).distance_type("dot").select(["id"]).limit(k)
        asking = asking if limit is None else asking.where(f"share < {limit}", prefilter=True)
        return asking.to_arrow()["id"].to_pylist()

    return search


def chromadb(vectors: Matrix, column: NDArray[np.int64], folder: Path) -> Search:
    """Its graph, on disk."""
    import chromadb

    client = chromadb.PersistentClient(str(folder / "chroma"))
    made = client.create_collection("vectors", metadata={"hnsw:space": "ip"})
    for part in _parts(len(vectors)):
        names = [str(at) for at in range(part.start, part.stop)]
        made.add(names, vectors[part], [{"share": share} for share in column[part].tolist()])

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = None if limit is None else {"share": {"$lt": limit}}
        found = made.query(query_embeddings=[query], n_results=k, where=where, include=["metadatas"])
        return [int(name) for name in found["ids"][0]]

    return search


def qdrant(vectors: Matrix, column: NDArray[np.int64], folder: Path) -> Search:
    """The client's local mode."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(folder / "qdrant"))
    client.create_collection(
        "c", vectors_config=models.VectorParams(size=vectors.shape[1], distance=models.Distance.DOT)
    )
    for part in _parts(len(vectors)):
        payload = [{"share": share} for share in column[part].tolist()]
        ids = list(range(part.start, part.stop))
        client.upsert("c", models.Batch(ids=ids, vectors=vectors[part].tolist(), payloads=payload))

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        condition = models.FieldCondition(key="share", range=models.Range(lt=limit))
        where = None if limit is None else models.Filter(must=[condition])
        found = client.query_points("c", query=query.tolist(), limit=k, query_filter=where, with_payload=True)
        return [int(point.id) for point in found.points]

    return search


def milvus(vectors: Matrix, column: NDArray[np.int64], folder: Path) -> Search:
    """milvus-lite in a file, compared flat."""
    from pymilvus import MilvusClient

    client = MilvusClient(str(folder / "milvus.db"))
    client.create_collection("c", dimension=vectors.shape[1], metric_type="IP")
    for part in _parts(len(vectors)):
        rows = zip(range(part.start, part.stop), column[part].tolist(), vectors[part], strict=True)
        client.insert("c", [{"id": at, "share": share, "vector": vector} for at, share, vector in rows])
    client.flush("c")

    def search(query: Matrix, k: int, limit: int | None) -> list[int]:
        where = "" if limit is None else f"share < {limit}"
        found = client.search("c", [query.tolist()], limit=k, filter=where, output_fields=["share"])
        return [int(hit["id"]) for hit in found[0]]

    return search


PEERS: dict[str, Callable[[Matrix, NDArray[np.int64], Path], Search]] = {
    "usearch": usearch,
    "lancedb": lancedb,
    "chromadb": chromadb,
    "qdrant-client": qdrant,
    "milvus-lite": milvus,
}
