"""The commands that write an index, and the whole of ``xmodal``."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.repair_command import repair
from retrieval.cli.commands import app
from retrieval.cli.options import AsJson, ByRuntime, Device, Index, OnDevice, Runtime, by_modality, print_json
from retrieval.errors import XmodalError
from retrieval.formatting import one_line, single_spaced

if TYPE_CHECKING:
    from indexer.dry_run import DryRun
    from indexer.job_summary import JobSummary

SOME_FAILED = 3
INTERRUPTED = 130
SHOWN = 20

Align = Annotated[
    str | None, typer.Option(metavar="METHOD", help="How modalities are brought into one space.")
]
Holdout = Annotated[
    str | None,
    typer.Option(
        metavar="FRACTION|EXPR",
        help="Items never used to fit or choose the alignment: a share of them, or an expression.",
    ),
]
Encoder = Annotated[
    str | None, typer.Option(metavar="SPEC", help="Another than the preset's; none to leave these out.")
]
Fuse = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD", help="How an item becomes one vector, for searches --to item; none: not at all."
    ),
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Of the holdout's draw and the fit.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"xmodal {installed('xmodal')}")
        raise typer.Exit


@app.callback()
def xmodal(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """One search over pictures, words, sounds and video."""


@app.command()
def index(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...", help="Folders, manifests (.csv, .tsv, .jsonl, .parquet), or FORMAT:PATH."
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The index folder: made, or brought up to date.")],
    preset: Annotated[str | None, typer.Option(help="A set of encoders. Default: packaged.")] = None,
    text_encoder: Encoder = None,
    image_encoder: Encoder = None,
    audio_encoder: Encoder = None,
    video_encoder: Encoder = None,
    align: Align = None,
    holdout: Holdout = None,
    seed: Seed = None,
    device: OnDevice = Device.AUTO,
    runtime: ByRuntime = Runtime.AUTO,
    batch_size: Annotated[int, typer.Option(help="Media encoded at once.")] = 32,
    workers: Annotated[int | None, typer.Option(help="Files that are read and decoded at once.")] = None,
    index_kind: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="SPEC",
            help="auto, flat, exact, fastscan, ivf-fastscan, hnsw, cagra, or a factory string of FAISS.",
        ),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Of exact search's ten best, what must be found. Default: 0.95."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="What the vector indexes may take together, items' too, such as 4GB."
        ),
    ] = None,
    favour: Annotated[
        str | None, typer.Option(metavar="WHICH", help="Which queries must be fast: single or batch.")
    ] = None,
    fuse: Fuse = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try unchanged files that failed again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    allow_mass_removal: Annotated[
        bool, typer.Option("--allow-mass-removal", help="More than half of a source may be gone.")
    ] = False,
    trusted: Annotated[
        bool,
        typer.Option("--trusted", help="Decode in the job's own process: the files are known to be good."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Index folders and manifests, or bring an index up to date with them.

    Exit status: 0 all indexed, 3 some files failed, 2 unusable arguments or input, 1 anything else.
    """
    from indexer import dry_run as dry_runs
    from indexer.job import build
    from indexer.progress import bars

    named = by_modality(text_encoder, image_encoder, audio_encoder, video_encoder)
    if dry_run:
        plan = dry_runs.dry_run(
            sources,
            out=out,
            preset=preset,
            encoders=named,
            workers=workers,
            retry_failed=retry_failed,
            allow_mass_removal=allow_mass_removal,
            progress=bars,
        )
        if as_json:
            print_json(plan.as_dict())
        else:
            _print_plan(plan)
        return
    summary = build(
        sources,
        out=out,
        preset=preset,
        encoders=named,
        align=align,
        holdout=holdout,
        seed=seed,
        index=index_kind,
        recall=recall,
        memory=memory,
        favour=favour,
        fuse=fuse,
        device=device,
        runtime=runtime,
        batch_size=batch_size,
        workers=workers,
        retry_failed=retry_failed,
        allow_mass_removal=allow_mass_removal,
        trusted=trusted,
        progress=bars,
    )
    if as_json:
        print_json(summary.as_dict())
    else:
        _print(summary)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


@app.command()
def realign(
    index: Index,
    align: Align = None,
    holdout: Holdout = None,
    seed: Seed = None,
    fuse: Fuse = None,
    device: OnDevice = Device.AUTO,
) -> None:
    """Fit the alignment anew from the stored features; nothing is encoded."""
    from indexer.job import realign as run

    manifest = run(index, align=align, holdout=holdout, seed=seed, fuse=fuse, device=device)
    alignment = manifest.alignment
    print(f"generation {manifest.generation}: {alignment['method']}, {alignment['dimension']} dimensions")


def _print_plan(plan: DryRun) -> None:
    encode = ", ".join(f"{count:,} {modality}" for modality, count in plan.encode.items())
    print(f"items      {plan.items:,}")
    print(f"encode     {encode or 'nothing'}")
    print(f"unchanged  {plan.unchanged:,}")
    renamed = [f"{old} -> {new}" for old, new in plan.renamed]
    failed = [f"{failure['path']}: {failure['reason']}" for failure in plan.failed]
    lists = {
        "new": plan.new,
        "changed": plan.changed,
        "renamed": renamed,
        "removed": plan.removed,
        "failed": failed,
    }
    for title, names in lists.items():
        print(f"{title:<10} {len(names):,}")
        for name in names[:SHOWN]:
            print(f"  {one_line(name)}")
        if len(names) > SHOWN:
            print(f"  and {len(names) - SHOWN:,} more: --json lists all")
    if plan.refused:
        print(f"refused    {plan.refused}")


app.command()(repair)


def _print(summary: JobSummary) -> None:
    assets = ", ".join(f"{count:,} {modality}" for modality, count in summary.assets.items())
    print(f"items      {summary.items:,}")
    print(f"assets     {assets or 'none'}")
    print(f"encoded    {summary.encoded:,}")
    print(f"reused     {summary.reused:,}")
    print(f"removed    {summary.removed:,}")
    for modality, count in summary.skipped.items():
        print(f"skipped    {count:,} {modality}: the index has no encoder for it")
    print(f"failed     {summary.failed:,}")
    for failure in summary.failures:
        print(f"  {failure['path']!r}: {failure['reason']}")
    if summary.failed > len(summary.failures):
        print(f"  and {summary.failed - len(summary.failures):,} more: 'xmodal failures' lists all")
    print(f"alignment  {summary.alignment}, generation {summary.generation}")
    print(f"seconds    {summary.seconds:.1f} ({summary.rate:,.1f} assets/s)")


def main() -> None:
    """Run ``xmodal``: an error is one line on standard error and an exit status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run ``xmodal`` with ``arguments`` and return its exit status."""
    # The limits on pictures are checked and told of otherwise.
    warnings.filterwarnings("ignore", message=r"Image size .* exceeds limit")
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments or ["--help"], prog_name="xmodal", standalone_mode=False)
    except XmodalError as error:
        return _complain(str(error), error.exit_status)
    except typer.TyperException as error:
        return _complain(error.format_message(), error.exit_code)
    except OSError as error:
        return _complain(f"{error.filename or 'the system'}: {error.strerror or error}", 1)
    except typer.Abort:
        status = INTERRUPTED
    if status == INTERRUPTED:
        return _complain("interrupted: run the same command again to go on", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _complain(message: str, status: int) -> int:
    print(f"xmodal: {single_spaced(message)}", file=sys.stderr)
    return status
