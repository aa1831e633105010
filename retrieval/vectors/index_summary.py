"""What the manifest says of an index, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def summary_line(entry: Mapping[str, Any]) -> str:
    """One line: the kind, and where it was measured, what it finds, how fast, and how large it is."""
    parts = [entry["kind"] if entry["kind"] != "factory" else entry["factory"]]
    if measured := entry.get("measured"):
        found = ", ".join(f"{recall:.3f} asked by {name}" for name, recall in measured["recall"].items())
        missed = min(measured["recall"].values()) < entry["target"]
        aim = f"short of its aim of {entry['target']}" if missed else f"aim {entry['target']}"
        parts += [
            f"recall@{measured['k']} {found} ({aim})",
            f"{measured['ms']:.3g} ms a query, {measured['batch_ms']:.3g} ms in a batch",
            f"{measured['bytes']:.4g} bytes a vector in memory",
        ]
    if filtered := entry.get("filtered"):
        parts.append(f"tuned for filters that leave {100 * filtered[-1][0]:.3g}% or more")
    if updated := entry.get("updated"):
        parts.append(
            f"of {updated['built']:,} built {updated['dead']:,} dead, {updated['added']:,} added since"
        )
    return "; ".join(parts)
