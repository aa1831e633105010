"""What an install brings, and that the pinned versions and the scripts keep to it."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def test_the_plain_install_brings_one_faiss_and_no_extra_another() -> None:
    assert [each.name for each in CORE if each.name.startswith("faiss")] == ["faiss-cpu"]
    assert [each.name for each in EXTRAS if each.name.startswith("faiss")] == []


@pytest.mark.parametrize("requirement", [*CORE, *EXTRAS], ids=str)
def test_requirements_are_lower_bounds_that_the_pins_meet(requirement: Requirement) -> None:
    assert [each.operator for each in requirement.specifier] == [">="]
    pinned = {canonicalize_name(name): version for name, version in (line.split("==") for line in PINS)}
    assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


def test_pins_are_plain_registry_versions() -> None:
    assert [line for line in PINS if not re.fullmatch(r"[\w.-]+==\d[a-z\d.]*", line)] == []


def test_both_packages_are_typed() -> None:
    assert (ROOT / "retrieval" / "py.typed").is_file()
    assert (ROOT / "indexer" / "py.typed").is_file()


def test_the_license_is_what_the_metadata_says() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse_and_can_be_run(script: Path) -> None:
    bash = shutil.which("bash")
    assert bash
    assert subprocess.run([bash, "-n", script], check=False).returncode == 0
    assert os.access(script, os.X_OK) == (script.suffix != ".sh")


def test_setup_without_a_fitting_python_says_so(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")  # what an older Python answers to the question for its version
    old.chmod(0o755)
    bash = shutil.which("bash")
    assert bash
    code = 'source scripts/lib.sh; PATH=$1; if find_python; then echo found; else echo "status $?"; fi'
    done = subprocess.run(
        [bash, "-c", code, "bash", tmp_path], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout == "status 1\n"
    assert "Python 3.11 or newer" in done.stderr
