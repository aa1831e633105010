"""The command that lists what could not be indexed: ``xmodal failures``."""

from __future__ import annotations

from retrieval.cli.options import IndexFolder, JsonOption, print_json
from retrieval.formatting import one_line

COLUMNS = ("path", "source", "modality", "stage", "reason", "time")


def failures(index: IndexFolder, as_json: JsonOption = False) -> None:
    """List the files that could not be indexed, and why.

    A failed file is tried again when it changes, or with 'xmodal index ... --retry-failed'.
    """
    from retrieval.storage.catalog import Catalog
    from retrieval.storage.layout import Layout
    from retrieval.storage.manifest import Manifest

    manifest = Manifest.read(index)
    catalog = Catalog(Layout(index).generation(manifest.generation).catalog)
    rows = [{name: getattr(row, name) for name in COLUMNS} for row in catalog.failures()]
    catalog.close()
    for row in rows:  # show the source's name: its number means nothing outside the index
        row["source"] = None if row["source"] is None else manifest.sources[row["source"]]
    if as_json:
        print_json(rows)
        return
    if not rows:
        print("nothing failed")
    for row in rows:
        print(f"{row['time']}  {row['stage']:<6}  {one_line(row['path'])}: {one_line(row['reason'])}")
