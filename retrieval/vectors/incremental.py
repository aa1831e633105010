"""An index that is updated without being rebuilt: dead rows are skipped, and new vectors are stored beside it.

Files of a generation never change. The files of a large index are therefore linked into the next generation, together
with two new files: the added vectors, and the position of each current row's vector, which also tells which rows are
dead. When too large a share is dead or added, ``update`` returns None, so that the index is rebuilt (compaction).
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

COMPACTION_SHARE = 0.1
"""Largest share of dead rows, and largest share of added rows, relative to the built index."""

MAX_DIFFERENCE = 1e-3
"""Largest difference of two numbers at which a vector counts as equal to the stored one, at half precision."""

ROWS_AT_ONCE = 4096


class IncrementalIndex:
    """The remaining rows of a built index and the added rows, in one order.

    Attributes:
        base: the index as built.
        added: (m, d) float32, the vectors added since.
        order: (n,) int64, for each row its position in the base, or ``len(base)`` plus its position in ``added``.
    """

    exact = False

    def __init__(self, base: VectorIndex, added: Matrix, order: Integers) -> None:
        self.base = base
        self.added = added
        self.order = order
        self.kind = base.kind
        self._rows = np.full(len(base) + len(added), -1, np.int64)
        self._rows[order] = np.arange(len(order))
        self._split_subsets: WeakKeyDictionary[Subset, tuple[Subset, Subset]] = WeakKeyDictionary()
        self._alive = self._split(order)

    @property
    def dimension(self) -> int:
        """Number of columns of a vector."""
        return self.base.dimension

    def __len__(self) -> int:
        """Number of current vectors."""
        return len(self.order)

    def search(
        self, queries: Matrix, k: int, rows: Rows = None, *, explain: Explain = silent
    ) -> tuple[Matrix, Integers]:
        """See ``VectorIndex.search``."""
        subset = Subset.of(rows, len(self))
        if subset is not None and subset not in self._split_subsets:
            self._split_subsets[subset] = self._split(self.order[subset.rows])
        base, added = self._alive if subset is None else self._split_subsets[subset]
        explain(f"{len(base):,} vectors in the index as built, {len(added):,} added since")
        scores, positions = self.base.search(queries, k, base, explain=explain)
        added_scores, added_positions = scan.best(queries, self.added, k, added.rows)
        scores = np.concatenate([scores, added_scores], axis=1)
        found = self._rows[np.concatenate([positions, added_positions + len(self.base)], axis=1)]
        order = np.lexsort((found, -scores))[:, :k]
        return np.take_along_axis(scores, order, axis=1), np.take_along_axis(found, order, axis=1)

    def _split(self, positions: Integers) -> tuple[Subset, Subset]:
        """Split positions into those in the base and those among the added vectors."""
        positions = np.sort(positions)
        first_added = int(np.searchsorted(positions, len(self.base)))
        return (
            Subset(positions[:first_added], len(self.base)),
            Subset(positions[first_added:] - len(self.base), len(self.added)),
        )

    def vectors(self, rows: Integers | None = None) -> Matrix:
        """See ``VectorIndex.vectors``."""
        positions = self.order if rows is None else self.order[rows]
        vectors = np.empty((len(positions), self.dimension), np.float32)
        in_base = positions < len(self.base)
        vectors[in_base] = self.base.vectors(positions[in_base])
        vectors[~in_base] = self.added[positions[~in_base] - len(self.base)]
        return vectors

    def save(self, path: Path) -> None:
        """Write the built index and the two files beside it."""
        self.base.save(path)
        self.save_beside(path)

    def save_beside(self, path: Path) -> None:
        """Write the added vectors and the order beside the built index."""
        npy.write(faiss_files.added(path), self.added.astype(np.float16))
        npy.write(faiss_files.order(path), self.order)

    @classmethod
    def load(cls, base: VectorIndex, path: Path) -> IncrementalIndex:
        """Read the files written by ``save_beside``.

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


def update(
    previous: VectorIndex, previous_assets: Integers, assets: Integers, vectors: MatrixLike
) -> IncrementalIndex | None:
    """Update the previous index to the current vectors, unless it should be rebuilt.

    A vector is reused if it is unchanged, even if the asset is now in another row.

    Args:
        previous: the index to update.
        previous_assets: (m,) int64, the asset of each of its rows.
        assets: (n,) int64, the asset of each current row.
        vectors: (n, d) float32, the current vectors.

    Returns:
        The updated index; None if so much changed that the index should be rebuilt.
    """
    base = previous.base if isinstance(previous, IncrementalIndex) else previous
    positions = previous.order if isinstance(previous, IncrementalIndex) else np.arange(len(previous))
    by_asset = np.argsort(previous_assets)
    at = by_asset[
        np.minimum(np.searchsorted(previous_assets, assets, sorter=by_asset), len(previous_assets) - 1)
    ]
    order = np.where((previous_assets[at] == assets) & (positions[at] < len(base)), positions[at], -1)
    limit = COMPACTION_SHARE * len(base)
    for start in range(0, len(order), ROWS_AT_ONCE):
        block = slice(start, start + ROWS_AT_ONCE)
        reused = np.flatnonzero(order[block] >= 0) + start
        differ = np.abs(base.vectors(order[reused]) - vectors[reused]).max(axis=1, initial=0) > MAX_DIFFERENCE
        order[reused[differ]] = -1
        if (order[: block.stop] < 0).sum() > limit:
            return None
    new = np.flatnonzero(order < 0)
    if len(base) - (len(order) - len(new)) > limit:
        return None
    order[new] = len(base) + np.arange(len(new))
    return IncrementalIndex(base, vectors[new].astype(np.float16).astype(np.float32), order)


def manifest_entry(index: IncrementalIndex, previous: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest entry of an updated index: the ``previous`` entry, plus what has changed since."""
    alive = int((index.order < len(index.base)).sum())
    updated = {"built": len(index.base), "dead": len(index.base) - alive, "added": len(index.added)}
    return {**previous, "vectors": len(index), "updated": updated}


def link_files(previous: Path, path: Path) -> None:
    """Hard-link the files of the index at ``previous`` to ``path``; copy them where links are not supported."""
    for beside in (lambda name: name, faiss_files.stored, faiss_files.sample):
        source, target = beside(previous), beside(path)
        if source.is_file():
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
