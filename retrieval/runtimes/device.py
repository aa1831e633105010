"""Resolve ``auto``, ``cpu`` or ``cuda`` to an available device."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import DeviceError
from retrieval.option_checks import known

DEVICES = ("auto", "cpu", "cuda")
"""Values of ``--device``."""


def check_device(device: str) -> str:
    """Return ``device`` if it is a known name, without checking that it is available.

    Raises:
        OptionError: it is not one of ``DEVICES``.
    """
    return known("device", device, DEVICES)


def resolve(device: str) -> str:
    """Return the device to use, ``"cpu"`` or ``"cuda"``; ``"auto"`` uses a GPU if PyTorch finds one.

    Raises:
        OptionError: ``device`` is not one of ``DEVICES``.
        DeviceError: CUDA was requested and PyTorch finds no GPU.
    """
    if check_device(device) == "cpu" or (device == "auto" and not has_driver()):
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise DeviceError("device 'cuda' was requested, but PyTorch finds no CUDA GPU: use 'auto' or 'cpu'")
    return "cpu"


@contextmanager
def training_on(device: str) -> Iterator[None]:
    """Context in which PyTorch creates tensors on ``device``, including ``torch.as_tensor`` of NumPy arrays.

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
    """Return whether a GPU driver is installed; asking PyTorch itself takes seconds and memory."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()  # created by AMD's driver
    return True


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
