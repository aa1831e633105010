"""The search engine: a published index, asked in any modality."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from retrieval import arrays
from retrieval import device as devices
from retrieval.alignment.base import Alignment
from retrieval.catalog import AssetTable, Catalog
from retrieval.errors import DamagedIndexError, EncoderMismatchError, OptionError, OutdatedReaderError
from retrieval.manifest import Layout, Manifest
from retrieval.pairs import pair
from retrieval.runtimes import registry as runtimes
from retrieval.shelf import Shelf
from retrieval.space import Space
from retrieval.types import Hit, Integers, Matrix, Modality, Query, Term
from retrieval.vectors import registry

ANY = "any"

CANCELLED = 1e-4
"""Share of its terms' weights that a query must be longer than; what is shorter is rounding alone."""


class SearchEngine:
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
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder)
        self._device = devices.check(device)
        self._runtime = runtimes.check(runtime)
        self._names = self._named(encoders or {})
        self._generation = Layout(self.folder).generation(self.manifest.generation)
        self._shelves: dict[Modality, Shelf] = {}

    @property
    def modalities(self) -> list[Modality]:
        """Those that have assets to be found."""
        return list(self.manifest.indexes)

    @cached_property
    def catalog(self) -> Catalog:
        """Items, captions, metadata."""
        self._check_present()
        return Catalog(self._generation.catalog)

    @cached_property
    def space(self) -> Space:
        """Encoders and alignment."""
        self._check_present()
        alignment = Alignment.load(self._generation.alignment)
        if alignment.fingerprint != self.manifest.alignment["fingerprint"]:
            raise DamagedIndexError(
                f"{self._generation.alignment} is not the alignment the manifest names: "
                "restore or rebuild the index"
            )
        return Space(
            self.manifest.encoders,
            alignment,
            names=self._names,
            device=self._device,
            runtime=self._runtime,
        )

    def _named(self, given: Mapping[str, str]) -> dict[Modality, str]:
        """What to load each encoder by: as it was named for the index, unless it is named anew."""
        names = {Modality(name): own for name, own in self.manifest.settings["encoders"].items()}
        for name, wanted in given.items():
            modality = Modality.parse(name)
            built = self.manifest.encoders.get(modality)
            # Whether it is the same model, and not only one of its kind, its fingerprint tells when it is loaded.
            if built is None or wanted.partition(":")[0] != built.name.partition(":")[0]:
                was = f"{built.name} ({built.fingerprint[:12]})" if built else "none"
                raise EncoderMismatchError(
                    f"the index was built with {name} encoder {was}, not {wanted}: "
                    "open it with the former or index again with the latter"
                )
            names[modality] = wanted
        return names

    def shelf(self, modality: Modality) -> Shelf:
        """The vectors of ``modality``.

        Raises:
            OptionError: the index has no assets of it.
            DamagedIndexError: its files cannot be read or contradict the manifest.
        """
        if modality not in self._shelves:
            self._shelves[modality] = self._open(modality)
        return self._shelves[modality]

    def _open(self, modality: Modality) -> Shelf:
        entry = self.manifest.indexes.get(modality)
        if entry is None:
            raise OptionError(
                f"this index holds no {modality}: it holds {', '.join(self.modalities) or 'nothing'}"
            )
        self._check_present()
        path = self._generation.vectors(modality)
        index = registry.load(entry["kind"], path, device=self._device)
        assets: Integers = arrays.read(self._generation.assets(modality))
        if not (len(index) == entry["vectors"] and assets.shape == (len(index), 2)):
            raise DamagedIndexError(
                f"{path} holds {len(index)} vectors for {len(assets)} assets, "
                f"the manifest says {entry['vectors']}: restore or rebuild the index"
            )
        return Shelf(index, assets[:, 0], assets[:, 1])

    def table(self, modality: Modality) -> AssetTable:
        """What the catalog says of each row of ``modality``'s vectors.

        Raises:
            OptionError: the index has no assets of it.
            DamagedIndexError: catalog and vectors contradict each other.
        """
        table = self.catalog.table(modality)
        if not np.array_equal(table.assets, self.shelf(modality).assets):
            raise DamagedIndexError(
                f"the catalog and the {modality} vectors in {self.folder} are not of one generation: "
                "restore or rebuild the index"
            )
        return table

    def _check_present(self) -> None:
        if not self._generation.folder.is_dir():
            raise OutdatedReaderError(
                f"generation {self.manifest.generation} of {str(self.folder)!r} is gone, newer ones were published: "
                "open the index again"
            )

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
        return self.space.encode(modality, list(media) if isinstance(media, list | tuple) else [media])

    def search(
        self,
        *,
        text: Any = None,
        image: Any = None,
        audio: Any = None,
        video: Any = None,
        id: Any = None,  # noqa: A002 - the public face's name
        vector: Any = None,
        to: str | None = None,
        k: int = 10,
        where: str | None = None,
    ) -> list[Hit]:
        """The ``k`` assets nearest to a query of one or more terms, as in ``Query``.

        Args:
            text: words.
            image: a path, ``bytes`` or a ``PIL.Image.Image``.
            audio: a path or ``bytes``.
            video: a path or ``bytes``.
            id: an item of the index, for more like it; the item itself is not among the hits.
            vector: (d,) float32 in the aligned space.
            to: the modality to find, or ``"any"``; may be left out when the index has one other modality.
            k: at most this many hits.
            where: a filter on metadata, for instance ``"year > 2000 and place = 'Oslo'"``.

        Returns:
            Hits, best first; ties by item id.

        Raises:
            OptionError: an argument has an unusable value.
            MediaError: a query file cannot be decoded.
            ExpressionError: ``where`` does not parse.
            UnknownItemError: there is no item ``id``.
        """
        query = Query(text=text, image=image, audio=audio, video=video, id=id, vector=vector)
        return self.search_batch([query], to=to, k=k, where=where)[0]

    def search_batch(
        self, queries: Sequence[Query], *, to: str | None = None, k: int = 10, where: str | None = None
    ) -> list[list[Hit]]:
        """The answers to many queries in one call; see ``search``."""
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise OptionError(f"k must be a whole number of at least 1, not {k!r}")
        k = int(k)
        if not queries:
            return []
        terms = [query.terms() for query in queries]
        targets = self._targets(to, terms)
        # What is never wanted among the hits: the items that a query itself names.
        named = [
            [int(a) for term in group if term.kind == "id" for a in self._assets_of(term)] for group in terms
        ]
        asked = k + max(map(len, named))
        answers: list[list[tuple[float, int]]] = [[] for _ in queries]
        for target in targets:
            shelf = self.shelf(target)
            rows = None if where is None else shelf.rows_of(self.catalog.matching(where, target))
            found = shelf.search(self._vectors(terms, target), asked, rows)
            for at, best in enumerate(found):
                answers[at] += best
        kept = [
            [(score, asset) for score, asset in answer if asset not in own]
            for answer, own in zip(answers, map(set, named), strict=True)
        ]
        return self._hits(kept, k)

    text_to_text = pair(Modality.TEXT, Modality.TEXT)
    text_to_image = pair(Modality.TEXT, Modality.IMAGE)
    text_to_audio = pair(Modality.TEXT, Modality.AUDIO)
    text_to_video = pair(Modality.TEXT, Modality.VIDEO)
    image_to_text = pair(Modality.IMAGE, Modality.TEXT)
    image_to_image = pair(Modality.IMAGE, Modality.IMAGE)
    image_to_audio = pair(Modality.IMAGE, Modality.AUDIO)
    image_to_video = pair(Modality.IMAGE, Modality.VIDEO)
    audio_to_text = pair(Modality.AUDIO, Modality.TEXT)
    audio_to_image = pair(Modality.AUDIO, Modality.IMAGE)
    audio_to_audio = pair(Modality.AUDIO, Modality.AUDIO)
    audio_to_video = pair(Modality.AUDIO, Modality.VIDEO)
    video_to_text = pair(Modality.VIDEO, Modality.TEXT)
    video_to_image = pair(Modality.VIDEO, Modality.IMAGE)
    video_to_audio = pair(Modality.VIDEO, Modality.AUDIO)
    video_to_video = pair(Modality.VIDEO, Modality.VIDEO)

    # Inside

    def _targets(self, to: str | None, terms: Sequence[Sequence[Term]]) -> list[Modality]:
        if to == ANY:
            return self.modalities
        if to is not None:
            if to not in set(Modality):
                raise OptionError(f"unknown modality {to!r}: expected one of {', '.join([*Modality, ANY])}")
            return [Modality(to)]
        asked = {term.kind for group in terms for term in group}
        others = [modality for modality in self.modalities if modality not in asked]
        if len(others) != 1:
            raise OptionError(
                f"say what to find, one of {', '.join([*self.modalities, ANY])}: "
                f"the index has {len(others)} modalities other than the query's"
            )
        return others

    def _vectors(self, terms: Sequence[Sequence[Term]], target: Modality) -> Matrix:
        """(q, d) float32, unit norm: the weighted sum of each query's terms."""
        total = np.zeros((len(terms), self.space.dimension), np.float32)
        for kind in dict.fromkeys(term.kind for group in terms for term in group):
            places = [(at, term) for at, group in enumerate(terms) for term in group if term.kind == kind]
            vectors = self._term_vectors(kind, [term for _, term in places], target)
            weights = np.array([term.weight for _, term in places], np.float32)
            np.add.at(total, [at for at, _ in places], vectors * weights[:, None])
        norms = np.linalg.norm(total, axis=1, keepdims=True)
        whole = [[sum(abs(term.weight) for term in group)] for group in terms]
        if not (norms > CANCELLED * np.array(whole)).all():
            raise OptionError("the terms of a query cancel each other: change their weights")
        unit: Matrix = total / norms
        return unit

    def _term_vectors(self, kind: str, terms: Sequence[Term], target: Modality) -> Matrix:
        if kind == "vector":
            return np.stack([self._given(term.value) for term in terms])
        if kind == "id":
            return np.stack([self._item_vector(term.value, target) for term in terms])
        return self.space.encode(Modality(kind), [term.value for term in terms])

    def _given(self, value: Any) -> Matrix:
        vector = np.asarray(value, dtype=np.float32)
        if vector.shape != (self.space.dimension,) or not np.isfinite(vector).all():
            raise OptionError(
                f"a query vector must hold {self.space.dimension} finite numbers, not shape {vector.shape}"
            )
        return vector

    def _assets_of(self, term: Term) -> list[int]:
        return [asset for assets in self.catalog.item_assets(term.value).values() for asset in assets]

    def _item_vector(self, key: str, target: Modality) -> Matrix:
        """The item's vector in the modality that is looked for, or where it has none, in those it has."""
        held = self.catalog.item_assets(key)
        chosen = [target] if target in held else list(held)
        vectors = []
        for modality in chosen:
            shelf = self.shelf(modality)
            vectors.append(shelf.index.vectors(shelf.rows_of(held[modality])))
        mean: Matrix = np.concatenate(vectors).mean(axis=0)
        return mean

    def _hits(self, answers: Sequence[Sequence[tuple[float, int]]], k: int) -> list[list[Hit]]:
        records = self.catalog.records(asset for answer in answers for _, asset in answer)
        lists = []
        for answer in answers:
            ordered = sorted(answer, key=lambda pair: (-pair[0], records[pair[1]].item))[:k]
            lists.append(
                [
                    Hit(
                        rank=rank,
                        score=score,
                        id=records[asset].item,
                        modality=records[asset].modality,
                        path=records[asset].path,
                        text=records[asset].text,
                        start=records[asset].start,
                        end=records[asset].end,
                        metadata=records[asset].metadata,
                    )
                    for rank, (score, asset) in enumerate(ordered, start=1)
                ]
            )
        return lists


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
