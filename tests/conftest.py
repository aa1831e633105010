"""Fixtures shared by all tests."""

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

# Networks are exported once per session, and the user's own cache is not touched.
_CACHE = tempfile.TemporaryDirectory(prefix="xmodal-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of real development data: ``$XMODAL_DATA``, or next to the checkout."""
    folder = Path(os.environ.get("XMODAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the development data: no folder {folder} (set XMODAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def served_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source and index of ``tests.helpers.served``, built once; tests must not write to it."""
    from tests.helpers import served

    root = tmp_path_factory.mktemp("served")
    with toy.encoders():
        served.index(root)
    return root


@pytest.fixture
def encoders() -> Iterator[dict[Modality, toy.ToyEncoder]]:
    """Toy encoders by modality, registered during the test."""
    with toy.encoders() as made:
        yield made


@pytest.fixture
def source(tmp_path: Path, encoders: object) -> Path:
    """Folder of pictures of colours, with captions."""
    return toy.folder(tmp_path / "source")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Path where an index of ``source`` may be written."""
    return tmp_path / "index"
