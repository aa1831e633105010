"""Small data sets in their authors' formats, indexed and evaluated by their standard split."""

import csv
import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import indexer
import retrieval
from indexer.cli.main import run
from indexer.sources import corpus
from indexer.sources.adapters import registry
from retrieval.encoders import registry as encoders
from retrieval.errors import AlignmentError, MediaError, OptionError, SourceError
from retrieval.types import Modality
from tests.helpers import toy

COLOURS = ("red", "green", "blue", "yellow")


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def karpathy(root, *, inside="val2014", coco=True):
    images = []
    for at, colour in enumerate(COLOURS):
        name = f"COCO_{at:012d}.jpg"
        toy.paint(root / inside / name, colour)
        sentences = [
            {"raw": f"Picture {n} of {colour}.", "tokens": [], "sentid": 9 * at + n} for n in range(6)
        ]
        split = ("train", "restval", "test", "test")[at]
        own = {"filepath": inside, "cocoid": at} if coco else {}
        images.append({"filename": name, "split": split, "imgid": at, "sentences": sentences, **own})
    (root / "dataset_coco.json").write_text(json.dumps({"images": images, "dataset": "coco"}))
    return root / "dataset_coco.json"


def flickr_token(root):
    lines = []
    for colour in COLOURS:
        toy.paint(root / f"Flicker8k_Dataset/{colour}.jpg", colour)
        lines += [f"{colour}.jpg#{n}\tCaption {n}, {colour}." for n in range(5)]
    (root / "Flickr8k.token.txt").write_text("\n".join(lines) + "\n")
    for part, names in (("train", COLOURS[:2]), ("dev", COLOURS[2:3]), ("test", COLOURS[3:])):
        (root / f"Flickr_8k.{part}Images.txt").write_text("".join(f"{name}.jpg\n" for name in names))
    return root / "Flickr8k.token.txt"


def clotho(root):
    for split in ("development", "evaluation"):
        captions = {f"caption_{n}": f"Sound {n}, {split}" for n in range(1, 6)}
        write_csv(root / f"clotho_captions_{split}.csv", [{"file_name": "a rain.wav", **captions}])
        (root / split).mkdir()
        (root / split / "a rain.wav").write_bytes(b"RIFF")
    return root


def audiocaps(root):
    for split, captions in (("train", 1), ("test", 5)):
        rows = [
            {
                "audiocap_id": str(n),
                "youtube_id": f"id-{split}",
                "start_time": "30",
                "caption": f"{split} {n}",
            }
            for n in range(captions)
        ]
        write_csv(root / f"{split}.csv", rows)
        (root / split).mkdir()
        (root / split / f"Yid-{split}.wav").write_bytes(b"RIFF")
    return root


def msrvtt(root, *, jsfusion=False):
    (root / "TrainValVideo").mkdir()
    videos, sentences = [], []
    for at, split in enumerate(("train", "validate", "test")):
        (root / f"TrainValVideo/video{at}.mp4").write_bytes(b"mp4")
        videos.append({"video_id": f"video{at}", "split": split, "category": at, "id": at, "url": "u"})
        sentences += [
            {"video_id": f"video{at}", "caption": f"clip {at} {n}", "sen_id": 20 * at + n} for n in range(20)
        ]
    if jsfusion:
        write_csv(
            root / "MSRVTT_JSFUSION_test.csv",
            [{"key": "ret0", "vid_key": "msr1", "video_id": "video1", "sentence": "clip 1 7"}],
        )
    (root / "test_videodatainfo.json").write_text(json.dumps({"videos": videos, "sentences": sentences}))
    return root / "test_videodatainfo.json"


