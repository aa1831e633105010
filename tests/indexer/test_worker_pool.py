"""Decoding in processes: whatever a decoder does costs its own file, and no process stays behind."""

import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import indexer
from indexer.decoding import fork_client
from indexer.decoding.media_file import MediaFile, prepare_file
from indexer.decoding.worker_pool import ResourceLimit, WorkerPool
from retrieval.errors import MediaError, NoSoundError, UnreadableError, WorkerError
from retrieval.media.images import load_image
from retrieval.types import Modality
from tests.helpers import toy
from tests.helpers.behaviour import behave

ROOT = Path(__file__).parents[2]


def refuse():
    raise ImportError("it is not here")


class Elsewhere:
    """What can be pickled, but not be had back."""

    def __reduce__(self):
        return refuse, ()

    def __call__(self, path):
        return path


def medium(path, text="fine"):
    path.write_text(text, encoding="utf-8")
    status = path.stat()
    return MediaFile(path, status.st_size, status.st_mtime_ns)


def alive():
    """The process ids of the nursery and its workers."""
    nursery = fork_client._current._process.pid
    return {nursery} | children(nursery)


def children(process):
    return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


@pytest.mark.parametrize(
    ("what", "error", "reason"),
    [
        ("crash", MediaError, r"the decoder crashed \(SIGSEGV\)"),
        ("leave", MediaError, r"the decoder crashed \(exit status 7\)"),
        ("hang", MediaError, "cannot be decoded within 0.5 seconds"),
        ("sleep", MediaError, "cannot be decoded within 0.5 seconds"),
        ("eat", MediaError, "needs more than 512 MiB of memory"),
        ("bug", MediaError, r"cannot be decoded: KeyError: 'no\\nsuch'"),
        ("silent", NoSoundError, "^holds pictures alone"),
        ("write", UnreadableError, "changed while it was read: run the same command again"),
    ],
)
def test_the_guilty_file_alone_pays(tmp_path, what, error, reason):
    media = [medium(tmp_path / f"{at}", "x" * at if at != 5 else what) for at in range(1, 20)]

    def outcome(one):
        try:
            return workers.decode(one)
        except MediaError as met:
            return met

    with (
        WorkerPool(behave, ResourceLimit(0.5 if "within" in reason else 30)) as workers,
        ThreadPoolExecutor(3) as pool,
    ):
        outcomes = list(pool.map(outcome, media))
        busy = alive()
    failed = outcomes.pop(4)
    assert outcomes == [at for at in range(1, 20) if at != 5]
    assert type(failed) is error
    with pytest.raises(error, match=reason):
        raise failed
    assert 2 <= len(busy) <= 4
    assert len(alive()) == 1


def test_more_memory_is_given_to_one_at_a_time(tmp_path):
    with WorkerPool(behave, ResourceLimit(30, 2**28), memory=2**27) as workers:
        assert workers.decode(medium(tmp_path / "a", "need")) == 60 * 2**20
    with (
        WorkerPool(behave, ResourceLimit(30, 2**26), memory=2**25) as workers,
        pytest.raises(MediaError, match="more than 64 MiB"),
    ):
        workers.decode(medium(tmp_path / "a", "need"))


def test_a_worker_that_somebody_kills_is_no_fault_of_the_file(tmp_path):
    one = medium(tmp_path / "a.txt", "once")
    (tmp_path / "a.met").mkdir()  # now the second try raises, which is what it is told by
    with WorkerPool(behave, ResourceLimit(30)) as workers, pytest.raises(MediaError, match="FileExistsError"):
        workers.decode(one)
    (tmp_path / "a.met").rmdir()
    with WorkerPool(behave, ResourceLimit(30)) as workers, pytest.raises(MediaError, match="FileExistsError"):
        workers.decode(one)


def test_a_killed_nursery_is_replaced(tmp_path):
    with WorkerPool(behave, ResourceLimit(30)) as workers:
        assert workers.decode(medium(tmp_path / "a")) == 4
        before = alive()
        fork_client._current._process.kill()
        fork_client._current._process.wait()
        assert workers.decode(medium(tmp_path / "b")) == 4
        assert not before & alive()


def test_an_end_wakes_who_waits(tmp_path):
    failures = []

    def wait():
        try:
            workers.decode(medium(tmp_path / "a", "sleep"))
        except MediaError as error:
            failures.append(str(error))

    with WorkerPool(behave, ResourceLimit(3600)) as workers:
        thread = threading.Thread(target=wait)
        thread.start()
        while not workers._all:
            time.sleep(0.01)
    thread.join(30)
    assert failures == ["the job has ended"]


