"""The only place that imports ``openvino``: without the part that reports its use to its developers.

Importing the package imports its conversion tools, which send an event over the network without being asked. They
are not needed here: a traced module is read by OpenVINO's own PyTorch frontend.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_TOOLS = "openvino.tools.ovc"
_IMPORTING = threading.Lock()


def import_openvino() -> Any:
    """Import and return the package ``openvino``."""
    with _IMPORTING:
        blocked = "openvino" not in sys.modules
        if blocked:
            sys.modules[_TOOLS] = None  # type: ignore[assignment]  # Python's marker for "not importable"
        try:
            import openvino

            return openvino
        finally:
            if blocked:
                del sys.modules[_TOOLS]  # the same program can still import the tools itself


def convert_traced(traced: Any, example: Any) -> Any:
    """Convert a traced PyTorch module to an ``openvino.Model``.

    Args:
        traced: a ``torch.jit.ScriptModule``.
        example: the tuple of tensors it was traced with.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    reader = FrontEndManager().load_by_framework("pytorch")
    # The frontend uses the decoder until the conversion ends but does not keep it alive, so a local name must.
    decoder = TorchScriptPythonDecoder(traced, example_input=example)
    return reader.convert(reader.load(decoder))
