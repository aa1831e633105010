"""The program ``xmodal``: the commands that write an index, added to those that read one."""

from __future__ import annotations

import sys
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from indexer.cli.repair_command import repair
from retrieval.cli.commands import app
from retrieval.cli.options import (
    Device,
    DeviceOption,
    IndexFolder,
    JsonOption,
    Runtime,
    RuntimeOption,
    encoders_by_modality,
    print_json,
)
from retrieval.errors import XmodalError
from retrieval.formatting import one_line, single_spaced

if TYPE_CHECKING:
    from indexer.dry_run import DryRun
    from indexer.job_summary import JobSummary

SOME_FAILED = 3
"""Exit status: indexed, but some files failed."""
INTERRUPTED = 130
"""Exit status."""
MAX_SHOWN = 20
"""Names that a dry run prints of each list."""

AlignOption = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="How to align the modalities in one vector space: auto, conse, identity, cca, kcca, dcca, ridge, "
        "procrustes, contrastive, sigmoid, adversarial, distill or attention. Default: auto.",
    ),
]
HoldoutOption = Annotated[
    str | None,
    typer.Option(
        metavar="FRACTION|EXPR",
        help="Items to hold out: a fraction, e.g. 0.33, or a filter expression. They are never used to fit or "
        "choose the alignment, so that 'evaluate' can measure on unseen items.",
    ),
]
EncoderOption = Annotated[
    str | None,
    typer.Option(metavar="SPEC", help="Override the preset's encoder; 'none' skips this modality."),
]
FuseOption = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="How to combine an item's assets into one vector, for 'search --to item': weighted, concat, graph, "
        "attention, gated, tensor or none.",
    ),
]
SeedOption = Annotated[
    int | None, typer.Option(metavar="N", help="Random seed for drawing the held-out items and for fitting.")
]


def _print_version(requested: bool) -> None:
    if requested:
        print(f"xmodal {installed('xmodal')}")
        raise typer.Exit


@app.callback()
def xmodal(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """Search pictures, texts, sounds and videos by any of them.

    First build an index with 'xmodal index', then search it with 'xmodal search' or 'xmodal serve'.
    """


@app.command()
def index(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE...",
            help="Folders, manifest files (.csv, .tsv, .jsonl, .parquet), or data sets as FORMAT:PATH.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The index folder to create or to update.")],
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A set of encoders: packaged, parts or clip. Default: packaged."),
    ] = None,
    text_encoder: EncoderOption = None,
    image_encoder: EncoderOption = None,
    audio_encoder: EncoderOption = None,
    video_encoder: EncoderOption = None,
    align: AlignOption = None,
    holdout: HoldoutOption = None,
    seed: SeedOption = None,
    device: DeviceOption = Device.AUTO,
    runtime: RuntimeOption = Runtime.AUTO,
    batch_size: Annotated[int, typer.Option(metavar="N", help="Files encoded in one batch.")] = 32,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Files read and decoded at the same time. Default: one per CPU core, at most 8."
        ),
    ] = None,
    index_kind: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="SPEC",
            help="Kind of vector index: auto, flat, exact, fastscan, ivf-fastscan, hnsw, cagra, or a FAISS "
            "factory string. Default: auto.",
        ),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Target recall of an approximate index: the share of exact search's ten best hits that it must "
            "find. Default: 0.95.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory limit for all vector indexes together, including the item index, e.g. 4GB.",
        ),
    ] = None,
    favour: Annotated[
        str | None,
        typer.Option(
            metavar="single|batch",
            help="Tune the index for the latency of single queries or the throughput of batches. Default: single.",
        ),
    ] = None,
    fuse: FuseOption = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try unchanged files again that failed before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, without doing it.")
    ] = False,
    allow_mass_removal: Annotated[
        bool,
        typer.Option(
            "--allow-mass-removal",
            help="Allow removing more than half of a source's items. Without this, that is refused, as the disk "
            "may not be mounted.",
        ),
    ] = False,
    trusted: Annotated[
        bool,
        typer.Option(
            "--trusted",
            help="Decode files in the main process instead of worker processes. Only for files known to be good: "
            "one that crashes the decoder ends the job.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build an index of folders and manifests, or update it.

    Only new and changed files are encoded. An update keeps the index's settings (encoders, alignment, holdout,
    seed, vector index, fusion) where options are left out.

    Exit status: 0 all indexed, 3 some files failed, 2 unusable arguments or input, 1 anything else.
    """
    from indexer import dry_run as dry_runs
    from indexer.job import build
    from indexer.progress import bars

    encoders = encoders_by_modality(
        text=text_encoder, image=image_encoder, audio=audio_encoder, video=video_encoder
    )
    if dry_run:
        plan = dry_runs.dry_run(
            sources,
            out=out,
            preset=preset,
            encoders=encoders,
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
        encoders=encoders,
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
        _print_summary(summary)
    if summary.failed:
        raise typer.Exit(SOME_FAILED)


@app.command()
def realign(
    index: IndexFolder,
    align: AlignOption = None,
    holdout: HoldoutOption = None,
    seed: SeedOption = None,
    fuse: FuseOption = None,
    device: DeviceOption = Device.AUTO,
) -> None:
    """Fit the alignment again from the stored features. No file is read or encoded.

    Options that are left out keep the index's settings.
    """
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
        for name in names[:MAX_SHOWN]:
            print(f"  {one_line(name)}")
        if len(names) > MAX_SHOWN:
            print(f"  and {len(names) - MAX_SHOWN:,} more: --json lists all")
    if plan.refused:
        print(f"refused    {plan.refused}")


app.command()(repair)


def _print_summary(summary: JobSummary) -> None:
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
    """Run ``xmodal`` and exit; an error is printed as one line on standard error."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run ``xmodal`` with ``arguments`` and return its exit status."""
    # The size limits of pictures are checked elsewhere, with our own message.
    warnings.filterwarnings("ignore", message=r"Image size .* exceeds limit")
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments or ["--help"], prog_name="xmodal", standalone_mode=False)
    except XmodalError as error:
        return _print_error(str(error), error.exit_status)
    except typer.TyperException as error:
        return _print_error(error.format_message(), error.exit_code)
    except OSError as error:
        return _print_error(f"{error.filename or 'the system'}: {error.strerror or error}", 1)
    except typer.Abort:
        status = INTERRUPTED
    if status == INTERRUPTED:
        return _print_error("interrupted: run the same command again to go on", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _print_error(message: str, status: int) -> int:
    print(f"xmodal: {single_spaced(message)}", file=sys.stderr)
    return status
