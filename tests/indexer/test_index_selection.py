"""Building, measuring, continuing and searching indexes, with queries whose vectors are distributed differently."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import indexer
import retrieval
from indexer.cli.main import run
from retrieval import Modality, Query
from retrieval.errors import DamagedIndexError, ExpressionError, OptionError
from retrieval.storage.layout import Layout
from retrieval.vectors import (
    faiss_files,
    incremental,
    index_selection,
    index_summary,
    load_index,
    registry,
    tuning,
)
from retrieval.vectors import query_sample as samples
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.search_effort import Effort
from retrieval.vectors.tuning import GroundTruth, measure

COUNT, DIMENSION = 2400, 32


def clustered(count=COUNT, seed=0):
    """Return pictures in clusters, and texts near their pictures, all shifted by one vector like another modality."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((40, DIMENSION))
    images = centres[random.integers(40, size=count)] + 0.7 * random.standard_normal((count, DIMENSION))
    texts = images + 0.5 * random.standard_normal(images.shape) + 2 * random.standard_normal(DIMENSION)
    return images.astype(np.float32), texts.astype(np.float32)


def write(folder, chosen, images, texts):
    """Write the items ``chosen`` as a folder of embeddings; their keys are their numbers."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, rows in (("img_emb", images), ("text_emb", texts)):
        (folder / name).mkdir(parents=True)
        np.save(folder / name / f"{name}_0.npy", rows[chosen])
    columns = {
        "key": [f"{at:05}" for at in chosen],
        "image_path": [f"{at}.jpg" for at in chosen],
        "caption": [f"number {at}" for at in chosen],
        "thousandth": [int(at) % 1000 for at in chosen],
    }
    (folder / "metadata").mkdir()
    pq.write_table(pa.table(columns), folder / "metadata/metadata_0.parquet")
    return f"embeddings:{folder}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("indexes")
    source = write(root / "source", np.arange(COUNT), *clustered())
    indexer.build([source], out=root / "index", index="ivf-fastscan", recall=0.9)
    return root / "index"


@pytest.fixture(scope="module")
def engine(folder):
    return retrieval.open(folder)


def exact(engine, queries, k, keep=None):
    """Return the ids that exact search finds."""
    modality_index, table = engine.index.modality_index(Modality.IMAGE), engine.index.table(Modality.IMAGE)
    keys = [engine.index.catalog.records([asset])[asset].item for asset in table.assets.tolist()]
    rows = np.array([at for at, key in enumerate(keys) if keep is None or keep(key)])
    scores = queries @ modality_index.index.vectors(rows).T
    return [[keys[rows[at]] for at in np.argsort(-each, kind="stable")[:k]] for each in scores]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def overlap(found, expected):
    return np.mean([len({*a} & {*b}) / len(b) for a, b in zip(found, expected, strict=True)])


def ids(engine, queries, **options):
    hits = engine.search_batch([Query(vector=each) for each in queries], to="image", **options)
    return [[hit.id for hit in each] for each in hits]


def test_recall_is_measured_for_every_query_modality(folder, capsys):
    entry = retrieval.open(folder).manifest.indexes[Modality.IMAGE]
    assert (entry["kind"], entry["vectors"], entry["target"]) == ("ivf-fastscan", COUNT, 0.9)
    assert set(entry["measured"]["recall"]) == {"text", "image"}
    assert min(entry["measured"]["recall"].values()) >= 0.88
    assert run(["info", str(folder)]) == 0
    assert "recall@10" in (plans := capsys.readouterr().out)
    assert "for text queries" in plans


def test_a_measurement_can_be_repeated(folder, engine):
    path = Layout(folder).generation(1).vectors(Modality.IMAGE)
    sample = samples.read(faiss_files.sample(path))
    assert {name: queries.shape for name, queries in sample.items()} == {
        Modality.TEXT: (samples.SAMPLE_SIZE, DIMENSION),
        Modality.IMAGE: (samples.SAMPLE_SIZE, DIMENSION),
    }
    index = engine.index.modality_index(Modality.IMAGE).index
    found = measure(index, GroundTruth.of(sample, index.vectors()).half(1)).recall
    assert found == pytest.approx(engine.manifest.indexes[Modality.IMAGE]["measured"]["recall"], abs=0.01)
    faiss_files.sample(path).with_name("no.npz").write_bytes(b"nonsense")
    with pytest.raises(DamagedIndexError, match="cannot be read"):
        samples.read(path.with_name("no.npz"))


def test_new_queries_reach_the_same_recall(engine):
    images, texts = clustered()
    queries = unit(texts[:300] + 0.1 * images[300:600])
    assert overlap(ids(engine, queries), exact(engine, queries, 10)) >= 0.9


@pytest.mark.parametrize(("where", "share"), [("thousandth < 500", 0.5), ("thousandth < 50", 0.05),
                                              ("thousandth = 1", 0.001)])  # fmt: skip
@pytest.mark.parametrize("k", [1, 3, 100])
def test_filtered_searches_return_k_matching_results(engine, where, share, k):
    limit = 1000 * share
    matching = [at for at in range(COUNT) if (at % 1000 == 1 if share == 0.001 else at % 1000 < limit)]
    queries = unit(clustered()[1][:20])
    found = ids(engine, queries, k=k, where=where)
    assert {len(each) for each in found} == {min(k, len(matching))}
    assert {int(at) for each in found for at in each} <= set(matching)
    expected = exact(engine, queries, k, lambda key: int(key) in set(matching))
    assert overlap(found, expected) >= 0.95


def test_the_search_plan_is_reported(engine, folder, capsys):
    plans = []
    queries = unit(clustered()[1][:1])[0]
    engine.search_batch([Query(vector=queries)], to="image", where="thousandth < 5", explain=plans.append)
    engine.search_batch([Query(vector=queries)], to="image", where="thousandth < 900", explain=plans.append)
    assert plans[0] == "image: 15 of 2,400 vectors (0.62%): few enough to compare just those, exactly"
    assert plans[1].startswith("image: 2,200 of 2,400 vectors (91.67%)")
    command = ["search", str(folder), "--id", "00007", "--to", "image", "-k", "1", "--explain-plan", "--json"]
    assert run(command) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 1
    assert captured.err.startswith("plan  image: ")


def test_search_arrays_equals_search(engine):
    queries = unit(clustered()[1][:50])
    found = engine.search_arrays(3 * queries, to="image", k=7, where="thousandth > 500")
    hits = engine.search_batch([Query(vector=v) for v in queries], to="image", k=7, where="thousandth > 500")
    records = engine.index.catalog.records(found.assets.ravel())
    assert [[records[at].item for at in row] for row in found.assets.tolist()] == [
        [hit.id for hit in each] for each in hits
    ]
    np.testing.assert_allclose(found.scores, [[hit.score for hit in each] for each in hits], atol=1e-6)
    assert engine.search_arrays(queries, to="image", k=9, where="thousandth = 1").assets.shape == (50, 3)
    with pytest.raises(OptionError, match="finite numbers"):
        engine.search_arrays(queries[:, 1:], to="image")
    with pytest.raises(ExpressionError):
        engine.search_arrays(queries, to="image", where="thousandth")


def test_threads_share_filters_and_indexes(folder):
    engine = retrieval.open(folder)
    queries = unit(clustered()[1][:60])
    wheres = [None, "thousandth < 500", "thousandth < 20"]

    def search(at):
        return [hit.id for hit in engine.search(vector=queries[at % 60], to="image", where=wheres[at % 3])]

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(search, range(120)))
    assert together == [search(at) for at in range(120)]


@pytest.fixture
def growing(tmp_path):
    """Return a function that indexes some items and returns the manifest's entry of the picture index."""
    images, texts = clustered(3000)

    def index(chosen, altered=()):
        now = images.copy()
        now[list(altered)] = -now[list(altered)]
        source = write(tmp_path / "source", np.asarray(chosen), now, texts)
        indexer.build([source], out=tmp_path / "index", index="fastscan")
        engine = retrieval.open(tmp_path / "index")
        return engine, engine.manifest.indexes[Modality.IMAGE]

    return index


