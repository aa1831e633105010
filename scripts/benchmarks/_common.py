"""Shared by all benchmarks: alternating rounds, medians and ratios, and facts about the machine."""

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
"""Seconds after which threads of the previous measurement stop spinning while they wait for more work."""


def facts(*packages: str) -> str:
    """Return the date, the machine and the versions of packages, in two lines."""
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
    """Return how many times the work of one thread ``threads`` busy threads do; below 0.9 per thread, measure later."""
    import hashlib

    block = bytes(2**24)  # hashed without holding Python's lock

    def seconds(count: int) -> float:
        start = time.perf_counter()
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(lambda _: hashlib.sha256(block).digest(), range(4 * count)))
        return time.perf_counter() - start

    return threads * median(seconds(1) for _ in range(3)) / median(seconds(threads) for _ in range(3))


def compare(methods: Mapping[str, Callable[[], int]], *, rounds: int, unit: str) -> dict[str, float]:
    """Print the speed of each method relative to the first, and return each method's ``unit`` per second.

    The methods take turns, so that a temporary slowdown of the machine affects all of them.

    Args:
        methods: functions by name; each does the work once and returns its number of units. The first is the baseline.
        rounds: number of measurements of each, after one warm-up.
        unit: plural name of the counted unit.
    """
    rates: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(rounds + 1):
        for name, work in methods.items():
            time.sleep(SETTLED)
            start = time.perf_counter()
            count = work()
            if turn:
                rates[name].append(count / (time.perf_counter() - start))
    middle = {name: median(each) for name, each in rates.items()}
    base = next(iter(rates))
    width = max(map(len, methods))
    print(f"{'':{width}}  {unit + '/s':>12}  {'least':>8}  {'most':>8}  ratio (of each round: median, least)")
    for name, each in rates.items():
        ratios = [rate / baseline for rate, baseline in zip(each, rates[base], strict=True)]
        print(
            f"{name:{width}}  {middle[name]:12.1f}  {min(each):8.1f}  {max(each):8.1f}  "
            f"{median(ratios):.2f}, {min(ratios):.2f}"
        )
    return middle
