"""The command that describes an index: ``xmodal info``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retrieval.cli.options import IndexFolder, JsonOption, print_json

if TYPE_CHECKING:
    from collections.abc import Mapping


def info(index: IndexFolder, as_json: JsonOption = False) -> None:
    """Show what an index contains and how it was built."""
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
            f"{modality} encoder": f"{spec['name']}, {_size_and_fingerprint(spec)}{_numerics(values, modality)}"
            for modality, spec in values["encoders"].items()
        },
        "alignment": f"{values['alignment']['method']}, {_size_and_fingerprint(values['alignment'])}",
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


def _size_and_fingerprint(entry: Mapping[str, Any]) -> str:
    return f"{entry['dimension']} dimensions, {entry['fingerprint'][:12]}"


def _numerics(values: Mapping[str, Any], modality: str) -> str:
    numerics = values["numerics"].get(modality)
    return f", computed by {', '.join(numerics)}" if numerics else ""
