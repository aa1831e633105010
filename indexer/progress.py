"""How a job tells that it is getting on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
"""Told how many more pieces of work are done."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Given a stage's name and the number of its pieces of work, a context in which ``Advance`` is called."""


@contextmanager
def silent(stage: str, total: int) -> Iterator[Advance]:  # noqa: ARG001 - the protocol's signature
    """Show nothing."""
    yield lambda done: None  # noqa: ARG005


@contextmanager
def bars(stage: str, total: int) -> Iterator[Advance]:
    """A bar on standard error, which goes when the stage is done, or where that is no terminal a line."""
    from rich.console import Console

    console = Console(stderr=True)
    if not total or not console.is_terminal:
        if total:
            console.print(f"{stage} ({total:,})")
        with silent(stage, total) as advance:
            yield advance
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description:<14}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bars(*columns, console=console, transient=True) as shown:
        task = shown.add_task(stage, total=total)
        yield lambda done: shown.advance(task, done)
