"""The catalog: written rows are read back, numbers are stable, migrations and models agree."""

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, event, inspect

from retrieval.errors import DamagedIndexError, ExpressionError, IndexFormatError, UnknownItemError
from retrieval.storage import catalog_writer
from retrieval.storage.catalog import Catalog
from retrieval.storage.catalog_writer import AssetRow, FailureRow, ItemRow
from retrieval.storage.schema import Base
from retrieval.types import Modality


def caption(text, ordinal=0, feature=0):
    return AssetRow(Modality.TEXT, ordinal, "c" + text, feature, text=text)


def image(path, feature=0, size=1):
    return AssetRow(Modality.IMAGE, 0, "c" + path, feature, source=0, path=path, size=size, mtime_ns=2)


ITEMS = [
    ItemRow("b", False, {"year": 2001}, [image("b.png", 0), caption("Bee", 0, 0), caption("Wasp", 1, 1)]),
    ItemRow("a", True, {"year": 1999, "place": "Oslo"}, [image("a.png", 1)]),
]
COLUMNS = {"year": "integer", "place": "text"}


@pytest.fixture
def catalog(tmp_path):
    made = Catalog(tmp_path / "c.sqlite", writable=True)
    yield made
    made.close()


def numbers(catalog):
    with catalog.session() as session:
        rows = session.connection().exec_driver_sql("SELECT path, text, id FROM assets").all()
    return {path or text: number for path, text, number in rows}


def test_written_rows_are_read_back(catalog):
    assert catalog_writer.write(catalog, ITEMS, [], COLUMNS) == catalog_writer.Written(True, 0)
    assert catalog.counts() == {"items": 2, "failures": 0, "image": 2, "text": 2}
    assert catalog.columns() == {"place": "text", "year": "integer"}
    table = catalog.table(Modality.IMAGE)
    known = numbers(catalog)
    assert table.assets.tolist() == [known["a.png"], known["b.png"]]
    assert table.features.tolist() == [1, 0]
    assert table.held_out.tolist() == [True, False]
    record = catalog.records([known["Wasp"]])[known["Wasp"]]
    assert (record.item, record.text, record.path, record.metadata) == ("b", "Wasp", None, {"year": 2001})
    assert catalog.item_assets("b") == {
        Modality.IMAGE: [known["b.png"]],
        Modality.TEXT: [known["Bee"], known["Wasp"]],
    }
    assert catalog.labels("place") == {table.items[0]: "Oslo"}


def test_writing_the_same_again_changes_nothing(catalog):
    failures = [FailureRow("x.png", "decode", "broken", 0, "image", 1, 2)]
    catalog_writer.write(catalog, ITEMS, failures, COLUMNS)
    before = catalog.failures()[0].time
    assert catalog_writer.write(catalog, ITEMS, failures, COLUMNS) == catalog_writer.Written(False, 0)
    assert catalog.failures()[0].time == before


def test_assets_that_stay_keep_their_numbers(catalog):
    catalog_writer.write(catalog, ITEMS, [], COLUMNS)
    before = numbers(catalog)
    later = [
        ItemRow("c", False, {}, [image("c.png", 3)]),
        ItemRow("b", False, {"year": 2002}, [image("b.png", 7, size=9), caption("Wasp")]),
    ]
    written = catalog_writer.write(catalog, later, [], COLUMNS)
    assert written == catalog_writer.Written(True, 2)
    after = numbers(catalog)
    assert set(after) == {"b.png", "Wasp", "c.png"}
    assert {name: after[name] for name in ("b.png", "Wasp")} == {
        name: before[name] for name in ("b.png", "Wasp")
    }
    assert catalog.table(Modality.IMAGE).features.tolist() == [7, 3]
    assert catalog.metadata() == {"b": {"year": 2002}, "c": {}}


def test_filters_find_assets_of_matching_items(catalog):
    catalog_writer.write(catalog, ITEMS, [], COLUMNS)
    known = numbers(catalog)
    assert catalog.matching("year > 2000", Modality.TEXT).tolist() == [known["Bee"], known["Wasp"]]
    assert catalog.matching("place = 'Oslo' or year = 2001", Modality.IMAGE).tolist() == sorted(
        [known["a.png"], known["b.png"]]
    )
    with pytest.raises(ExpressionError, match="yaer"):
        catalog.matching("yaer > 2000", Modality.TEXT)
    with pytest.raises(ExpressionError, match="yaer"):
        catalog.labels("yaer")


def test_unknown_items_are_named(catalog):
    with pytest.raises(UnknownItemError, match="no item 'zebra'"):
        catalog.item_assets("zebra")


