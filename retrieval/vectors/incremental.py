"""An index that was not built anew: its dead rows are passed over, what came since stands beside it.

Files of a generation never change, so those of a large index are linked into the next generation, together with
two new ones: the vectors that it lacks, and for every row of today where its vector lies, which also says which
rows are dead. When either part is too large a share, ``continued`` asks for a new index (compaction).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from retrieval.arrays import npy
from retrieval.arrays.lazy import MatrixLike
from retrieval.errors import DamagedIndexError
from retrieval.types import Integers, Matrix
from retrieval.vectors import faiss_files, scan
from retrieval.vectors.base import Explain, Rows, Subset, VectorIndex, silent

COMPACTED_ABOVE = 0.1
"""Share of the built index that may be dead, and share that may have been added."""

SAME = 1e-3
"""Largest difference of two numbers up to which a vector is the one that is stored, at half precision."""

COMPARED_AT_ONCE = 4096


class IncrementalIndex:
    """The rows of a built index that are left, and those that were added, in one order.

    Attributes:
        base: the index as it was built.
        added: (m, d) float32, what it lacks.
        order: (n,) int64, for each row its place in the base, or behind it among the added.
    """

    exact = False

    def __init__(self, base: VectorIndex, added: Matrix, order: Integers) -> None:
        self.base = base
        self.added = added
        self.order = order
        self.kind = base.kind
        self._rows = np.full(len(base) + len(added), -1, np.int64)
        self._rows[order] = np.arange(len(order))
        self._placed: WeakKeyDictionary[Subset, tuple[Subset, Subset]] = WeakKeyDictionary()
        self._alive = self._places(order)

    @property
    def dimension(self) -> int:
        """Columns of a vector."""
        return self.base.dimension

    def __len__(self) -> int:
        """Number of vectors that are left."""
        return len(self.order)

    def search(
        self, queries: Matrix, k: int, rows: Rows = None, *, explain: Explain = silent
    ) -> tuple[Matrix, Integers]:
        """See ``VectorIndex.search``."""
        subset = Subset.of(rows, len(self))
        if subset is not None and subset not in self._placed:
            self._placed[subset] = self._places(self.order[subset.rows])
        base, added = self._alive if subset is None else self._placed[subset]
        explain(f"{len(base):,} vectors in the index as it was built, {len(added):,} added since")
        scores, found = self.base.search(queries, k, base, explain=explain)
        more_scores, more = scan.best(queries, self.added, k, added.rows)
        scores = np.concatenate([scores, more_scores], axis=1)
        found = self._rows[np.concatenate([found, more + len(self.base)], axis=1)]
        order = np.lexsort((found, -scores))[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)

    def _places(self, places: Integers) -> tuple[Subset, Subset]:
        places = np.sort(places)
        first = int(np.searchsorted(places, len(self.base)))
        return (
            Subset(places[:first], len(self.base)),
            Subset(places[first:] - len(self.base), len(self.added)),
        )

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``."""
        places = self.order if rows is None else self.order[rows]
        found = np.empty((len(places), self.dimension), np.float32)
        built = places < len(self.base)
        found[built] = self.base.vectors(places[built])
        found[~built] = self.added[places[~built] - len(self.base)]
        return found

    def save(self, path: Path) -> None:
        """Write the built index and what came since."""
        self.base.save(path)
        self.save_beside(path)

    def save_beside(self, path: Path) -> None:
        """Write what came since the index was built."""
        npy.write(faiss_files.added(path), self.added.astype(np.float16))
        npy.write(faiss_files.order(path), self.order)

    @classmethod
    def load(cls, base: VectorIndex, path: Path) -> IncrementalIndex:
        """Read what ``save_beside`` wrote.

        Raises:
            DamagedIndexError: a file cannot be read, or the files contradict each other.
        """
        added = npy.read(faiss_files.added(path)).astype(np.float32)
        order: Integers = npy.read(faiss_files.order(path))
        count = len(base) + len(added)
        if (
            added.ndim != 2
            or len(np.unique(order)) != len(order)
            or not np.isin(order, np.arange(count)).all()
        ):
            raise DamagedIndexError(
                f"{faiss_files.order(path)} does not fit the {count} vectors beside it: restore or rebuild the index"
            )
        return cls(base, added, order)


def continued(
    before: VectorIndex, known: Integers, assets: Integers, vectors: MatrixLike
) -> IncrementalIndex | None:
    """The index of today's vectors, made of the one before where that is worth it.

    A vector is taken over when it is the same, whatever became of the asset's row.

    Args:
        before: the index as it is.
        known: (m,) int64, the asset of each of its rows.
        assets: (n,) int64, the asset of each row of today.
        vectors: (n, d) float32.

    Returns:
        None when so much changed that an index should be built anew.
    """
    base = before.base if isinstance(before, IncrementalIndex) else before
    places = before.order if isinstance(before, IncrementalIndex) else np.arange(len(before))
    by_asset = np.argsort(known)
    at = by_asset[np.minimum(np.searchsorted(known, assets, sorter=by_asset), len(known) - 1)]
    order = np.where((known[at] == assets) & (places[at] < len(base)), places[at], -1)
    limit = COMPACTED_ABOVE * len(base)
    for start in range(0, len(order), COMPARED_AT_ONCE):
        block = slice(start, start + COMPARED_AT_ONCE)
        held = np.flatnonzero(order[block] >= 0) + start
        differ = np.abs(base.vectors(order[held]) - vectors[held]).max(axis=1, initial=0) > SAME
        order[held[differ]] = -1
        if (order[: block.stop] < 0).sum() > limit:
            return None
    new = np.flatnonzero(order < 0)
    if len(base) - (len(order) - len(new)) > limit:
        return None
    order[new] = len(base) + np.arange(len(new))
    return IncrementalIndex(base, vectors[new].astype(np.float16).astype(np.float32), order)


def described(index: IncrementalIndex, before: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's entry for an index that goes on: as ``before`` it, and what became of it since."""
    left = int((index.order < len(index.base)).sum())
    since = {"built": len(index.base), "dead": len(index.base) - left, "added": len(index.added)}
    return {**before, "vectors": len(index), "updated": since}


def link(before: Path, path: Path) -> None:
    """Put the files of the index at ``before`` to ``path`` as well: by a second name where the disk can."""
    for beside in (lambda name: name, faiss_files.stored, faiss_files.sample):
        source, target = beside(before), beside(path)
        if source.is_file():
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
