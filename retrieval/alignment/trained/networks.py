"""A small network a view, trained so that the views' outputs correlate; it ends as plain layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from retrieval.alignment.cca.covariances import Covariances
from retrieval.alignment.cca.linked_covariances import LinkedCovariances
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.maps.layers import Layer
from retrieval.alignment.maps.projector import BLOCK_ROWS
from retrieval.alignment.trained.batches import LinkedItems
from retrieval.alignment.trained.correlation import total_correlation
from retrieval.alignment.trained.training import Course, Schedule, train
from retrieval.arrays.lazy import slices
from retrieval.types import Integers, Matrix

SCHEDULE = Schedule(rate=2e-3, decay=0.1, batch=2048, epochs=200, patience=20)


@dataclass(frozen=True)
class Plan:
    """What networks look like, and how they are trained.

    Attributes:
        hidden: units of each hidden layer; without any, the networks are linear.
        outputs: columns that are made to correlate.
        ridge: of the correlations while training, in mean variances of an output.
        noise: deviation of what is added to the inputs while training, in those of the inputs.
        schedule: of the training.
    """

    hidden: tuple[int, ...] = (256, 256)
    outputs: int = 10
    ridge: float = 1e-2
    noise: float = 0.3
    schedule: Schedule = SCHEDULE


Input = tuple[Matrix, Matrix]
"""(d,) center and (d, k) basis of a view: networks read (x - center) @ basis, whose columns have variance 1."""


class Networks(nn.Module):
    """tanh layers and a linear one, a view each."""

    def __init__(self, inputs: Sequence[Input], plan: Plan, seed: int) -> None:
        """Begin anywhere, the same for the same seed."""
        super().__init__()
        self._inputs = [tuple(map(torch.as_tensor, each)) for each in inputs]
        self._noise, self._random = plan.noise, torch.Generator("cpu").manual_seed(seed)
        self._views: list[list[nn.Linear]] = []
        for _, basis in inputs:
            widths = (basis.shape[1], *plan.hidden, plan.outputs)
            layers = [nn.Linear(*pair) for pair in pairwise(widths)]
            for layer in layers:
                drawn = torch.empty(layer.weight.shape, device="cpu")  # the same numbers wherever they go
                drawn.normal_(std=layer.in_features**-0.5, generator=self._random)
                layer.weight.data.copy_(drawn)
                nn.init.zeros_(layer.bias)
            self._views.append(layers)
        self._learned = nn.ModuleList(layer for layers in self._views for layer in layers)

    def forward(self, view: int, rows: Matrix) -> torch.Tensor:
        """(n, outputs) float32 of (n, d) rows of a view."""
        center, basis = self._inputs[view]
        out = (torch.as_tensor(rows) - center) @ basis
        if self.training and self._noise:
            noise = torch.randn(out.shape, generator=self._random, device="cpu")
            out = out + self._noise * noise.to(out.device)
        *hidden, last = self._views[view]
        for layer in hidden:
            out = torch.tanh(layer(out))
        outputs: torch.Tensor = last(out)
        return outputs

    def layers(self, view: int) -> tuple[Layer, ...]:
        """A view's network, its inputs' center and basis taken in, without PyTorch."""
        center, basis = (each.double().numpy(force=True) for each in self._inputs[view])
        made = []
        for depth, layer in enumerate(self._views[view], 1):
            weights, bias = (each.double().numpy(force=True) for each in (layer.weight.T, layer.bias))
            if depth == 1:
                weights = basis @ weights
                bias = bias - center @ weights
            activation = "tanh" if depth < len(self._views[view]) else "identity"
            made.append(Layer(np.ascontiguousarray(weights, np.float32), bias.astype(np.float32), activation))
        return tuple(made)


def trained(
    inputs: Sequence[Input],
    links: Sequence[LinkedItems],
    rest: Integers,
    apart: Integers,
    plan: Plan,
    seed: int,
) -> tuple[Networks, Course]:
    """Networks whose outputs correlate on ``rest``, as they were when they did so best on ``apart``.

    The loss is minus the mean over links of the total correlation in a batch. What validates are the correlations on
    ``apart`` of the canonical variates of ``rest``: a batch's own, of few items, would flatter.

    Args:
        inputs: of the views.
        links: the pairs.
        rest: items to learn from.
        apart: items that tell when to stop.
        plan: of the networks and the training.
        seed: of everything random.
    """
    networks, random = Networks(inputs, plan, seed), np.random.default_rng(seed)

    def loss(some: Integers) -> torch.Tensor:
        losses = []
        for own in links:
            _, rows = own.drawn(some, random)
            if len(rows[0]) > 1:
                first, second = (networks(view, each) for view, each in zip(own.views, rows, strict=True))
                losses.append(-total_correlation(first, second, plan.ridge))
        return torch.stack(losses).mean()

    def validation() -> torch.Tensor:
        fitted, elsewhere = (_linked(networks, links, items, plan.outputs) for items in (rest, apart))
        seen = solve(fitted, max(plan.ridge, 1e-6)).correlations_on(elsewhere)
        return -torch.tensor(float(seen.sum()))

    return networks, train(networks, loss, rest, validation, plan.schedule, seed)


def _linked(
    networks: Networks, links: Sequence[LinkedItems], items: Integers, outputs: int
) -> LinkedCovariances:
    """Covariances of the outputs, streamed."""
    found = {}
    for own in links:
        total = Covariances.empty(outputs, outputs)
        for chunk in slices(len(items), BLOCK_ROWS):
            _, rows = own.drawn(items[chunk], None)
            sides = (
                networks(view, each).numpy(force=True) for view, each in zip(own.views, rows, strict=True)
            )
            total = total.merge(Covariances.of(*sides))
        found[own.views] = total
    return LinkedCovariances(found)
