"""Where to compute: one place that turns ``auto``, ``cpu`` or ``cuda`` into a device that is there."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import DeviceError
from retrieval.validation import known

DEVICES = ("auto", "cpu", "cuda")
"""What ``--device`` accepts."""


def check_device(device: str) -> str:
    """``device`` itself, without looking whether it is there.

    Raises:
        OptionError: it is none of ``DEVICES``.
    """
    return known("device", device, DEVICES)


def resolve(device: str) -> str:
    """The device to use, ``"cpu"`` or ``"cuda"``; ``"auto"`` is a GPU where PyTorch finds one.

    Raises:
        OptionError: ``device`` is none of ``DEVICES``.
        DeviceError: CUDA was asked for and PyTorch finds none.
    """
    if check_device(device) == "cpu" or (device == "auto" and not has_driver()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise DeviceError("device 'cuda' was asked for, but PyTorch finds no CUDA GPU: use 'auto' or 'cpu'")
    return "cpu"


@contextmanager
def training_on(device: str) -> Iterator[None]:
    """Where PyTorch makes tensors meanwhile, those of NumPy's arrays by ``torch.as_tensor`` among them.

    Raises:
        OptionError, DeviceError: as ``resolve``.
    """
    if resolve(device) == "cpu":
        yield
        return
    import torch

    with torch.device("cuda"):
        yield


def has_driver() -> bool:
    """Whether this machine can have a GPU that PyTorch knows, which takes seconds and memory to ask itself."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()  # that of AMD's driver
    return True


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