def test_what_cannot_be_sent_says_so(tmp_path):
    with (
        WorkerPool(lambda path: path, ResourceLimit(30)) as workers,
        pytest.raises(WorkerError, match="cannot be sent to a worker process"),
    ):
        workers.decode(medium(tmp_path / "a"))
    with (
        WorkerPool(Elsewhere(), ResourceLimit(30)) as workers,
        pytest.raises(WorkerError, match="could not load an encoder"),
    ):
        workers.decode(medium(tmp_path / "a"))


def test_a_process_decodes_as_a_thread_does(tmp_path):
    path = toy.paint(tmp_path / "a.png", (200, 100, 0), (30, 20))
    one = MediaFile(path, path.stat().st_size, path.stat().st_mtime_ns)
    with WorkerPool(load_image, ResourceLimit(30)) as workers:
        assert workers.decode(one) == prepare_file(load_image, one) == load_image(path)


def test_a_part_of_an_archive_is_checked(tmp_path):
    (tmp_path / "a.tar").write_bytes(b"0123456789")
    mtime = (tmp_path / "a.tar").stat().st_mtime_ns
    assert prepare_file(len, MediaFile(tmp_path / "a.tar", 4, mtime, 6)) == 4
    with pytest.raises(MediaError, match="expected 5 bytes in the archive, it ends after 4"):
        prepare_file(len, MediaFile(tmp_path / "a.tar", 5, mtime, 6))
    with pytest.raises(MediaError, match="too large"):
        prepare_file(len, MediaFile(tmp_path / "a.tar", 2**40, mtime, 6))
    with pytest.raises(MediaError, match="changed while"):
        prepare_file(len, MediaFile(tmp_path / "a.tar", 4, mtime - 1, 6))
    with pytest.raises(MediaError, match="cannot be read: No such file"):
        prepare_file(len, MediaFile(tmp_path / "none", 4, 0))


def test_a_killed_job_leaves_no_process(tmp_path):
    job = (
        "from tests.indexer.test_worker_pool import *\n"
        "with WorkerPool(behave, ResourceLimit(3600)) as workers:\n"
        "    workers.decode(medium(Path(sys.argv[1]) / 'a'))\n"
        "    print(*alive(), flush=True)\n"
        "    workers.decode(medium(Path(sys.argv[1]) / 'b', 'hang'))\n"
    )
    with subprocess.Popen([sys.executable, "-c", job, tmp_path], cwd=ROOT, stdout=subprocess.PIPE) as process:
        processes = list(map(int, process.stdout.readline().split()))
        assert len(processes) == 2
        process.kill()
    deadline = time.monotonic() + 30
    while any(map(is_running, processes)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_program_needs_no_guard_around_a_job(tmp_path):
    toy.folder(tmp_path / "source")
    (tmp_path / "program.py").write_text(
        "import indexer\nfrom tests.helpers import toy\n"
        "with toy.encoders():\n"
        "    print(indexer.build(['source'], out='index', preset='toy', device='cpu').assets)\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("{'text': 10, 'image': 10}\n", "")


def test_trusted_files_are_decoded_in_the_job_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(fork_client, "fork_worker", None)
    toy.folder(tmp_path / "source")
    with toy.encoders():
        summary = indexer.build(
            [tmp_path / "source"], out=tmp_path / "index", preset="toy", trusted=True, device="cpu"
        )
    assert summary.assets == {"text": 10, "image": 10}


def test_texts_are_prepared_where_the_network_is(tmp_path):
    """What prepares them need not be sent, and may be tied to what cannot be."""
    with toy.encoders() as made:
        text = made[Modality.TEXT]
        lock, whole = threading.Lock(), text.prepare

        def prepare(medium):
            with lock:
                return whole(medium)

        text.prepare = prepare
        with (
            WorkerPool(prepare, ResourceLimit(60)) as workers,
            pytest.raises(WorkerError, match="cannot be sent"),
        ):
            workers.decode(MediaFile(tmp_path, 0, 0))
        summary = indexer.build([toy.folder(tmp_path / "data")], out=tmp_path / "index", preset="toy")
    assert summary.failed == 0
    assert summary.assets["text"] == len(toy.COLOURS)


def test_a_worker_that_cannot_be_started_leaves_nothing_open(monkeypatch, tmp_path):
    def refuse_to_bear(_connection):
        raise WorkerError("no process to decode in can be started")

    monkeypatch.setattr(fork_client, "fork_worker", refuse_to_bear)
    gc.collect()  # what earlier tests left for it
    before = len(list(Path("/proc/self/fd").iterdir()))
    with (
        WorkerPool(behave, ResourceLimit(1.0)) as workers,
        pytest.raises(WorkerError, match="no process to decode in"),
    ):
        workers.decode(medium(tmp_path / "file"))
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
