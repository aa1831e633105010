"""Measuring the memory of a running program and of the programs that it starts."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def peak_memory(job: subprocess.Popen[bytes]) -> tuple[dict[str, float], float]:
    """Return the largest MiB of each kind of memory of a job while it runs, and the peak of its largest worker."""
    peaks, largest_worker = dict.fromkeys(("VmHWM", "RssAnon", "RssFile"), 0.0), 0.0
    while job.poll() is None:
        current = _memory(job.pid)
        peaks = {name: max(peak, now) for (name, peak), now in zip(peaks.items(), current, strict=True)}
        largest_worker = max([largest_worker, *(_memory(process)[0] for process in _descendants(job.pid))])
        time.sleep(0.02)
    if job.returncode:
        raise subprocess.CalledProcessError(job.returncode, "the job")
    return peaks, largest_worker


def _memory(process: int) -> tuple[float, float, float]:
    """Return peak, anonymous and mapped resident MiB of a process; zeros if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0, 0.0, 0.0
    values = dict(line.split(":", 1) for line in lines)
    peak, anonymous, mapped = (
        int(values.get(name, "0 kB").split()[0]) / 1024 for name in ("VmHWM", "RssAnon", "RssFile")
    )
    return peak, anonymous, mapped


def _descendants(process: int) -> list[int]:
    """Return all programs that a process has started, directly or not, without forks that still run its own program."""
    started: dict[int, list[int]] = {}
    programs = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            programs[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        started.setdefault(parent, []).append(int(folder.name))
    descendants = list(started.get(process, []))
    for child in descendants:
        descendants += started.get(child, [])
    # A fork of the job that has not started its own program yet reports the memory of the job as its own.
    return [child for child in descendants if programs[child] != programs.get(process)]
