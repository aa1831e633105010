"""Text queries over HTTP from many connections, compared with the same engine without HTTP.

Usage: python scripts/benchmarks/serve.py [--vectors 100000] [--seconds 60] [--connections 64]

Builds an index of random vectors with the 768 dimensions of the packaged text encoder (its captions are numbers; that
makes no difference to searching). `xmodal serve` serves it in a separate process. The load is texts that never repeat,
sent by wrk if it is installed, else by a small load generator in this script. Afterwards, with nothing else running,
`search_batch` is measured with batches of the average size in the server, and single searches for their latency.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx2
import numpy as np
from _common import facts, scaling

WORDS = ("red", "old", "small", "round", "fast", "wooden", "quiet", "bright",
         "dog", "boat", "house", "river", "apple", "street", "child", "bird")  # fmt: skip

LUA = """
local n = 0
local id = os.time()
request = function()
  n = n + 1
  local body = string.format('{"terms":[{"kind":"text","value":"%s %s and %s %s"}],"to":"text","k":10}',
    words[n % 16 + 1], words[math.floor(n / 16) % 16 + 1], id, n)
  return wrk.format("POST", "/api/search", {["Content-Type"] = "application/json"}, body)
end
local codes = {}
response = function(status)
  if not codes[status] then print("status " .. status) end
  codes[status] = true
end
done = function(summary, latency)
  print(string.format("result %d %d %f %f %d %d", summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), summary.errors.status, summary.errors.connect + summary.errors.read +
    summary.errors.write + summary.errors.timeout))
end
"""


@dataclass(frozen=True)
class LoadResult:
    """Result of a load test: responses per second, median and 99th percentile of the latency in seconds, errors."""

    rate: float
    p50: float
    p99: float
    refused: int
    failed: int


def texts(seed: int) -> Iterator[str]:
    """Generate texts of five words that never repeat."""
    for number in count():
        yield f"{WORDS[number % 16]} {WORDS[number // 16 % 16]} and {seed} {number}"


def build(folder: Path, vectors: int) -> Path:
    """Build an index of this many random vectors under the text encoder's name."""
    import indexer
    from retrieval.encoders import registry
    from retrieval.encoders.base import WHOLE
    from retrieval.types import Modality

    class RandomEncoder:
        spec = registry.load("minilm", Modality.TEXT, "cpu").spec
        numerics = "drawn at random"
        random = np.random.default_rng(0)

        def prepare(self, medium: str) -> str:
            return medium

        def encode(self, prepared: Sequence[str]) -> Any:
            rows = self.random.standard_normal((len(prepared), self.spec.dimension), dtype=np.float32)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

        def spans(self, _: str) -> Any:
            return WHOLE

        def class_head(self) -> None:
            return None

    source = folder / "numbers.jsonl"
    with source.open("w", encoding="utf-8") as file:
        for number in range(vectors):
            file.write(
                json.dumps({"id": f"{number:07}", "caption": f"number {number}", "even": number % 2}) + "\n"
            )
    encoders = registry.ENCODERS
    entry = registry.EncoderEntry((Modality.TEXT,), lambda _request: RandomEncoder(), "")  # type: ignore[arg-type, return-value]
    registry.ENCODERS = {**encoders, "minilm": entry}  # type: ignore[misc]
    try:
        indexer.build([source], out=folder / "index", align="identity", batch_size=4096)
    finally:
        registry.ENCODERS = encoders  # type: ignore[misc]
    return folder / "index"


