"""The commands that ask an index: search, evaluate, info."""

from __future__ import annotations

import json
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retrieval.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from retrieval.types import Hit

app = typer.Typer(
    name="xmodal",
    help="One search over pictures, words, sounds and video.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Index = Annotated[
    Path, typer.Argument(metavar="DIR", help="An index folder, as 'xmodal index --out' made it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


OnDevice = Annotated[Device, typer.Option("--device", help="Where to compute.")]

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
        str | None, typer.Option(help="What to find: text, image, audio, video or any.", show_default=False)
    ] = None,
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 10,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Only items whose metadata satisfy this.")
    ] = None,
    device: OnDevice = Device.AUTO,
    as_json: AsJson = False,
) -> None:
    """Find what is nearest to a query.

    Query options may be repeated and weighted by a ^NUMBER at the end: --text "a dog" --text "snow^-0.5".
    """
    from retrieval.engine import open_index

    terms = {"text": text, "image": image, "audio": audio, "video": video, "id": item}
    engine = open_index(index, device=device)
    query = {kind: [weighted(value) for value in values] for kind, values in terms.items() if values}
    hits = engine.search(**query, to=to, k=k, where=where)
    if as_json:
        _print_json([hit.as_dict() for hit in hits])
    else:
        _print_hits(hits)


def weighted(value: str) -> tuple[str, float]:
    """A query value and its weight: ``"snow^-0.5"`` is ``("snow", -0.5)``, ``"snow"`` has weight 1."""
    match = WEIGHTED.fullmatch(value)
    return (match[1], float(match[2])) if match else (value, 1.0)


@app.command()
def evaluate(
    index: Index,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="A-to-B", help="For instance text-to-image. Default: every pair."),
    ] = None,
    ks: Annotated[str, typer.Option("-k", metavar="K,...", help="Cut-offs.")] = "1,5,10",
    relevance: Annotated[
        str, typer.Option(metavar="item|COLUMN", help="What is relevant: the same item, or the same value.")
    ] = "item",
    split: Annotated[str | None, typer.Option(metavar="holdout|all", help="Which items ask.")] = None,
    pool: Annotated[str | None, typer.Option(metavar="holdout|all", help="Which items are searched.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Skip the approximate index.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure retrieval: hit@k, recall@k, MRR, mAP and ranks, with the protocol they were measured by."""
    from retrieval.engine import open_index
    from retrieval.evaluation import evaluate as run

    engine = open_index(index, device="cpu")
    result = run(
        engine, tasks=task, ks=_cutoffs(ks), relevance=relevance, split=split, pool=pool, exact=exact
    ).as_dict()
    if as_json:
        _print_json(result)
    else:
        _print_evaluation(result)


@app.command()
def info(index: Index, as_json: AsJson = False) -> None:
    """Say what an index holds and what made it."""
    from retrieval.manifest import Manifest

    values = Manifest.read(index).as_dict()
    if as_json:
        _print_json(values)
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in values["counts"].items())
    rows = {
        "generation": f"{values['generation']} of {values['created']}, by xmodal {values['version']}",
        "holds": counts,
        **{
            f"{modality} encoder": f"{spec['name']}, {_made(spec)}"
            for modality, spec in values["encoders"].items()
        },
        "alignment": f"{values['alignment']['method']}, {_made(values['alignment'])}",
        **{f"{modality} index": entry["kind"] for modality, entry in values["indexes"].items()},
        "held out": str(values["settings"]["holdout"] or "nothing"),
        "sources": ", ".join(values["sources"]),
    }
    for name, value in rows.items():
        print(f"{name:<14} {value}")


def _made(entry: Mapping[str, Any]) -> str:
    return f"{entry['dimension']} dimensions, {entry['fingerprint'][:12]}"


def _cutoffs(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(
            f"-k takes whole numbers separated by commas, such as 1,5,10, not {text!r}"
        ) from None


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_hits(hits: Sequence[Hit]) -> None:
    if not hits:
        print("nothing found")
    for hit in hits:
        moment = (
            f" at {hit.start:.1f}-{hit.end:.1f} s" if hit.start is not None and hit.end is not None else ""
        )
        what = hit.text if hit.text is not None else hit.path
        print(
            f"{hit.rank:>3}  {hit.score:6.3f}  {hit.modality:<5}  {hit.id}  {_one_line(what or '')}{moment}"
        )


def _one_line(text: str) -> str:
    """Without line breaks and control characters, which a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text)


def _print_evaluation(result: Mapping[str, Any]) -> None:
    protocol = result["protocol"]
    print(
        f"split {protocol['split']}, pool {protocol['pool']}, relevance {protocol['relevance']}, "
        f"ties by {protocol['ties']}, {'exact' if protocol['exact'] else 'approximate'} search"
    )
    names = list(dict.fromkeys(name for values in result["tasks"].values() for name in values))
    table = [["", *result["tasks"]]]
    table += [[name, *(_number(values.get(name)) for values in result["tasks"].values())] for name in names]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        print(row[0].ljust(len(first)), *others, sep="  ")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
