"""A job holds a bounded number of rows in memory, never all rows of a corpus."""

from collections import Counter

import numpy as np
import pytest

import indexer
import retrieval
from retrieval.alignment.cca import paired_views
from retrieval.alignment.methods import hub_correction
from retrieval.arrays import lazy
from retrieval.storage import feature_store
from retrieval.vectors import index_selection, query_sample, registry
from tests.helpers import toy

COUNT = 240
MOST = 64  # training vectors per list of an inverted file; no setting reduces this


@pytest.fixture
def reads(monkeypatch):
    """Maximum number of rows read at once, by class; all settings that are a number of rows are made small."""
    monkeypatch.setattr(lazy, "MAX_BLOCK_BYTES", 4 * 3 * MOST)  # toy features have three dimensions
    monkeypatch.setattr(paired_views, "BLOCK_ROWS", MOST)
    monkeypatch.setattr(paired_views, "COMPARED_ROWS", MOST)
    monkeypatch.setattr(paired_views, "POOL_SIZE", MOST)
    monkeypatch.setattr(hub_correction, "BANK_ROWS", MOST)
    monkeypatch.setattr(query_sample, "SAMPLE_SIZE", MOST)
    monkeypatch.setattr(index_selection, "SMALL_SIZE", 0)
    monkeypatch.setattr(registry, "MIN_VECTORS", 0)
    monkeypatch.setattr("retrieval.vectors.refined.TRAINING_CODES", MOST)
    monkeypatch.setattr("retrieval.vectors.scan.SCORES_AT_ONCE", 1)
    monkeypatch.setattr("retrieval.vectors.top_k.GROUP", MOST // 8)
    monkeypatch.setattr("retrieval.vectors.top_k.SCORED_AT_ONCE", 1)
    most = Counter()

    def watched(owner, name):
        real = getattr(owner, name)

        def read(self, some):
            found = real(self, some)
            most[owner.__name__] = max(most[owner.__name__], len(found))
            return found

        monkeypatch.setattr(owner, name, read)

    watched(feature_store.FeatureStore, "read")
    watched(lazy.FileMatrix, "__getitem__")
    return most


@pytest.mark.parametrize("index", ["auto", "flat"])
def test_no_stage_reads_all_rows(tmp_path, encoders, reads, index):
    random = np.random.default_rng(0)
    for number, colour in enumerate(random.integers(0, 256, (COUNT, 3)).tolist()):
        toy.paint(tmp_path / "source" / f"{number}.png", tuple(colour))
        named = list(toy.COLOURS)[number % len(toy.COLOURS)]
        (tmp_path / "source" / f"{number}.txt").write_text(f"{named} {number}", encoding="utf-8")
    indexer.build([tmp_path / "source"], out=tmp_path / "index", preset="toy", index=index)
    assert retrieval.open(tmp_path / "index").text_to_image("red", k=COUNT)[-1].rank == COUNT
    assert set(reads) == {"FeatureStore", "FileMatrix"}
    assert max(reads.values()) <= MOST
    assert not list((tmp_path / "index").rglob("*.projected"))
    assert not list((tmp_path / "index").rglob("candidate.*"))
