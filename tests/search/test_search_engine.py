"""Behaviour of the search engine, on a toy index with metadata."""

import gc
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import indexer
import retrieval
from retrieval import Query
from retrieval.errors import ExpressionError, MediaError, OptionError, UnknownItemError
from retrieval.search.modality_index import ModalityIndex
from tests.helpers import toy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    source = toy.table(root / "source")
    with toy.encoders():
        indexer.build([source], out=root / "index", preset="toy")
        yield root


@pytest.fixture(scope="module")
def engine(folder):
    return retrieval.open(folder / "index")


@pytest.mark.parametrize("to", ["image", "text", "any"])
def test_hits_of_composed_queries_have_contributions(engine, to):
    query = Query(text=["red", ("blue", -0.4)], id="green")
    hits = engine.search_batch([query, Query(text="red")], to=to, k=5)
    assert all(hit.contributions is None for hit in hits[1])
    for hit in hits[0]:
        assert len(hit.contributions) == 3
        assert sum(hit.contributions) == pytest.approx(hit.score, abs=1e-5)
        assert hit.as_dict()["contributions"] == list(hit.contributions)


def test_contribution_is_the_terms_own_score_times_its_weight(engine):
    red, blue = engine.encode(text=["red", "blue"])
    both = np.linalg.norm(2 * red + blue)
    single = {hit.id: hit.score for hit in engine.search(text="red", to="image", k=100)}
    for hit in engine.search(text=[("red", 2), "blue"], to="image", k=100):
        assert hit.contributions[0] == pytest.approx(2 * single[hit.id] / both, abs=1e-5)


@pytest.mark.parametrize("to", ["image", "any"])
def test_batch_has_the_same_contributions_and_looks_up_rows_once(engine, to, monkeypatch):
    queries = [Query(text=[name, ("blue", -0.4)]) for name in ("red", "green", "pink")] + [Query(text="red")]
    alone = [engine.search_batch([query], to=to, k=5)[0] for query in queries]
    real, lookups = ModalityIndex.rows_of, []

    def rows_of(modality_index, assets):
        lookups.append(modality_index)
        return real(modality_index, assets)

    monkeypatch.setattr(ModalityIndex, "rows_of", rows_of)
    together = engine.search_batch(queries, to=to, k=5)
    assert len(lookups) == len(set(map(id, lookups))) == len(engine.targets(to, ["text"]))
    for hits, expected in zip(together, alone, strict=True):
        assert [hit.asset for hit in hits] == [hit.asset for hit in expected]
        for hit, other in zip(hits, expected, strict=True):
            assert (hit.contributions is None) == (other.contributions is None)
            if hit.contributions is not None:
                assert hit.contributions == pytest.approx(other.contributions, abs=1e-5)


def test_scores_do_not_depend_on_the_number_of_equal_terms(engine):
    once = engine.search(text="red", to="image", k=5)
    thrice = engine.search(text=["red"] * 3, to="image", k=5)
    assert [hit.score for hit in thrice] == pytest.approx([hit.score for hit in once], abs=1e-6)


def ids(hits):
    return [hit.id for hit in hits]


def test_hits_are_ranked_and_describe_their_asset(engine):
    hits = engine.text_to_image("red", k=4)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].as_dict() == {
        "rank": 1,
        "score": hits[0].score,
        "id": "red",
        "modality": "image",
        "path": "red.png",
        "text": None,
        "start": None,
        "end": None,
        "metadata": {"letters": 3},
        "asset": hits[0].asset,
        "percentile": hits[0].percentile,
        "contributions": None,
    }
    assert engine.image_to_text(Image.new("RGB", (3, 3), "red"), k=1)[0].text in {
        "Something red.",
        "A warm red.",
    }


def test_image_query_may_be_a_path_bytes_or_a_picture(engine, folder):
    path = folder / "source/blue.png"
    answers = [
        engine.search(image=picture, to="text", k=3)
        for picture in (path, str(path), path.read_bytes(), Image.open(path))
    ]
    assert all(answer == answers[0] for answer in answers)


def test_large_k_finds_everything(engine):
    assert len(engine.text_to_image("red", k=1000)) == 10
    assert len(engine.image_to_text(Image.new("RGB", (1, 1)), k=1000)) == 11


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", None, True])
def test_k_must_be_a_positive_whole_number(engine, k):
    with pytest.raises(OptionError, match="k must be a whole number of at least 1"):
        engine.text_to_image("red", k=k)


def test_target_may_be_omitted_if_there_is_one_other_modality(engine):
    assert engine.search(text="red", k=1)[0].modality == "image"
    assert engine.search(image=Image.new("RGB", (1, 1)), k=1)[0].modality == "text"
    with pytest.raises(OptionError, match="say what to find, one of text, image, any"):
        engine.search(vector=np.ones(engine.index.space.dimension))
    with pytest.raises(OptionError, match="unknown modality 'smell'"):
        engine.search(text="red", to="smell")
    with pytest.raises(OptionError, match="holds no audio"):
        engine.search(text="red", to="audio")
    with pytest.raises(OptionError, match="no encoder for video queries"):
        engine.search(video="x.mp4", to="text")


