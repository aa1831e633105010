"""Training on a GPU, as far as it can be seen without one: every tensor of every loss is where it was asked to be.

PyTorch's fake tensors have a device and a shape and compute nothing. Two that are at different places may not meet,
as on a GPU; gradients and what comes back as numbers need a real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from retrieval.alignment.cca import model_selection
from retrieval.alignment.methods import dcca, part_attention
from retrieval.alignment.registry import METHODS
from retrieval.alignment.registry import fit as align
from retrieval.alignment.trained import fit_heads, networks
from retrieval.alignment.trained.attention_queries import AttentionQueries
from retrieval.errors import DeviceError
from retrieval.fusion import learned
from retrieval.fusion.registry import fit as fuse
from retrieval.runtimes import device as devices
from retrieval.types import Modality
from tests.alignment.test_methods_on_hard_data import as_training_data, shared_latent
from tests.alignment.test_part_attention import marked_cells, training_data
from tests.fusion.test_fusion import items

GRADIENT_METHODS = ("contrastive", "sigmoid", "adversarial", "distill", "dcca", "attention")
"""The alignments that are learned by gradients; ``attention`` needs parts."""


class FirstStepError(Exception):
    """Training got as far as to have its losses."""


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """The losses that the first step of a training has, on a GPU that is not there."""
    seen: list[torch.Tensor] = []

    def train(
        module: torch.nn.Module,
        loss: Callable[[Any], torch.Tensor],
        rows: Any,
        validation: Callable[[], torch.Tensor] | None,
        *_: object,
    ) -> NoReturn:
        assert {own.device.type for own in module.parameters()} == {"cuda"}
        seen.append(loss(rows))
        if validation is not None and not isinstance(module, networks.Networks):  # theirs are numbers
            module.eval()
            seen.append(validation())
        raise FirstStepError

    for module in (fit_heads, networks, learned):
        monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(devices, "resolve", lambda device: device)
    monkeypatch.setattr(model_selection, "POWERS", (1.0,))
    monkeypatch.setattr(dcca, "OUTPUTS", (8,))
    monkeypatch.setattr(part_attention, "ROUNDS", 1)
    monkeypatch.setattr(
        AttentionQueries, "queries", lambda self: [np.zeros(own.shape, np.float32) for own in self.learned]
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield seen


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_an_alignment_is_learned_where_it_is_told(losses: list[torch.Tensor], method: str) -> None:
    data = (
        training_data(marked_cells(80, 0)) if METHODS[method].pools else as_training_data(shared_latent(80))
    )
    with pytest.raises(FirstStepError):
        align(method, data, "cuda")
    assert {own.device.type for own in losses} == {"cuda"}
    assert {own.shape for own in losses} == {()}


@pytest.mark.parametrize("method", ["attention", "gated", "tensor"])
def test_a_fusion_is_learned_where_it_is_told(losses: list[torch.Tensor], method: str) -> None:
    with pytest.raises(FirstStepError):
        fuse(method, items(), device="cuda")
    assert {own.device.type for own in losses} == {"cuda"}


@pytest.mark.parametrize("method", ["cca", "ridge", "procrustes", "kcca"])
def test_what_needs_no_gradients_is_the_same_anywhere(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(devices, "resolve", lambda device: device)
    data = as_training_data(shared_latent(60))
    assert align(method, data, "cuda").fingerprint == align(method, data).fingerprint


def test_the_device_must_be_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="finds no CUDA GPU"):
        align("cca", as_training_data(shared_latent(60)), "cuda")


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_a_gpu_learns_what_a_processor_does(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    monkeypatch.setattr(fit_heads, "SCHEDULE", replace(fit_heads.SCHEDULE, epochs=5))
    split_items = METHODS[method].pools
    data = training_data(marked_cells(200, 0)) if split_items else as_training_data(shared_latent(200))
    rows = marked_cells(60, 9) if split_items else shared_latent(60, 99)
    found = [align(method, data, device) for device in ("cpu", "cuda")]
    for modality in (Modality.TEXT, Modality.IMAGE):
        here, there = (own.project(modality, rows[modality]) for own in found)
        assert np.vecdot(here, there).mean() > 0.9 or method == "dcca"