def shards(root):
    for number in range(2):
        with tarfile.open(root / f"0000{number}.tar", "w") as archive:
            for at, colour in enumerate(COLOURS[2 * number : 2 * number + 2]):
                key = f"0000{number}000{at}"
                picture = toy.paint(root / "scratch.png", colour).read_bytes()
                meta = json.dumps(
                    {"key": key, "caption": "x", "url": f"http://{colour}", "width": 8, "status": "ok"}
                )
                for ending, data in (
                    ("png", picture),
                    ("txt", f"It is {colour}.".encode()),
                    ("json", meta.encode()),
                ):
                    member = tarfile.TarInfo(f"{key}.{ending}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        pq.write_table(pa.table({"key": [key]}), root / f"0000{number}.parquet")
    (root / "scratch.png").unlink()
    return root


def embeddings(root, rows=40, parts=2, dimension=16):
    random = np.random.default_rng(0)
    images = random.standard_normal((rows, dimension))
    texts = images + 0.1 * random.standard_normal((rows, dimension))
    for folder in ("img_emb", "text_emb", "metadata"):
        (root / folder).mkdir(parents=True)
    for part, at in enumerate(np.array_split(np.arange(rows), parts)):
        np.save(root / f"img_emb/img_emb_{part}.npy", images[at].astype(np.float16))
        np.save(root / f"text_emb/text_emb_{part}.npy", texts[at].astype(np.float16))
        metadata = {
            "image_path": [f"pictures/{n}.jpg" for n in at],
            "caption": [f"number {n}" for n in at],
            "similarity": [float(n) for n in at],
        }
        pq.write_table(pa.table(metadata), root / f"metadata/metadata_{part}.parquet")
    return images, texts


def read(source, tmp_path):
    return corpus.read([source], leave_out=tmp_path / "index")


def described(result):
    """Return the number of parts of each modality, and the split, by item."""
    return {
        key: (
            {
                str(m): sum(part.modality is m for part in item.parts)
                for m in {p.modality for p in item.parts}
            },
            item.metadata.get("split"),
        )
        for key, item in result.items.items()
    }


def test_every_format_is_tested_here():
    tried = {"coco", "flickr30k", "flickr8k", "flickr-token", "clotho", "audiocaps", "msrvtt", "webdataset",
             "embeddings"}  # fmt: skip
    assert set(registry.ADAPTERS) == tried


@pytest.mark.parametrize("coco", [True, False])
def test_karpathys_split(tmp_path, coco):
    file = karpathy(tmp_path, inside="val2014" if coco else "flickr30k-images", coco=coco)
    result = read(f"{'coco' if coco else 'flickr30k'}:{file}", tmp_path)
    assert not result.problems
    assert result.holdout == "split = 'test'"
    assert [split for _, split in described(result).values()] == ["train", "train", "test", "test"]
    assert {tuple(sorted(of.items())) for of, _ in described(result).values()} == {
        (("image", 1), ("text", 6))
    }


def test_coco_is_evaluated_by_its_protocol(tmp_path):
    with toy.encoders():
        command = ["index", f"coco:{karpathy(tmp_path)}", "--out", str(tmp_path / "index"), "--preset", "toy"]
        assert run(command) == 0
        assert run(command) == 0
    engine = retrieval.open(tmp_path / "index")
    assert engine.manifest.settings["holdout"] == "split = 'test'"
    assert engine.manifest.generation == 1
    result = retrieval.evaluate(engine, captions=5, ks=(1,))
    assert (result.tasks["text-to-image"]["queries"], result.tasks["text-to-image"]["pool"]) == (10, 2)
    assert (result.tasks["image-to-text"]["queries"], result.tasks["image-to-text"]["pool"]) == (2, 10)
    assert result.tasks["image-to-text"]["hit@1"] == 1.0
    assert result.tasks["image-to-text"]["recall@1"] == 0.2


def test_an_explicit_holdout_replaces_the_standard_split(tmp_path):
    with toy.encoders():
        indexer.build(
            [f"coco:{karpathy(tmp_path)}"], out=tmp_path / "index", preset="toy", holdout="split = 'train'"
        )
    assert retrieval.open(tmp_path / "index").manifest.settings["holdout"] == "split = 'train'"


def test_flickr_as_published_by_its_authors(tmp_path):
    result = read(f"flickr-token:{flickr_token(tmp_path)}", tmp_path)
    assert not result.problems
    assert [split for _, split in described(result).values()] == ["train", "train", "val", "test"]
    assert {of["text"] for of, _ in described(result).values()} == {5}


def test_clotho(tmp_path):
    result = read(f"clotho:{clotho(tmp_path)}", tmp_path)
    assert not result.problems
    assert described(result) == {
        "development/a rain": ({"audio": 1, "text": 5}, "train"),
        "evaluation/a rain": ({"audio": 1, "text": 5}, "test"),
    }
    one = read(f"clotho:{tmp_path / 'clotho_captions_evaluation.csv'}", tmp_path)
    assert list(one.items) == ["evaluation/a rain"]


def test_audiocaps(tmp_path):
    result = read(f"audiocaps:{audiocaps(tmp_path)}", tmp_path)
    assert not result.problems
    assert described(result) == {
        "test/id-test_30": ({"audio": 1, "text": 5}, "test"),
        "train/id-train_30": ({"audio": 1, "text": 1}, "train"),
    }


def test_msrvtt_and_its_1k_a_split(tmp_path):
    result = read(f"msrvtt:{msrvtt(tmp_path)}", tmp_path)
    assert not result.problems
    assert [split for _, split in described(result).values()] == ["train", "val", "test"]
    assert {of["text"] for of, _ in described(result).values()} == {20}
    (tmp_path / "1k").mkdir()
    result = read(f"msrvtt:{msrvtt(tmp_path / '1k', jsfusion=True)}", tmp_path)
    assert [(of["text"], split) for of, split in described(result).values()] == [
        (20, "train"), (1, "test"), (20, "train")
    ]  # fmt: skip


def test_pictures_are_read_from_shards(tmp_path):
    with toy.encoders() as made:
        command = [
            "index",
            f"webdataset:{shards(tmp_path)}",
            "--out",
            str(tmp_path / "index"),
            "--preset",
            "toy",
        ]
        assert run(command) == 0
        encoded = made[Modality.IMAGE].encoded
        assert run(command) == 0
        assert made[Modality.IMAGE].encoded == encoded == 4
        engine = retrieval.open(tmp_path / "index")
        (hit,) = engine.search(text="blue", to="image", k=1)
    assert (hit.id, hit.path) == ("000010000", "00001.tar/000010000.png")
    assert hit.metadata == {"url": "http://blue", "width": 8, "status": "ok"}
    assert retrieval.evaluate(engine, ks=(1,)).tasks["text-to-image"]["hit@1"] == 1.0


def test_a_folder_of_embeddings_is_indexed_without_an_encoder(tmp_path):
    images, texts = embeddings(tmp_path / "laion")
    source = f"embeddings:{tmp_path / 'laion'}"
    summary = indexer.build([source], out=tmp_path / "index")
    assert (summary.assets, summary.failed, summary.alignment) == ({"text": 40, "image": 40}, 0, "identity")
    engine = retrieval.open(tmp_path / "index")
    figures = retrieval.evaluate(engine, ks=(1,)).tasks["text-to-image"]
    assert (figures["queries"], figures["hit@1"]) == (40, 1.0)
    stored = engine.index.modality_index(Modality.IMAGE).index.vectors()
    unit = images.astype(np.float16).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    keys = [
        engine.index.catalog.records([asset])[asset].item
        for asset in engine.index.table(Modality.IMAGE).assets.tolist()
    ]
    order = [int(part) * 20 + int(row) for part, row in (key.split("/") for key in keys)]
    np.testing.assert_allclose(stored, unit[order], atol=1e-6)
    (hit,) = engine.search(vector=texts[7].astype(np.float32), to="image", k=1)
    assert (hit.id, hit.path, hit.metadata["similarity"]) == ("0/7", "pictures/7.jpg", 7.0)
    with pytest.raises(retrieval.XmodalError, match="search by id, or pass a vector"):
        engine.search(text="number 7", to="image")
    assert indexer.build([source], out=tmp_path / "index").generation == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: np.save(root / "img_emb/img_emb_1.npy", np.ones((3, 16), np.float32)), "3 and 20 rows"),
        (lambda root: np.save(root / "img_emb/img_emb_1.npy", np.ones(20, np.float32)), "rows of floats"),
        (lambda root: (root / "img_emb/img_emb_1.npy").write_bytes(b"no"), "cannot be read"),
        (lambda root: np.save(root / "img_emb/last.npy", np.ones((3, 16), np.float32)), "has no number"),
    ],
)
def test_inconsistent_embedding_files_are_refused(tmp_path, spoil, message):
    embeddings(tmp_path / "laion")
    spoil(tmp_path / "laion")
    with pytest.raises(SourceError, match=message):
        read(f"embeddings:{tmp_path / 'laion'}", tmp_path)


