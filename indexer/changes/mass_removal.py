"""Protection against mass removal: a missing disk must not look like an emptied source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from sqlalchemy import select

from indexer.changes.corpus_hashes import FileContents, unmoved
from indexer.sources.corpus import Corpus
from retrieval.errors import MassRemovalError
from retrieval.storage.catalog import Catalog
from retrieval.storage.schema import Asset, Item
from retrieval.types import Modality


def check_mass_removal(
    catalog: Catalog,
    *,
    corpus: Corpus,
    reading: FileContents,
    before: Sequence[str],
    sources: Sequence[str],
    modalities: Iterable[Modality],
) -> None:
    """Refuse to remove more than half of the assets of any source that is still indexed.

    An asset counts as removed only if its item has nothing left of that modality and its content is in no source.

    Args:
        catalog: catalog of the published generation, or a copy.
        corpus: content of the sources now.
        reading: content hashes of the files that could be read.
        before: sources of the published generation.
        sources: sources of this job.
        modalities: modalities with an encoder; the others are left out on purpose.

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
    total, gone = Counter[int | None](), Counter[int | None]()
    statement = select(Asset.source, Item.key, Asset.modality, Asset.content).join(
        Item, Asset.item_id == Item.id
    )
    with catalog.session() as session:
        whole = statement.where(Asset.start.is_(None), Asset.modality.in_(map(str, modalities)))
        for source, key, modality, content in session.execute(whole):
            total[source] += 1
            gone[source] += (key, modality) not in places and content not in contents
    for source in sorted(unmoved(before, sources)):
        if gone[source] * 2 > total[source]:
            raise MassRemovalError(
                f"{gone[source]:,} of {total[source]:,} assets are not in {sources[source]!r} any more: check that "
                "it is complete (is its disk mounted?), or remove them with --allow-mass-removal"
            )