def asserted_right(engine, chosen):
    """Assert that the index holds exactly these items, in this order, and finds them."""
    table = engine.index.table(Modality.IMAGE)
    records = engine.index.catalog.records(table.assets)
    assert [records[asset].item for asset in table.assets.tolist()] == [f"{at:05}" for at in chosen]
    queries = unit(clustered(3000)[1][:100])
    for where, kept in ((None, 1000), ("thousandth < 300", 300)):
        expected = exact(engine, queries, 10, lambda key, kept=kept: int(key) % 1000 < kept)
        assert overlap(ids(engine, queries, where=where), expected) >= 0.95
    own = engine.index.modality_index(Modality.IMAGE).index.vectors()
    found = engine.search_arrays(own[::50], to="image", k=1).assets[:, 0]
    np.testing.assert_array_equal(found, table.assets[::50])


def test_small_changes_continue_an_index_and_large_ones_rebuild_it(growing, tmp_path):
    engine, entry = growing(range(2000))
    assert "updated" not in entry
    first = Layout(tmp_path / "index").generation(1).vectors(Modality.IMAGE)
    numbers = {key: engine.index.catalog.item_assets(f"{key:05}") for key in range(500, 1900)}

    chosen = [*range(100, 2000), *range(2000, 2050)]
    engine, entry = growing(chosen, altered=[300, 301])
    assert entry["updated"] == {"built": 2000, "dead": 102, "added": 52}
    assert entry["vectors"] == 1950
    assert {key: engine.index.catalog.item_assets(f"{key:05}") for key in numbers} == numbers
    second = Layout(tmp_path / "index").generation(2).vectors(Modality.IMAGE)
    assert first.samefile(second)
    asserted_right(engine, chosen)
    assert run(["info", str(tmp_path / "index")]) == 0

    chosen = [*range(100, 1990), *range(2010, 2080)]
    engine, entry = growing(chosen, altered=[300])
    assert entry["updated"] == {"built": 2000, "dead": 112, "added": 72}
    asserted_right(engine, chosen)

    chosen = [*range(200, 1900), *range(2010, 2080)]
    engine, entry = growing(chosen)
    assert "updated" not in entry
    assert (entry["kind"], entry["vectors"]) == ("fastscan", 1770)
    asserted_right(engine, chosen)


