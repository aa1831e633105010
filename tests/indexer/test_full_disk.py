"""A full disk is recognised by its error code, and by text only from libraries that give no code."""

import errno
import os
import sqlite3

import faiss
import numpy as np
import pytest
from safetensors import SafetensorError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from indexer.publishing.draft import locked
from indexer.publishing.full_disk import is_full_disk
from retrieval.errors import FullDiskError, SourceError
from retrieval.storage.layout import Layout

NO_SPACE = os.strerror(errno.ENOSPC)


def raised(function):
    """Return the exception that ``function`` raises."""
    try:
        function()
    except Exception as error:
        return error
    return pytest.fail("nothing was raised")


def fill_database(path):
    """Write to a SQLite database that may have no more pages."""
    engine = create_engine(f"sqlite:///{path}")
    try:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE numbers (value TEXT)"))
            connection.execute(text("PRAGMA max_page_count = 2"))
            connection.execute(text("INSERT INTO numbers VALUES (:value)"), {"value": "x" * 100_000})
    finally:
        engine.dispose()


def write_faiss():
    index = faiss.IndexFlatIP(64)
    index.add(np.zeros((1000, 64), np.float32))
    faiss.write_index(index, "/dev/full")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_an_os_error_is_recognised_by_its_number_in_any_language(code):
    assert is_full_disk(OSError(code, "Auf dem Gerät ist kein Speicherplatz mehr verfügbar"))


def test_another_os_error_is_not_a_full_disk_whatever_its_text():
    assert not is_full_disk(PermissionError(errno.EACCES, "Permission denied", f"/data/{NO_SPACE}.png"))


def test_sqlite_is_recognised_by_its_code(tmp_path):
    error = raised(lambda: fill_database(tmp_path / "catalog.sqlite"))
    assert isinstance(error, OperationalError)
    assert error.orig.sqlite_errorcode == sqlite3.SQLITE_FULL
    error.orig.args = ("Datenbank voll",)
    assert is_full_disk(error)
    assert is_full_disk(error.orig)
    without_cause = OperationalError("INSERT", {}, error.orig)  # only `orig` leads to the code
    assert without_cause.__cause__ is None
    assert is_full_disk(without_cause)


def test_another_sqlite_error_is_not_a_full_disk_whatever_its_text():
    def fail():
        with sqlite3.connect(":memory:") as connection:
            connection.execute(f'SELECT * FROM "{NO_SPACE}"')  # noqa: S608

    assert not is_full_disk(raised(fail))


def test_the_code_is_found_in_the_chain_of_causes():
    full = OSError(errno.ENOSPC, "voll")

    def explicit():
        try:
            raise full
        except OSError as error:
            raise ValueError("cannot be written") from error

    def implicit():
        try:
            raise full
        except OSError:
            raise ValueError("cannot be written")  # noqa: B904 - the context is the point

    def hidden():
        try:
            raise full
        except OSError:
            raise ValueError("cannot be written") from None

    for function in (explicit, implicit, hidden):
        assert is_full_disk(raised(function))
    assert is_full_disk(ExceptionGroup("several", [ValueError("other"), full]))


def test_a_circle_of_causes_ends():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert not is_full_disk(first)


def test_faiss_is_recognised_by_its_text():
    error = raised(write_faiss)
    assert type(error) is RuntimeError
    assert is_full_disk(error)
    assert not is_full_disk(RuntimeError("Error in faiss::write_index: could not open"))


def test_safetensors_is_recognised_by_its_text():
    text = f"Error while serializing: I/O error: {NO_SPACE} (os error 28)"
    assert is_full_disk(SafetensorError(text))


def test_a_short_write_of_numpy_is_a_full_disk():
    """``ndarray.tofile``, and so ``np.save``, gives neither a number nor the system's text."""
    error = OSError("1000000 requested and 25584 written")
    assert error.errno is None
    assert is_full_disk(error)


def test_an_error_of_this_package_that_quotes_the_text_is_not_a_full_disk():
    assert not is_full_disk(SourceError(f"the source '{NO_SPACE}.csv' does not exist"))


def test_a_full_database_ends_the_job_with_one_sentence(tmp_path):
    with pytest.raises(FullDiskError, match="is full: make room"), locked(Layout(tmp_path)):
        fill_database(tmp_path / "catalog.sqlite")
