"""Text encoder of a CLIP model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from retrieval.arrays.norms import unit
from retrieval.encoders.base import EncoderSpec, Span, text_spans
from retrieval.encoders.clip_model import ClipModel
from retrieval.encoders.clip_tokens import ClipTokenizer, is_causal
from retrieval.encoders.length_batching import length_batches, padded, sequence_numbers
from retrieval.encoders.network_encoder import NetworkEncoder, sum_per_medium
from retrieval.encoders.text_input import checked_text, no_words_error
from retrieval.runtimes.base import Network
from retrieval.types import Matrix, Modality

if TYPE_CHECKING:
    import torch

_BATCH = {"cpu": 32, "cuda": 512}


class ClipText(NetworkEncoder):
    """Encodes text as rows of unit norm, in the space that the model's images share.

    Text longer than the model's context is read in consecutive windows; the row is the mean of their unit rows,
    weighted by their lengths. If the model reads from left to right, the tokens after the one that gives the row
    have no influence, so each window ends there; open_clip pads every window to the context's length.
    """

    def __init__(self, model: ClipModel, device: str, runtime: str = "auto") -> None:
        super().__init__(device, runtime)
        self.spec = EncoderSpec(
            name=f"clip:{model.name}",
            modality=Modality.TEXT,
            dimension=model.dimension,
            weights=model.weights,
            preprocessing=f"{model.digest}; windows of the context's length; unit norm",
        )
        self._model = model

    @cached_property
    def _tokenizer(self) -> ClipTokenizer:
        return ClipTokenizer(self._model)

    def _network(self) -> Network:
        causal, context = is_causal(self._model.config), self._tokenizer.context
        return Network(
            name="clip-text",
            key=self.spec.fingerprint,
            build=lambda: _build(self._model.build(), causal),
            shapes=((None, None if causal else context),),
            example=(np.ones((2, min(5, context) if causal else context), np.int32),),
        )

    def prepare(self, medium: Any) -> list[list[int]]:
        """Return the tokens of a text, one list per window.

        Args:
            medium: a ``str``.

        Raises:
            MediaError: ``medium`` is not a ``str``, or has no words.
        """
        text = checked_text(medium)
        if not text.strip():
            raise no_words_error(medium)
        return self._tokenizer.windows(text)

    def encode(self, prepared: Sequence[list[list[int]]]) -> Matrix:
        """Return (n, dimension) float32 rows of unit norm."""
        windows = [window for text in prepared for window in text]
        batches = length_batches(windows, _BATCH[self._device])
        rows = np.empty((len(windows), self.spec.dimension), np.float32)
        rows[sequence_numbers(batches)] = unit(
            self._rows([padded([windows[at] for at in batch])[:1] for batch in batches])
        )
        rows *= np.array([len(window) for window in windows], np.float32)[:, None]
        return unit(sum_per_medium(rows, prepared))

    def spans(self, prepared: list[list[int]]) -> Sequence[Span]:
        """See ``Encoder.spans``."""
        return text_spans(len(prepared))


def _build(model: Any, causal: bool) -> torch.nn.Module:
    """Build the module that maps (n, length) tokens to (n, dimension) rows.

    Any length works if ``causal``; otherwise it must be the full context length.
    """
    import torch
    from open_clip.transformer import text_global_pool

    # The fast path replaces the whole layer by one kernel that only PyTorch has.
    torch.backends.mha.set_fastpath_enabled(False)

    class TextTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            rows: torch.Tensor = self.model.encode_text(tokens)
            return rows

    class CausalTextTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tower = model if hasattr(model, "token_embedding") else model.text
            self.pool = getattr(self.tower, "text_pool_type", None) or self.tower.pool_type
            self.end = getattr(self.tower, "text_eos_id", None) or self.tower.eos_id

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            tower, length = self.tower, tokens.shape[1]
            hidden = tower.token_embedding(tokens) + tower.positional_embedding[:length]
            hidden = tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length])
            rows: torch.Tensor = text_global_pool(tower.ln_final(hidden), tokens, self.pool, self.end)
            projection = tower.text_projection
            if projection is None:
                return rows
            projected: torch.Tensor = (
                projection(rows) if isinstance(projection, torch.nn.Linear) else rows @ projection
            )
            return projected

    return CausalTextTower() if causal else TextTower()
