"""Tokenise text for a CLIP model, in as many windows as needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from retrieval.encoders.clip_model import ClipModel
from retrieval.errors import OptionError, WeightsError
from retrieval.formatting import single_spaced


def is_causal(config: Mapping[str, Any]) -> bool:
    """Return whether no token sees later tokens, and the token that gives the row can be found from the tokens."""
    text = config["text_cfg"]
    bidirectional = text.get("no_causal_mask") or text.get("embed_cls") or "hf_model_name" in text
    return not bidirectional and text.get("pool_type", "argmax") in ("argmax", "eos")


class ClipTokenizer:
    """The tokeniser that belongs to a CLIP model.

    Attributes:
        context: number of tokens that the model reads at once, start and end tokens included.
    """

    def __init__(self, model: ClipModel) -> None:
        """Load the tokeniser.

        Raises:
            OptionError: its kind cannot be read in windows.
            WeightsError: its vocabulary cannot be fetched.
        """
        import open_clip
        from open_clip.tokenizer import SimpleTokenizer

        text = model.config["text_cfg"]
        if text.get("tokenizer_mode") or text.get("tokenizer_kwargs", {}).get("reduction_mask"):
            raise OptionError(
                f"CLIP model {model.name} has a tokeniser of an unsupported kind: use another model"
            )
        self.context = int(text.get("context_length", 77))
        # open_clip recognises one kind of tokeniser by the name of the model.
        name = model.name if open_clip.get_model_config(model.name) == model.config else model.registered_name
        try:
            self._tokenizer: Any = open_clip.get_tokenizer(name, context_length=self.context)
        except Exception as error:  # the hub's client, transformers and the system raise different types
            reason = single_spaced(str(error))[:200]
            raise WeightsError(
                f"the vocabulary of CLIP model {model.name} cannot be fetched ({reason}): put it on this machine, "
                "and name its folder as hf_tokenizer_name in a configuration: clip:CONFIG.json@FILE"
            ) from error
        self._is_simple = isinstance(self._tokenizer, SimpleTokenizer)
        self._causal = is_causal(model.config)
        pools_by_end = text.get("pool_type", "argmax") == "eos"
        self._end: int | None = text.get("eos_id", 2) if pools_by_end else None

    def windows(self, text: str) -> list[list[int]]:
        """Return the tokens of each window, as the network expects them."""
        windows = self._simple(text) if self._is_simple else self._overflowing(text)
        return [self._needed(window) for window in windows] if self._causal else windows

    def _simple(self, text: str) -> list[list[int]]:
        tokenizer = self._tokenizer
        pieces, step = tokenizer.encode(text), self.context - 2
        windows = [
            [tokenizer.sot_token_id, *pieces[at : at + step], tokenizer.eot_token_id]
            for at in range(0, len(pieces) or 1, step)
        ]
        return [window + [0] * (self.context - len(window)) for window in windows]

    def _overflowing(self, text: str) -> list[list[int]]:
        first: list[int] = self._tokenizer([text])[0].tolist()
        rows: list[list[int]] = self._tokenizer.tokenizer(
            [self._tokenizer.clean_fn(text) if hasattr(self._tokenizer, "clean_fn") else text],
            max_length=self.context,
            padding="max_length",
            truncation=True,
            return_overflowing_tokens=True,
        ).input_ids
        if getattr(self._tokenizer, "strip_sep_token", False):
            separator = self._tokenizer.tokenizer.sep_token_id
            rows = [[0 if token == separator else token for token in row] for row in rows]
        return [first, *rows[1:]]

    def _needed(self, window: list[int]) -> list[int]:
        """Return the window up to the token that gives the row."""
        last = max(window) if self._end is None else self._end
        return window[: window.index(last) + 1] if last in window else window
