"""Small networks, one a view, trained so that their outputs correlate, and their conversion to plain layers."""

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
from retrieval.alignment.trained.training import Schedule, TrainingHistory, train
from retrieval.arrays.lazy import slices
from retrieval.types import Integers, Matrix

SCHEDULE = Schedule(rate=2e-3, decay=0.1, batch=2048, epochs=200, patience=20)


@dataclass(frozen=True)
class NetworkConfig:
    """Shape and training of the networks.

    Attributes:
        hidden: units of each hidden layer; empty for linear networks.
        outputs: output columns, which are trained to correlate.
        ridge: ridge of the correlations in training, in units of the mean variance of the outputs.
        noise: standard deviation of the noise added to the inputs in training, in standard deviations of the inputs.
        schedule: how long to train, and in what steps.
    """

    hidden: tuple[int, ...] = (256, 256)
    outputs: int = 10
    ridge: float = 1e-2
    noise: float = 0.3
    schedule: Schedule = SCHEDULE


InputMap = tuple[Matrix, Matrix]
"""(d,) center and (d, k) basis of a view. A network gets (x - center) @ basis, whose columns have variance 1."""


class Networks(nn.Module):
    """One network a view: tanh layers, then a linear layer."""

    def __init__(self, inputs: Sequence[InputMap], config: NetworkConfig, seed: int) -> None:
        """Draw the initial weights; the same seed gives the same weights on every device."""
        super().__init__()
        self._inputs = [tuple(map(torch.as_tensor, each)) for each in inputs]
        self._noise, self._random = config.noise, torch.Generator("cpu").manual_seed(seed)
        self._views: list[list[nn.Linear]] = []
        for _, basis in inputs:
            widths = (basis.shape[1], *config.hidden, config.outputs)
            layers = [nn.Linear(*pair) for pair in pairwise(widths)]
            for layer in layers:
                initial = torch.empty(layer.weight.shape, device="cpu")  # same numbers for every device
                initial.normal_(std=layer.in_features**-0.5, generator=self._random)
                layer.weight.data.copy_(initial)
                nn.init.zeros_(layer.bias)
            self._views.append(layers)
        self._trainable = nn.ModuleList(layer for layers in self._views for layer in layers)

    def forward(self, view: int, rows: Matrix) -> torch.Tensor:
        """Map (n, d) rows of a view to (n, outputs) float32 rows."""
        center, basis = self._inputs[view]
        activations = (torch.as_tensor(rows) - center) @ basis
        if self.training and self._noise:
            noise = torch.randn(activations.shape, generator=self._random, device="cpu")
            activations = activations + self._noise * noise.to(activations.device)
        *hidden, last = self._views[view]
        for layer in hidden:
            activations = torch.tanh(layer(activations))
        outputs: torch.Tensor = last(activations)
        return outputs

    def layers(self, view: int) -> tuple[Layer, ...]:
        """Return a view's network as layers without PyTorch; the first one includes the input's center and basis."""
        center, basis = (each.double().numpy(force=True) for each in self._inputs[view])
        layers_made = []
        for depth, layer in enumerate(self._views[view], 1):
            weights, bias = (each.double().numpy(force=True) for each in (layer.weight.T, layer.bias))
            if depth == 1:
                weights = basis @ weights
                bias = bias - center @ weights
            activation = "tanh" if depth < len(self._views[view]) else "identity"
            layers_made.append(
                Layer(np.ascontiguousarray(weights, np.float32), bias.astype(np.float32), activation)
            )
        return tuple(layers_made)


def train_networks(
    inputs: Sequence[InputMap],
    links: Sequence[LinkedItems],
    training_items: Integers,
    validation_items: Integers,
    config: NetworkConfig,
    seed: int,
) -> tuple[Networks, TrainingHistory]:
    """Train networks so that their outputs correlate; keep the weights with the best validation.

    The loss is minus the mean over links of the total correlation in a batch. For validation, canonical variates are
    fitted on the outputs of ``training_items``, and their correlations are measured on ``validation_items``. The total
    correlation of the few validation items themselves would be too optimistic.

    Args:
        inputs: of the views.
        links: the pairs.
        training_items: items to train on.
        validation_items: items that decide when to stop.
        config: shape and training of the networks.
        seed: of everything random.
    """
    networks, random = Networks(inputs, config, seed), np.random.default_rng(seed)

    def loss(batch_items: Integers) -> torch.Tensor:
        losses = []
        for linked in links:
            _, rows = linked.draw(batch_items, random)
            if len(rows[0]) > 1:
                first, second = (networks(view, each) for view, each in zip(linked.views, rows, strict=True))
                losses.append(-total_correlation(first, second, config.ridge))
        return torch.stack(losses).mean()

    def validation() -> torch.Tensor:
        training_covariances, validation_covariances = (
            _output_covariances(networks, links, items, config.outputs)
            for items in (training_items, validation_items)
        )
        correlations = solve(training_covariances, max(config.ridge, 1e-6)).correlations_on(
            validation_covariances
        )
        return -torch.tensor(float(correlations.sum()))

    return networks, train(networks, loss, training_items, validation, config.schedule, seed)


def _output_covariances(
    networks: Networks, links: Sequence[LinkedItems], items: Integers, outputs: int
) -> LinkedCovariances:
    """Return the covariances of the outputs, streamed over blocks of items."""
    covariances = {}
    for linked in links:
        total = Covariances.empty(outputs, outputs)
        for chunk in slices(len(items), BLOCK_ROWS):
            _, rows = linked.draw(items[chunk], None)
            sides = (
                networks(view, each).numpy(force=True) for view, each in zip(linked.views, rows, strict=True)
            )
            total = total.merge(Covariances.of(*sides))
        covariances[linked.views] = total
    return LinkedCovariances(covariances)
