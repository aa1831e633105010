"""A disk that fills up during a build: a clear error, an intact last generation, and a resume once there is room."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import _common as common

from indexer.cli.main import run
from tests.helpers import toy

INSIDE = "XMODAL_CHAOS_MOUNTS"
"""Set in the namespace in which this program may mount."""

LARGE_DISK_KB = 100_000
"""Size of a disk that is large enough, in kilobytes."""


def index(source: Path, out: Path) -> tuple[int, str]:
    """Run ``xmodal index``; return its exit status and its last line of output."""
    arguments = [
        "index",
        str(source),
        "--out",
        str(out),
        "--preset",
        "toy",
        "--device",
        "cpu",
        "--align",
        "conse",
    ]
    output = source.with_name("output")

    def work() -> None:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        status = run(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    status = os.waitstatus_to_exitcode(os.waitpid(common.forked(work), 0)[1])
    return status, output.read_text(encoding="utf-8").splitlines()[-1]


def mount(place: Path, kilobytes: int, *options: str) -> None:
    """Mount a file system in memory, of this size."""
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join([f"size={kilobytes}k", *options]), "tmpfs", str(place)],  # noqa: S607
        check=True,
    )


def undisturbed(work: Path) -> tuple[int, int, str]:
    """Return the kilobytes of the index before and after the update, and a digest of the result."""
    disk = work / "disk"
    disk.mkdir()
    mount(disk, LARGE_DISK_KB)
    try:
        shutil.copytree(work / "start", disk / "index")
        smallest = _used(disk)
        index(work / "source", disk / "index")
        return smallest, _used(disk), common.contents(disk / "index")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607 - an index may still be mapped


def _used(disk: Path) -> int:
    held = os.statvfs(disk)
    return (held.f_blocks - held.f_bfree) * held.f_frsize // 1024


def one_size(work: Path, kilobytes: int, expected: str, before: object) -> tuple[str, list[str]]:
    """Update an index on a disk of this size, then enlarge the disk and update again."""
    disk = work / "disk"
    mount(disk, LARGE_DISK_KB)
    try:
        shutil.copytree(work / "start", disk / "index")
        mount(disk, kilobytes, "remount")
        status, message = index(work / "source", disk / "index")
        problems = []
        if status:
            if status != 1 or not message.startswith("xmodal: ") or "full" not in message:
                problems.append(f"status {status}: {message}")
            if common.answers(disk / "index") != before:
                problems.append("the last generation gives other results")
        mount(disk, LARGE_DISK_KB, "remount")
        again = index(work / "source", disk / "index")
        if again[0]:
            problems.append(f"the resumed job fails: {again[1]}")
        elif common.contents(disk / "index") != expected:
            problems.append("the index differs from one built undisturbed")
        return ("full" if status else "fits"), [f"{kilobytes} kB: {each}" for each in problems]
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607 - an index may still be mapped


def main() -> None:
    """Try several disk sizes, from too small to large enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--sizes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if INSIDE not in os.environ:
        own = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, *sys.argv]
        os.execvpe(own[0], own, {**os.environ, INSIDE: "1"})  # noqa: S606
    results, problems = [], []
    with tempfile.TemporaryDirectory() as folder, toy.encoders():
        work = Path(folder)
        source = common.folder(work / "source", options.pictures, options.seed)
        later = [path for path in source.iterdir() if int(path.stem) >= options.pictures // 3]
        (work / "later").mkdir()
        for path in later:
            path.rename(work / "later" / path.name)
        index(source, work / "start")
        before = common.answers(work / "start")
        for path in later:
            (work / "later" / path.name).rename(path)
        smallest, largest, expected = undisturbed(work)
        for number in range(options.sizes):
            size = smallest + (largest - smallest) * number // max(1, options.sizes - 1)
            outcome, wrong = one_size(work, size, expected, before)
            results.append(outcome)
            problems += wrong
    print(f"sizes tried          {len(results)}, from {smallest} to {largest} kB")
    print(f"filled up            {results.count('full')}")
    print(f"last generation kept, resumed, same result  {'all' if not problems else 'not all'}")
    if "full" not in results:
        problems.append("no disk was ever full")
    common.finish(problems)


if __name__ == "__main__":
    main()
