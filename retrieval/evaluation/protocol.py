"""The protocol stamp of every result: everything a figure depends on, so that it can be measured again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from retrieval.checksums import sha256_of
from retrieval.evaluation import item_pool
from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.modality_assets import Assets, assets_per_item
from retrieval.evaluation.prepared_task import QRELS, EvaluationOptions, PreparedTask
from retrieval.search.index_reader import IndexReader
from retrieval.storage.layout import Layout
from retrieval.types import ITEM, Integers, Target
from retrieval.vectors import faiss_module


def protocol_stamp(
    index: IndexReader,
    prepared_tasks: Sequence[PreparedTask],
    options: EvaluationOptions,
    resampling: Resampling,
    *,
    exact: bool,
) -> dict[str, Any]:
    """Return what was measured, on which data, and with which software."""
    manifest = index.manifest
    return {
        "split": options.split,
        "pool": options.pool,
        "where": options.where,
        "relevance": options.relevance if options.qrels is None else QRELS,
        "relevance_rule": _relevance_rule(options),
        "qrels": None if options.qrels is None else sha256_of(options.qrels)[:32],
        "captions": options.captions or "all",
        "exact": exact,
        "hubness": options.hubness,
        "ties": "id",
        "segments": "queries and pool are whole media; segments are excluded",
        "items": _items(prepared_tasks),
        "holdout": manifest.settings["holdout"],
        "seed": manifest.settings["seed"],
        "intervals": {
            "method": "percentile bootstrap over queries",
            "confidence": resampling.confidence,
            "resamples": resampling.resamples,
            "seed": resampling.seed,
        },
        "tasks": {str(prepared.task): _sizes(prepared) for prepared in prepared_tasks},
        "index": {
            "generation": manifest.generation,
            "encoders": {str(modality): spec.fingerprint for modality, spec in manifest.encoders.items()},
            "encoder_names": {str(modality): spec.name for modality, spec in manifest.encoders.items()},
            "alignment": manifest.alignment["fingerprint"],
            "alignment_method": manifest.alignment["method"],
            "kinds": {str(modality): entry["kind"] for modality, entry in manifest.indexes.items()},
            "vectors": _vectors(index, prepared_tasks),
        },
        "version": version("xmodal"),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("numpy", "sqlalchemy")},
            "faiss": faiss_module.load().__version__,
        },
    }


def fingerprint(assets: Assets, rows: Integers) -> str:
    """Return 32 hex digits of the sorted ids and captions of some assets; different data, different fingerprint."""
    return _digest(f"{assets.item_ids[row]}\0{assets.texts[row] or ''}" for row in rows.tolist())


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode("utf-8", "surrogatepass") + b"\0\0")
    return digest.hexdigest()[:32]


def _sizes(prepared: PreparedTask) -> dict[str, Any]:
    query_assets, pool_assets = prepared.query_assets, prepared.pool_assets
    return {
        "queries": len(prepared.query_rows) + len(prepared.missing),
        "pool": len(prepared.pool_rows),
        "queries_an_item": assets_per_item(query_assets.table.items[prepared.query_rows]),
        "assets_an_item": assets_per_item(pool_assets.table.items[prepared.pool_rows]),
        "queries_fingerprint": fingerprint(query_assets, prepared.query_rows),
        "pool_fingerprint": fingerprint(pool_assets, prepared.pool_rows),
    }


def _items(prepared_tasks: Sequence[PreparedTask]) -> dict[str, str] | None:
    """Return how whole items became vectors; None if no task has them as target."""
    for prepared in prepared_tasks:
        if prepared.item_pool:
            fusion = prepared.item_pool.fusion
            return {"rule": item_pool.ITEM_RULE, "fusion": fusion.method, "fingerprint": fusion.fingerprint}
    return None


def _relevance_rule(options: EvaluationOptions) -> str:
    if options.qrels is not None:
        return f"judgements in {options.qrels.name}; unjudged assets are not relevant"
    if options.relevance == ITEM:
        return "assets of the query's own item"
    return (
        f"assets of items with the query's value of {options.relevance!r}; an asset is not relevant to itself"
    )


def _vectors(index: IndexReader, prepared_tasks: Sequence[PreparedTask]) -> dict[str, str]:
    """Return a digest of each modality's index files, made from the checksums in the manifest.

    The files are compared with these checksums when they are used.
    """
    files = Layout(index.folder).generation(index.manifest.generation)
    modalities = dict.fromkeys(
        modality
        for prepared in prepared_tasks
        for modality in (
            index.modalities if prepared.item_pool else (prepared.task.query, prepared.task.target)
        )
    )

    def digest(modality: Target) -> str:
        checksums = index.manifest.files_of(modality)
        if not checksums:  # written by a version without checksums
            return sha256_of(files.vectors(modality))[:32]
        return _digest(f"{name} {checksums[name].sha256}" for name in checksums)

    return {str(modality): digest(modality) for modality in modalities}
