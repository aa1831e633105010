"""The command that says what could not be indexed, and why."""

from __future__ import annotations

from retrieval.cli.options import AsJson, Index, print_json
from retrieval.formatting import one_line

SHOWN = ("path", "source", "modality", "stage", "reason", "time")


def failures(index: Index, as_json: AsJson = False) -> None:
    """List what could not be indexed: path, stage, reason and time.

    A file is tried again when it changes, or with 'xmodal index ... --retry-failed'.
    """
    from retrieval.storage.catalog import Catalog
    from retrieval.storage.layout import Layout
    from retrieval.storage.manifest import Manifest

    manifest = Manifest.read(index)
    catalog = Catalog(Layout(index).generation(manifest.generation).catalog)
    found = [{name: getattr(row, name) for name in SHOWN} for row in catalog.failures()]
    catalog.close()
    for row in found:  # by name: a number says nothing outside the index
        row["source"] = None if row["source"] is None else manifest.sources[row["source"]]
    if as_json:
        print_json(found)
        return
    if not found:
        print("nothing failed")
    for row in found:
        print(f"{row['time']}  {row['stage']:<6}  {one_line(row['path'])}: {one_line(row['reason'])}")
