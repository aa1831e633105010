"""Where to compute: one place that turns ``auto``, ``cpu`` or ``cuda`` into a device that is there."""

from __future__ import annotations

import os

from retrieval.errors import DeviceError, OptionError

DEVICES = ("auto", "cpu", "cuda")
"""What ``--device`` accepts."""


def check(device: str) -> str:
    """``device`` itself, without looking whether it is there.

    Raises:
        OptionError: it is none of ``DEVICES``.
    """
    if device not in DEVICES:
        raise OptionError(f"unknown device {device!r}: expected one of {', '.join(DEVICES)}")
    return device


def resolve(device: str) -> str:
    """The device to use, ``"cpu"`` or ``"cuda"``; ``"auto"`` is a GPU where PyTorch finds one.

    Raises:
        OptionError: ``device`` is none of ``DEVICES``.
        DeviceError: CUDA was asked for and PyTorch finds none.
    """
    if check(device) == "cpu":
        return device
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if device == "cuda":
        raise DeviceError("device 'cuda' was asked for, but PyTorch finds no CUDA GPU: use 'auto' or 'cpu'")
    return "cpu"


def cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
