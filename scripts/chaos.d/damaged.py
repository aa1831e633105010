"""Thousands of damaged pictures, sounds and videos: the job ends; every file is indexed or fails with a reason."""

from __future__ import annotations

import argparse
import json
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import _common as common
import numpy as np
from PIL import Image

from retrieval.storage.catalog import Catalog
from retrieval.storage.layout import Layout
from retrieval.storage.manifest import Manifest
from tests.helpers import pictures, sounds, videos

LIMIT = 2 * 10**9
"""Maximum bytes of memory of the job and its workers together."""

TOYS = """
import sys
from indexer.cli.main import run
from tests.helpers import toy
with toy.encoders():
    sys.exit(run(sys.argv[1:]))
"""
PACKAGED = "import sys; from indexer.cli.main import run; sys.exit(run(sys.argv[1:]))"


def originals(seed: int) -> list[tuple[str, bytes]]:
    """Return undamaged files of many formats, as ending and bytes."""
    found = []
    for number, photo in enumerate(common.photos(12, seed)):
        found.append((".jpg", photo))
        with Image.open(BytesIO(photo)) as image:
            form, ending = [("PNG", ".png"), ("WEBP", ".webp"), ("GIF", ".gif"), ("TIFF", ".tif"), ("BMP", ".bmp"),
                            ("JPEG2000", ".jp2"), ("AVIF", ".avif"), ("PPM", ".ppm"), ("TGA", ".tga"),
                            ("ICO", ".ico"), ("JPEG", ".jpeg"), ("PNG", ".png")][number]  # fmt: skip
            found.append((ending, pictures.saved(image.resize((200, 150)), form)))
    digits = sorted((common.DATA / "spoken-digits").glob("*.wav"))[::400]
    found += [(".wav", path.read_bytes()) for path in digits]
    melody = sounds.melody(1.0, 16000, seed)
    found += [
        (".flac", sounds.wav(melody, 16000, form="FLAC", subtype="PCM_16")),
        (".ogg", sounds.wav(melody, 16000, form="OGG", subtype="VORBIS")),
        (".mp3", sounds.wav(melody, 16000, form="MP3", subtype="MPEG_LAYER_III")),
        (".aiff", sounds.wav(melody, 16000, form="AIFF", subtype="PCM_16")),
        (".m4a", sounds.coded(melody, 16000, form="ipod", codec="aac")),
    ]
    clip = [pictures.noise(160, 120, seed=seed + number) for number in range(12)]
    found += [
        (".mp4", videos.video(clip)),
        (".mkv", videos.video(clip, form="matroska")),
        (".avi", videos.video(clip, form="avi", codec="mpeg4")),
        (".webm", videos.video(clip, form="webm", codec="libvpx-vp9")),
        (".mp4", sounds.coded(melody, 16000, form="mp4", codec="aac", pictures=True)),
    ]
    return found


def bombs() -> list[tuple[str, bytes]]:
    """Return decompression bombs: small files that claim to be, or are, very large when decoded."""
    side = 13_000  # 169 million pixels: just below the limit, half a gigabyte when decoded
    lines = zlib.compressobj(1)
    rows = bytes(100 * (1 + 3 * side))
    body = b"".join(lines.compress(rows) for _ in range(side // 100)) + lines.flush()
    huge = Image.new("1", (side, side))
    grey = Image.new("L", (8000, 8000))
    second = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    return [
        (".png", _png(side, side, body)),
        (".png", _png(2**31 - 1, 2**31 - 1, zlib.compress(b"\0"))),
        (".png", _png(60_000, 60_000, zlib.compress(bytes(10**6)))),
        (".png", _png(1, 178_000_000, zlib.compress(bytes(10**6)))),
        (".png", pictures.saved(huge)),
        (".tif", pictures.saved(huge, "TIFF", compression="group4")),
        (".gif", pictures.saved(grey, "GIF")),
        (".jpg", pictures.saved(grey, "JPEG", progressive=True)),
        (".wav", b"RIFF\xff\xff\xff\xffWAVEfmt " + second + b"data\xff\xff\xff\xff" + bytes(1000)),
        (".flac", sounds.wav(np.zeros(2 * 10**7, np.float32), 8000, form="FLAC", subtype="PCM_16")),
        (".mp4", videos.video([Image.new("RGB", (4096, 4096), "grey")])),
        (".txt", b"A caption.\n" + b"\0" * 2_000_000),
    ]


def _png(width: int, height: int, body: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )


def truncated(data: bytes, chance: random.Random) -> bytes:
    """Return the file cut short, more often near its start."""
    return data[: int(len(data) * chance.random() ** 2)]


def flipped(data: bytes, chance: random.Random) -> bytes:
    """Return the file with some bits flipped, most often in its header."""
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 3, 10, 100))):
        at = chance.randrange(min(len(damaged), chance.choice((64, 1024, len(damaged)))))
        damaged[at] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def spliced(data: bytes, chance: random.Random) -> bytes:
    """Return the file with one piece of it written over another."""
    at, start = chance.randrange(len(data)), chance.randrange(len(data))
    return data[:at] + data[start : start + chance.randrange(1, 5000)] + data[at:]


