"""Damage of every kind is found and named, and what can be seen at a glance is never searched."""

import contextlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import indexer
import retrieval
from indexer.cli.main import run
from retrieval import checksums
from retrieval.checksums import Checksum
from retrieval.errors import DamagedIndexError, IndexFormatError, NotAnIndexError, XmodalError
from retrieval.storage.damage import Remedy
from retrieval.storage.feature_store import RECORD
from retrieval.storage.manifest import Manifest
from tests.helpers import damaged, toy

ENDINGS = [
    "manifest.json",
    "000001/manifest.json",
    "000001/catalog.sqlite",
    "000002/manifest.json",
    "000002/catalog.sqlite",
    "000002/alignment.safetensors",
    "000002/image.faiss",
    "000002/text.assets.npy",
    "rows.f32",
    "contents.bin",
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with toy.encoders():
        yield damaged.build(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def answers(whole):
    return damaged.answers(whole)


@pytest.fixture
def index(whole, tmp_path):
    return damaged.copy(whole, tmp_path / "index")


@pytest.fixture
def no_glance(monkeypatch):
    """As in an index of large files, little of which is looked at when it is opened."""
    monkeypatch.setattr(checksums, "HEAD", 0)
    monkeypatch.setattr(checksums, "QUICK", -1)
    monkeypatch.setattr(Checksum, "glance", lambda *_: None)


def file_of(index, ending):
    return next(name for name in sorted(damaged.files(index), key=len) if name.endswith(ending))


def test_an_undamaged_index_is_whole(whole, capsys):
    verdict = retrieval.verify(whole)
    assert (verdict.is_whole, verdict.strays) == (True, [])
    assert verdict.files == len(damaged.files(whole)) + len([*whole.glob("features/*/*.numerics")])
    assert verdict.rows == 11 + 20  # a picture each, a caption each, a class name each
    assert run(["verify", str(whole)]) == 0
    assert capsys.readouterr().out.startswith("whole: ")


def test_every_flipped_bit_is_found_and_its_file_is_named(index):
    for name in damaged.files(index):
        for bit in damaged.bits(index / name, 4):
            damaged.flip(index / name, bit)
            verdict = retrieval.verify(index)
            assert [name for damage in verdict.damages if name.startswith(damage.path)] == [name], bit
            damaged.flip(index / name, bit)
    assert retrieval.verify(index).is_whole


def test_a_flipped_bit_is_refused_or_changes_no_answer(index, answers):
    for name in damaged.files(index):
        for bit in damaged.bits(index / name, 2, seed=1):
            damaged.flip(index / name, bit)
            with contextlib.suppress(XmodalError):
                assert damaged.answers(index) == answers, (name, bit)
            damaged.flip(index / name, bit)


@pytest.mark.usefixtures("no_glance")
def test_where_nothing_is_seen_at_a_glance_there_is_an_answer_or_a_sentence_still(index):
    for name in damaged.files(index):
        if "000002" in name:
            for bit in damaged.bits(index / name, 60 if name.endswith("sqlite") else 8, seed=2):
                damaged.flip(index / name, bit)
                with contextlib.suppress(XmodalError):
                    damaged.answers(index)
                damaged.flip(index / name, bit)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("manner", ["missing", "empty", "cut", "longer", "foreign", "folder"])
def test_spoilt_files_are_named_and_never_searched(index, answers, capsys, ending, manner):
    name = file_of(index, ending)
    path = index / name
    data = path.read_bytes()
    path.unlink()
    spoilt = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "longer": data + b"\n",
        "foreign": b"x" * len(data),
    }
    if manner == "folder":
        path.mkdir()
    elif manner != "missing":
        path.write_bytes(spoilt[manner])
    is_torn = ending in {"rows.f32", "contents.bin"} and manner == "longer"  # what a killed job leaves
    former_is_gone = ending == "000001/manifest.json" and manner in {"missing", "folder"}
    verdict = retrieval.verify(index)
    if is_torn or former_is_gone:
        assert verdict.is_whole
    else:
        assert any(name.startswith(damage.path) for damage in verdict.damages)
        assert run(["verify", str(index)]) == 1
        assert f"damaged  {verdict.damages[0].path}" in capsys.readouterr().out
    if name == "manifest.json" or ("000002/" in name and not name.endswith("manifest.json")):
        assert run(["search", str(index), "--text", "red", "--to", "image"]) in {1, 2}
        assert capsys.readouterr().err.count("\n") == 1
    else:
        assert damaged.answers(index) == answers


@settings(max_examples=60)
@given(data=st.data())
def test_a_half_copied_folder_is_refused_or_answers_alike(whole, answers, tmp_path_factory, data):
    names = damaged.files(whole)
    copied = data.draw(st.lists(st.sampled_from(names), unique=True))
    torn = data.draw(st.booleans())
    to = tmp_path_factory.mktemp("half")
    for name in copied:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(whole / name, to / name)
    if copied and torn:
        last = to / copied[-1]
        last.write_bytes(last.read_bytes()[: data.draw(st.integers(0, last.stat().st_size - 1))])
    needed = [name for name in names if name == "manifest.json" or "000002/" in name]
    needed.remove("generations/000002/manifest.json")
    got = set(copied[:-1] if torn else copied)
    if got.issuperset(name for name in needed if "/copies/" not in name):  # which nothing but a repair reads
        assert damaged.answers(to) == answers
    else:
        with pytest.raises((DamagedIndexError, NotAnIndexError)):
            retrieval.open(to)
    try:
        assert retrieval.verify(to).is_whole <= got.issuperset(needed)
    except NotAnIndexError:
        assert not any(name.endswith("manifest.json") for name in copied)


def test_empty_and_foreign_folders_are_no_indexes(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    toy.paint(tmp_path / "pictures/red.png", "red")
    for name in ("empty", "pictures", "nowhere", "pictures/red.png"):
        for command in ("verify", "repair", "info"):
            assert run([command, str(tmp_path / name)]) == 2
            assert capsys.readouterr().err.count("\n") == 1
    assert list((tmp_path / "empty").iterdir()) == []
    (tmp_path / "pictures/manifest.json").write_text('{"name": "a web page"}', encoding="utf-8")
    with pytest.raises(DamagedIndexError, match="is not what was written"):
        retrieval.open(tmp_path / "pictures")


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", "[" * 99_999, '{"format": 2}', '{"format": "2"}', "\udcff"]
)
def test_a_manifest_that_is_none_is_refused(index, text):
    (index / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamagedIndexError, match=r"manifest.json is not what was written"):
        retrieval.open(index)


def test_files_of_two_generations_are_not_mixed(index):
    for name in ("image.faiss", "text.faiss", "catalog.sqlite", "image.assets.npy", "alignment.safetensors"):
        own, other = index / "generations/000002" / name, index / "generations/000001" / name
        data = own.read_bytes()
        if data != other.read_bytes():
            own.write_bytes(other.read_bytes())
            with pytest.raises(DamagedIndexError, match=name):
                retrieval.open(index)
            own.write_bytes(data)
    assert retrieval.open(index)


def test_it_is_said_which_items_and_modalities_are_hurt(index):
    folder = next((index / "features").glob("image-*"))
    damaged.flip(folder / "rows.f32", 8 * 12)  # blue: the second by name
    damaged.flip(index / "generations/000002/text.faiss", 999)
    rows, vectors = sorted(retrieval.verify(index).damages, key=lambda damage: damage.path)
    assert (rows.items, rows.modalities, rows.rows, rows.remedy) == (
        ("blue",),
        ("image",),
        (1,),
        Remedy.ENCODE,
    )
    assert (vectors.items, vectors.modalities, vectors.remedy) == ((), ("text",), Remedy.REBUILD)
    values = json.loads(json.dumps(retrieval.verify(index).as_dict()))
    assert (values["whole"], values["generation"], len(values["damages"])) == (False, 2, 2)


def test_features_of_another_content_are_named(index):
    own, text = (next((index / "features").glob(f"{name}-*/contents.bin")) for name in ("image", "text"))
    other = text.read_bytes()[: RECORD.itemsize]
    own.write_bytes(other + own.read_bytes()[RECORD.itemsize :])  # a sound record, and not of this row
    damage = retrieval.verify(index).damages[0]
    assert (damage.remedy, damage.items) == (Remedy.ENCODE, ("black",))


def test_what_jobs_leave_and_others_put_there_is_no_damage(index):
    (index / "generations/draft").mkdir()
    (index / "generations/draft/catalog.sqlite").write_bytes(b"half")
    (index / "generations/000003").mkdir()
    (index / "generations/000003/image.faiss").write_bytes(b"never published")
    (index / "manifest.json.new").write_bytes(b"half")
    (index / "notes.txt").write_bytes(b"mine")
    verdict = retrieval.verify(index)
    assert verdict.is_whole
    assert verdict.strays == [
        "generations/000003/image.faiss",
        "generations/draft/catalog.sqlite",
        "notes.txt",
    ]


def test_a_hard_linked_file_keeps_the_checksum_it_had(tmp_path):
    before, now = tmp_path / "before", tmp_path / "now"
    before.mkdir()
    now.mkdir()
    (before / "a").write_bytes(b"written")
    known = checksums.of_folder(before, None, {})
    damaged.flip(before / "a", 3)
    (now / "b").hardlink_to(before / "a")
    (now / "c").write_bytes(b"new")
    found = checksums.of_folder(now, before, known)
    assert found["b"] == known["a"]
    assert found["b"].check(now / "b") == "is not what was written"
    assert found["c"].check(now / "c") is None


def as_format_1(index):
    """What an index was before there were checksums."""
    for manifest in index.glob("generations/*/manifest.json"):
        manifest.unlink()
    values = json.loads((index / "manifest.json").read_text())
    for name in ("checksum", "files", "features"):
        del values[name]
    (index / "manifest.json").write_text(json.dumps({**values, "format": 1}, indent=2))
    for store in index.glob("features/*"):
        damaged.as_before_checksums(store)


def test_an_index_without_checksums_is_searched_and_gets_them_at_the_next_job(index, answers, whole):
    as_format_1(index)
    assert damaged.answers(index) == answers
    with pytest.raises(IndexFormatError, match="before there were checksums"):
        retrieval.verify(index)
    summary = indexer.build([whole.parent / "source"], out=index)
    assert (summary.encoded, summary.generation) == (0, 3)
    assert retrieval.verify(index).is_whole
    assert damaged.answers(index) == answers
    assert Manifest.read(index).format == 2


def test_a_file_that_is_quickly_read_is_compared_as_a_whole_when_it_is_used(tmp_path, monkeypatch):
    path = tmp_path / "image.faiss"
    path.write_bytes(bytes(200_000))
    checksum = Checksum.of(path)
    damaged.flip(path, 8 * 150_000)
    assert checksum.glance(path) is None
    assert checksum.use(path) == "is not what was written"
    monkeypatch.setattr("retrieval.checksums.QUICK", 100_000)
    assert checksum.use(path) is None


@pytest.mark.usefixtures("no_glance")
@pytest.mark.parametrize("ending", ["000002/image.faiss", "000002/catalog.sqlite"])
def test_what_is_used_is_checked_before(index, ending, monkeypatch):
    monkeypatch.setattr(checksums, "QUICK", 1 << 20)
    path = index / file_of(index, ending)
    damaged.flip(path, 4 * path.stat().st_size)
    engine = retrieval.open(index)
    with pytest.raises(DamagedIndexError, match="is not what was written: run 'xmodal repair"):
        engine.search(vector=np.ones(engine.index.space.dimension), to="image")
