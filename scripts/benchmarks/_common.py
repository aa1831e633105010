"""What every benchmark shares: rounds in turn, medians and ratios, and facts about the machine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

SETTLED = 0.05
"""Seconds after which the threads of what was measured before wait no longer for more work by turning round."""


def facts(*packages: str) -> str:
    """The date, the machine, and versions of packages, in two lines."""
    names = [f"{name} {version(name)}" for name in ("numpy", *packages)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {cores} cores, {platform.system()}"
    return f"{machine}\nPython {platform.python_version()}, {', '.join(names)}"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def scaling(threads: int) -> float:
    """How many times the work of one thread that many busy threads do: below 0.9 a thread, measure later."""
    import hashlib

    block = bytes(2**24)  # hashed outside of Python's lock

    def seconds(count: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: hashlib.sha256(block).digest(), range(4 * count)))
        return time.perf_counter() - start

    return threads * median(seconds(1) for _ in range(3)) / median(seconds(threads) for _ in range(3))


def compare(ways: Mapping[str, Callable[[], int]], *, rounds: int, unit: str) -> dict[str, float]:
    """Print how fast each way is beside the first, and return how many ``unit`` a second each does.

    The ways take turns, so that what slows the machine for a while slows all of them.

    Args:
        ways: by name, what does the work once and says how many units that was; the first one to compare to.
        rounds: how often each is measured, after once to warm up.
        unit: the plural of what is counted.
    """
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, work in ways.items():
            time.sleep(SETTLED)
            start = time.perf_counter()
            count = work()
            if turn:
                rates[name].append(count / (time.perf_counter() - start))
    middle = {name: median(each) for name, each in rates.items()}
    base = next(iter(rates))
    width = max(map(len, ways))
    print(f"{'':{width}}  {unit + '/s':>12}  {'least':>8}  {'most':>8}  ratio (of each round: median, least)")
    for name, each in rates.items():
        ratios = [own / other for own, other in zip(each, rates[base], strict=True)]
        print(
            f"{name:{width}}  {middle[name]:12.1f}  {min(each):8.1f}  {max(each):8.1f}  "
            f"{median(ratios):.2f}, {min(ratios):.2f}"
        )
    return middle