def test_any_finds_all_modalities(engine):
    hits = engine.search(text="blue", to="any", k=21)
    assert len(hits) == 21
    assert {hit.modality for hit in hits} == {"text", "image"}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_batch_equals_single_searches(engine):
    queries = [Query(text=name) for name in toy.COLOURS] + [Query(text="red", id="blue")]
    batch = engine.search_batch(queries, to="image", k=5)
    single = [engine.search(text=name, to="image", k=5) for name in toy.COLOURS]
    for together, alone in zip(batch, single, strict=False):
        assert ids(together) == ids(alone)
        # A matrix product of one text may differ from that of many in the last bit.
        np.testing.assert_allclose([h.score for h in together], [h.score for h in alone], atol=1e-6)
    assert engine.search_batch([], to="image") == []


def test_weights_add_and_subtract(engine):
    yellow, green = engine.encode(text=["yellow", "green"])
    expected = yellow - 0.5 * green
    away = engine.search(text=["yellow", ("green", -0.5)], to="image")
    assert ids(away) == ids(engine.search(vector=expected, to="image"))
    assert ids(engine.search(text=[("red", 5), ("blue", 0.1)], to="image", k=1)) == ["red"]
    for score in (hit.score for hit in engine.search(text=["red"] * 5, to="image")):
        assert score <= 1 + 1e-6


def test_empty_and_cancelling_queries_are_refused(engine):
    with pytest.raises(OptionError, match="cancel each other"):
        engine.search(text=["red", ("red", -1)], to="image")
    with pytest.raises(OptionError, match="empty query"):
        engine.search(to="image")
    with pytest.raises(OptionError, match="finite"):
        engine.search(text=("red", float("nan")), to="image")
    with pytest.raises(MediaError, match="empty"):
        engine.text_to_image(" ")


def test_similar_items_exclude_the_query_item(engine):
    hits = engine.search(id="red", to="image", k=20)
    assert len(hits) == 9
    assert "red" not in ids(hits)
    assert "red" not in ids(engine.search(id="red", to="any", k=50))
    with pytest.raises(UnknownItemError, match="no item 'zebra'"):
        engine.search(id="zebra", to="image")


def vector_of(engine, key, modality):
    modality_index = engine.index.modality_index(modality)
    return modality_index.index.vectors(
        modality_index.rows_of(engine.index.catalog.item_assets(key)[modality])
    )[0]


def test_vector_queries(engine):
    vector = engine.encode(text="green")[0]
    by_vector, by_words = engine.search(vector=vector, to="image"), engine.text_to_image("green")
    assert [(hit.id, hit.score) for hit in by_vector] == [(hit.id, hit.score) for hit in by_words]
    with pytest.raises(OptionError, match="must hold"):
        engine.search(vector=vector[:-1], to="image")
    with pytest.raises(OptionError, match="finite"):
        engine.search(vector=vector * np.nan, to="image")


def test_encode_returns_unit_vectors_of_the_aligned_space(engine, folder):
    text = engine.encode(text=["red", "blue"])
    image = engine.encode(image=[folder / "source/red.png"])
    assert (text.shape, text.dtype) == ((2, engine.index.space.dimension), np.float32)
    assert image.shape == (1, engine.index.space.dimension)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([text, image]), axis=1), 1, atol=1e-5)
    assert (image @ text.T).argmax() == 0
    with pytest.raises(OptionError, match="one modality at a time, not 2"):
        engine.encode(text="red", image="red.png")


@pytest.mark.parametrize("k", [1, 3, 10])
def test_filtered_search_returns_k_matches(engine, k):
    hits = engine.text_to_image("red", k=k, where="letters = 4 or letters > 7")
    matching = [name for name in toy.COLOURS if len(name) == 4 or len(name) > 7]
    assert len(hits) == min(k, len(matching))
    assert set(ids(hits)) <= set(matching)
    everything = [hit.id for hit in engine.text_to_image("red", k=100) if hit.id in matching]
    assert ids(hits) == everything[:k]


def test_filters_without_matches_and_invalid_filters(engine):
    assert engine.text_to_image("red", where="letters = 99") == []
    with pytest.raises(ExpressionError):
        engine.text_to_image("red", where="letters =")
    with pytest.raises(ExpressionError, match="size"):
        engine.text_to_image("red", where="size = 3")


def test_threads_may_search_concurrently(folder):
    engine = retrieval.open(folder / "index")
    names = list(toy.COLOURS) * 5
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda name: engine.text_to_image(name, k=1, where="letters > 0")[0].id, names))
    assert found == names


@pytest.mark.parametrize(
    "lost",
    ["catalog.sqlite", "image.faiss", "text.assets.npy", "text.centre.npy", "alignment.safetensors"],
)
def test_damaged_index_is_refused_with_instructions(folder, tmp_path, lost):
    copy = tmp_path / "copy"
    shutil.copytree(folder / "index", copy)
    path = copy / "generations/000001" / lost
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(retrieval.XmodalError, match="xmodal repair"):
        retrieval.open(copy).search(text="red", to="any")
    path.unlink()
    with pytest.raises(retrieval.XmodalError, match=f"{lost} is missing"):
        retrieval.open(copy)


def test_released_engine_closes_its_files(engine):
    other = retrieval.open(engine.folder)
    assert other.search(text="red", to="image", where="letters > 0")
    reference = weakref.ref(other)
    gc.disable()
    try:
        del other
        assert reference() is None
    finally:
        gc.enable()
