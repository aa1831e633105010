"""The commands that ask an index: search, evaluate, serve, info, failures, verify."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.cli.evaluate_command import evaluate
from retrieval.cli.failures_command import failures
from retrieval.cli.options import (
    AsJson,
    ByRuntime,
    Device,
    Index,
    Moved,
    OnDevice,
    Runtime,
    by_modality,
    print_json,
)
from retrieval.cli.serve_command import serve
from retrieval.cli.verify_command import verify
from retrieval.formatting import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.search.searcher import Searcher
    from retrieval.types import Hit

app = typer.Typer(
    name="xmodal",
    help="One search over pictures, words, sounds and video.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

WEIGHTED = re.compile(r"(.*)\^([-+]?(?:\d+\.?\d*|\.\d+))", re.DOTALL)


@app.command()
def search(
    index: Index,
    text: Annotated[list[str] | None, typer.Option(help="Words to look for.")] = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A picture to look for.")] = None,
    audio: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A sound to look for.")] = None,
    video: Annotated[list[str] | None, typer.Option(metavar="FILE", help="A video to look for.")] = None,
    item: Annotated[
        list[str] | None, typer.Option("--id", metavar="ITEM", help="More like this item.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(help="What to find: text, image, audio, video, any or item.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 10,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Only items whose metadata satisfy this.")
    ] = None,
    min_percentile: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Only hits above P of a hundred scores of unrelated things, such as 99."
        ),
    ] = None,
    combine: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="Search each term by itself and join the rankings: rrf or zscore."),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Search this index of the same sources too, and join the rankings (--combine, else rrf).",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page that shows what was found.")
    ] = None,
    explain_plan: Annotated[
        bool, typer.Option("--explain-plan", help="Say on standard error how it was searched.")
    ] = False,
    text_encoder: Moved = None,
    image_encoder: Moved = None,
    audio_encoder: Moved = None,
    video_encoder: Moved = None,
    device: OnDevice = Device.AUTO,
    runtime: ByRuntime = Runtime.AUTO,
    as_json: AsJson = False,
) -> None:
    """Find what is nearest to a query.

    Query options may be repeated and weighted by a ^NUMBER at the end: --text "a dog" --text "snow^-0.5".
    """
    from retrieval.errors import OptionError
    from retrieval.search.engine import open_index
    from retrieval.types import Query
    from retrieval.vectors.base import silent

    if explain_plan and (combine is not None or also):
        raise OptionError(
            "--explain-plan says how one search went, --combine and --also make several: leave one out"
        )
    terms = {"text": text, "image": image, "audio": audio, "video": video, "id": item}
    encoders = by_modality(text_encoder, image_encoder, audio_encoder, video_encoder)
    engine = open_index(index, device=device, runtime=runtime, encoders=encoders)
    searcher: Searcher = engine
    if also:
        from retrieval.search.federated import Several

        others = [open_index(other, device=device, runtime=runtime) for other in also]
        searcher = Several([engine, *others], combine=combine or "rrf")
    asked = {kind: [weighted(value) for value in values] for kind, values in terms.items() if values}
    explain = _plan if explain_plan else silent
    hits = (
        searcher.search(**asked, to=to, k=k, where=where, min_percentile=min_percentile, combine=combine)
        if combine is not None or also
        else engine.search_batch(
            [Query(**asked)], to=to, k=k, where=where, min_percentile=min_percentile, explain=explain
        )[0]
    )
    if html is not None:
        from retrieval.display import hits_page

        hits_page.write(
            html,
            hits,
            searcher.previews(hits),
            ", ".join(value for values in terms.values() for value in values or ()),
        )
    if as_json:
        print_json([hit.as_dict() for hit in hits])
    else:
        _print_hits(hits)


def _plan(step: str) -> None:
    print(f"plan  {step}", file=sys.stderr)


def weighted(value: str) -> tuple[str, float]:
    """A query value and its weight: ``"snow^-0.5"`` is ``("snow", -0.5)``, ``"snow"`` has weight 1."""
    match = WEIGHTED.fullmatch(value)
    return (match[1], float(match[2])) if match else (value, 1.0)


app.command()(evaluate)
app.command()(verify)
app.command()(failures)
app.command()(serve)


@app.command()
def info(index: Index, as_json: AsJson = False) -> None:
    """Say what an index holds and what made it."""
    from retrieval.storage.manifest import Manifest
    from retrieval.vectors.index_summary import summary_line

    values = Manifest.read(index).as_dict()
    if as_json:
        print_json(values)
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in values["counts"].items())
    rows = {
        "generation": f"{values['generation']} of {values['created']}, by xmodal {values['version']}",
        "holds": counts,
        **{
            f"{modality} encoder": f"{spec['name']}, {_made(spec)}{_computed(values, modality)}"
            for modality, spec in values["encoders"].items()
        },
        "alignment": f"{values['alignment']['method']}, {_made(values['alignment'])}",
        **{f"{modality} index": summary_line(entry) for modality, entry in values["indexes"].items()},
        **(
            {"item index": f"{summary_line(values['items'])}, {values['items']['fusion']}"}
            if "items" in values
            else {}
        ),
        "held out": str(values["settings"]["holdout"] or "nothing"),
        "sources": ", ".join(values["sources"]),
    }
    for name, value in rows.items():
        print(f"{name:<14} {value}")


def _made(entry: Mapping[str, Any]) -> str:
    return f"{entry['dimension']} dimensions, {entry['fingerprint'][:12]}"


def _computed(values: Mapping[str, Any], modality: str) -> str:
    numerics = values["numerics"].get(modality)
    return f", computed by {', '.join(numerics)}" if numerics else ""


def _print_hits(hits: Sequence[Hit]) -> None:
    if not hits:
        print("nothing found")
    for hit in hits:
        moment = (
            f" at {hit.start:.1f}-{hit.end:.1f} s" if hit.start is not None and hit.end is not None else ""
        )
        what = hit.text if hit.text is not None else hit.path
        print(
            f"{hit.rank:>3}  {hit.score:6.3f}  {hit.modality:<5}  {one_line(hit.id)}  {one_line(what or '')}{moment}"
        )
