"""The search engine: queries in any modality against one opened index."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.search import query_vectors
from retrieval.search.calibration import Curve
from retrieval.search.contributions import with_contributions
from retrieval.search.index_reader import IndexReader
from retrieval.search.merging import above_percentile, merge_modalities, to_hits
from retrieval.search.modality_index import ResultArrays
from retrieval.search.query_composition import ComposedQueries, compose, unit_or_cancelled
from retrieval.search.searcher import Searcher
from retrieval.storage.manifest import Manifest
from retrieval.types import ITEM, Hit, Matrix, Modality, Query, Target, Term
from retrieval.validation import check_k, check_percentile, known
from retrieval.vectors.base import Explain, silent

if TYPE_CHECKING:
    from retrieval.display.previews import Preview

ANY = "any"


class SearchEngine(Searcher):
    """A published generation of an index. Holds no state of a query; any number of threads may search.

    Nothing is read before it is needed: encoders, vectors and catalog are opened at their first use.
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
            folder: what ``xmodal index --out`` was given.
            device: ``"auto"``, ``"cpu"`` or ``"cuda"``, for encoders and vectors.
            runtime: what computes the encoders' networks: ``"auto"``, ``"torch"`` or ``"openvino"``.
            encoders: by modality, where to find the encoders that the index was built with, for those
                whose weights are files that are no longer where they were.

        Raises:
            NotAnIndexError: the folder is no index.
            IndexFormatError: a newer version wrote it.
            DamagedIndexError: files are missing or contradict each other.
            OptionError, DeviceError: the device or runtime is unknown or not there.
            EncoderMismatchError: the index was built with other encoders.
        """
        self.index = IndexReader(folder, device=device, runtime=runtime, encoders=encoders)

    @property
    def folder(self) -> Path:
        """The index folder."""
        return self.index.folder

    @property
    def manifest(self) -> Manifest:
        """The manifest of the generation that is searched."""
        return self.index.manifest

    @property
    def modalities(self) -> list[Modality]:
        """The modalities that have assets to be found."""
        return self.index.modalities

    # Asking

    def encode(
        self,
        *,
        text: str | Sequence[str] | None = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
    ) -> Matrix:
        """Media of one modality in the aligned space.

        Args:
            text: one or a list of n texts; give just one of the four arguments.
            image: one or a list of n paths, ``bytes`` or pictures.
            audio: one or a list of n paths or ``bytes``.
            video: one or a list of n paths or ``bytes``.

        Returns:
            (n, d) float32, unit norm.

        Raises:
            OptionError: none or several of the arguments are given.
            MediaError: a medium cannot be decoded.
        """
        given = {"text": text, "image": image, "audio": audio, "video": video}
        chosen = [(Modality(name), value) for name, value in given.items() if value is not None]
        if len(chosen) != 1:
            raise OptionError(f"encode takes media of one modality at a time, not {len(chosen)}")
        modality, media = chosen[0]
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
        """The answers to many queries in one call; see ``search``."""
        k, least = check_k(k), check_percentile(min_percentile)
        if not queries:
            return []
        terms = [query.terms() for query in queries]
        targets = self.targets(to, {term.kind for group in terms for term in group})
        if not targets:
            return [[] for _ in queries]
        # What is never wanted among the hits: the items that a query itself names.
        named = [
            [int(a) for term in group if term.kind == "id" for a in self._assets_of(term)] for group in terms
        ]
        asked = k + max(map(len, named))
        composed = {target: self.compose(terms, target) for target in targets}
        found, backgrounds = [], []
        for target, own in composed.items():
            found.append(self._search(own.vectors, target, asked, where, explain))
            backgrounds.append(self._background(terms, own, target))
        kept = [
            above_percentile(
                [answer for answer in answers if answer.asset not in own] if own else answers, least
            )
            for answers, own in zip(merge_modalities(found, backgrounds), map(set, named), strict=True)
        ]
        hits = to_hits(self.index.catalog, kept, k)
        if targets == [ITEM]:
            hits = [[replace(hit, modality=ITEM) for hit in own] for own in hits]
        return (
            with_contributions(self.index, composed, hits) if any(len(group) > 1 for group in terms) else hits
        )

    def previews(self, hits: Sequence[Hit]) -> list[Preview]:
        """What the hits are, to be looked at; see ``Searcher.previews``."""
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
        """The answers to many queries as arrays, which costs little more than the search itself.

        Args:
            vectors: (q, d) finite numbers in the aligned space, as ``encode`` gives them; their lengths are nothing.
            to: the modality to find; for items see ``search``.
            k: at most this many answers.
            where: a filter on metadata.
            explain: is told in sentences how it was searched.

        Raises:
            OptionError: an argument has an unusable value, or the index has no assets of the modality.
            ExpressionError: ``where`` does not parse.
        """
        asking = np.asarray(vectors, dtype=np.float32)
        if asking.ndim != 2 or asking.shape[1] != self.index.space.dimension or not np.isfinite(asking).all():
            raise OptionError(
                f"query vectors must be (q, {self.index.space.dimension}) finite numbers, not of shape {asking.shape}"
            )
        asking = unit_or_cancelled(asking, np.zeros((len(asking), 1)))
        return self._search(asking, Modality.parse(to), check_k(k), where, explain)

    def _search(
        self, vectors: Matrix, target: Target, k: int, where: str | None, explain: Explain
    ) -> ResultArrays:
        modality_index = self.index.modality_index(target)
        rows = None if where is None else self.index.matching(where, target)
        told = explain if explain is silent else lambda what: explain(f"{target}: {what}")
        return ResultArrays(*modality_index.search(vectors, k, rows, told))

    # Inside

    def targets(self, to: str | None, asked: Collection[str]) -> Sequence[Target]:
        """What is looked for: what ``to`` says, or the one modality other than those ``asked`` by.

        Raises:
            OptionError: ``to`` is unknown, or left out where there is no one other modality.
        """
        if to == ANY:
            return self.modalities
        if to == ITEM:
            return [ITEM]
        if to is not None:
            return [Modality(known("modality", to, (*Modality, ITEM, ANY)))]
        others = [modality for modality in self.modalities if modality not in asked]
        if len(others) != 1:
            raise OptionError(
                f"say what to find, one of {', '.join([*self.modalities, ANY])}: "
                f"the index has {len(others)} modalities other than the query's"
            )
        return others

    def compose(self, terms: Sequence[Sequence[Term]], target: Target) -> ComposedQueries:
        """Queries as vectors of the space in which what is looked for lies.

        Raises:
            OptionError: the terms of one cancel each other.
        """
        dimension = (
            self.index.modality_index(ITEM).index.dimension if target == ITEM else self.index.space.dimension
        )
        return compose(
            terms, lambda kind, own: query_vectors.query_vectors(self.index, kind, own, target), dimension
        )

    def _background(
        self, terms: Sequence[Sequence[Term]], composed: ComposedQueries, target: Target
    ) -> list[Curve | None]:
        """How the scores of each query are distributed where nothing is meant."""
        sources = [
            [(self._made_of(term, target), share) for term, share in zip(group, own, strict=True)]
            for group, own in zip(terms, composed.shares, strict=True)
        ]
        return self.index.modality_index(target).backgrounds.of(sources, composed.vectors)

    def _made_of(self, term: Term, target: Target) -> Target | None:
        """The modality of a term's vector where ``target`` is looked for, as far as it has one."""
        if term.kind == "vector":
            return term.of
        if term.kind != "id":
            return Modality(term.kind)
        chosen = query_vectors.item_assets(self.index, term.value, target)
        return next(iter(chosen)) if len(chosen) == 1 else None

    def _assets_of(self, term: Term) -> list[int]:
        return [asset for assets in self.index.catalog.item_assets(term.value).values() for asset in assets]


def open_index(
    folder: str | os.PathLike[str],
    *,
    device: str = "auto",
    runtime: str = "auto",
    encoders: Mapping[str, str] | None = None,
) -> SearchEngine:
    """Open an index to search it; ``retrieval.open`` is this.

    Args and errors are those of ``SearchEngine``.
    """
    return SearchEngine(folder, device=device, runtime=runtime, encoders=encoders)
