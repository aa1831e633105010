"""``xmodal serve`` as a user starts and stops it."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

import indexer
from indexer.cli.main import run
from tests.helpers import toy

PROGRAM = """
import sys
from indexer.cli.main import run
from tests.helpers import toy
with toy.encoders():
    sys.exit(run(["serve", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    root = tmp_path_factory.mktemp("toy")
    with toy.encoders():
        indexer.build([toy.folder(root / "source")], out=root / "index", preset="toy")
    return root / "index"


def test_it_says_where_it_is_answers_and_ends_on_an_interrupt(index):
    command = [sys.executable, "-c", PROGRAM, str(index), "--port", "0"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=root) as process:
        line = process.stderr.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert address, line + process.stderr.read()
        assert httpx2.get(f"{address[0]}api/health").json() == {
            "status": "ok",
            "generation": 1,
            "problem": None,
        }
        process.send_signal(signal.SIGINT)
        assert (process.wait(30), process.stderr.read()) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "--token"),  # noqa: S104
        (["--token", "short"], "at least 8"),
        (["--host", "203.0.113.1", "--token", "long-enough"], "cannot listen"),
        (["--port", "70000"], "--port"),
        (["--root", "/nowhere"], "no folder"),
        (["--root", ".", "--root", "."], "1 sources"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(index, capsys, arguments, words):
    with toy.encoders():
        status = run(["serve", str(index), "--port", "0", *arguments])
    told = capsys.readouterr().err
    assert (status, told.count("\n")) == (2, 1)
    assert words in told


def test_a_port_that_is_taken_and_a_folder_that_is_no_index(index, tmp_path, capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", str(index), "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err
    assert run(["serve", str(tmp_path), "--port", "0"]) == 2
    assert "is not an index" in capsys.readouterr().err
