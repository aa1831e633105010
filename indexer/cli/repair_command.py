"""The command that repairs an index: ``xmodal repair``."""

from __future__ import annotations

from typing import Annotated

import typer

from retrieval.cli.options import (
    Device,
    DeviceOption,
    IndexFolder,
    JsonOption,
    Runtime,
    RuntimeOption,
    print_json,
)
from retrieval.cli.verify_command import DAMAGED, fix_for
from retrieval.formatting import one_line


def repair(
    index: IndexFolder,
    device: DeviceOption = Device.AUTO,
    runtime: RuntimeOption = Runtime.AUTO,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Files encoded in one batch.")] = 32,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Files read and decoded at the same time. Default: one per CPU core, at most 8.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Repair a damaged index. Rebuild what can be derived, and encode again only what is lost.

    Exit status: 0 whole now, 1 something is lost; the output names it and the command that makes it again.
    """
    from indexer.index_repair import repair as run
    from indexer.progress import bars

    result = run(index, device=device, runtime=runtime, batch_size=batch_size, workers=workers, progress=bars)
    if as_json:
        print_json(result.as_dict())
    else:
        for damage in result.repaired:
            print(f"repaired  {one_line(damage.path)} ({damage.remedy})")
        for damage in result.after.damages:
            print(f"lost      {one_line(damage.path)} {damage.problem}")
            print(f"affects   {one_line(damage.hurts)}")
            print(f"fix       {fix_for(index, result.after, damage, repair_tried=True)}")
        print(f"encoded   {result.encoded:,}")
        print("whole" if result.after.is_whole else f"lost: {len(result.after.damages):,}")
    if not result.after.is_whole:
        raise typer.Exit(DAMAGED)
