"""Small CLIP models with random weights, configured, initialised and saved as by open_clip."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""A thousandth of ViT-B-32, with a context of 14 tokens plus start and end."""


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory()  # removed when the interpreter ends


def make(folder: Path, name: str = "small", *, form: str = "safetensors", **text_cfg: Any) -> str:
    """Write a model's configuration and random weights to ``folder``; return its value for ``--image-encoder``."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    config = json.loads(json.dumps(CONFIG))
    config["text_cfg"] |= text_cfg
    if text_cfg:
        config["custom_text"] = True
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config))
    open_clip.add_model_config(file)
    torch.manual_seed(0)
    model = open_clip.create_model(name, load_weights=False)
    weights = folder / f"{name}.{form}"
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    # Initial position embeddings are almost zero; larger ones make a wrong order of tokens visible.
    state |= {key: torch.randn_like(value) for key, value in state.items() if "positional" in key}
    if form == "safetensors":
        save_file(state, weights)
    else:
        torch.save(state, weights)
    return f"clip:{file}@{weights}"


@cache
def small_clip() -> str:
    """Return the encoder name of a model that is made once per test session."""
    return make(Path(_folder().name))