def test_index_files_of_different_builds_are_refused(growing, tmp_path):
    growing(range(2000))
    engine, entry = growing(range(10, 2010))
    path = Layout(tmp_path / "index").generation(2).vectors(Modality.IMAGE)
    order = np.load(faiss_files.order(path))
    np.save(faiss_files.order(path), np.append(order[1:], 5000))
    with pytest.raises(DamagedIndexError, match=r"does not fit the 2010 vectors"):
        load_index.load(entry, path)
    faiss_files.added(path).unlink()
    with pytest.raises(DamagedIndexError, match="is missing: run"):
        engine.search(id="00020", to="image")


def test_files_are_copied_where_they_cannot_be_linked(folder, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = Layout(folder).generation(1).vectors(Modality.IMAGE)
    incremental.link_files(path, tmp_path / "image.faiss")
    assert (tmp_path / "image.faiss").read_bytes() == path.read_bytes()
    assert faiss_files.sample(tmp_path / "image.faiss").is_file()


@pytest.fixture(scope="module")
def large():
    """Vectors, enough for a choice of index, with sample queries."""
    images, texts = (unit(rows) for rows in clustered(5000))
    return images, {Modality.TEXT: texts[:200], Modality.IMAGE: images[::25]}


@pytest.fixture
def choosing(monkeypatch):
    monkeypatch.setattr(index_selection, "SMALL_SIZE", 0)
    monkeypatch.setattr(index_selection, "MIN_INVERTED", 1000)
    monkeypatch.setattr(index_selection, "MIN_GRAPH_MS", 0.0)


@pytest.mark.parametrize("favour", index_selection.FAVOURS)
def test_auto_takes_the_fastest_index_that_reaches_the_recall(large, choosing, favour, tmp_path):
    path = tmp_path / "image.faiss"
    entry = index_selection.build(
        "auto", *large, index_selection.Requirements(recall=0.9, favour=favour), path
    )
    index = load_index.load(entry, path)
    kinds = [(each["kind"], each.get("factory")) for each in entry["considered"]]
    lists = [("factory", "IVF39,PQ16x4fs"), ("factory", "IVF156,PQ16x4fs")]
    assert kinds == [("flat", None), ("fastscan", "IVF1,PQ16x4fs"), ("ivf-fastscan", "IVF78,PQ16x4fs"), *lists,
                     ("hnsw", "HNSW32_SQfp16")]  # fmt: skip
    time = {"single": "ms", "batch": "batch_ms"}[favour]
    enough = [each for each in entry["considered"] if min(each["recall"].values()) >= 0.9]
    best = min(enough, key=lambda each: each[time])
    assert (entry["kind"], entry.get("factory")) == (best["kind"], best.get("factory"))
    assert entry["kind"] == index.kind
    assert entry["considered"][0]["recall"] == {"text": 1.0, "image": 1.0}


def test_auto_builds_no_graph_if_exact_search_is_fast_enough(large, choosing, monkeypatch, tmp_path):
    monkeypatch.setattr(index_selection, "MIN_GRAPH_MS", 1e6)
    entry = index_selection.build(
        "auto", *large, index_selection.Requirements(recall=0.9), tmp_path / "image.faiss"
    )
    assert "hnsw" not in {each["kind"] for each in entry["considered"]}


@pytest.mark.parametrize("spec", ["ivf-fastscan", "HNSW16"])
def test_an_index_is_tuned_for_filters_too(choosing, spec, tmp_path, monkeypatch):
    # With few vectors, exact search would be faster.
    monkeypatch.setattr(tuning, "seconds_per_query", lambda *about: 1.0 if about[2] is None else 0.0)
    images, texts = (unit(rows) for rows in clustered(12_000))
    sample = {Modality.TEXT: texts[:200], Modality.IMAGE: images[::60]}
    path = tmp_path / "index.faiss"
    entry = index_selection.build(spec, images, sample, index_selection.Requirements(recall=0.9), path)
    shares = [share for share, _ in entry["filtered"]]
    assert shares == [2.0**-power for power in range(1, len(shares) + 1)]
    assert len(shares) > 1
    again = load_index.load(entry, path)
    assert f"tuned for filters that select {100 * shares[-1]:.3g}%" in index_summary.summary_line(entry)
    rows = np.flatnonzero(np.random.default_rng(5).random(len(images)) < 0.6)
    found = again.search(sample["text"], 10, rows)[1]
    assert overlap(found, ExactIndex(images).search(sample["text"], 10, rows)[1]) >= 0.88
    plans = []
    again.search(sample["text"], 10, rows[: int(shares[-1] * len(images)) - 1], explain=plans.append)
    assert "just those, exactly" in plans[0]


@pytest.mark.parametrize(
    ("spec", "name", "enough", "chosen"),
    [
        ("HNSW16", "beam", 90, 96),  # tries 64 and 128, then 96, then 80
        ("HNSW16", "beam", 128, 128),
        ("HNSW16", "beam", 10, 16),  # the minimum
        ("HNSW16", "beam", 10**9, 2048),  # never reached
        ("IVF64,Flat", "probes", 3, 3),
        ("IVF64,Flat", "probes", 33, 40),
        ("IVF64,Flat", "probes", 1, 1),
    ],
)
def test_an_effort_is_found_between_powers_of_two(large, monkeypatch, spec, name, enough, chosen):
    images, sample = large
    index = registry.build(spec, images)

    def reaches(_index, effort, *_):
        return getattr(effort, name) >= enough and effort.depth >= 10

    monkeypatch.setattr(tuning, "_reaches_target", reaches)
    effort = tuning.tune(index, GroundTruth.of(sample, index.stored), 0.95)
    assert getattr(effort, name) == chosen
    assert effort.depth == (16 if chosen == 16 else 20 if enough < 10**9 else 2048)


@pytest.fixture
def hard(monkeypatch):
    """Efforts that tuning for filters tries if the recall is never reached and exact search is as slow as beam 256."""
    tried = []

    def seconds(index, truth, effort, subset):
        if effort is None:
            return 256
        tried.append((len(subset), effort.beam))
        return effort.beam

    monkeypatch.setattr(tuning, "seconds_per_query", seconds)
    return tried


def test_tuning_stops_at_an_effort_slower_than_exact_search(large, hard):
    images, sample = large
    index = registry.build("HNSW16", images)
    index.effort = Effort(beam=64)
    truth = GroundTruth.of(sample, index.stored)
    assert tuning.tune_for_filters(index, truth, 2.0, index.stored, 0).filtered == ()
    assert hard == [(2500, 64), (2500, 128), (2500, 256), (2500, 512)]


def test_a_beam_grows_no_further_than_the_longest_measured(large, hard, monkeypatch):
    images, sample = large
    monkeypatch.setattr(tuning, "seconds_per_query", lambda *about: hard.append(about[2]) or 0)
    index = registry.build("HNSW16", images)
    tuning.tune_for_filters(index, GroundTruth.of(sample, index.stored), 2.0, index.stored, 0)
    assert max(effort.beam for effort in hard if effort) == tuning.BEAMS[-1]


def test_shares_that_are_searched_exactly_are_not_tuned_for(hard):
    """Of 1,023 vectors the smallest share would leave none."""
    images, texts = (unit(rows) for rows in clustered(4100))
    for count, shares in ((1023, 0), (4100, 2)):
        index = registry.build("IVF4,Flat", images[:count])
        index.effort = Effort(depth=10)
        truth = GroundTruth.of({Modality.TEXT: texts[:50]}, index.stored)
        assert len(tuning.tune_for_filters(index, truth, 0.0, index.stored, 0).filtered) == shares


def test_auto_stays_within_the_memory_limit(large, choosing, tmp_path):
    images, sample = large
    path = tmp_path / "image.faiss"
    entry = index_selection.build("auto", images, sample, index_selection.Requirements(memory=200_000), path)
    assert {each["kind"] for each in entry["considered"]} == {"fastscan", "ivf-fastscan", "factory"}
    assert load_index.load(entry, path).bytes <= 200_000
    coarse = load_index.load(
        index_selection.build("auto", images, sample, index_selection.Requirements(memory=80_000), path), path
    )
    assert (coarse.factory, coarse.bytes <= 80_000) == ("IVF1,PQ8x4fs", True)
    with pytest.raises(OptionError, match=r"--memory must be at least 60,128"):
        index_selection.build("auto", images, sample, index_selection.Requirements(memory=1000), path)
    with pytest.raises(OptionError, match=r"more than the 1,000 of --memory"):
        index_selection.build("fastscan", images, sample, index_selection.Requirements(memory=1000), path)


def test_the_memory_limit_includes_item_vectors_added_later(folder, tmp_path, monkeypatch):
    real, bounds = index_selection.build, {}

    def build(spec, vectors, sample, needs, path):
        bounds[path.name] = needs.memory
        return real(spec, vectors, sample, needs, path)

    monkeypatch.setattr(index_selection, "build", build)
    source = f"embeddings:{folder.parent / 'source'}"
    indexer.build([source], out=tmp_path / "index", index="ivf-fastscan", memory=60_000_000)
    assert bounds == {"image.faiss": 30_000_000, "text.faiss": 30_000_000}
    indexer.realign(tmp_path / "index", fuse="weighted")
    assert bounds == dict.fromkeys(["image.faiss", "text.faiss", "item.faiss"], 20_000_000)


def test_a_small_index_is_exact_without_measuring(large, tmp_path):
    entry = index_selection.build("auto", *large, index_selection.Requirements(), tmp_path / "image.faiss")
    assert entry == {"kind": "flat", "vectors": len(large[0])}


@pytest.mark.parametrize(
    ("given", "size"), [("4GB", 2**32), ("1.5 k", 1536), (77, 77), ("500MiB", 500 * 2**20)]
)
def test_memory_sizes_are_parsed(given, size):
    assert index_selection.check_memory(given) == size


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "much"], "memory must be a size such as 4GB"),
        (["--memory", "0"], "memory must be a size"),
        (["--recall", "1.1"], "recall must be above 0"),
        (["--favour", "both"], "expected one of single, batch"),
        (["--index", "IVF,what"], "or a factory string"),
    ],
)
def test_unusable_options_are_refused(tmp_path, capsys, options, message):
    assert run(["index", str(tmp_path), "--out", str(tmp_path / "i"), *options]) == 2
    assert message in capsys.readouterr().err
