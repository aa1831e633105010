"""Scores of vectors rounded to eight bits, and how far off they may be: which pairs are worth scoring at all.

Processors multiply eight bits four times as fast as float32. Such a score is not the one that was asked for, but by how
much it is off has a bound: a pair that stays below what is worth keeping even then need not be looked at again.

With a centre m, vectors x = m + c and what is rounded to a step s, or a query's own step, marked ':

    q.x = q.m + q'.c' + q'.(c - c') + (q - q').c

of which the first two are what is computed, the third is at most |q'|_1 s/2, for no number is off by more than half a
step (Hoelder's inequality), and the fourth at most |q - q'|_2 |c|_2 (Cauchy's and Schwarz's).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from retrieval import device
from retrieval.runtimes.openvino_module import module
from retrieval.types import Integers, Matrix

VECTORS = 1024
"""Compared at once: their scores stay in the cache until they are looked at."""

PIECE = 32
"""Scores of which the largest tells whether any is of interest."""

STEPS = 127
"""On either side of nought."""

STREAMS = 4
"""Blocks compared at once, at the most: each has the memory of its scores."""

SLACK = 1.001
"""What float32 rounds within the bound itself, generously."""

SMALLEST = 1e-30
"""What a step is divided by at the least, where all vectors are alike."""


class Rounded:
    """Queries at eight bits, and the network that compares them with vectors it rounds.

    OpenVINO does the rounding, the product and the look for the largest of each piece by all its threads.
    """

    def __init__(self, compiled: Any, queries: Matrix, centre: Matrix) -> None:
        """Round ``queries`` (q, d); ``centre`` (d,) is what vectors are measured from, best their mean."""
        largest = np.abs(queries).max(axis=1)
        self._largest = np.where(largest > 0, largest, 1).astype(np.float32)
        self._queries = np.rint(queries / self._largest[:, None] * STEPS).astype(np.float32) / STEPS
        rounded = self._queries * self._largest[:, None]
        self._sums = np.abs(rounded).sum(axis=1)
        self._off = np.linalg.norm(queries - rounded, axis=1)
        self._at_centre = queries @ centre
        # More than run at once: none waits for Python to look at the one before.
        self._requests = deque(compiled.create_infer_request() for _ in range(2 * _streams()))
        for request in self._requests:
            request.set_input_tensor(1, module().Tensor(self._queries))
            request.set_input_tensor(2, module().Tensor(np.ascontiguousarray(centre[None])))

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
        idle, started = self._requests.copy(), deque[tuple[Any, Matrix]]()

        def taken() -> tuple[Matrix, Integers, Integers]:
            request, block = started.popleft()
            request.wait()
            idle.append(request)
            return block, *self._reaching(request, least())

        try:
            for block in blocks:
                request = idle.popleft()
                request.set_input_tensor(0, _tensor(block))
                request.start_async()
                started.append((request, block))
                if not idle:
                    yield taken()
            while started:
                yield taken()
        finally:
            for request, _ in started:  # what is read where it lies has to stay until it was
                request.wait()

    def _reaching(self, request: Any, least: Matrix) -> tuple[Integers, Integers]:
        scores, largest, step, length = (request.get_output_tensor(at).data for at in range(4))
        step = max(step.item(), SMALLEST)
        off = self._sums * (SLACK * step / (2 * STEPS)) + self._off * (SLACK * np.sqrt(length.item()))
        enough = ((least - off - self._at_centre) / (step * self._largest)).astype(np.float32)
        pieces = np.flatnonzero(largest >= enough[:, None])
        owners = pieces // largest.shape[1]
        which, within = np.nonzero(scores.reshape(-1, PIECE)[pieces] >= enough[owners, None])
        places = pieces[which] % largest.shape[1] * PIECE + within
        return owners[which], places


def _streams() -> int:
    return min(STREAMS, device.cores())


def _tensor(block: Matrix) -> Any:
    """``block`` where it lies, which somebody has to keep there; a copy where OpenVINO may not write to it."""
    return module().Tensor(block, shared_memory=block.flags.writeable and block.flags.c_contiguous)


def rounded(queries: Matrix, centre: Matrix) -> Rounded | None:
    """``queries`` (q, d) float32 at eight bits, or None where the processor does not multiply those, or not rightly."""
    compiled = _compiled(*queries.shape)
    return None if compiled is None else Rounded(compiled, queries, centre)


@lru_cache(maxsize=4)
def _compiled(queries: int, dimension: int) -> Any:
    """The network for so many queries, if it is run in eight bits and multiplies them without a fault."""
    core = module().Core()
    options = {
        "NUM_STREAMS": _streams(),
        "INFERENCE_NUM_THREADS": device.cores(),
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = core.compile_model(_network(queries, dimension), "CPU", options)
    ways = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    products = [
        way["runtimePrecision"].astype(str) for way in ways if way["layerType"].astype(str) == "MatMul"
    ]
    return compiled if products == ["i8"] and _right(compiled, queries, dimension) else None


def _network(queries: int, dimension: int) -> Any:
    """Vectors, queries within one and a centre to scores, the largest of each piece, the step's multiple and length.

    Shapes are fixed: of any other size OpenVINO rounds otherwise, and takes twice as long.
    """
    ops = module().opset13

    def in_eight_bits(numbers: Any) -> Any:
        low, high = np.float32(-(STEPS + 1) / STEPS), np.float32(1)
        return ops.fake_quantize(numbers, low, high, low, high, 2 * STEPS + 2)

    vectors = ops.parameter([VECTORS, dimension], np.float32)
    asking = ops.parameter([queries, dimension], np.float32)
    centre = ops.parameter([1, dimension], np.float32)
    apart = ops.subtract(vectors, centre)
    everything = np.array([0, 1])
    largest = ops.reduce_max(ops.abs(apart), everything, keep_dims=True)
    lengths = ops.reduce_sum(ops.multiply(apart, apart), np.array([1]), keep_dims=True)
    within = ops.divide(apart, ops.maximum(largest, np.float32(SMALLEST)))
    scores = ops.matmul(in_eight_bits(asking), in_eight_bits(within), transpose_a=False, transpose_b=True)
    pieces = ops.reshape(scores, np.array([queries, -1, PIECE]), special_zero=False)
    found = [
        scores,
        ops.reduce_max(pieces, np.array([2]), keep_dims=False),
        largest,
        ops.reduce_max(lengths, everything, keep_dims=True),
    ]
    return module().Model(found, [vectors, asking, centre], "rounded")


def _right(compiled: Any, queries: int, dimension: int) -> bool:
    """Whether the largest numbers are multiplied rightly: some processors add products of eight bits in sixteen."""
    signs = np.random.default_rng(0).choice(np.array([-1, 1], np.float32), (VECTORS + queries, dimension))
    signs[:: PIECE + 1] = 1
    vectors, asking = signs[:VECTORS], signs[VECTORS:]
    scores = compiled([vectors, asking, np.zeros((1, dimension), np.float32)])[0]
    return np.allclose(scores, asking @ vectors.T, rtol=0, atol=1e-5 * dimension)
