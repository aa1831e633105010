"""Exactly one FAISS package is accepted; otherwise the error names the command to install one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import DependencyError
from retrieval.vectors import faiss_module


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    faiss_module.load.cache_clear()
    yield
    faiss_module.load.cache_clear()


def install(folder: Path, name: str) -> None:
    """Create the files that importlib.metadata reads of an installed distribution."""
    info = folder / f"{name.replace('-', '_')}-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 9.9\n")


def test_a_working_faiss_is_loaded_once() -> None:
    faiss = faiss_module.load()
    index = faiss.IndexFlatIP(3)
    index.add(np.eye(3, dtype=np.float32))
    scores, rows = index.search(np.eye(3, dtype=np.float32), 1)
    np.testing.assert_array_equal(rows[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(scores, 1.0)
    assert faiss_module.load() is faiss


def test_first_import_gives_no_warning() -> None:
    code = "from retrieval.vectors.faiss_module import load; load()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_two_installed_packages_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "faiss-cpu")
    install(tmp_path, "faiss-gpu")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DependencyError, match="both faiss-cpu and faiss-gpu") as caught:
        faiss_module.load()
    assert faiss_module.INSTALL_CPU in str(caught.value)
    assert faiss_module.INSTALL_GPU in str(caught.value)


def test_a_missing_faiss_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # makes the import of the module fail
    with pytest.raises(DependencyError, match=r"cannot be imported[\s\S]*pip install faiss-cpu"):
        faiss_module.load()


def test_remains_of_a_removed_package_are_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faiss").mkdir()
    (tmp_path / "faiss" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    try:
        with pytest.raises(DependencyError, match="only partly installed"):
            faiss_module.load()
    finally:
        sys.modules.pop("faiss", None)
