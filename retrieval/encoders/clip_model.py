"""Find an open_clip model by its name, with its configuration and weights, and build it.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (ICML 2021), in the
implementation and with the configurations of https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.checksums import sha256_of
from retrieval.errors import OptionError, WeightsError
from retrieval.formatting import single_spaced

if TYPE_CHECKING:
    import torch

FORMS = "clip:MODEL/TAG, clip:MODEL@FILE, clip:MODEL/TAG@FILE or clip:CONFIG.json@FILE"


@dataclass(frozen=True)
class ClipModel:
    """An open_clip model and the file with its weights.

    Attributes:
        name: name of the architecture; for a configuration file, its name without folder and extension.
        config: the architecture, in the form of open_clip's configuration files.
        preprocessing: how images are prepared: the fields of open_clip's ``PreprocessCfg``.
        file: path of the weights.
        weights: SHA-256 of that file, in hex.
    """

    name: str
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    file: Path
    weights: str

    @classmethod
    def find(cls, options: str) -> ClipModel:
        """Return the model that ``options`` names.

        Args:
            options: the text after ``clip:`` in one of ``FORMS``. The tag names the published weights and, with
                them, how images are prepared. If no file is named, the tag's weights come from the hub or its
                local cache.

        Raises:
            OptionError: the model or tag does not exist.
            WeightsError: the weights or the configuration file cannot be read.
        """
        what, _, path = options.partition("@")
        if what.endswith(".json"):
            name, config, preprocessing = _read_config(Path(what).expanduser())
            tag = ""
        else:
            name, _, tag = what.partition("/")
            config, preprocessing = _known_config(name, tag)
        if path:
            file = Path(path).expanduser()
            if not file.is_file():
                raise WeightsError(
                    f"the weights of CLIP model {name} are not at {str(file)!r}: name the file that holds them, "
                    f"as {_encoder_name(what)}@FILE"
                )
        elif tag:
            file = _download(name, tag)
        else:
            raise OptionError(f"encoder {'clip:' + options!r} names no weights: expected {FORMS}")
        status = file.stat()
        return cls(
            name, config, preprocessing, file, _cached_sha256(file, status.st_size, status.st_mtime_ns)
        )

    @property
    def dimension(self) -> int:
        """Number of columns of the space that text and images share."""
        return int(self.config["embed_dim"])

    @property
    def digest(self) -> str:
        """16 hex digits that differ if the architecture or the preprocessing of images differs."""
        text = json.dumps([self.config, self.preprocessing], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def registered_name(self) -> str:
        """Register the configuration with open_clip and return its name there."""
        import open_clip

        name = f"xmodal-{self.digest}"
        if name not in open_clip.list_models():
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / f"{name}.json"
                file.write_text(json.dumps(self.config), encoding="utf-8")
                open_clip.add_model_config(file)
        return name

    def build(self) -> torch.nn.Module:
        """Build the model and load its weights with ``weights_only``: no code in the file is run.

        Raises:
            WeightsError: the file does not hold the weights of this model.
        """
        import open_clip

        try:
            model: torch.nn.Module = open_clip.create_model(
                self.registered_name,
                pretrained=str(self.file),
                weights_only=True,
                force_preprocess_cfg=self.preprocessing,
            )
        except Exception as error:  # torch, safetensors, pickle and transformers each raise their own types
            reason = single_spaced(str(error))[:300]
            raise WeightsError(
                f"{str(self.file)!r} cannot be loaded as the weights of CLIP model {self.name}: {reason}"
            ) from error
        return model.eval()


def _known_config(name: str, tag: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return configuration and preprocessing of a model that open_clip has a configuration for."""
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        raise OptionError(
            f"open_clip has no model {name!r}: expected {FORMS}, where MODEL is a name like ViT-B-32 or ViT-L-14"
        )
    trained: dict[str, Any] = {}
    if tag:
        tags = open_clip.list_pretrained_tags_by_model(name)
        if tag.lower() not in map(str.lower, tags):
            raise OptionError(
                f"open_clip has no weights {tag!r} for {name}: expected one of {', '.join(tags) or 'none'}, or a file "
                f"as in clip:{name}@FILE"
            )
        trained = open_clip.get_pretrained_cfg(name, tag)
        # The setting that the weights were trained with decides; the configuration of the same name may differ.
        config["quick_gelu"] = trained.get("quick_gelu", False)
    return config, _preprocessing(config, trained)


def _read_config(file: Path) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Return name, configuration and preprocessing from a file in either of open_clip's two formats."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        config = content.get("model_cfg", content)
        whole = {"embed_dim", "vision_cfg", "text_cfg"} <= set(config)
    except OSError as error:
        raise WeightsError(
            f"a CLIP model's configuration cannot be read from {str(file)!r}: {error.strerror}"
        ) from error
    except (ValueError, AttributeError, TypeError) as error:
        raise OptionError(f"{str(file)!r} cannot be read as a CLIP model's configuration: {error}") from error
    if not whole:
        raise OptionError(
            f"{str(file)!r} is not the configuration of a CLIP model: expected embed_dim, vision_cfg and text_cfg, "
            "as in open_clip's configuration files"
        )
    return file.stem, config, _preprocessing(config, content.get("preprocess_cfg", {}))


def _preprocessing(config: Mapping[str, Any], trained: Mapping[str, Any]) -> dict[str, Any]:
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    size = config["vision_cfg"].get("image_size", 224)
    preprocessing: dict[str, Any] = merge_preprocess_dict(
        {**asdict(PreprocessCfg()), "size": size}, dict(trained)
    )
    return preprocessing


def _download(name: str, tag: str) -> Path:
    """Return the weights file that open_clip publishes under this tag, from the hub or its cache."""
    import open_clip

    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(name, tag)))
    except Exception as error:  # the hub's client, its transport and the system raise different types
        reason = single_spaced(str(error))[:200]
        raise WeightsError(
            f"the weights {tag} of CLIP model {name} cannot be fetched ({reason}): download them "
            f"elsewhere, and name the file, as clip:{name}/{tag}@FILE"
        ) from error


def _encoder_name(what: str) -> str:
    return f"clip:{Path(what).name if what.endswith('.json') else what}"


@lru_cache(maxsize=16)
def _cached_sha256(file: Path, _size: int, _mtime_ns: int) -> str:
    """Return the SHA-256 of a file; computed once for text and images, and again if size or time changes."""
    return sha256_of(file)
