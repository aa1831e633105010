"""Damage of every kind is found and named, and damage that a quick check detects is never searched."""

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
def no_quick_check(monkeypatch):
    """As in an index of large files, of which only a small part is checked when it is opened."""
    monkeypatch.setattr(checksums, "HEAD_BYTES", 0)
    monkeypatch.setattr(checksums, "FULL_CHECK_BYTES", -1)
    monkeypatch.setattr(Checksum, "check_quickly", lambda *_: None)


def file_of(index, ending):
    return next(name for name in sorted(damaged.files(index), key=len) if name.endswith(ending))


def test_an_undamaged_index_is_whole(whole, capsys):
    verdict = retrieval.verify(whole)
    assert (verdict.is_whole, verdict.strays) == (True, [])
    assert verdict.files == len(damaged.files(whole)) + len([*whole.glob("features/*/*.numerics")])
    assert verdict.rows == 11 + 20  # one row for each picture, caption and class name
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


def test_a_flipped_bit_is_refused_or_changes_no_result(index, answers):
    for name in damaged.files(index):
        for bit in damaged.bits(index / name, 2, seed=1):
            damaged.flip(index / name, bit)
            with contextlib.suppress(XmodalError):
                assert damaged.answers(index) == answers, (name, bit)
            damaged.flip(index / name, bit)


@pytest.mark.usefixtures("no_quick_check")
def test_damage_missed_by_the_quick_check_gives_results_or_a_clean_error(index):
    for name in damaged.files(index):
        if "000002" in name:
            for bit in damaged.bits(index / name, 60 if name.endswith("sqlite") else 8, seed=2):
                damaged.flip(index / name, bit)
                with contextlib.suppress(XmodalError):
                    damaged.answers(index)
                damaged.flip(index / name, bit)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("manner", ["missing", "empty", "cut", "longer", "foreign", "folder"])
def test_damaged_files_are_named_and_never_searched(index, answers, capsys, ending, manner):
    name = file_of(index, ending)
    path = index / name
    data = path.read_bytes()
    path.unlink()
    contents = {
        "empty": b"",
        "cut": data[: len(data) // 2],
        "longer": data + b"\n",
        "foreign": b"x" * len(data),
    }
    if manner == "folder":
        path.mkdir()
    elif manner != "missing":
        path.write_bytes(contents[manner])
    is_torn = ending in {"rows.f32", "contents.bin"} and manner == "longer"  # as left by a killed job
    old_manifest_is_gone = ending == "000001/manifest.json" and manner in {"missing", "folder"}
    verdict = retrieval.verify(index)
    if is_torn or old_manifest_is_gone:
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
def test_a_half_copied_folder_is_refused_or_gives_the_same_results(whole, answers, tmp_path_factory, data):
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
    complete = set(copied[:-1] if torn else copied)
    if complete.issuperset(
        name for name in needed if "/copies/" not in name
    ):  # copies are read by a repair only
        assert damaged.answers(to) == answers
    else:
        with pytest.raises((DamagedIndexError, NotAnIndexError)):
            retrieval.open(to)
    try:
        assert retrieval.verify(to).is_whole <= complete.issuperset(needed)
    except NotAnIndexError:
        assert not any(name.endswith("manifest.json") for name in copied)


def test_empty_and_foreign_folders_are_not_indexes(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    toy.paint(tmp_path / "pictures/red.png", "red")
    for name in ("empty", "pictures", "nowhere", "pictures/red.png"):
        for command in ("verify", "repair", "info"):
            assert run([command, str(tmp_path / name)]) == 2
            assert capsys.readouterr().err.count("\n") == 1
    assert list((tmp_path / "empty").iterdir()) == []
    (tmp_path / "pictures/manifest.json").write_text('{"name": "a web page"}', encoding="utf-8")
    with pytest.raises(DamagedIndexError, match="is not a valid manifest"):
        retrieval.open(tmp_path / "pictures")


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", "[" * 99_999, '{"format": 2}', '{"format": "2"}', "\udcff"]
)
def test_an_invalid_manifest_is_refused(index, text):
    (index / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DamagedIndexError, match=r"manifest.json is not a valid manifest"):
        retrieval.open(index)


def test_files_of_two_generations_are_not_mixed(index):
    for name in ("image.faiss", "text.faiss", "catalog.sqlite", "image.assets.npy", "alignment.safetensors"):
        current, previous = index / "generations/000002" / name, index / "generations/000001" / name
        data = current.read_bytes()
        if data != previous.read_bytes():
            current.write_bytes(previous.read_bytes())
            with pytest.raises(DamagedIndexError, match=name):
                retrieval.open(index)
            current.write_bytes(data)
    assert retrieval.open(index)


def test_affected_items_and_modalities_are_reported(index):
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


def test_features_of_another_content_are_reported(index):
    image, text = (next((index / "features").glob(f"{name}-*/contents.bin")) for name in ("image", "text"))
    other = text.read_bytes()[: RECORD.itemsize]
    image.write_bytes(other + image.read_bytes()[RECORD.itemsize :])  # an intact record, of another content
    damage = retrieval.verify(index).damages[0]
    assert (damage.remedy, damage.items) == (Remedy.ENCODE, ("black",))


def test_leftovers_of_jobs_and_foreign_files_are_not_damage(index):
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
    computed = checksums.of_folder(now, before, known)
    assert computed["b"] == known["a"]
    assert computed["b"].check_fully(now / "b") == "does not match its checksum"
    assert computed["c"].check_fully(now / "c") is None


def as_format_1(index):
    """Convert an index to format 1, without checksums."""
    for manifest in index.glob("generations/*/manifest.json"):
        manifest.unlink()
    values = json.loads((index / "manifest.json").read_text())
    for name in ("checksum", "files", "features"):
        del values[name]
    (index / "manifest.json").write_text(json.dumps({**values, "format": 1}, indent=2))
    for store in index.glob("features/*"):
        damaged.as_before_checksums(store)


def test_an_index_without_checksums_is_searched_and_the_next_job_adds_them(index, answers, whole):
    as_format_1(index)
    assert damaged.answers(index) == answers
    with pytest.raises(IndexFormatError, match="before there were checksums"):
        retrieval.verify(index)
    summary = indexer.build([whole.parent / "source"], out=index)
    assert (summary.encoded, summary.generation) == (0, 3)
    assert retrieval.verify(index).is_whole
    assert damaged.answers(index) == answers
    assert Manifest.read(index).format == 2


def test_a_small_file_is_fully_checked_before_use(tmp_path, monkeypatch):
    path = tmp_path / "image.faiss"
    path.write_bytes(bytes(200_000))
    checksum = Checksum.of(path)
    damaged.flip(path, 8 * 150_000)
    assert checksum.check_quickly(path) is None
    assert checksum.check_before_use(path) == "does not match its checksum"
    monkeypatch.setattr("retrieval.checksums.FULL_CHECK_BYTES", 100_000)
    assert checksum.check_before_use(path) is None


@pytest.mark.usefixtures("no_quick_check")
@pytest.mark.parametrize("ending", ["000002/image.faiss", "000002/catalog.sqlite"])
def test_files_are_checked_before_use(index, ending, monkeypatch):
    monkeypatch.setattr(checksums, "FULL_CHECK_BYTES", 1 << 20)
    path = index / file_of(index, ending)
    damaged.flip(path, 4 * path.stat().st_size)
    engine = retrieval.open(index)
    with pytest.raises(DamagedIndexError, match="does not match its checksum: run 'xmodal repair"):
        engine.search(vector=np.ones(engine.index.space.dimension), to="image")