def nonsense(data: bytes, chance: random.Random) -> bytes:
    """Return the first bytes of the file, followed by random bytes."""
    return data[: chance.choice((0, 4, 16, 64))] + chance.randbytes(chance.randrange(1, 20_000))


DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    truncated,
    flipped,
    flipped,
    spliced,
    nonsense,
)


def damaged(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Return ``count`` damaged files by name: every bomb, then every kind of damage to every kind of file."""
    chance = random.Random(seed)
    whole = originals(seed)
    endings = sorted({ending for ending, _ in whole})
    large = bombs()
    yield from ((f"bomb-{number:02}{ending}", data) for number, (ending, data) in enumerate(large))
    for number in range(count - len(large)):
        ending, data = whole[number % len(whole)]
        damage = chance.choice(DAMAGES)
        name = damage.__name__
        if chance.random() < 0.1:
            ending, name = chance.choice(endings), f"{name}-wrong-type"
        yield f"{number:05}-{name}{ending}", damage(data, chance)


def main() -> None:
    """Make the files, run the job on them, and check the outcome of each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--encoders", choices=("toy", "packaged"), default="packaged")
    options = parser.parse_args()
    image = "toy-image" if options.encoders == "toy" else "efficientnet-lite0"
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "source"), Path(folder, "index")
        source.mkdir()
        names = set()
        for name, data in damaged(options.files, options.seed):
            names.add(name)
            (source / name).write_bytes(data)
        program = TOYS if options.encoders == "toy" else PACKAGED
        arguments = ["index", str(source), "--out", str(out), "--preset", options.encoders, "--device", "cpu",
                     "--audio-encoder", "acoustic", "--video-encoder", f"frames:{image}", "--align", "conse",
                     "--json"]  # fmt: skip
        began, most, met = time.monotonic(), 0, set[int]()
        with subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE) as job:
            while job.poll() is None:
                met |= common.tree(job.pid)
                most = max(most, common.memory(job.pid))
                time.sleep(0.05)
            summary = json.loads(job.stdout.read() or b"{}") if job.stdout else {}
        seconds = time.monotonic() - began
        indexed, reasons = _outcome(out)
    finish(names, job.returncode, summary, seconds, most, len(common.left(met)), indexed, reasons)


def _outcome(out: Path) -> tuple[set[str], dict[str, str]]:
    """Return the indexed files, and the reasons of the others."""
    catalog = Catalog(Layout(out).generation(Manifest.read(out).generation).catalog)
    with catalog.session() as session:
        indexed = set(session.connection().exec_driver_sql("SELECT path FROM assets").scalars())
    reasons = {row.path: row.reason for row in catalog.failures()}
    catalog.close()
    return indexed, reasons


def finish(
    names: set[str],
    status: int,
    summary: dict[str, object],
    seconds: float,
    most: int,
    left: int,
    indexed: set[str],
    reasons: dict[str, str],
) -> None:
    """Print a report and the problems, and exit."""
    lost = sorted(names - indexed - reasons.keys())
    print(f"files               {len(names):,}")
    print(f"indexed             {len(indexed & names):,}")
    print(f"left out by reason  {len(reasons.keys() & names):,}")
    print(f"neither             {len(lost):,}")
    print(f"exit status         {status}, {summary.get('failed')} failures in the summary")
    print(f"seconds             {seconds:.0f}")
    print(f"most memory         {most / 1e6:,.0f} MB, workers included")
    print(f"processes left      {left}")
    for reason, count in Counter(_kind(reason) for reason in reasons.values()).most_common(25):
        print(f"  {count:5}  {reason}")
    for name in sorted(reasons):
        if name.startswith("bomb"):
            print(f"  {name}: {reasons[name]}")
    problems = [f"{name} is neither indexed nor has it a reason" for name in lost]
    problems += [f"exit status {status}, expected 3"] * (status != 3)
    problems += [f"{most / 1e6:,.0f} MB of memory"] * (most > LIMIT)
    problems += [f"{left} processes are left"] * bool(left)
    common.finish(problems)


def _kind(reason: str) -> str:
    """Return a reason without the details of the single file."""
    return " ".join(word for word in reason.split() if not any(sign.isdigit() for sign in word))[:90]


if __name__ == "__main__":
    main()
