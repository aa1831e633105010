"""The package metadata, the pinned versions, the scripts, and the supported platforms."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from indexer.decoding import fork_client
from retrieval.errors import WorkerError

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]
PINS = [
    line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"
]
SCRIPTS = sorted(
    path
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"]
    if path.is_file() and path.suffix != ".py"
)


def test_exactly_one_faiss_is_installed_and_no_extra_adds_another() -> None:
    assert [each.name for each in CORE if each.name.startswith("faiss")] == ["faiss-cpu"]
    assert [each.name for each in EXTRAS if each.name.startswith("faiss")] == []


@pytest.mark.parametrize("requirement", [*CORE, *EXTRAS], ids=str)
def test_requirements_are_lower_bounds_and_pins_satisfy_them(requirement: Requirement) -> None:
    assert [each.operator for each in requirement.specifier] == [">="]
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in PINS)}
    assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_pins_are_plain_registry_versions() -> None:
    assert [line for line in PINS if not re.fullmatch(r"[\w.-]+==\d[a-z\d.]*", line)] == []


def test_both_packages_are_typed() -> None:
    assert (ROOT / "retrieval" / "py.typed").is_file()
    assert (ROOT / "indexer" / "py.typed").is_file()


def test_license_file_matches_the_metadata() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_are_executable(script: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    assert subprocess.run([bash, "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK) == (script.suffix != ".sh")


def test_setup_without_a_suitable_python_is_refused(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # as an older Python does when its version is checked
    old.chmod(0o755)
    bash = shutil.which("bash")
    assert bash
    code = 'source scripts/lib.sh; PATH=$1; if find_python; then echo found; else echo "status $?"; fi'
    done = subprocess.run(
        [bash, "-c", code, "bash", tmp_path], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout == "status 1\n"
    assert "Python 3.11 or newer" in done.stderr


def test_linux_is_the_supported_platform() -> None:
    systems = [name for name in PROJECT["classifiers"] if name.startswith("Operating System")]
    assert systems == ["Operating System :: POSIX :: Linux"]


def test_worker_processes_without_fork_are_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")  # as on Windows
    ours, theirs = socket.socketpair()
    with (
        ours,
        theirs,
        pytest.raises(WorkerError, match="use Linux, or decode in the main process with --trusted"),
    ):
        fork_client.fork_worker(theirs)


def test_indexer_is_importable_without_posix_modules() -> None:
    windows = "import os, sys; sys.modules['resource'] = None; del os.fork"
    program = f"{windows}\nimport indexer.decoding.worker_pool, indexer.job"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