@contextmanager
def serving(index: Path) -> Iterator[tuple[str, int]]:
    """Run `xmodal serve` in a separate process; give its URL and process id."""
    command = [
        sys.executable,
        "-c",
        "from indexer.cli.main import main; main()",
        "serve",
        str(index),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None  # noqa: S101
        line = process.stderr.readline()
        url = re.search(r"http://\S+/", line)
        if not url:
            raise SystemExit(line + process.stderr.read())
        try:
            yield url[0].rstrip("/"), process.pid
        finally:
            process.terminate()


def load_by_wrk(address: str, connections: int, seconds: float) -> LoadResult:
    """Run the load with wrk."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        words = ", ".join(f'"{word}"' for word in WORDS)
        script.write(f"words = {{{words}}}\n{LUA}")
        script.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds:.0f}s",
            "--timeout",
            "30s",
            "-s",
            script.name,
            address,
        ]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    result = re.search(r"^result (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+) (\d+)$", shown, re.M)
    if not result:
        raise SystemExit(f"wrk printed no result:\n{shown}")
    requests, micros, p50, p99, refused, failed = map(float, result.groups())
    if unexpected := set(re.findall(r"^status (\d+)$", shown, re.M)) - {"200", "503"}:
        raise SystemExit(f"the server answered {', '.join(sorted(unexpected))}")
    return LoadResult((requests - refused) * 1e6 / micros, p50 / 1e6, p99 / 1e6, int(refused), int(failed))


def load_by_script(address: str, connections: int, seconds: float) -> LoadResult:
    """Run the load with this script; requests are written to sockets directly, so that they cost little time."""
    host, _, port = address.removeprefix("http://").partition(":")
    deadline, latencies, codes = time.perf_counter() + seconds, list[float](), Counter[int]()

    async def send_queries(seed: int) -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for text in texts(seed):
            if time.perf_counter() > deadline:
                break
            body = json.dumps({"terms": [{"kind": "text", "value": text}], "to": "text", "k": 10}).encode()
            start = time.perf_counter()
            writer.write(
                b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            )
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(re.search(rb"content-length: (\d+)", head, re.I)[1]))  # type: ignore[index]
            codes[int(head[9:12])] += 1
            latencies.append(time.perf_counter() - start)
        writer.close()

    async def main() -> None:
        await asyncio.gather(*(send_queries(seed) for seed in range(connections)))

    asyncio.run(main())
    if unexpected := set(codes) - {200, 503}:
        raise SystemExit(f"the server answered {unexpected}")
    cuts = quantiles(latencies, n=100)
    return LoadResult(codes[200] / seconds, cuts[49], cuts[98], codes[503], 0)


def batches(address: str) -> dict[str, tuple[float, float]]:
    """Return how many queries were encoded and searched, each with the number of batches."""
    text = httpx2.get(f"{address}/metrics").text
    counts = {}
    for work in ("encode-text", "search"):
        pair = [
            re.search(rf'xmodal_batch_size_{part}{{work="{work}"}} (\S+)', text) for part in ("sum", "count")
        ]
        counts[work] = tuple(float(each[1]) for each in pair if each)
    return counts  # type: ignore[return-value]


def memory(process: int) -> float:
    """Return the resident memory of a process in MiB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def measure_engine(index: Path, size: int, seconds: float) -> tuple[float, float, float]:
    """Return queries per second of `search_batch` in batches of ``size``; p50 and p99 seconds of single searches."""
    import retrieval
    from retrieval import Query

    engine, unique_texts = retrieval.open(index), texts(1_000_000)
    engine.search(text="warm", to="text")

    def time_batch(size: int) -> float:
        queries = [Query(text=next(unique_texts)) for _ in range(size)]
        start = time.perf_counter()
        engine.search_batch(queries, to="text", k=10)
        return time.perf_counter() - start

    time_batch(size)
    deadline, elapsed, done = time.perf_counter() + seconds, 0.0, 0
    while time.perf_counter() < deadline:
        elapsed, done = elapsed + time_batch(size), done + size
    single = [time_batch(1) for _ in range(200)]
    cuts = quantiles(single, n=100)
    return done / elapsed, cuts[49], cuts[98]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    run_load = load_by_wrk if shutil.which("wrk") else load_by_script
    print(facts("faiss-cpu", "torch", "fastapi", "uvicorn"))
    print(f"two busy threads do {scaling(2):.2f} times the work of one; {run_load.__name__}")
    with tempfile.TemporaryDirectory() as scratch:
        index = build(Path(scratch), options.vectors)
        with serving(index) as (address, process):
            run_load(address, options.connections, min(5, options.seconds))
            before, first = memory(process), batches(address)
            load = run_load(address, options.connections, options.seconds)
            after, last = memory(process), batches(address)
        mean = {work: (last[work][0] - first[work][0]) / (last[work][1] - first[work][1]) for work in last}
        rate, p50, p99 = measure_engine(index, max(1, round(mean["encode-text"])), min(20, options.seconds))
    print(
        f"served     {load.rate:8.1f} queries/s  p50 {1000 * load.p50:6.1f} ms  p99 {1000 * load.p99:6.1f} ms"
    )
    print(f"           {load.refused} answered 503, {load.failed} failed")
    print("batches    " + ", ".join(f"{work} {size:.1f} on average" for work, size in mean.items()))
    print(f"memory     {before:.0f} MiB after warming up, {after:.0f} MiB at the end")
    print(f"directly   {rate:8.1f} queries/s in batches of {max(1, round(mean['encode-text']))}")
    print(f"           one at a time: p50 {1000 * p50:6.1f} ms  p99 {1000 * p99:6.1f} ms")
    print(f"ratio      {load.rate / rate:.2f} of search_batch")


if __name__ == "__main__":
    main()
