"""The contrastive head: its loss computed by hand, its initial map, and early stopping."""

from __future__ import annotations

import numpy as np
import torch
from numpy.testing import assert_allclose

from retrieval.alignment.methods.contrastive import info_nce
from retrieval.alignment.trained.head import Head, InitialMap
from retrieval.alignment.trained.training import Schedule, train
from retrieval.types import Integers


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def test_the_loss_is_the_mean_cross_entropy_of_both_directions() -> None:
    first, second = rows(5, 3), rows(5, 3, seed=1)
    scores = 7.0 * first.double().numpy() @ second.double().numpy().T
    shares = [np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (scores, scores.T)]
    expected = np.mean([-np.log(np.diagonal(each)).mean() for each in shares])
    assert_allclose(float(info_nce(first, second, torch.tensor(7.0))), expected, rtol=1e-5)


def test_a_caption_shared_by_two_images_is_not_a_wrong_partner() -> None:
    first, second = rows(4, 3), rows(4, 3, seed=1)
    duplicated = second.clone()
    duplicated[1] = duplicated[0]
    without = info_nce(first[[0, 2, 3]], duplicated[[0, 2, 3]], torch.tensor(5.0))
    both = info_nce(first[[0, 1, 2, 3]], duplicated, torch.tensor(5.0))
    assert torch.isfinite(both)
    scores = 5.0 * first @ duplicated.T
    scores[0, 1] = scores[1, 0] = -torch.inf
    expected = (torch.logsumexp(scores, 1) + torch.logsumexp(scores, 0) - 2 * scores.diagonal()).mean() / 2
    assert_allclose(float(both), float(expected), rtol=1e-5)
    assert float(without) != float(both)


def test_a_head_starts_at_its_initial_map_and_converts_to_a_linear_map() -> None:
    random = np.random.default_rng(0)
    center, basis, weights = (random.normal(size=s).astype(np.float32) for s in [(6,), (6, 4), (4, 3)])
    head = Head([InitialMap(center, basis, weights)] * 2, seed=0).eval()
    linear, offset = head.as_linear(0)
    inputs = random.normal(size=(5, 6)).astype(np.float32)
    assert_allclose(inputs @ linear - offset, (inputs - center) @ basis @ weights, atol=1e-5)


def test_training_keeps_the_weights_with_the_lowest_validation_loss() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)

    def loss(items: Integers) -> torch.Tensor:
        return (module.weight - 10.0).square().sum() * len(items)  # drives the weight up to 10

    def validation() -> torch.Tensor:
        return (module.weight - 1.0).square().sum()  # but 1 is best

    schedule = Schedule(rate=0.25, decay=0.0, batch=4, epochs=40, patience=3)
    history = train(module, loss, np.arange(8), validation, schedule, seed=0)
    assert len(history.losses) == history.best_epoch + 1 + schedule.patience
    assert abs(module.weight.item() - 1.0) < 0.3
    assert min(history.losses) == history.losses[history.best_epoch] < history.losses[0]
    again = train(module, loss, np.arange(8), None, Schedule(epochs=0), seed=0)
    assert (again.losses, again.best_epoch) == ((), 0)
