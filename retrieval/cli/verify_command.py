"""The command that verifies an index."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import typer

from retrieval.cli.options import AsJson, Index, print_json
from retrieval.formatting import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.storage.damage import Damage, Verdict

DAMAGED = 1


def verify(index: Index, as_json: AsJson = False) -> None:
    """Read every byte of an index and say what is damaged, what that hurts, and what helps.

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
    """Print what a verification found, for people."""
    for damage in verdict.damages:
        print(f"damaged  {one_line(damage.path)} {damage.problem}")
        print(f"  hurts  {one_line(damage.hurts)}")
        print(f"  helps  {help_for(index, verdict, damage)}")
    if verdict.strays:
        more = ", ..." if len(verdict.strays) > 3 else ""
        print(f"not part of the index, not checked: {one_line(', '.join(verdict.strays[:3]))}{more}")
    counted = f"{verdict.files:,} files, {verdict.rows:,} feature rows"
    print(f"{'whole' if verdict.is_whole else 'damaged'}: {counted}, {len(verdict.damages):,} damages")


def help_for(index: Path, verdict: Verdict, damage: Damage, *, repaired: bool = False) -> str:
    """The command that helps against a damage, and what it will do.

    Args:
        index: the index folder.
        verdict: of its verification.
        damage: one of those found.
        repaired: whether a repair was tried, so that only the sources help.
    """
    from retrieval.storage.damage import Remedy

    repairs = {
        Remedy.RESTORE: "restores it from its copy",
        Remedy.REBUILD: "rebuilds it from the stored features",
        Remedy.ENCODE: "encodes them again, from the captions in the catalog or the sources",
        Remedy.DROP: "drops it",
    }
    if damage.remedy in repairs and not repaired:
        return f"{shlex.join(['xmodal', 'repair', str(index)])} {repairs[damage.remedy]}"
    sources = shlex.join(verdict.manifest.sources) if verdict.manifest else "SOURCE..."
    command = f"xmodal index {sources} --out {shlex.quote(str(index))}"
    if verdict.manifest is None and not repaired:
        command = f"{shlex.join(['xmodal', 'repair', str(index)])} sets it aside, then {command}"
    return f"{command} makes it again from the sources, and encodes only what is not stored"
