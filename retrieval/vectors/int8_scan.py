"""8-bit scores with an error bound, which select the pairs that are worth scoring in float32.

Processors multiply 8-bit numbers four times as fast as float32. An 8-bit score is not the exact score, but its error
is bounded. A pair whose score stays below the threshold even with the largest possible error need not be scored.

A vector is x = m + r c, with a centre m for all vectors and a scale r such that the numbers of c lie in [-1, 1]; a
query is q = r_q p, with its own scale r_q. Let c' and p' be c and p rounded to steps of s = 1/127. Then

    q.x = q.m + r_q r (p'.c' + p'.(c - c') + (p - p').c)

where p'.c' is what is computed. The next term is at most |p'|_1 s/2, because no number is off by more than half a step
(Hoelder's inequality). The last term is at most |p - p'|_2 |c|_2 (the Cauchy-Schwarz inequality).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import cache, lru_cache
from importlib.util import find_spec
from threading import Lock
from typing import Any

import numpy as np

from retrieval.runtimes import device
from retrieval.runtimes.openvino_module import import_openvino
from retrieval.runtimes.openvino_streams import compile_model, run_in_order
from retrieval.types import Integers, Matrix

BLOCK_ROWS = 1024
"""Vectors compared at once: their scores stay in the cache until they are read."""

GROUP = 32
"""Scores per group; the maximum of a group tells whether any of them passes."""

STEPS = 127
"""Steps on either side of 0."""

MAX_STREAMS = 4
"""Most blocks compared in parallel: each needs memory for its scores."""

QUERY_MULTIPLE = 128
"""Numbers of queries are padded to a multiple of this, or each number would need a network of its own."""

SLACK = 1.001
"""Factor on the bound that covers the float32 rounding of the bound itself, generously."""

MIN_SCALE = 1e-30
"""Scale of identical vectors, instead of 0."""

MAX_SCORE = 1e30
"""Limit of thresholds; scores of numbers within [-1, 1] are far below."""

_COMPILING = Lock()


class Int8Scan:
    """Rounded queries, and the network that rounds vectors and compares them with the queries.

    OpenVINO rounds, multiplies and computes the maximum of each group, with all its threads.
    """

    def __init__(self, network: Any, queries: Matrix, centre: Matrix) -> None:
        """Round ``queries`` (q, d); ``centre`` (d,) is subtracted from all vectors, ideally their mean."""
        scale = np.abs(queries).max(axis=1)
        self._scale = np.where(scale > 0, scale, 1)
        scaled = queries / self._scale[:, None]
        rounded = np.rint(scaled * STEPS).astype(np.float32) / STEPS
        self._rounded_l1 = np.abs(rounded).sum(axis=1)
        self._rounding_l2 = np.linalg.norm(scaled - rounded, axis=1)
        self._centre_scores = queries @ centre
        padded = np.zeros(network.input(1).shape, np.float32)
        padded[: len(queries)] = rounded
        inputs = [import_openvino().Tensor(padded), import_openvino().Tensor(centre[None])]
        self._requests = [network.create_infer_request() for _ in range(2 * _streams())]
        for request in self._requests:
            request.set_input_tensor(1, inputs[0])
            request.set_input_tensor(2, inputs[1])

    def candidates(
        self, blocks: Iterator[Matrix], threshold: Callable[[], Matrix]
    ) -> Generator[tuple[Matrix, Integers, Integers], None, None]:
        """Yield the pairs of each block whose inner product may reach the threshold.

        Args:
            blocks: (BLOCK_ROWS, d) float32 each.
            threshold: returns (q,) float32; called again for every block.

        Yields:
            The block, and (m,) query rows and (m,) positions in the block. Further blocks are compared meanwhile.
        """

        def start(request: Any, block: Matrix) -> None:
            request.set_input_tensor(0, _tensor(block))
            request.start_async()

        with closing(run_in_order(self._requests, blocks, start)) as done:
            for request, block in done:
                yield block, *self._pairs_above(request, threshold())

    def _pairs_above(self, request: Any, threshold: Matrix) -> tuple[Integers, Integers]:
        count = len(self._scale)
        scores, maxima = (request.get_output_tensor(at).data[:count] for at in range(2))
        scale, squared_length = (request.get_output_tensor(at).data.item() for at in range(2, 4))
        error = SLACK * (self._rounded_l1 / (2 * STEPS) + self._rounding_l2 * np.sqrt(squared_length))
        # The threshold for the network's scores. In float64, where no scale is too small to divide by.
        needed = (threshold - self._centre_scores) / self._scale.astype(np.float64) / max(scale, MIN_SCALE)
        needed = np.clip(needed - error, -MAX_SCORE, MAX_SCORE).astype(np.float32)
        groups = np.flatnonzero(maxima >= needed[:, None])
        query_rows = groups // maxima.shape[1]
        which, offsets = np.nonzero(scores.reshape(-1, GROUP)[groups] >= needed[query_rows, None])
        return query_rows[which], groups[which] % maxima.shape[1] * GROUP + offsets


def _streams() -> int:
    return min(MAX_STREAMS, device.cores())


def _tensor(block: Matrix) -> Any:
    """Wrap ``block`` without a copy, so that the caller must keep it alive; copy it if OpenVINO cannot use it as is."""
    flags = block.flags
    return import_openvino().Tensor(
        block, shared_memory=flags.writeable and flags.c_contiguous and flags.aligned
    )


def quantize_queries(queries: Matrix, centre: Matrix) -> Int8Scan | None:
    """Round (q, d) float32 ``queries`` to 8 bits.

    Returns:
        None if OpenVINO is missing, or the processor has no 8-bit instructions or multiplies with errors.
    """
    with _COMPILING:
        padded = -(-len(queries) // QUERY_MULTIPLE) * QUERY_MULTIPLE
        network = _compiled(padded, queries.shape[1]) if _is_available() else None
    return None if network is None else Int8Scan(network, queries, centre)


@cache
def _is_available() -> bool:
    """Test once whether the smallest network runs in 8 bits: most processors run all networks so, or none."""
    return find_spec("openvino") is not None and _compiled(QUERY_MULTIPLE, 64) is not None


@lru_cache(maxsize=8)
def _compiled(queries: int, dimension: int) -> Any:
    """Return the network for a number of queries; None if it does not run in 8 bits or multiplies with errors."""
    network = compile_model(
        import_openvino().Core(), _network(queries, dimension), streams=_streams(), precision="f32"
    )
    operations = [
        {key: node.get_rt_info()[key].astype(str) for key in ("layerType", "runtimePrecision")}
        for node in network.get_runtime_model().get_ordered_ops()
    ]
    precisions = [each["runtimePrecision"] for each in operations if each["layerType"] == "MatMul"]
    is_correct = precisions == ["i8"] and _multiplies_correctly(network, queries, dimension)
    return network if is_correct else None


def _network(queries: int, dimension: int) -> Any:
    """Build the network: vectors, scaled queries and centre to scores, group maxima, scale and |c|_2 squared.

    Shapes are fixed: with dynamic ones OpenVINO rounds differently and takes twice as long.
    """
    ops = import_openvino().opset13

    def in_eight_bits(numbers: Any) -> Any:
        low, high = np.float32(-(STEPS + 1) / STEPS), np.float32(1)
        return ops.fake_quantize(numbers, low, high, low, high, 2 * STEPS + 2)

    vectors = ops.parameter([BLOCK_ROWS, dimension], np.float32)
    query_rows = ops.parameter([queries, dimension], np.float32)
    centre = ops.parameter([1, dimension], np.float32)
    differences = ops.subtract(vectors, centre)
    all_axes = np.array([0, 1])
    scale = ops.reduce_max(ops.abs(differences), all_axes, keep_dims=True)
    scaled = ops.divide(differences, ops.maximum(scale, np.float32(MIN_SCALE)))
    squared_lengths = ops.reduce_sum(ops.multiply(scaled, scaled), np.array([1]), keep_dims=True)
    scores = ops.matmul(in_eight_bits(query_rows), in_eight_bits(scaled), transpose_a=False, transpose_b=True)
    groups = ops.reshape(scores, np.array([queries, -1, GROUP]), special_zero=False)
    outputs = [
        scores,
        ops.reduce_max(groups, np.array([2]), keep_dims=False),
        scale,
        ops.reduce_max(squared_lengths, all_axes, keep_dims=True),
    ]
    return import_openvino().Model(outputs, [vectors, query_rows, centre], "rounded")


def _multiplies_correctly(network: Any, queries: int, dimension: int) -> bool:
    """Test the largest numbers: some processors add 8-bit products in 16 bits, which overflow."""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (BLOCK_ROWS + queries, dimension))
    signs[:: GROUP + 1] = 1
    vectors, query_rows = signs[:BLOCK_ROWS], signs[BLOCK_ROWS:]
    scores = network([vectors, query_rows, np.zeros((1, dimension), np.float32)])[0]
    return np.allclose(scores, query_rows @ vectors.T, rtol=0, atol=1e-5 * dimension)
