"""The search engine: queries of any modality on one open index."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.option_checks import check_k, check_percentile, known
from retrieval.search import query_vectors
from retrieval.search.calibration import ScoreDistribution
from retrieval.search.contributions import add_contributions
from retrieval.search.index_reader import IndexReader
from retrieval.search.merging import above_percentile, merge_modalities, to_hits
from retrieval.search.modality_index import ResultArrays
from retrieval.search.query_composition import ComposedQueries, compose, unit_or_cancelled
from retrieval.search.searcher import Searcher
from retrieval.storage.manifest import Manifest
from retrieval.types import ITEM, Hit, Matrix, Modality, Query, Target, Term
from retrieval.vectors.base import Explain, silent

if TYPE_CHECKING:
    from retrieval.display.previews import Preview

ANY = "any"


class SearchEngine(Searcher):
    """Search in one published generation of an index. Keeps no state of queries; any number of threads may search.

    Encoders, vectors and catalog are opened at their first use.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        device: str = "auto",
        runtime: str = "auto",
        encoders: Mapping[str, str] | None = None,
    ) -> None:
        """Open the index in ``folder``.

        Args:
            folder: the folder given to ``xmodal index --out``.
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``, for encoders and vectors.
            runtime: the runtime of the encoders' networks: ``"auto"``, ``"torch"`` or ``"openvino"``.
            encoders: by modality, names of the encoders that the index was built with, for those whose files of
                weights have moved.

        Raises:
            NotAnIndexError: the folder is not an index.
            IndexFormatError: the index was written by a newer version.
            DamagedIndexError: files are missing or inconsistent.
            OptionError, DeviceError: the device or runtime is unknown or unavailable.
            EncoderMismatchError: the index was built with other encoders.
        """
        self.index = IndexReader(folder, device=device, runtime=runtime, encoders=encoders)

    @property
    def folder(self) -> Path:
        """The index folder."""
        return self.index.folder

    @property
    def manifest(self) -> Manifest:
        """The manifest of the open generation."""
        return self.index.manifest

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that have indexed assets."""
        return self.index.modalities

    # Queries

    def encode(
        self,
        *,
        text: str | Sequence[str] | None = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
    ) -> Matrix:
        """Encode media of one modality in the aligned space.

        Args:
            text: one or a list of n texts. Exactly one of the four arguments must be given.
            image: one or a list of n paths, ``bytes`` or pictures.
            audio: one or a list of n paths or ``bytes``.
            video: one or a list of n paths or ``bytes``.

        Returns:
            (n, d) float32, unit norm.

        Raises:
            OptionError: not exactly one of the arguments is given.
            MediaError: a medium cannot be decoded.
        """
        arguments = {"text": text, "image": image, "audio": audio, "video": video}
        present = [(Modality(name), value) for name, value in arguments.items() if value is not None]
        if len(present) != 1:
            raise OptionError(f"encode takes media of one modality at a time, not {len(present)}")
        modality, media = present[0]
        return self.index.space.encode(modality, list(media) if isinstance(media, list | tuple) else [media])

    def search_batch(
        self,
        queries: Sequence[Query],
        *,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
        min_percentile: float | None = None,
        explain: Explain = silent,
    ) -> list[list[Hit]]:
        """Return the hits of many queries in one call; see ``search``.

        ``explain`` is called with sentences about how each target was searched.
        """
        k, least = check_k(k), check_percentile(min_percentile)
        if not queries:
            return []
        terms = [query.terms() for query in queries]
        targets = self.targets(to, {term.kind for group in terms for term in group})
        if not targets:
            return [[] for _ in queries]
        # The items that a query names are never among its hits.
        query_assets = [
            [asset for term in group if term.kind == "id" for asset in self._assets_of(term)]
            for group in terms
        ]
        depth = k + max(map(len, query_assets))
        composed = {target: self.compose(terms, target) for target in targets}
        results, backgrounds = [], []
        for target, composed_queries in composed.items():
            results.append(self._search(composed_queries.vectors, target, depth, where, explain))
            backgrounds.append(self._background(terms, composed_queries, target))
        answers = [
            above_percentile(
                [scored for scored in answer if scored.asset not in excluded] if excluded else answer, least
            )
            for answer, excluded in zip(
                merge_modalities(results, backgrounds), map(set, query_assets), strict=True
            )
        ]
        hits = to_hits(self.index.catalog, answers, k)
        if targets == [ITEM]:
            hits = [[replace(hit, modality=ITEM) for hit in query_hits] for query_hits in hits]
        return (
            add_contributions(self.index, composed, hits) if any(len(group) > 1 for group in terms) else hits
        )

    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """Return previews of the hits; see ``Searcher.previews``."""
        from retrieval.display.previews import previews

        numbers = [hit.asset for hit in hits if hit.asset is not None]
        return previews(self.index.catalog, self.manifest.sources, numbers)

    def search_arrays(
        self,
        vectors: Matrix,
        *,
        to: str,
        k: int = 10,
        where: str | None = None,
        explain: Explain = silent,
    ) -> ResultArrays:
        """Return the results of many queries as arrays, which costs little more than the search itself.

        Args:
            vectors: (q, d) finite numbers in the aligned space, as ``encode`` returns them; of any length above 0.
            to: the modality to find; for items see ``search``.
            k: maximum number of results per query.
            where: a filter on metadata.
            explain: called with sentences about how the index was searched.

        Raises:
            OptionError: an argument has an invalid value, or the index has no assets of the modality.
            ExpressionError: ``where`` does not parse.
        """
        queries = np.asarray(vectors, dtype=np.float32)
        if (
            queries.ndim != 2
            or queries.shape[1] != self.index.space.dimension
            or not np.isfinite(queries).all()
        ):
            raise OptionError(
                f"query vectors must be (q, {self.index.space.dimension}) finite numbers, not of shape {queries.shape}"
            )
        queries = unit_or_cancelled(queries, np.zeros((len(queries), 1)))
        return self._search(queries, Modality.parse(to), check_k(k), where, explain)

    def _search(
        self, vectors: Matrix, target: Target, k: int, where: str | None, explain: Explain
    ) -> ResultArrays:
        modality_index = self.index.modality_index(target)
        rows = None if where is None else self.index.matching(where, target)
        explain_target = explain if explain is silent else lambda message: explain(f"{target}: {message}")
        return ResultArrays(*modality_index.search(vectors, k, rows, explain_target))

    # Internals

    def targets(self, to: str | None, query_kinds: Collection[str]) -> Sequence[Target]:
        """Return the targets: those that ``to`` names, or the one modality other than those of the query.

        Raises:
            OptionError: ``to`` is unknown, or None when there is not exactly one other modality.
        """
        if to == ANY:
            return self.modalities
        if to == ITEM:
            return [ITEM]
        if to is not None:
            return [Modality(known("modality", to, (*Modality, ITEM, ANY)))]
        others = [modality for modality in self.modalities if modality not in query_kinds]
        if len(others) != 1:
            raise OptionError(
                f"say what to find, one of {', '.join([*self.modalities, ANY])}: "
                f"the index has {len(others)} modalities other than the query's"
            )
        return others

    def compose(self, terms: Sequence[Sequence[Term]], target: Target) -> ComposedQueries:
        """Return queries as vectors of the target's space.

        Raises:
            OptionError: the terms of a query cancel each other.
        """
        dimension = (
            self.index.modality_index(ITEM).index.dimension if target == ITEM else self.index.space.dimension
        )
        return compose(
            terms,
            lambda kind, kind_terms: query_vectors.query_vectors(self.index, kind, kind_terms, target),
            dimension,
        )

    def _background(
        self, terms: Sequence[Sequence[Term]], composed: ComposedQueries, target: Target
    ) -> list[ScoreDistribution | None]:
        """Return the score distribution of unrelated pairs for each query; None if unknown."""
        sources = [
            [(self._source_modality(term, target), share) for term, share in zip(group, shares, strict=True)]
            for group, shares in zip(terms, composed.shares, strict=True)
        ]
        return self.index.modality_index(target).backgrounds.distributions(sources, composed.vectors)

    def _source_modality(self, term: Term, target: Target) -> Target | None:
        """Return the modality of a term's vector when ``target`` is searched; None if there is not exactly one."""
        if term.kind == "vector":
            return term.of
        if term.kind != "id":
            return Modality(term.kind)
        by_modality = query_vectors.item_assets(self.index, term.value, target)
        return next(iter(by_modality)) if len(by_modality) == 1 else None

    def _assets_of(self, term: Term) -> list[int]:
        return [asset for assets in self.index.catalog.item_assets(term.value).values() for asset in assets]


def open_index(
    folder: str | os.PathLike[str],
    *,
    device: str = "auto",
    runtime: str = "auto",
    encoders: Mapping[str, str] | None = None,
) -> SearchEngine:
    """Open an index for searching; this is ``retrieval.open``.

    Arguments and errors are those of ``SearchEngine``.
    """
    return SearchEngine(folder, device=device, runtime=runtime, encoders=encoders)
