"""Run networks on the CPU with OpenVINO: in bf16 if the CPU supports it, otherwise in fp32."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import OptionError
from retrieval.runtimes import device, export_cache
from retrieval.runtimes.base import Batch, Network
from retrieval.runtimes.openvino_module import convert_traced, import_openvino
from retrieval.runtimes.openvino_streams import compile_model, run_in_order
from retrieval.types import Matrix

PRECISIONS = {"bf16": "bf16", "fp32": "f32"}
"""Names of precisions here, and in OpenVINO."""

_MODEL = "model.xml"

_EXPORT = 1
"""Version of exports; increase it when the export of the same weights changes, in its graph or its format."""


class OpenVINOSession:
    """A network that is exported once and compiled when first needed, for one batch, for many batches, or for both.

    Many batches run in as many streams as there are cores, one thread each; a single batch uses all cores.
    """

    def __init__(self, network: Network, precision: str | None = None) -> None:
        """Prepare to run a network; nothing is loaded yet.

        Args:
            network: what to run.
            precision: one of ``PRECISIONS``; None for the fastest that this processor supports.

        Raises:
            OptionError: the processor does not compute in ``precision``.
        """
        self._network = network
        self._core = import_openvino().Core()
        has = "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and not has:
            raise OptionError("this processor does not compute in bf16: use fp32")
        self._precision = precision or ("bf16" if has else "fp32")
        self._compiled: dict[int, Any] = {}

    @property
    def numerics(self) -> str:
        """See ``Session``."""
        return f"openvino {self._precision}"

    def run(self, batches: Sequence[Batch]) -> list[Matrix]:
        """See ``Session``."""
        streams = device.cores()
        if len(batches) == 1 and streams not in self._compiled:
            return [self._stream(1)(batches[0])[0].copy()]
        network = self._stream(streams)
        requests = [network.create_infer_request() for _ in range(min(2 * streams, len(batches)))]

        def start(request: Any, batch: Batch) -> None:
            request.start_async(dict(enumerate(batch)), share_inputs=True)

        with closing(run_in_order(requests, batches, start)) as done:
            return [request.get_output_tensor(0).data.copy() for request, _ in done]

    def _stream(self, streams: int) -> Any:
        if streams not in self._compiled:
            self._compiled[streams] = compile_model(
                self._core, self._model, streams=streams, precision=PRECISIONS[self._precision]
            )
        return self._compiled[streams]

    @cached_property
    def _model(self) -> Any:
        version = import_openvino().__version__.partition("-")[0]
        key = f"{self._network.name}-{self._network.key}-{_EXPORT}-openvino-{version}"
        # For any batch size: graphs of a fixed size are 5 % faster, but the last, smaller batch needs another graph.
        folder = export_cache.cached_export(key, self._save)
        return self._core.read_model(folder / _MODEL) if folder else self._export()

    def _save(self, folder: Path) -> None:
        import_openvino().save_model(self._export(), folder / _MODEL, compress_to_fp16=False)

    def _export(self) -> Any:
        import torch

        example = tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in self._network.example)
        with warnings.catch_warnings(), torch.no_grad():
            # Tracing is deprecated, but has no successor that OpenVINO reads equally well. It warns of every
            # condition on a size; the tests show that these conditions hold for other sizes too.
            warnings.simplefilter("ignore")
            traced = torch.jit.trace(  # type: ignore[no-untyped-call]
                self._network.build().eval(), example, check_trace=False
            )
            model = convert_traced(traced, example)
        for entry, shape in zip(model.inputs, self._network.shapes, strict=True):
            partial = import_openvino().PartialShape([-1 if size is None else size for size in shape])
            entry.get_node().set_partial_shape(partial)
        model.validate_nodes_and_infer_types()
        return model
