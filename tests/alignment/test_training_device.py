"""Training on a GPU, tested mostly without one: every tensor of every loss is on the requested device.

PyTorch's fake tensors have a device and a shape but compute nothing. As on a GPU, an operation on tensors of different
devices fails. Gradients and numeric results need a real GPU.
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
from retrieval.alignment.methods.registry import METHODS
from retrieval.alignment.methods.registry import fit as align
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
"""The alignment methods that are trained by gradients; ``attention`` needs parts."""


class FirstStepError(Exception):
    """Training has computed the losses of its first step."""


@pytest.fixture
def losses(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Tensor]]:
    """The losses of the first training step, on a simulated GPU."""
    recorded: list[torch.Tensor] = []

    def train(
        module: torch.nn.Module,
        loss: Callable[[Any], torch.Tensor],
        rows: Any,
        validation: Callable[[], torch.Tensor] | None,
        *_: object,
    ) -> NoReturn:
        assert {parameter.device.type for parameter in module.parameters()} == {"cuda"}
        recorded.append(loss(rows))
        if validation is not None and not isinstance(module, networks.Networks):  # theirs needs real numbers
            module.eval()
            recorded.append(validation())
        raise FirstStepError

    for module in (fit_heads, networks, learned):
        monkeypatch.setattr(module, "train", train)
    monkeypatch.setattr(devices, "resolve", lambda device: device)
    monkeypatch.setattr(model_selection, "POWERS", (1.0,))
    monkeypatch.setattr(dcca, "OUTPUTS", (8,))
    monkeypatch.setattr(part_attention, "ROUNDS", 1)
    monkeypatch.setattr(
        AttentionQueries,
        "queries",
        lambda self: [np.zeros(raw.shape, np.float32) for raw in self.raw_queries],
    )
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield recorded


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_an_alignment_is_trained_on_the_requested_device(losses: list[torch.Tensor], method: str) -> None:
    data = (
        training_data(marked_cells(80, 0)) if METHODS[method].pools else as_training_data(shared_latent(80))
    )
    with pytest.raises(FirstStepError):
        align(method, data, "cuda")
    assert {loss.device.type for loss in losses} == {"cuda"}
    assert {loss.shape for loss in losses} == {()}


@pytest.mark.parametrize("method", ["attention", "gated", "tensor"])
def test_a_fusion_is_trained_on_the_requested_device(losses: list[torch.Tensor], method: str) -> None:
    with pytest.raises(FirstStepError):
        fuse(method, items(), device="cuda")
    assert {loss.device.type for loss in losses} == {"cuda"}


@pytest.mark.parametrize("method", ["cca", "ridge", "procrustes", "kcca"])
def test_methods_without_gradients_ignore_the_device(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    monkeypatch.setattr(devices, "resolve", lambda device: device)
    data = as_training_data(shared_latent(60))
    assert align(method, data, "cuda").fingerprint == align(method, data).fingerprint


def test_a_missing_gpu_is_reported() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(DeviceError, match="finds no CUDA GPU"):
        align("cca", as_training_data(shared_latent(60)), "cuda")


@pytest.mark.parametrize("method", GRADIENT_METHODS)
def test_training_on_a_gpu_gives_nearly_the_same_alignment_as_on_a_cpu(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    monkeypatch.setattr(fit_heads, "SCHEDULE", replace(fit_heads.SCHEDULE, epochs=5))
    needs_parts = METHODS[method].pools
    data = training_data(marked_cells(200, 0)) if needs_parts else as_training_data(shared_latent(200))
    rows = marked_cells(60, 9) if needs_parts else shared_latent(60, 99)
    alignments = [align(method, data, device) for device in ("cpu", "cuda")]
    for modality in (Modality.TEXT, Modality.IMAGE):
        cpu, cuda = (alignment.project(modality, rows[modality]) for alignment in alignments)
        assert np.vecdot(cpu, cuda).mean() > 0.9 or method == "dcca"
