"""A source that is not there is not a source that was emptied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import select

from indexer.changes.reading import FileContents, unmoved
from indexer.sources.corpus import Corpus
from retrieval.errors import MassRemovalError
from retrieval.storage.catalog import Catalog
from retrieval.storage.schema import Asset, Item
from retrieval.types import Modality


def check_mass_removal(
    catalog: Catalog,
    corpus: Corpus,
    reading: FileContents,
    before: Sequence[str],
    sources: Sequence[str],
    modalities: Iterable[Modality],
) -> None:
    """Refuse to remove more than half of what the index has of any source that is still asked for.

    An asset is not removed while its item has something of that modality, or its content is anywhere.

    Args:
        catalog: of the published generation, or a copy.
        corpus: what the sources hold now.
        reading: the contents that could be read.
        before: the sources that were indexed.
        sources: those that are asked for.
        modalities: those that have encoders; others are left out on purpose.

    Raises:
        MassRemovalError: more than half of a source's assets are gone.
    """
    named = [
        (item.key, part.modality, content)
        for item, part in corpus.assets()
        if (content := reading.content(part)) is not None
    ]
    places = {(key, str(modality)) for key, modality, _ in named}
    contents = {content for _, _, content in named}
    held, gone = Counter[int | None](), Counter[int | None]()
    statement = select(Asset.source, Item.key, Asset.modality, Asset.content).join(
        Item, Asset.item_id == Item.id
    )
    with catalog.session() as session:
        whole = statement.where(Asset.start.is_(None), Asset.modality.in_(map(str, modalities)))
        for source, key, modality, content in session.execute(whole):
            held[source] += 1
            gone[source] += (key, modality) not in places and content not in contents
    for source in sorted(unmoved(before, sources)):
        if gone[source] * 2 > held[source]:
            raise MassRemovalError(
                f"{gone[source]:,} of {held[source]:,} assets are not in {sources[source]!r} any more: see whether "
                "it is all there (a disk that is not mounted?), or remove them with --allow-mass-removal"
            )
