"""How hard one search tries: numbers that travel with the call, so that the index itself never changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from retrieval.vectors import faiss_module
from retrieval.vectors.base import Subset, selector

K = 10
"""Hits that an effort is meant for and measured with."""


LEAST_BEAM = 16
"""Lists that a walk through the graph of their centres keeps, at the least."""

KEPT = 64
"""Parameters that an index remembers, of different numbers of hits and efforts."""


@dataclass(frozen=True, slots=True)
class Effort:
    """What is spent on a query.

    Attributes:
        depth: candidates that are scored exactly to find up to ten hits; for more hits proportionally more.
        probes: lists of an inverted file that are looked into.
        beam: candidates that a walk through a graph keeps (``efSearch``).
        filtered: what to spend when only some rows count: for shares of the rows, descending. What leaves less
            than the last is compared exactly; where there is no share, whatever leaves less than nearly all is.
            None where that was never tuned.
    """

    depth: int = 16 * K
    probes: int = 1
    beam: int = 64
    filtered: tuple[tuple[float, Effort], ...] | None = field(default=None, hash=False)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Effort:
        """What ``as_entry`` gave; the default where there is nothing."""
        shares = entry.get("filtered")
        filtered = None if shares is None else tuple((share, cls(**values)) for share, values in shares)
        return cls(**entry.get("effort", {}), filtered=filtered)

    def as_entry(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        entry: dict[str, Any] = {"effort": self._numbers()}
        if self.filtered is not None:
            entry["filtered"] = [[share, effort._numbers()] for share, effort in self.filtered]
        return entry

    def _numbers(self) -> dict[str, int]:
        return {"depth": self.depth, "probes": self.probes, "beam": self.beam}

    def candidates(self, k: int) -> int:
        """How many candidates ``k`` hits are chosen from."""
        return max(k, self.depth, -(-self.depth * k // K))

    def among(self, subset: Subset | None) -> Effort:
        """What to spend when only some rows count: those that do lie in more lists and further off in a graph."""
        if subset is None:
            return self
        for share, effort in self.filtered or ():
            if share <= subset.share:
                return effort
        return replace(
            self,
            probes=round(self.probes * min(8.0, subset.share**-0.5)),
            beam=round(self.beam * min(16.0, 1 / subset.share)),
            filtered=None,
        )


class Parameters:
    """FAISS's parameters for searches of an ``IndexRefine``: made once, for searches only read them."""

    def __init__(self, index: Any) -> None:
        """Make them for what ``index`` of FAISS proposes; None for an index that takes none."""
        self._index = index
        self._whole: dict[tuple[Effort, int], Any] = {}
        self._among: WeakKeyDictionary[Subset, dict[tuple[Effort, int], Any]] = WeakKeyDictionary()

    def __len__(self) -> int:
        """How many are remembered for searches of all rows."""
        return len(self._whole)

    def of(self, effort: Effort, k: int, subset: Subset | None) -> Any:
        """Those for ``k`` hits among a subset."""
        kept = self._whole if subset is None else self._among.setdefault(subset, {})
        found = kept.get((effort, k))
        if found is None:
            if len(kept) >= KEPT:  # threads may have come past it together
                kept.clear()
            found = kept[effort, k] = refining(self._index, effort, k, subset)
        return found


def refining(index: Any, effort: Effort, k: int, subset: Subset | None) -> Any:
    """FAISS's parameters for ``k`` hits of an ``IndexRefine`` over ``index``.

    They keep what they point to alive.
    """
    faiss = faiss_module.load()
    effort = effort.among(subset)
    inner = _parameters(index, effort, None if subset is None else selector(subset))
    options = {} if inner is None else {"base_index_params": inner}
    # The last of the hits is there to see whether it ties, and needs no candidates of its own. FAISS rounds down.
    candidates = max(k, effort.candidates(max(1, k - 1)))
    return faiss.IndexRefineSearchParameters(k_factor=(candidates + 0.5) / k, **options)


def _parameters(index: Any, effort: Effort, selector: Any) -> Any:
    faiss = faiss_module.load()
    options = {} if selector is None else {"sel": selector}
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss.downcast_index(index.index), effort, selector)
        return inner and faiss.SearchParametersPreTransform(index_params=inner)
    if lists(index):
        probes = min(effort.probes, lists(index))
        if is_graph(faiss.downcast_index(index.quantizer)):  # the lists themselves are found by a walk
            options["quantizer_params"] = faiss.SearchParametersHNSW(efSearch=max(LEAST_BEAM, 2 * probes))
        return faiss.SearchParametersIVF(nprobe=probes, **options)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=effort.beam, **options)
    return faiss.SearchParameters(**options) if options else None


def lists(index: Any) -> int:
    """Number of lists of an inverted file; 0 for an index that is none."""
    return int(getattr(index, "nlist", 0))


def is_graph(index: Any) -> bool:
    """Whether it is searched by walking through a graph."""
    return isinstance(index, faiss_module.load().IndexHNSW)
