"""How much memory a program holds while it runs, and the programs that it starts."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path


def watched(job: subprocess.Popen[bytes]) -> tuple[dict[str, float], float]:
    """The most MiB seen of each kind of a job's memory while it runs, and the peak of its largest worker."""
    own, workers = dict.fromkeys(("VmHWM", "RssAnon", "RssFile"), 0.0), 0.0
    while job.poll() is None:
        own = {name: max(most, now) for (name, most), now in zip(own.items(), _held(job.pid), strict=True)}
        workers = max([workers, *(_held(process)[0] for process in _descendants(job.pid))])
        time.sleep(0.02)
    if job.returncode:
        raise subprocess.CalledProcessError(job.returncode, "the job")
    return own, workers


def _held(process: int) -> tuple[float, float, float]:
    """Peak, anonymous and mapped resident MiB of a process; zeros of one that has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0, 0.0, 0.0
    kept = dict(line.split(":", 1) for line in lines)
    peak, anonymous, mapped = (
        int(kept.get(name, "0 kB").split()[0]) / 1024 for name in ("VmHWM", "RssAnon", "RssFile")
    )
    return peak, anonymous, mapped


def _descendants(process: int) -> list[int]:
    """The programs that a process has started, and those that these have; not what is yet to become another one."""
    started: dict[int, list[int]] = {}
    programs = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            programs[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        started.setdefault(parent, []).append(int(folder.name))
    found = list(started.get(process, []))
    for child in found:
        found += started.get(child, [])
    # A copy of the job that has yet to start its own program still counts the job's memory as its own.
    return [child for child in found if programs[child] != programs.get(process)]
