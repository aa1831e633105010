"""The command that searches an index: ``xmodal search``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retrieval.cli.options import (
    Device,
    DeviceOption,
    EncoderFile,
    IndexFolder,
    JsonOption,
    Runtime,
    RuntimeOption,
    encoders_by_modality,
    print_json,
)
from retrieval.formatting import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.search.searcher import Searcher
    from retrieval.types import Hit

WEIGHTED = re.compile(r"(.*)\^([-+]?(?:\d+\.?\d*|\.\d+))", re.DOTALL)


def search(
    index: IndexFolder,
    text: Annotated[list[str] | None, typer.Option(metavar="TEXT", help="Query by this text.")] = None,
    image: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Query by this picture.")] = None,
    audio: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Query by this sound.")] = None,
    video: Annotated[list[str] | None, typer.Option(metavar="FILE", help="Query by this video.")] = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--id", metavar="ITEM", help="Find more like this item of the index."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="What to find: text, image, audio, video, any (all of these) or item (whole items).",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", metavar="K", help="Maximum number of hits.")] = 10,
    where: Annotated[
        str | None,
        typer.Option(metavar="EXPR", help='Only items whose metadata match this filter, e.g. "year > 2015".'),
    ] = None,
    min_percentile: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Only hits at or above this percentile among scores of unrelated pairs, e.g. 99.",
        ),
    ] = None,
    combine: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD",
            help="Search each query term separately and merge the rankings: rrf or zscore. "
            "Default: search once, by the weighted sum of the terms.",
        ),
    ] = None,
    also: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Also search this index of the same sources and merge the rankings (by --combine, default rrf).",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the hits to this HTML file.")
    ] = None,
    explain_plan: Annotated[
        bool, typer.Option("--explain-plan", help="Print on standard error how the search was run.")
    ] = False,
    text_encoder: EncoderFile = None,
    image_encoder: EncoderFile = None,
    audio_encoder: EncoderFile = None,
    video_encoder: EncoderFile = None,
    device: DeviceOption = Device.AUTO,
    runtime: RuntimeOption = Runtime.AUTO,
    as_json: JsonOption = False,
) -> None:
    """Find what is most similar to a query.

    Query options (--text, --image, --audio, --video, --id) can be repeated, and weighted by ^NUMBER at the end:
    --text "a dog" --text "snow^-0.5".
    """
    from retrieval.errors import OptionError
    from retrieval.search.engine import open_index
    from retrieval.types import Query
    from retrieval.vectors.base import silent

    if explain_plan and (combine is not None or also):
        raise OptionError(
            "--explain-plan explains one search, but --combine and --also run several: leave one out"
        )
    terms = {"text": text, "image": image, "audio": audio, "video": video, "id": item}
    encoders = encoders_by_modality(
        text=text_encoder, image=image_encoder, audio=audio_encoder, video=video_encoder
    )
    engine = open_index(index, device=device, runtime=runtime, encoders=encoders)
    searcher: Searcher = engine
    if also:
        from retrieval.search.federated import Several

        others = [open_index(other, device=device, runtime=runtime) for other in also]
        searcher = Several([engine, *others], combine=combine or "rrf")
    query = {kind: [parse_weighted(value) for value in values] for kind, values in terms.items() if values}
    explain = _print_step if explain_plan else silent
    hits = (
        searcher.search(**query, to=to, k=k, where=where, min_percentile=min_percentile, combine=combine)
        if combine is not None or also
        else engine.search_batch(
            [Query(**query)], to=to, k=k, where=where, min_percentile=min_percentile, explain=explain
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


def parse_weighted(value: str) -> tuple[str, float]:
    """Split a query value from its weight: ``"snow^-0.5"`` is ``("snow", -0.5)``, ``"snow"`` has weight 1."""
    match = WEIGHTED.fullmatch(value)
    return (match[1], float(match[2])) if match else (value, 1.0)


def _print_step(step: str) -> None:
    print(f"plan  {step}", file=sys.stderr)


def _print_hits(hits: Sequence[Hit]) -> None:
    if not hits:
        print("nothing found")
    for hit in hits:
        moment = (
            f" at {hit.start:.1f}-{hit.end:.1f} s" if hit.start is not None and hit.end is not None else ""
        )
        content = hit.text if hit.text is not None else hit.path
        print(
            f"{hit.rank:>3}  {hit.score:6.3f}  {hit.modality:<5}  {one_line(hit.id)}  "
            f"{one_line(content or '')}{moment}"
        )
