"""Starting and stopping ``xmodal serve``."""

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


def test_serve_prints_its_url_answers_and_stops_on_an_interrupt(index):
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
    ("arguments", "expected"),
    [
        (["--host", "0.0.0.0"], "--token"),  # noqa: S104
        (["--token", "short"], "at least 8"),
        (["--host", "203.0.113.1", "--token", "long-enough"], "cannot listen"),
        (["--port", "70000"], "--port"),
        (["--root", "/nowhere"], "is not a folder"),
        (["--root", ".", "--root", "."], "1 sources"),
    ],
)
def test_wrong_options_print_one_line_and_exit_with_2(index, capsys, arguments, expected):
    with toy.encoders():
        status = run(["serve", str(index), "--port", "0", *arguments])
    message = capsys.readouterr().err
    assert (status, message.count("\n")) == (2, 1)
    assert expected in message


def test_port_in_use_and_folder_without_an_index_are_refused(index, tmp_path, capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", str(index), "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err
    assert run(["serve", str(tmp_path), "--port", "0"]) == 2
    assert "is not an index" in capsys.readouterr().err
