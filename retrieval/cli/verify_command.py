"""The command that verifies an index: ``xmodal verify``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

from retrieval.cli.options import IndexFolder, JsonOption, print_json
from retrieval.formatting import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.storage.damage import Damage, Verdict

DAMAGED = 1
"""Exit status."""


def verify(index: IndexFolder, as_json: JsonOption = False) -> None:
    """Check every byte of an index against its checksums. Print each damage, what it affects and how to fix it.

    Exit status: 0 whole, 1 damaged.
    """
    from retrieval.storage.verification import verify as inspect

    verdict = inspect(index)
    if as_json:
        print_json(verdict.as_dict())
    else:
        print_verdict(index, verdict)
    if not verdict.is_whole:
        raise typer.Exit(DAMAGED)


def print_verdict(index: Path, verdict: Verdict) -> None:
    """Print the result of a verification as text."""
    for damage in verdict.damages:
        print(f"damaged  {one_line(damage.path)} {damage.problem}")
        print(f"affects  {one_line(damage.hurts)}")
        print(f"fix      {fix_for(index, verdict, damage)}")
    if verdict.strays:
        more = ", ..." if len(verdict.strays) > 3 else ""
        print(f"not part of the index, not checked: {one_line(', '.join(verdict.strays[:3]))}{more}")
    counts = f"{verdict.files:,} files, {verdict.rows:,} feature rows"
    print(f"{'whole' if verdict.is_whole else 'damaged'}: {counts}, {len(verdict.damages):,} damages")


def fix_for(index: Path, verdict: Verdict, damage: Damage, *, repair_tried: bool = False) -> str:
    """Return the command that fixes a damage, and what it will do.

    Args:
        index: the index folder.
        verdict: the result of its verification.
        damage: one of the damages in ``verdict``.
        repair_tried: whether a repair was already tried, so that only indexing the sources again can help.
    """
    from retrieval.storage.damage import Remedy

    repairs = {
        Remedy.RESTORE: "restores it from its copy",
        Remedy.REBUILD: "rebuilds it from the stored features",
        Remedy.ENCODE: "encodes them again, from the captions in the catalog or the sources",
        Remedy.DROP: "removes it",
    }
    if damage.remedy in repairs and not repair_tried:
        return f"{shlex.join(['xmodal', 'repair', str(index)])} {repairs[damage.remedy]}"
    sources = shlex.join(verdict.manifest.sources) if verdict.manifest else "SOURCE..."
    command = f"xmodal index {sources} --out {shlex.quote(str(index))}"
    if verdict.manifest is None and not repair_tried:
        command = f"{shlex.join(['xmodal', 'repair', str(index)])} sets it aside, then {command}"
    return f"{command} makes it again from the sources; only content without stored features is encoded"
