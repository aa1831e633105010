"""Scores of vectors rounded to eight bits, and how far off they may be: which pairs are worth scoring at all.

Processors multiply eight bits four times as fast as float32. Such a score is not the one that was asked for, but by how
much it is off has a bound: a pair that stays below what is worth keeping even then need not be looked at again.

A vector is x = m + r c, with a centre m for all and a reach r that makes the numbers of c lie within one; a query is
q = r_q p, with a reach of its own. With c' and p' for what c and p are rounded to, in steps of s = 1/127,

    q.x = q.m + r_q r (p'.c' + p'.(c - c') + (p - p').c)

where p'.c' is what is computed; the next term is at most |p'|_1 s/2, for no number is off by more than half a step
(Hoelder's inequality), and the last at most |p - p'|_2 |c|_2 (Cauchy's and Schwarz's).
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

VECTORS = 1024
"""Compared at once: their scores stay in the cache until they are looked at."""

PIECE = 32
"""Scores of which the largest tells whether any is of interest."""

STEPS = 127
"""On either side of nought."""

STREAMS = 4
"""Blocks compared at once, at the most: each has the memory of its scores."""

QUERIES = 128
"""Networks are made for multiples of so many, or there would be one for every number of queries."""

SLACK = 1.001
"""What float32 rounds within the bound itself, generously."""

SMALLEST = 1e-30
"""The reach of vectors that are all alike, instead of nought."""

FARTHEST = 1e30
"""From nought; no score within one is as far."""

_COMPILING = Lock()


class Int8Scan:
    """Queries at eight bits, and the network that compares them with vectors it rounds.

    OpenVINO does the rounding, the product and the look for the largest of each piece by all its threads.
    """

    def __init__(self, network: Any, queries: Matrix, centre: Matrix) -> None:
        """Round ``queries`` (q, d); ``centre`` (d,) is what vectors are measured from, best their mean."""
        reach = np.abs(queries).max(axis=1)
        self._reach = np.where(reach > 0, reach, 1)
        within = queries / self._reach[:, None]
        rounded_ones = np.rint(within * STEPS).astype(np.float32) / STEPS
        self._sums = np.abs(rounded_ones).sum(axis=1)
        self._off = np.linalg.norm(within - rounded_ones, axis=1)
        self._at_centre = queries @ centre
        asking = np.zeros(network.input(1).shape, np.float32)
        asking[: len(queries)] = rounded_ones
        inputs = [import_openvino().Tensor(asking), import_openvino().Tensor(centre[None])]
        self._requests = [network.create_infer_request() for _ in range(2 * _streams())]
        for request in self._requests:
            request.set_input_tensor(1, inputs[0])
            request.set_input_tensor(2, inputs[1])

    def reaching(
        self, blocks: Iterator[Matrix], least: Callable[[], Matrix]
    ) -> Generator[tuple[Matrix, Integers, Integers], None, None]:
        """Of each block its pairs whose inner product may be as large as ``least`` says.

        Args:
            blocks: (VECTORS, d) float32 each.
            least: (q,) float32, asked for every block once more.

        Yields:
            The block, and (m,) queries and (m,) places in it. The next blocks are compared meanwhile.
        """

        def start(request: Any, block: Matrix) -> None:
            request.set_input_tensor(0, _tensor(block))
            request.start_async()

        with closing(run_in_order(self._requests, blocks, start)) as done:
            for request, block in done:
                yield block, *self._reaching(request, least())

    def _reaching(self, request: Any, least: Matrix) -> tuple[Integers, Integers]:
        count = len(self._reach)
        scores, best = (request.get_output_tensor(at).data[:count] for at in range(2))
        reach, squared_length = (request.get_output_tensor(at).data.item() for at in range(2, 4))
        off = SLACK * (self._sums / (2 * STEPS) + self._off * np.sqrt(squared_length))
        # What the network computes need not be more than this. In float64, where no reach is too small to divide by.
        enough = (least - self._at_centre) / self._reach.astype(np.float64) / max(reach, SMALLEST) - off
        enough = np.clip(enough, -FARTHEST, FARTHEST).astype(np.float32)
        pieces = np.flatnonzero(best >= enough[:, None])
        owners = pieces // best.shape[1]
        which, within = np.nonzero(scores.reshape(-1, PIECE)[pieces] >= enough[owners, None])
        return owners[which], pieces[which] % best.shape[1] * PIECE + within


def _streams() -> int:
    return min(STREAMS, device.cores())


def _tensor(block: Matrix) -> Any:
    """``block`` where it lies, which somebody has to keep there, or a copy of what OpenVINO cannot have as it is."""
    flags = block.flags
    return import_openvino().Tensor(
        block, shared_memory=flags.writeable and flags.c_contiguous and flags.aligned
    )


def rounded(queries: Matrix, centre: Matrix) -> Int8Scan | None:
    """(q, d) float32 ``queries`` at eight bits; None where those are not multiplied, or not rightly.

    What is not there is OpenVINO, or a processor that has instructions for it.
    """
    with _COMPILING:
        network = _compiled(-(-len(queries) // QUERIES) * QUERIES, queries.shape[1]) if _to_be_had() else None
    return None if network is None else Int8Scan(network, queries, centre)


@cache
def _to_be_had() -> bool:
    """Whether the smallest network is run in eight bits, asked once: most processors have it for all or for none."""
    return find_spec("openvino") is not None and _compiled(QUERIES, 64) is not None


@lru_cache(maxsize=8)
def _compiled(queries: int, dimension: int) -> Any:
    """The network for so many queries, if it is run in eight bits and multiplies them without a fault."""
    network = compile_model(
        import_openvino().Core(), _network(queries, dimension), streams=_streams(), precision="f32"
    )
    ways = [
        {key: node.get_rt_info()[key].astype(str) for key in ("layerType", "runtimePrecision")}
        for node in network.get_runtime_model().get_ordered_ops()
    ]
    products = [way["runtimePrecision"] for way in ways if way["layerType"] == "MatMul"]
    return network if products == ["i8"] and _right(network, queries, dimension) else None


def _network(queries: int, dimension: int) -> Any:
    """Vectors, queries within one and the centre to scores, the best of each piece, the reach and |c|_2 squared.

    Shapes are fixed: of any other size OpenVINO rounds otherwise, and takes twice as long.
    """
    ops = import_openvino().opset13

    def in_eight_bits(numbers: Any) -> Any:
        low, high = np.float32(-(STEPS + 1) / STEPS), np.float32(1)
        return ops.fake_quantize(numbers, low, high, low, high, 2 * STEPS + 2)

    vectors = ops.parameter([VECTORS, dimension], np.float32)
    asking = ops.parameter([queries, dimension], np.float32)
    centre = ops.parameter([1, dimension], np.float32)
    apart = ops.subtract(vectors, centre)
    everything = np.array([0, 1])
    reach = ops.reduce_max(ops.abs(apart), everything, keep_dims=True)
    within = ops.divide(apart, ops.maximum(reach, np.float32(SMALLEST)))
    squared_lengths = ops.reduce_sum(ops.multiply(within, within), np.array([1]), keep_dims=True)
    scores = ops.matmul(in_eight_bits(asking), in_eight_bits(within), transpose_a=False, transpose_b=True)
    pieces = ops.reshape(scores, np.array([queries, -1, PIECE]), special_zero=False)
    found = [
        scores,
        ops.reduce_max(pieces, np.array([2]), keep_dims=False),
        reach,
        ops.reduce_max(squared_lengths, everything, keep_dims=True),
    ]
    return import_openvino().Model(found, [vectors, asking, centre], "rounded")


def _right(compiled: Any, queries: int, dimension: int) -> bool:
    """Whether the largest numbers are multiplied rightly: some processors add products of eight bits in sixteen."""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (VECTORS + queries, dimension))
    signs[:: PIECE + 1] = 1
    vectors, asking = signs[:VECTORS], signs[VECTORS:]
    scores = compiled([vectors, asking, np.zeros((1, dimension), np.float32)])[0]
    return np.allclose(scores, asking @ vectors.T, rtol=0, atol=1e-5 * dimension)
