"""Search effort: numbers that are passed with each call, so that a search never changes the index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

from retrieval.vectors import faiss_module
from retrieval.vectors.base import Subset, selector

REFERENCE_K = 10
"""Number of hits that efforts are tuned and measured with."""


MIN_BEAM = 16
"""Smallest beam for searching the graph of list centres."""

CACHED_PARAMETERS = 64
"""FAISS parameter objects cached per index, for different numbers of hits and efforts."""


@dataclass(frozen=True, slots=True)
class Effort:
    """The effort spent on one query.

    Attributes:
        depth: candidates scored exactly to find up to ten hits; for more hits proportionally more.
        probes: lists of an inverted file that are scanned (``nprobe``).
        beam: candidates kept while searching a graph (``efSearch``).
        filtered: efforts for searches of a subset, by its share of the rows, descending. A smaller subset than the
            last is compared exactly; if empty, every subset smaller than nearly all rows is. None if never tuned.
    """

    depth: int = 16 * REFERENCE_K
    probes: int = 1
    beam: int = 64
    filtered: tuple[tuple[float, Effort], ...] | None = field(default=None, hash=False)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Effort:
        """Read an effort from a manifest entry made by ``as_entry``; missing values get the defaults."""
        shares = entry.get("filtered")
        filtered = None if shares is None else tuple((share, cls(**values)) for share, values in shares)
        return cls(**entry.get("effort", {}), filtered=filtered)

    def as_entry(self) -> dict[str, Any]:
        """Return plain values for the manifest."""
        entry: dict[str, Any] = {"effort": self._numbers()}
        if self.filtered is not None:
            entry["filtered"] = [[share, effort._numbers()] for share, effort in self.filtered]
        return entry

    def _numbers(self) -> dict[str, int]:
        return {"depth": self.depth, "probes": self.probes, "beam": self.beam}

    def candidates(self, k: int) -> int:
        """Return the number of candidates that ``k`` hits are chosen from."""
        return max(k, self.depth, -(-self.depth * k // REFERENCE_K))

    def for_subset(self, subset: Subset | None) -> Effort:
        """Return the effort for a subset: its rows are spread over more lists and lie further away in a graph."""
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
    """Cache of FAISS parameters for searches of an ``IndexRefine``; searches only read them."""

    def __init__(self, index: Any) -> None:
        """Cache parameters for the candidate index ``index`` of FAISS; None for one without parameters."""
        self._index = index
        self._for_all_rows: dict[tuple[Effort, int], Any] = {}
        self._by_subset: WeakKeyDictionary[Subset, dict[tuple[Effort, int], Any]] = WeakKeyDictionary()

    def __len__(self) -> int:
        """Number of cached parameters for searches of all rows."""
        return len(self._for_all_rows)

    def of(self, effort: Effort, k: int, subset: Subset | None) -> Any:
        """Return the parameters for ``k`` hits among a subset."""
        cache = self._for_all_rows if subset is None else self._by_subset.setdefault(subset, {})
        parameters = cache.get((effort, k))
        if parameters is None:
            if len(cache) >= CACHED_PARAMETERS:  # >=, because threads may have passed this check together
                cache.clear()
            parameters = cache[effort, k] = refine_parameters(self._index, effort, k, subset)
        return parameters


def refine_parameters(index: Any, effort: Effort, k: int, subset: Subset | None) -> Any:
    """Return FAISS parameters for ``k`` hits of an ``IndexRefine`` over ``index``.

    They keep alive what they point to.
    """
    faiss = faiss_module.load()
    effort = effort.for_subset(subset)
    inner = _parameters(index, effort, None if subset is None else selector(subset))
    options = {} if inner is None else {"base_index_params": inner}
    # The last hit is requested only to detect ties, and needs no candidates of its own. FAISS rounds down.
    candidates = max(k, effort.candidates(max(1, k - 1)))
    return faiss.IndexRefineSearchParameters(k_factor=(candidates + 0.5) / k, **options)


def _parameters(index: Any, effort: Effort, selector: Any) -> Any:
    faiss = faiss_module.load()
    options = {} if selector is None else {"sel": selector}
    if isinstance(index, faiss.IndexPreTransform):
        inner = _parameters(faiss.downcast_index(index.index), effort, selector)
        return inner and faiss.SearchParametersPreTransform(index_params=inner)
    if list_count(index):
        probes = min(effort.probes, list_count(index))
        if is_graph(faiss.downcast_index(index.quantizer)):  # the lists themselves are found through a graph
            options["quantizer_params"] = faiss.SearchParametersHNSW(efSearch=max(MIN_BEAM, 2 * probes))
        return faiss.SearchParametersIVF(nprobe=probes, **options)
    if isinstance(index, faiss.IndexHNSW):
        return faiss.SearchParametersHNSW(efSearch=effort.beam, **options)
    return faiss.SearchParameters(**options) if options else None


def list_count(index: Any) -> int:
    """Return the number of lists of an inverted file; 0 for any other index."""
    return int(getattr(index, "nlist", 0))


def is_graph(index: Any) -> bool:
    """Return whether ``index`` is searched through a graph."""
    return isinstance(index, faiss_module.load().IndexHNSW)
