"""What an interrupted job leaves, and which changes of the sources a job refuses."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import indexer
import retrieval
from indexer.changes.journal import Journal
from indexer.cli.main import run
from indexer.dry_run import dry_run
from retrieval.errors import (
    EncoderMismatchError,
    FullDiskError,
    IndexBusyError,
    MassRemovalError,
    SourceError,
)
from retrieval.storage.layout import Layout
from retrieval.types import Modality
from tests.helpers import toy

ROOT = Path(__file__).parents[2]


def build(source, out, **options):
    return indexer.build([source], out=out, preset="toy", device="cpu", **options)


def interrupt(source, out, encoders, monkeypatch, **options):
    """Build until the first pictures would be encoded."""

    def interrupted(_prepared):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(encoders[Modality.IMAGE], "encode", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(source, out, **options)


def count_reads(monkeypatch):
    read = []
    digest = indexer.decoding.media_file.MediaFile.sha256
    monkeypatch.setattr(
        indexer.decoding.media_file.MediaFile,
        "sha256",
        lambda self: read.append(self.file.name) or digest(self),
    )
    return read


def test_the_hashes_and_failures_of_an_interrupted_job_are_kept(source, out, encoders, monkeypatch):
    (source / "aaa.png").write_bytes(b"nonsense")  # decoding fails before the interruption
    interrupt(source, out, encoders, monkeypatch, batch_size=2)
    assert [path.name for path in out.iterdir() if path.name == "journal"] == ["journal"]
    toy.paint(source / "red.png", (240, 0, 0))
    read = count_reads(monkeypatch)
    summary = build(source, out)
    assert read == ["red.png"]
    assert (summary.failed, summary.assets) == (1, {"text": 10, "image": 10})
    assert not (out / "journal").exists()
    assert not (out / "writer.json").exists()


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'00000000 ["a"]\n', b"1", b"12 [1, 2, 3]\n["])
def test_a_damaged_journal_only_causes_files_to_be_read_again(source, out, encoders, monkeypatch, damage):
    interrupt(source, out, encoders, monkeypatch)
    path = Layout(out).journal
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + damage + data[len(data) // 2 + 3 :])
    read = count_reads(monkeypatch)
    assert build(source, out).assets == {"text": 10, "image": 10}
    assert 0 < len(read) <= 2


def test_a_journal_identifies_sources_by_name(tmp_path):
    journal = Journal(tmp_path / "journal", ["/a", "/b"])
    part = indexer.sources.corpus.Part(Modality.IMAGE, 1, "x\ny.png", tmp_path, None, 3, 4)
    with journal.open():
        journal.note(part, "00ff")
    assert Journal(tmp_path / "journal", ["/a"]).seen() == {}
    seen = Journal(tmp_path / "journal", ["/b", "/a"]).seen()
    assert {place: one.content for place, one in seen.items()} == {("image", 0, "x\ny.png"): "00ff"}


def test_the_error_of_a_second_writer_names_the_first(source, out):
    build(source, out)
    program = (
        "import sys\nfrom pathlib import Path\nfrom indexer.publishing.draft import writing\n"
        "with writing(Path(sys.argv[1])):\n    print('ready', flush=True)\n    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, out]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout.readline() == b"ready\n"
        with pytest.raises(
            IndexBusyError, match=rf"another job \(process {first.pid} on .*, since 20.*\) is writing"
        ):
            build(source, out)
        first.kill()
    assert (out / "writer.json").exists()
    assert build(source, out).generation == 1  # the lock and writer.json of a dead writer are taken over
    assert not (out / "writer.json").exists()


def test_a_missing_source_is_not_taken_for_an_emptied_one(source, out, tmp_path):
    build(source, out)
    source.rename(tmp_path / "unmounted")
    with pytest.raises(SourceError, match="does not exist"):
        build(source, out)
    source.mkdir()
    with pytest.raises(SourceError, match="nothing to index"):
        build(source, out, allow_mass_removal=True)
    toy.paint(source / "red.png", "red")
    with pytest.raises(MassRemovalError, match=r"19 of 20 assets are not in .*source.* --allow-mass-removal"):
        build(source, out)
    assert run(["index", str(source), "--out", str(out), "--device", "cpu"]) == 2
    assert len(retrieval.open(out).text_to_image("red", k=20)) == 10
    assert build(source, out, allow_mass_removal=True).removed == 19


def test_each_source_is_checked_for_mass_removal_separately(source, out, tmp_path):
    for number in range(30):
        toy.paint(tmp_path / f"more/{number}.png", (8 * number + 1, 0, 0))
    both = {"out": out, "preset": "toy", "device": "cpu"}
    indexer.build([tmp_path / "more", source], **both)
    for name in toy.COLOURS:
        (source / f"{name}.txt").unlink()
        if name != "red":
            (source / f"{name}.png").unlink()
    with pytest.raises(MassRemovalError, match="19 of 20"):
        indexer.build([tmp_path / "more", source], **both)
    assert indexer.build([tmp_path / "more"], **both).items == 30  # the other source is not indexed any more


def test_leaving_out_a_modality_is_not_a_mass_removal(source, out):
    build(source, out)
    for name in list(toy.COLOURS)[:3]:
        (source / f"{name}.txt").unlink()
    summary = build(source, out, encoders={"image": "none"})
    assert (summary.assets, summary.removed) == ({"text": 7}, 13)


def test_renaming_or_changing_everything_is_not_a_mass_removal(source, out):
    build(source, out)
    for path in list(source.iterdir()):
        path.rename(source / f"new-{path.name}")
    build(source, out)
    for name in toy.COLOURS:
        (source / f"new-{name}.txt").write_text(f"Now it is {name}.", encoding="utf-8")
        toy.paint(source / f"new-{name}.png", tuple(value // 2 for value in toy.COLOURS[name]))
    assert build(source, out).items == 10


def test_unreadable_files_count_as_removed_for_the_mass_removal_check(source, out, monkeypatch):
    build(source, out)
    for path in source.glob("*.*"):
        os.utime(path, (1e9, 1e9))

    def gone(self):
        raise indexer.decoding.media_file.UnreadableError("cannot be read: Input/output error")

    for path in source.glob("*.txt"):
        path.unlink()
    monkeypatch.setattr(indexer.decoding.media_file.MediaFile, "sha256", gone)
    with pytest.raises(MassRemovalError):
        build(source, out)


def test_a_file_that_changes_during_the_job_fails(source, out, monkeypatch):
    check = indexer.decoding.media_file.MediaFile.check

    def touched(self):
        if self.file.name == "red.png":
            toy.paint(self.file, "blue", (9, 9))
        check(self)

    with monkeypatch.context() as patch:
        patch.setattr(indexer.decoding.media_file.MediaFile, "check", touched)
        summary = build(source, out, trusted=True)
    assert [(one["path"], one["reason"]) for one in summary.failures] == [
        ("red.png", "changed while it was read: run the same command again")
    ]
    assert build(source, out).failed == 0
    assert retrieval.open(out).image_to_image(toy.paint(source.parent / "b.png", "blue"), k=2)[1].id == "red"


def test_a_dry_run_lists_all_changes_and_writes_nothing(source, out, capsys):
    fresh = dry_run([source], out=out, preset="toy")
    assert (fresh.items, len(fresh.new), fresh.encode) == (10, 20, {"text": 10, "image": 10})
    assert not out.exists()
    build(source, out)
    toy.paint(source / "brown.png", (128, 64, 0))
    toy.paint(source / "green.png", (0, 200, 0))
    (source / "red.png").rename(source / "crimson.png")
    (source / "black.png").unlink()
    (source / "blue.txt").write_text("Something blue.\nThe sky.\n", encoding="utf-8")
    (source / "bad.png").symlink_to("/dev/null")
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert run(["index", str(source), "--out", str(out), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    assert plan["new"] == ["blue.txt", "brown.png"]
    assert (plan["changed"], plan["renamed"], plan["removed"]) == (
        ["green.png"],
        [["red.png", "crimson.png"]],
        ["black.png"],
    )
    assert (plan["encode"], plan["unchanged"], plan["refused"]) == ({"text": 1, "image": 2}, 17, None)
    assert [failure["path"] for failure in plan["failed"]] == ["bad.png"]
    summary = build(source, out)
    assert (summary.encoded, summary.removed) == (3, 2)
    assert dry_run([source], out=out).encode == {"text": 0, "image": 0}
    shutil.rmtree(source)
    toy.paint(source / "red.png", "red")
    assert run(["index", str(source), "--out", str(out), "--dry-run"]) == 0
    assert "refused    " in capsys.readouterr().out


def test_failures_are_listed_with_stage_reason_and_time(source, out, capsys):
    (source / "red.png").write_bytes(b"nonsense")
    (source / "two\nlines.png").write_bytes(b"")
    (source / os.fsdecode(b"caf\xe9.png")).symlink_to("/etc/passwd")
    assert run(["index", str(source), "--out", str(out), "--preset", "toy", "--device", "cpu"]) == 3
    capsys.readouterr()
    assert run(["failures", str(out), "--json"]) == 0
    rows = {row["path"]: row for row in json.loads(capsys.readouterr().out)}
    assert {path: row["stage"] for path, row in rows.items()} == {
        "red.png": "decode",
        "two\nlines.png": "decode",
        "caf\\xe9.png": "corpus",
    }
    assert rows["red.png"]["reason"] == "expected a picture, but Pillow cannot read its format"
    assert rows["red.png"]["source"] == str(source)
    assert rows["red.png"]["time"].startswith("20")
    assert run(["failures", str(out)]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_source_whose_name_is_not_utf8_can_be_indexed(source, out, capsys):
    odd = os.fsencode(source.parent) + b"/caf\xe9"
    os.rename(source, odd)
    os.rename(odd + b"/red.png", odd + b"/r\xe9d.png")
    (Path(os.fsdecode(odd)) / "blue.png").write_bytes(b"nonsense")
    assert (
        run(["index", os.fsdecode(odd), "--out", str(out), "--preset", "toy", "--device", "cpu", "--json"])
        == 3
    )
    assert json.loads(capsys.readouterr().out)["assets"] == {"text": 10, "image": 9}
    assert "r\\xe9d" in {hit.id for hit in retrieval.open(out).text_to_image("red")}
    assert run(["failures", str(out)]) == 0


def test_all_files_may_fail(tmp_path, encoders, out):
    (tmp_path / "source").mkdir()
    (tmp_path / "source/a.png").write_bytes(b"nonsense")
    assert (
        run(["index", str(tmp_path / "source"), "--out", str(out), "--preset", "toy", "--device", "cpu"]) == 3
    )


@pytest.mark.parametrize(
    "error", [OSError(28, os.strerror(28)), RuntimeError("write error: No space left on device")]
)
def test_a_full_disk_is_reported_in_one_sentence(source, out, monkeypatch, capsys, error):
    build(source, out)
    toy.paint(source / "red.png", (240, 0, 0))

    def full(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("indexer.job.fit", full)
        with pytest.raises(FullDiskError, match="is full: make room"):
            build(source, out)
    assert retrieval.open(out).manifest.generation == 1
    assert (build(source, out).encoded, retrieval.open(out).manifest.generation) == (0, 2)


def test_the_old_index_serves_while_a_new_image_encoder_is_built(source, out, encoders):
    build(source, out)
    texts = encoders[Modality.TEXT].encoded
    with toy.encoders(weights="new") as renewed:
        encode = renewed[Modality.IMAGE].encode
        served = []

        def look(prepared):
            with toy.encoders():
                served.append(retrieval.open(out).text_to_image("red", k=1)[0].id)
            return encode(prepared)

        renewed[Modality.IMAGE].encode = look
        assert build(source, out).generation == 2
        assert set(served) == {"red"}
        assert retrieval.open(out).text_to_image("red", k=1)[0].id == "red"
    with pytest.raises(EncoderMismatchError):
        retrieval.open(out).text_to_image("red")
    assert encoders[Modality.TEXT].encoded >= texts
    assert len(list(Layout(out).features_root.iterdir())) == 4


def test_no_file_of_an_index_is_unpickled():
    """The only pickles are messages between the job and its workers."""
    code = "\n".join(
        path.read_text() for package in ("retrieval", "indexer") for path in (ROOT / package).rglob("*.py")
    )
    assert code.count("pickle.load") == 1
    assert "allow_pickle=True" not in code
    loading = code.count("torch.load(") + code.count("open_clip.create_model(")
    assert loading == code.count("weights_only=True")
    for loader in ("joblib", "dill", "shelve", "marshal"):
        assert f"import {loader}" not in code


def chaos(name, *arguments):
    command = [sys.executable, str(ROOT / f"scripts/chaos.d/{name}.py"), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_few_kills():
    done = chaos("kills", "--kills", "3", "--pictures", "60", "--seed", "5")
    assert (done.returncode, done.stdout.count("WRONG")) == (0, 0), done.stdout + done.stderr


def test_some_damaged_files():
    done = chaos("damaged", "--files", "60", "--encoders", "toy")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_disk_that_fills_up():
    if subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], check=False).returncode:  # noqa: S607
        pytest.skip("needs the right to mount in a namespace of its own")
    done = chaos("disk", "--pictures", "30", "--sizes", "3")
    assert done.returncode == 0, done.stdout + done.stderr


def test_ctrl_c_ends_all_processes_with_one_line(tmp_path):
    for number in range(100):
        toy.paint(tmp_path / f"source/{number}.png", (number, 0, 0))
    program = (
        "import signal, sys, time\nfrom indexer.cli.main import run\nfrom tests.helpers import toy\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell makes its background jobs ignore it
        "with toy.encoders() as encoders:\n"
        "    for one in encoders.values():\n"
        "        one.encode = lambda media, encode=one.encode: [time.sleep(1), encode(media)][1]\n"
        "    sys.exit(run(sys.argv[1:]))\n"
    )
    arguments = [
        "index",
        tmp_path / "source",
        "--out",
        tmp_path / "index",
        "--preset",
        "toy",
        "--device",
        "cpu",
    ]
    command = [sys.executable, "-c", program, *arguments, "--batch-size", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as job:
        for line in job.stderr:
            if line.startswith("encoding image"):
                break
        while not list((tmp_path / "index/features").glob("image-*/*")):
            time.sleep(0.01)
        os.killpg(job.pid, signal.SIGINT)
        rest = job.stderr.read()
    assert (job.returncode, rest) == (130, "xmodal: interrupted: run the same command again to go on\n")
    deadline = time.monotonic() + 30
    while session(job.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def session(leader):
    """Return the running processes of a session."""
    running = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own, *_ = path.read_text().rpartition(")")[2].split()
            if int(own) == leader and state != "Z":
                running.append(path)
    return running
