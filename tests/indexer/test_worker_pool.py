"""Decoding in worker processes: a bad file fails alone, and no process is left behind."""

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


class PicklesButDoesNotUnpickle:
    """Decoder that can be pickled, but not unpickled."""

    def __reduce__(self):
        return refuse, ()

    def __call__(self, path):
        return path


def medium(path, text="fine"):
    path.write_text(text, encoding="utf-8")
    status = path.stat()
    return MediaFile(path, status.st_size, status.st_mtime_ns)


def pool_processes():
    """Return the process ids of the fork server and its workers."""
    fork_server = fork_client._current._process.pid
    return {fork_server} | children(fork_server)


def children(process):
    return set(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("crash", MediaError, r"the decoder crashed \(SIGSEGV\)"),
        ("leave", MediaError, r"the decoder crashed \(exit status 7\)"),
        ("hang", MediaError, "cannot be decoded within 0.5 seconds"),
        ("sleep", MediaError, "cannot be decoded within 0.5 seconds"),
        ("eat", MediaError, "needs more than 512 MiB of memory"),
        ("bug", MediaError, r"cannot be decoded: KeyError: 'no\\nsuch'"),
        ("silent", NoSoundError, "^has only pictures"),
        ("write", UnreadableError, "changed while it was read: run the same command again"),
    ],
)
def test_a_bad_file_fails_alone(tmp_path, text, error, reason):
    media = [medium(tmp_path / f"{at}", "x" * at if at != 5 else text) for at in range(1, 20)]

    def outcome(one):
        try:
            return workers.decode(one)
        except MediaError as media_error:
            return media_error

    with (
        WorkerPool(behave, ResourceLimit(0.5 if "within" in reason else 30)) as workers,
        ThreadPoolExecutor(3) as pool,
    ):
        outcomes = list(pool.map(outcome, media))
        busy = pool_processes()
    failed = outcomes.pop(4)
    assert outcomes == [at for at in range(1, 20) if at != 5]
    assert type(failed) is error
    with pytest.raises(error, match=reason):
        raise failed
    assert 2 <= len(busy) <= 4
    assert len(pool_processes()) == 1


def test_a_file_that_needs_more_memory_is_decoded_under_the_larger_limit(tmp_path):
    with WorkerPool(behave, ResourceLimit(30, 2**28), memory=2**27) as workers:
        assert workers.decode(medium(tmp_path / "a", "need")) == 60 * 2**20
    with (
        WorkerPool(behave, ResourceLimit(30, 2**26), memory=2**25) as workers,
        pytest.raises(MediaError, match="more than 64 MiB"),
    ):
        workers.decode(medium(tmp_path / "a", "need"))


def test_a_file_whose_worker_was_killed_is_tried_once_more(tmp_path):
    one = medium(tmp_path / "a.txt", "once")
    (tmp_path / "a.met").mkdir()  # makes the second try raise FileExistsError, which shows that there was one
    with WorkerPool(behave, ResourceLimit(30)) as workers, pytest.raises(MediaError, match="FileExistsError"):
        workers.decode(one)
    (tmp_path / "a.met").rmdir()
    with WorkerPool(behave, ResourceLimit(30)) as workers, pytest.raises(MediaError, match="FileExistsError"):
        workers.decode(one)


def test_a_killed_fork_server_is_replaced(tmp_path):
    with WorkerPool(behave, ResourceLimit(30)) as workers:
        assert workers.decode(medium(tmp_path / "a")) == 4
        before = pool_processes()
        fork_client._current._process.kill()
        fork_client._current._process.wait()
        assert workers.decode(medium(tmp_path / "b")) == 4
        assert not before & pool_processes()


def test_closing_the_pool_wakes_waiting_threads(tmp_path):
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


def test_a_decoder_that_cannot_be_sent_is_an_error(tmp_path):
    with (
        WorkerPool(lambda path: path, ResourceLimit(30)) as workers,
        pytest.raises(WorkerError, match="cannot be sent to a worker process"),
    ):
        workers.decode(medium(tmp_path / "a"))
    with (
        WorkerPool(PicklesButDoesNotUnpickle(), ResourceLimit(30)) as workers,
        pytest.raises(WorkerError, match="could not load an encoder"),
    ):
        workers.decode(medium(tmp_path / "a"))


def test_a_worker_decodes_as_the_job_does(tmp_path):
    path = toy.paint(tmp_path / "a.png", (200, 100, 0), (30, 20))
    one = MediaFile(path, path.stat().st_size, path.stat().st_mtime_ns)
    with WorkerPool(load_image, ResourceLimit(30)) as workers:
        assert workers.decode(one) == prepare_file(load_image, one) == load_image(path)


def test_an_archive_member_is_checked(tmp_path):
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
        "    print(*pool_processes(), flush=True)\n"
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


def test_a_script_needs_no_main_guard(tmp_path):
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


def test_captions_are_prepared_in_the_job(tmp_path):
    """Their ``prepare`` is not sent to a worker, so it may hold what cannot be pickled."""
    with toy.encoders() as made:
        text = made[Modality.TEXT]
        lock, original = threading.Lock(), text.prepare

        def prepare(medium):
            with lock:
                return original(medium)

        text.prepare = prepare
        with (
            WorkerPool(prepare, ResourceLimit(60)) as workers,
            pytest.raises(WorkerError, match="cannot be sent"),
        ):
            workers.decode(MediaFile(tmp_path, 0, 0))
        summary = indexer.build([toy.folder(tmp_path / "data")], out=tmp_path / "index", preset="toy")
    assert summary.failed == 0
    assert summary.assets["text"] == len(toy.COLOURS)


def test_a_worker_that_cannot_be_started_leaves_no_open_file(monkeypatch, tmp_path):
    def refuse_to_fork(_connection):
        raise WorkerError("no worker process can be started")

    monkeypatch.setattr(fork_client, "fork_worker", refuse_to_fork)
    gc.collect()  # also collects what earlier tests left
    before = len(list(Path("/proc/self/fd").iterdir()))
    with (
        WorkerPool(behave, ResourceLimit(1.0)) as workers,
        pytest.raises(WorkerError, match="no worker process"),
    ):
        workers.decode(medium(tmp_path / "file"))
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
