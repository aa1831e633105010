"""Progress reports of a job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Advance = Callable[[int], None]
"""Called with the number of work units completed since the last call."""

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a stage's name and its number of work units; returns a context that yields an ``Advance``."""


@contextmanager
def silent(stage: str, total: int) -> Iterator[Advance]:  # noqa: ARG001 - the protocol's signature
    """Report no progress."""
    yield lambda done: None  # noqa: ARG005


@contextmanager
def bars(stage: str, total: int) -> Iterator[Advance]:
    """Show a bar on standard error until the stage ends; one line instead if that is not a terminal."""
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
    with Bars(*columns, console=console, transient=True) as display:
        task = display.add_task(stage, total=total)
        yield lambda done: display.advance(task, done)
