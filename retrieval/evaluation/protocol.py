"""The stamp on every result: all that a figure depends on, so that it can be measured again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from retrieval.checksums import sha256_of
from retrieval.evaluation import item_pool
from retrieval.evaluation.assets import Assets, per_item
from retrieval.evaluation.bootstrap import Resampling
from retrieval.evaluation.prepared_task import QRELS, PreparedTask, Rules
from retrieval.search.index_reader import IndexReader
from retrieval.storage.layout import Layout
from retrieval.types import ITEM, Integers, Target
from retrieval.vectors import faiss_module


def stamp(
    index: IndexReader,
    prepared_tasks: Sequence[PreparedTask],
    rules: Rules,
    resampling: Resampling,
    *,
    exact: bool,
) -> dict[str, Any]:
    """What was measured, on what, and by what."""
    manifest = index.manifest
    return {
        "split": rules.split,
        "pool": rules.pool,
        "where": rules.where,
        "relevance": rules.relevance if rules.qrels is None else QRELS,
        "relevance_rule": _relevance_rule(rules),
        "qrels": None if rules.qrels is None else sha256_of(rules.qrels)[:32],
        "captions": rules.captions or "all",
        "exact": exact,
        "hubness": rules.hubness,
        "ties": "id",
        "segments": "whole media ask and are searched",
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
    """32 hex digits of the sorted ids and captions of some assets: other data, another fingerprint."""
    chosen = rows.tolist()
    return _digest(f"{assets.keys[row]}\0{assets.texts[row] or ''}" for row in chosen)


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in sorted(lines):
        digest.update(line.encode("utf-8", "surrogatepass") + b"\0\0")
    return digest.hexdigest()[:32]


def _sizes(prepared: PreparedTask) -> dict[str, Any]:
    queries, pool = prepared.queries, prepared.pool
    return {
        "queries": len(prepared.asking) + len(prepared.missing),
        "pool": len(prepared.asked),
        "queries_an_item": per_item(queries.table.items[prepared.asking]),
        "assets_an_item": per_item(pool.table.items[prepared.asked]),
        "queries_fingerprint": fingerprint(queries, prepared.asking),
        "pool_fingerprint": fingerprint(pool, prepared.asked),
    }


def _items(prepared_tasks: Sequence[PreparedTask]) -> dict[str, str] | None:
    """How whole items became vectors, where they were asked for."""
    for prepared in prepared_tasks:
        if prepared.item_pool:
            fusion = prepared.item_pool.fusion
            return {"rule": item_pool.ITEM_RULE, "fusion": fusion.method, "fingerprint": fusion.fingerprint}
    return None


def _relevance_rule(rules: Rules) -> str:
    if rules.qrels is not None:
        return f"as judged in {rules.qrels.name}; what is not judged is not relevant"
    if rules.relevance == ITEM:
        return "assets of the query's own item"
    return (
        f"assets of items with the query's value of {rules.relevance!r}; an asset is not relevant to itself"
    )


def _vectors(index: IndexReader, prepared_tasks: Sequence[PreparedTask]) -> dict[str, str]:
    """A digest of all files of each modality's index; as the manifest has them, which is checked at their use."""
    files = Layout(index.folder).generation(index.manifest.generation)
    asked = dict.fromkeys(
        modality
        for prepared in prepared_tasks
        for modality in (
            index.modalities if prepared.item_pool else (prepared.task.query, prepared.task.target)
        )
    )

    def digest(modality: Target) -> str:
        own = index.manifest.files_of(modality)
        if not own:  # an index of before there were checksums
            return sha256_of(files.vectors(modality))[:32]
        return _digest(f"{name} {own[name].sha256}" for name in own)

    return {str(modality): digest(modality) for modality in asked}