@pytest.mark.parametrize("name", sorted(registry.ADAPTERS))
def test_missing_files_and_wrong_formats_are_refused(tmp_path, name):
    with pytest.raises(SourceError, match="expected"):
        read(f"{name}:{tmp_path / 'nowhere'}", tmp_path)
    (tmp_path / "file.json").write_text('{"other": []}')
    with pytest.raises(SourceError, match=f"{name}|expected"):
        read(f"{name}:{tmp_path / 'file.json'}", tmp_path)


def test_a_missing_picture_fails_alone(tmp_path):
    file = karpathy(tmp_path)
    next((tmp_path / "val2014").iterdir()).unlink()
    result = read(f"coco:{file}", tmp_path)
    assert (len(result.problems), len(result.items)) == (1, 4)


def test_a_name_with_a_colon_is_still_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    toy.folder(tmp_path / "coco:x")
    assert len(corpus.read(["coco:x"], leave_out=tmp_path / "index").items) == len(toy.COLOURS)
    assert registry.absolute("clotho:sounds") == f"clotho:{tmp_path.resolve()}/sounds"
    assert registry.absolute("coco:x") == f"{tmp_path.resolve()}/coco:x"


def test_the_given_encoder_accepts_vectors_only():
    encoder = encoders.load("given-audio:3", Modality.AUDIO)
    rows = [np.array([1, 2, 3], np.float16), np.zeros(3)]
    prepared = [encoder.prepare(row) for row in rows]
    np.testing.assert_array_equal(encoder.encode(prepared), np.stack(rows).astype(np.float32))
    assert encoder.encode([]).shape == (0, 3)
    assert encoder.class_head() is None
    for medium in (b"RIFF", np.ones(4), np.array([1, np.nan, 0])):
        with pytest.raises(MediaError):
            encoder.prepare(medium)
    for name in ("given-audio", "given-audio:0", "given-audio:x"):
        with pytest.raises(OptionError, match="given-audio:512"):
            encoders.load(name, Modality.AUDIO)


def test_features_of_a_shared_space_are_not_changed(tmp_path):
    embeddings(tmp_path / "laion")
    np.save(tmp_path / "laion/text_emb/text_emb_0.npy", np.ones((20, 8), np.float32))
    np.save(tmp_path / "laion/text_emb/text_emb_1.npy", np.ones((20, 8), np.float32))
    with pytest.raises(AlignmentError, match="text 8, image 16"):
        indexer.build([f"embeddings:{tmp_path / 'laion'}"], out=tmp_path / "index", align="identity")


def test_the_readable_part_of_a_truncated_archive_is_indexed(tmp_path):
    for name in ("a.tar", "b.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            for number in range(3):
                member = tarfile.TarInfo(f"{name[0]}{number}.jpg")
                member.size = 5000
                archive.addfile(member, io.BytesIO(bytes(5000)))
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(data[:8000])
    result = corpus.read([f"webdataset:{tmp_path}"], leave_out=tmp_path / "index")
    assert list(result.items) == ["a0", "a1", "b0", "b1", "b2"]
    assert [problem.path for problem in result.problems] == ["a.tar"]
    assert result.problems[0].reason == "cannot be read to its end: unexpected end of data"