def test_migrations_create_the_tables_of_the_models(catalog, tmp_path):
    plain = create_engine(f"sqlite:///{tmp_path / 'plain.sqlite'}")
    Base.metadata.create_all(plain)
    for table in Base.metadata.tables:
        migrated, modelled = inspect(catalog.engine), inspect(plain)
        for method in ("get_columns", "get_pk_constraint", "get_foreign_keys", "get_indexes"):
            ours, theirs = (str(getattr(inspector, method)(table)) for inspector in (migrated, modelled))
            assert ours == theirs, table
    plain.dispose()


TRUNCATE = """
import os, sys
from pathlib import Path
from retrieval.storage.catalog import Catalog
from retrieval.errors import DamagedIndexError
from retrieval.types import Modality

catalog = Catalog(Path(sys.argv[1]))
assert len(catalog.records([1])) == 1
os.truncate(sys.argv[1], 3 * 4096)
for read in (lambda: catalog.records(range(1, 5001)), lambda: catalog.matching("year > 2000", Modality.TEXT)):
    try:
        read()
    except DamagedIndexError as error:
        print(error)
"""


def test_a_catalog_truncated_while_open_is_reported_as_damaged(catalog):
    items = [ItemRow(f"{at:05}", False, {"year": at}, [caption(f"number {at}", 0, at)]) for at in range(5000)]
    catalog_writer.write(catalog, items, [], COLUMNS)
    catalog.close()
    # In its own process, because a process that reads a truncated mapped file is killed by a signal.
    command = [sys.executable, "-c", TRUNCATE, str(catalog.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("cannot be read") == 2


def test_a_connection_returned_to_a_closed_catalog_is_closed(catalog):
    catalog_writer.write(catalog, ITEMS, [], COLUMNS)
    reader, connections = Catalog(catalog.path), []

    def close_meanwhile(connection, *_):
        connections.append(connection)
        reader.close()

    event.listen(reader.engine, "checkout", close_meanwhile)
    assert len(reader.records([1])) == 1
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        connections[0].execute("SELECT 1")
    reader.close()


def test_many_threads_may_close_a_catalog_at_once(catalog):
    catalog_writer.write(catalog, ITEMS, [], COLUMNS)
    for _ in range(20):
        reader = Catalog(catalog.path)
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda _, reader=reader: reader.records([1]), range(16)))
            list(pool.map(lambda _, reader=reader: reader.close(), range(8)))


def test_a_newer_catalog_is_refused(catalog, tmp_path):
    with sqlite3.connect(tmp_path / "c.sqlite") as connection:
        connection.execute("INSERT INTO migrations VALUES ('9999-future')")
    connection.close()
    with pytest.raises(IndexFormatError, match="9999-future"):
        Catalog(tmp_path / "c.sqlite")


def test_only_a_writer_migrates_an_older_catalog(tmp_path):
    path = tmp_path / "old.sqlite"
    sqlite3.connect(path).close()
    path.write_bytes(b"")
    with pytest.raises(IndexFormatError, match="older version"):
        Catalog(path)
    Catalog(path, writable=True).close()
    Catalog(path).close()


def test_an_error_of_the_caller_is_not_reported_as_damage(catalog):
    reader = Catalog(catalog.path)
    with pytest.raises(ValueError, match="mistake of the caller"), reader.session():
        raise ValueError("mistake of the caller")
    reader.close()


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE items SET metadata = '{\"year\"'", Catalog.metadata),
        ("UPDATE items SET metadata = '{\"year\"'", lambda reader: reader.labels("year")),
        ("UPDATE assets SET modality = 'smell'", lambda reader: reader.item_assets("a")),
        ("UPDATE assets SET feature = 'x'", lambda reader: reader.table(Modality.IMAGE)),
    ],
    ids=["metadata", "labels", "modality", "number"],
)
def test_a_stored_value_that_cannot_be_parsed_is_damage(catalog, statement, read):
    catalog_writer.write(catalog, ITEMS, [], COLUMNS)
    with sqlite3.connect(catalog.path) as connection:
        connection.execute(statement)
    connection.close()
    reader = Catalog(catalog.path)
    with pytest.raises(DamagedIndexError, match="cannot be read"):
        read(reader)
    reader.close()


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(DamagedIndexError, match="missing"):
        Catalog(tmp_path / "none.sqlite")
    (tmp_path / "bad.sqlite").write_bytes(b"nonsense" * 1000)
    with pytest.raises(DamagedIndexError, match="cannot be read"):
        Catalog(tmp_path / "bad.sqlite")
