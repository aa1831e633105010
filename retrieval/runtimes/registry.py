"""Runtimes by the names that ``--runtime`` accepts, and the choice for ``auto``."""

from __future__ import annotations

from importlib.util import find_spec

from retrieval.errors import DependencyError, OptionError
from retrieval.option_checks import known
from retrieval.runtimes.base import Network, Session

RUNTIMES = ("auto", "torch", "openvino")
"""Values of ``--runtime``."""


def check_runtime(runtime: str) -> str:
    """Return ``runtime`` if it is a known name, without checking that it is installed.

    Raises:
        OptionError: it is not one of ``RUNTIMES``.
    """
    return known("runtime", runtime, RUNTIMES)


def resolve(runtime: str, device: str) -> str:
    """Return the runtime for a resolved device; ``"auto"`` is OpenVINO on a CPU if installed, else PyTorch.

    Raises:
        OptionError: the runtime is unknown, or does not run on this device.
        DependencyError: it is not installed.
    """
    if check_runtime(runtime) == "torch":
        return runtime
    if device != "cpu":
        if runtime == "openvino":
            raise OptionError(f"runtime 'openvino' runs on the processor, not on {device}: use 'torch'")
        return "torch"
    if find_spec("openvino") is not None:
        return "openvino"
    if runtime == "openvino":
        raise DependencyError("runtime 'openvino' needs the package openvino: pip install openvino")
    return "torch"


def session(network: Network, *, device: str, runtime: str = "auto") -> Session:
    """Return a session that runs ``network`` on a resolved device.

    Raises:
        OptionError, DependencyError: as ``resolve``.
    """
    if resolve(runtime, device) == "openvino":
        from retrieval.runtimes.openvino_cpu import OpenVINOSession

        return OpenVINOSession(network)
    from retrieval.runtimes.torch_module import TorchSession

    return TorchSession(network, device)
