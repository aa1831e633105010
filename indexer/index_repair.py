"""Repair of an index: rebuild every damaged part that can be rebuilt, and name those that cannot."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.job import realign
from indexer.progress import Progress, silent
from indexer.publishing.draft import locked
from indexer.reencode import reencode
from retrieval.runtimes import device as devices
from retrieval.runtimes import registry as runtimes
from retrieval.storage.damage import Damage, Remedy, Verdict
from retrieval.storage.feature_store import FeatureStore
from retrieval.storage.layout import Layout
from retrieval.storage.manifest import Manifest
from retrieval.storage.verification import verify
from retrieval.types import Modality


@dataclass(frozen=True, slots=True)
class Repair:
    """Result of a repair.

    Attributes:
        before: damage found before the repair.
        after: damage that remains; only ``xmodal index`` can restore it.
        encoded: number of contents that were encoded again.
    """

    before: Verdict
    after: Verdict
    encoded: int

    @property
    def repaired(self) -> list[Damage]:
        """Damage that the repair removed."""
        remaining = {(damage.path, damage.remedy) for damage in self.after.damages}
        return [damage for damage in self.before.damages if (damage.path, damage.remedy) not in remaining]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, as ``xmodal repair --json`` prints them."""
        return {
            "whole": self.after.is_whole,
            "generation": self.after.manifest.generation if self.after.manifest else None,
            "encoded": self.encoded,
            "repaired": [damage.as_dict() for damage in self.repaired],
            "lost": [damage.as_dict() for damage in self.after.damages],
        }


def repair(
    out: str | os.PathLike[str],
    *,
    device: str = "auto",
    runtime: str = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    progress: Progress = silent,
) -> Repair:
    """Repair an index from its undamaged parts and its sources.

    The manifest is restored from its copy. Damaged features are encoded again into the same rows. Alignment and
    vectors are rebuilt from the features and published as the next generation. A damaged catalog can be rebuilt
    from the sources only: run ``xmodal index`` with them.

    Args:
        out: an index folder.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        runtime: library that runs the encoders' networks: ``"auto"``, ``"torch"`` or ``"openvino"``.
        batch_size: media encoded at once.
        workers: number of files read and decoded at once; None for one per core, at most 8.
        progress: receives the progress of each stage.

    Raises:
        NotAnIndexError: the folder is not an index.
        IndexFormatError: a newer version wrote the index, or an older version that wrote no checksums.
        IndexBusyError: a job is writing to the index.
        EncoderMismatchError: the installed encoders are not those whose features are stored.
    """
    devices.check_device(device)
    runtimes.check_runtime(runtime)
    layout = Layout(Path(out))
    if not layout.manifest.is_file() and not layout.generation_numbers():
        Manifest.read(layout.root)
    with locked(layout):
        before = verify(layout.root)
        _restore(layout, before)
        _drop(layout, before)
        encoded = sum(
            reencode(
                layout,
                before.manifest,
                Modality(damage.modalities[0]),
                damage.rows,
                device=device,
                runtime=runtime,
                batch_size=batch_size,
                workers=workers or min(os.cpu_count() or 1, 8),
                progress=progress,
            )
            for damage in before.with_remedy(Remedy.ENCODE)
            if before.manifest
        )
    after = verify(layout.root) if before.damages else before
    derived = after.with_remedy(Remedy.REBUILD)
    if derived and not after.with_remedy(Remedy.ENCODE, Remedy.INDEX):
        _rebuild(layout, derived, device)
        after = verify(layout.root)
    return Repair(before, after, encoded)


def _restore(layout: Layout, verdict: Verdict) -> None:
    """Restore damaged files from their other copy; rename a damaged manifest that has no good copy."""
    for damage in verdict.damages:
        path = layout.root / damage.path
        if damage.remedy is not Remedy.RESTORE or verdict.manifest is None:
            if path == layout.manifest and path.exists():
                # Not deleted: a person may still read the sources in it.
                path.replace(path.with_name("manifest.json.damaged"))
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.name == layout.manifest.name:
            verdict.manifest.write(path)
            continue
        files = layout.generation(verdict.manifest.generation)
        original = files.folder / path.name
        temporary = path.with_name(path.name + ".new")
        shutil.copyfile(original if path != original else files.copy_of(original), temporary)
        temporary.replace(path)


def _drop(layout: Layout, verdict: Verdict) -> None:
    """Remove what is not used: feature rows that no asset has, and replaced generations."""
    for damage in verdict.with_remedy(Remedy.DROP):
        path = layout.root / damage.path
        if damage.rows and verdict.manifest:
            FeatureStore(path, verdict.manifest.features[path.name]["dimension"]).mark_unused(damage.rows)
        else:
            number = path.relative_to(layout.generations).parts[0]
            shutil.rmtree(layout.generations / number, ignore_errors=True)


def _rebuild(layout: Layout, damages: Sequence[Damage], device: str) -> None:
    """Publish a new generation made from undamaged files only, and remove the damaged generation."""
    damaged = Manifest.load(layout.manifest).generation
    with _set_aside([layout.root / damage.path for damage in damages]):
        realign(layout.root, device=device)
    shutil.rmtree(layout.generation(damaged).folder, ignore_errors=True)


@contextmanager
def _set_aside(paths: Sequence[Path]) -> Iterator[None]:
    """Rename these files so that they are not used as input; undo this if the block raises."""
    moved = [(path, path.with_name(path.name + ".damaged")) for path in paths if path.is_file()]
    for path, aside in moved:
        path.replace(aside)
    try:
        yield
    except BaseException:
        for path, aside in moved:
            aside.replace(path)
        raise
