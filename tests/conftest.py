"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real files for development, beside the checkout or where XMODAL_DATA says."""
    folder = Path(os.environ.get("XMODAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the development data: no folder {folder} (set XMODAL_DATA)")
    return folder
