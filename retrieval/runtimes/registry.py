"""Every runtime by the name that ``--runtime`` takes, and which one ``auto`` is."""

from __future__ import annotations

from importlib.util import find_spec

from retrieval.errors import DependencyError, OptionError
from retrieval.runtimes.base import Network, Session
from retrieval.validation import known

RUNTIMES = ("auto", "torch", "openvino")
"""What ``--runtime`` accepts."""


def check_runtime(runtime: str) -> str:
    """``runtime`` itself, without looking whether it is installed.

    Raises:
        OptionError: it is none of ``RUNTIMES``.
    """
    return known("runtime", runtime, RUNTIMES)


def resolve(runtime: str, device: str) -> str:
    """The runtime to use on a resolved device; ``"auto"`` is OpenVINO on a processor that has it, else PyTorch.

    Raises:
        OptionError: there is no such runtime, or it does not compute on this device.
        DependencyError: it is not installed.
    """
    if check_runtime(runtime) == "torch":
        return runtime
    if device != "cpu":
        if runtime == "openvino":
            raise OptionError(f"runtime 'openvino' computes on the processor, not on {device}: use 'torch'")
        return "torch"
    if find_spec("openvino") is not None:
        return "openvino"
    if runtime == "openvino":
        raise DependencyError("runtime 'openvino' needs the package openvino: pip install openvino")
    return "torch"


def session(network: Network, *, device: str, runtime: str = "auto") -> Session:
    """``network`` ready to run on a resolved device.

    Raises:
        OptionError, DependencyError: as ``resolve``.
    """
    if resolve(runtime, device) == "openvino":
        from retrieval.runtimes.openvino_cpu import OpenVINOSession

        return OpenVINOSession(network)
    from retrieval.runtimes.torch_module import TorchSession

    return TorchSession(network, device)
