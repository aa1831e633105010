"""The command that repairs an index."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.cli.options import AsJson, ByRuntime, Device, Index, OnDevice, Runtime, print_json
from retrieval.cli.verify_command import DAMAGED, help_for
from retrieval.formatting import one_line


def repair(
    index: Index,
    device: OnDevice = Device.AUTO,
    runtime: ByRuntime = Runtime.AUTO,
    batch_size: Annotated[int, typer.Option(min=1, help="Media encoded at once.")] = 32,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that read and decode.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a damaged index whole: derive anew what can be, encode again only what is gone.

    Exit status: 0 whole now, 1 something is lost, and named with the command that makes it again.
    """
    from indexer.index_repair import repair as run
    from indexer.progress import bars

    done = run(index, device=device, runtime=runtime, batch_size=batch_size, workers=workers, progress=bars)
    if as_json:
        print_json(done.as_dict())
    else:
        for damage in done.repaired:
            print(f"repaired  {one_line(damage.path)} ({damage.remedy})")
        for damage in done.after.damages:
            print(f"lost      {one_line(damage.path)} {damage.problem}")
            print(f"   hurts  {one_line(damage.hurts)}")
            print(f"   helps  {help_for(index, done.after, damage, repaired=True)}")
        print(f"encoded   {done.encoded:,}")
        print("whole" if done.after.is_whole else f"lost: {len(done.after.damages):,}")
    if not done.after.is_whole:
        raise typer.Exit(DAMAGED)
