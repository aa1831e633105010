"""Deep canonical correlation analysis: CCA of the outputs of small networks, which are trained to correlate.

Andrew, Arora, Bilmes and Livescu, "Deep canonical correlation analysis" (2013). There is one network a modality. With
more than two modalities the networks are trained for the mean over links of the total correlation. Their outputs get
the same CCA as in ``cca``. With few items the networks overfit. Therefore validation items, which the networks are
never trained on, choose the number of epochs, the ridge, the power and the number of outputs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from retrieval.alignment.base import Alignment, TrainingData
from retrieval.alignment.cca.fitting import Report, feature_maps, from_pairs
from retrieval.alignment.cca.linked_modalities import Connections
from retrieval.alignment.cca.model_selection import DIMENSION, canonical_blocks, choose_settings
from retrieval.alignment.cca.paired_views import PairedViews, PairSummary, summarise_pairs
from retrieval.alignment.cca.solver import solve
from retrieval.alignment.maps.subspaces import Subspace
from retrieval.alignment.methods.auto import canonical_parts
from retrieval.alignment.trained.batches import items_by_link, split_items
from retrieval.alignment.trained.networks import InputMap, NetworkConfig, train_networks
from retrieval.errors import AlignmentError

VALIDATION_SHARE = 0.2
"""Share of the items that choose the settings; the networks are trained on the others."""

OUTPUTS = (16, 64)
"""Numbers of output columns to try."""

CONFIG = NetworkConfig()

INPUT_RIDGE = 0.1
"""Ridge of the inputs' scale, in units of the mean variance: directions of little variance count for less."""


def fit(data: TrainingData) -> Alignment:
    """Train networks to correlate, on the pairs alone, and fit CCA to their outputs.

    Raises:
        AlignmentError: as ``from_pairs``; or the validation items confirm no correlation.
    """
    return from_pairs("dcca", data, lambda connections: _fit_networks(connections, data))


def _fit_networks(connections: Connections, data: TrainingData) -> tuple[list[Subspace], Report]:
    lifted = feature_maps(data, None)
    if not connections.can_validate:
        parts, report = canonical_parts(connections, lifted, data.seed)
        return parts, {**report, "reason": "too few items to train networks: canonical correlations alone"}
    names = connections.modalities
    view_lifts = [lifted[modality] for modality in names]
    links = items_by_link(connections.pairs, view_lifts)
    training_items, validation_items = split_items(links, VALIDATION_SHARE, data.seed)
    inputs = input_maps(summarise_pairs(connections.pairs, 1, data.seed))
    candidates = []
    for outputs in OUTPUTS:
        config = replace(CONFIG, outputs=outputs)
        networks, history = train_networks(inputs, links, training_items, validation_items, config, data.seed)
        network_lifts = [replace(lift, layers=networks.layers(view)) for view, lift in enumerate(view_lifts)]
        pairs = {
            link: PairedViews(each.tables, (network_lifts[link[0]], network_lifts[link[1]]))
            for link, each in connections.pairs.items()
        }
        pair_statistics = summarise_pairs(pairs, 1, data.seed, held_out=validation_items)
        candidates.append(
            (
                choose_settings(pair_statistics, network_lifts, {}),
                pair_statistics,
                network_lifts,
                config,
                history,
            )
        )
    choice, pair_statistics, network_lifts, config, history = min(candidates, key=lambda each: each[0].loss)
    maps = solve(pair_statistics.whole, choice.ridge, DIMENSION)
    shares = maps.correlations if choice.confirmed is None else choice.confirmed[choice.confirmed > 0]
    if not len(shares):
        raise AlignmentError(
            f"{connections.count} pairs show no correlation that the validation items confirm: "
            "add pairs that differ in content, or use 'auto'"
        )
    blocks = canonical_blocks(maps, shares**choice.power, network_lifts, pair_statistics.axes)
    return [Subspace("dcca", dict(zip(names, blocks, strict=True)))], {
        "outputs": config.outputs,
        "hidden": list(config.hidden),
        "epochs": history.best_epoch,
        "ridge": choice.ridge,
        "power": choice.power,
        "validation_loss": choice.loss,
    }


def input_maps(pairs: PairSummary) -> list[InputMap]:
    """Return of each view the mean, and the principal axes divided by their standard deviations (with a ridge)."""
    inputs = []
    for view, axes in enumerate(pairs.axes):
        variances = np.diagonal(pairs.whole.within(view))
        deviations = np.sqrt(variances + INPUT_RIDGE * variances.mean())
        center = axes @ pairs.whole.center(view)
        inputs.append((center.astype(np.float32), (axes / deviations).astype(np.float32)))
    return inputs
