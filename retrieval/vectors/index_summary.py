"""One-line summary of an index from its manifest entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def summary_line(entry: Mapping[str, Any]) -> str:
    """Return one line: the kind and, if measured, recall, speed and size."""
    parts = [entry["kind"] if entry["kind"] != "factory" else entry["factory"]]
    if measured := entry.get("measured"):
        recalls = ", ".join(f"{recall:.3f} for {name} queries" for name, recall in measured["recall"].items())
        missed = min(measured["recall"].values()) < entry["target"]
        target = f"below the target of {entry['target']}" if missed else f"target {entry['target']}"
        parts += [
            f"recall@{measured['k']} {recalls} ({target})",
            f"{measured['ms']:.3g} ms per query, {measured['batch_ms']:.3g} ms in a batch",
            f"{measured['bytes']:.4g} bytes per vector in memory",
        ]
    if filtered := entry.get("filtered"):
        parts.append(f"tuned for filters that select {100 * filtered[-1][0]:.3g}% or more")
    if updated := entry.get("updated"):
        parts.append(
            f"{updated['built']:,} vectors built, {updated['dead']:,} of them dead, {updated['added']:,} added since"
        )
    return "; ".join(parts)
