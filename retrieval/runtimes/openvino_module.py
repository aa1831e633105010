"""The one place where ``openvino`` is imported: without the part of it that reports its use to its makers.

Importing the package imports its conversion tools, and those send an event over the network, unasked. Nothing
here needs them: a traced module is read by OpenVINO's own PyTorch reader.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

_TOOLS = "openvino.tools.ovc"
_IMPORTING = threading.Lock()


def import_openvino() -> Any:
    """The package ``openvino``."""
    with _IMPORTING:
        blocked = "openvino" not in sys.modules
        if blocked:
            sys.modules[_TOOLS] = None  # type: ignore[assignment]  # how Python spells "not importable"
        try:
            import openvino

            return openvino
        finally:
            if blocked:
                del sys.modules[_TOOLS]  # who wants the tools in the same program gets them


def convert_traced(traced: Any, example: Any) -> Any:
    """An ``openvino.Model`` of a traced PyTorch module.

    Args:
        traced: a ``torch.jit.ScriptModule``.
        example: the tuple of tensors it was traced with.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    reader = FrontEndManager().load_by_framework("pytorch")
    # What reads goes on asking the decoder until all is converted, without keeping it alive.
    decoder = TorchScriptPythonDecoder(traced, example_input=example)
    return reader.convert(reader.load(decoder))
