"""Fixtures that every test may use."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from retrieval.types import Modality
from tests.helpers import toy

ROOT = Path(__file__).parents[1]

settings.register_profile("xmodal", deadline=None)  # how long an example takes depends on what else runs here
settings.load_profile("xmodal")

# Networks are exported once a session, into a cache of its own: the user's stays untouched. The processes that
# pytest-xdist starts share it, through the environment that they inherit.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="xmodal-tests-")
    os.environ["XDG_CACHE_HOME"] = _CACHE.name


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real files for development, beside the checkout or where XMODAL_DATA says."""
    folder = Path(os.environ.get("XMODAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the development data: no folder {folder} (set XMODAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of ``tests.helpers.served``'s source and index, built once; nobody writes to it."""
    from tests.helpers import served

    root = tmp_path_factory.mktemp("served")
    with toy.encoders():
        served.index(root)
    return root


@pytest.fixture
def encoders() -> Iterator[dict[Modality, toy.ToyEncoder]]:
    """The toy encoders, by modality, known by name for as long as the test lasts."""
    with toy.encoders() as made:
        yield made


@pytest.fixture
def source(tmp_path: Path, encoders: object) -> Path:
    """A folder of colours with captions."""
    return toy.folder(tmp_path / "source")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where an index of ``source`` may be written."""
    return tmp_path / "index"
