"""SIGKILL at random moments of a build, each followed by a resume, while a reader searches all the time."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _common as common

from tests.helpers import toy

BATCH = 32


@dataclass(frozen=True)
class Fixture:
    """Start and expected result of every round."""

    source: Path
    start: Path
    expected: str
    replies: list[Any]
    seconds: float


def counted(source: Path, out: Path, log: Path) -> None:
    """Build; before each call of an encoder, write its number of media to ``log``."""
    with toy.encoders() as encoders, log.open("a", buffering=1) as file:
        for encoder in encoders.values():
            encode = encoder.encode

            def noted(prepared: Any, encode: Any = encode) -> Any:
                file.write(f"{len(prepared)}\n")
                return encode(prepared)

            encoder.encode = noted
        common.build(source, out, batch_size=BATCH)


def read_on(out: Path, replies: list[Any], report: Path) -> None:
    """Search until the file ``.stop`` exists, and write wrong results to the report."""
    searches, wrong = 0, []
    with toy.encoders():
        while not report.with_suffix(".stop").exists():
            try:
                reply = common.answers(out)
                if reply not in replies:
                    wrong.append(f"unexpected result: {reply}")
            except Exception as error:
                wrong.append(repr(error))
            searches += 1
            time.sleep(0.01)
    report.write_text(json.dumps({"searches": searches, "wrong": wrong[:5], "errors": len(wrong)}))


def prepare(work: Path, count: int, seed: int) -> Fixture:
    """Make a source, an index of its first third, and the expected result of an undisturbed build."""
    source = common.folder(work / "source", count, seed)
    names = sorted(source.iterdir())
    with toy.encoders():
        later = [name for name in names if int(name.stem) >= count // 3]
        (work / "later").mkdir()
        for name in later:
            name.rename(work / "later" / name.name)
        common.build(source, work / "start")
        before = common.answers(work / "start")
        for name in later:
            (work / "later" / name.name).rename(name)
        shutil.copytree(work / "start", work / "undisturbed")
        began = time.monotonic()
        common.build(source, work / "undisturbed", batch_size=BATCH)
        seconds = time.monotonic() - began
        return Fixture(
            source=source,
            start=work / "start",
            expected=common.contents(work / "undisturbed"),
            replies=[before, common.answers(work / "undisturbed")],
            seconds=seconds,
        )


def one_round(work: Path, fixture: Fixture, chance: random.Random) -> dict[str, Any]:
    """Kill one build at a random moment, resume it, and compare the result."""
    out, log, report = work / "out", work / "log", work / "report"
    for path in (out, log, report, report.with_suffix(".stop")):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    shutil.copytree(fixture.start, out)
    reader = common.forked(lambda: read_on(out, fixture.replies, report))
    rows = common.stored(out)
    log.touch()
    writer = common.forked(lambda: counted(fixture.source, out, log))
    time.sleep(chance.uniform(0, 1.1 * fixture.seconds))
    processes = common.tree(writer)
    os.kill(writer, signal.SIGKILL)
    killed = os.waitstatus_to_exitcode(os.waitpid(writer, 0)[1]) == -signal.SIGKILL
    left = common.left(processes)
    twice = sum(map(int, log.read_text().split())) - (common.stored(out) - rows)
    resumed = os.waitpid(common.forked(lambda: counted(fixture.source, out, log)), 0)[1]
    encoded = sum(map(int, log.read_text().split())) - (common.stored(out) - rows)
    report.with_suffix(".stop").touch()
    os.waitpid(reader, 0)
    with toy.encoders():
        same = not resumed and common.contents(out) == fixture.expected
    return {
        "killed": killed,
        "twice": max(twice, encoded),
        "left": len(left),
        "same": same,
        **json.loads(report.read_text()),
    }


def main() -> None:
    """Run the rounds and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    problems: list[str] = []
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        # In its own process: forked processes would share whatever this one starts, such as a fork server.
        fixture = _elsewhere(work, options.pictures, options.seed)
        print(f"an undisturbed build takes {fixture.seconds:.1f} s", flush=True)
        for number in range(options.kills):
            results.append(one_round(work, fixture, chance))
            done = results[-1]
            if not done["same"]:
                problems.append(f"round {number}: the index differs from one built undisturbed")
            if done["twice"] > BATCH:
                problems.append(f"round {number}: {done['twice']} items were encoded twice")
            if done["left"]:
                problems.append(f"round {number}: {done['left']} processes were left")
            problems += [f"round {number}: the reader: {wrong}" for wrong in done["wrong"]]
    twice = [done["twice"] for done in results]
    print(f"kills that met a running job   {sum(done['killed'] for done in results)} of {len(results)}")
    print(f"indexes equal to undisturbed   {sum(done['same'] for done in results)}")
    print(
        f"items encoded twice per kill   mean {sum(twice) / len(twice):.1f}, most {max(twice)} (batch {BATCH})"
    )
    print(f"reader's searches              {sum(done['searches'] for done in results) * len(toy.COLOURS):,}")
    print(f"reader's errors                {sum(done['errors'] for done in results)}")
    print(f"processes left                 {sum(done['left'] for done in results)}")
    common.finish(problems)


def _elsewhere(work: Path, count: int, seed: int) -> Fixture:
    made = work / "fixture.json"

    def make() -> None:
        made.write_text(json.dumps(asdict(prepare(work, count, seed)), default=str), encoding="utf-8")

    if os.waitpid(common.forked(make), 0)[1]:
        raise SystemExit("the undisturbed build failed")
    values = json.loads(made.read_text(encoding="utf-8"))
    return Fixture(**{**values, "source": Path(values["source"]), "start": Path(values["start"])})


if __name__ == "__main__":
    main()
