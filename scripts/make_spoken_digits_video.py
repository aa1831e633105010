"""Pair spoken digits with short videos of handwritten digits: real data for search by sound.

The recordings are those of the Free Spoken Digit Dataset, named {digit}_{speaker}_{take}.wav. Each gets a
video of one or two seconds in which a handwritten digit of the same class moves across the frame. The digits are
scikit-learn's 1,797 pictures of 8 x 8 pixels (a part of "Optical Recognition of Handwritten Digits", UCI).
The videos have no sound track. Takes up to 34 of every speaker are for training, takes from 35 on for testing.
The two parts of every speaker have separate digit pictures: whichever split or speakers are held out, no picture in
the gallery was used in training.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import shutil
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FIRST_TEST_TAKE = 35
SIDE = 112
"""Side of the square frame, in pixels."""
RATE = 10
"""Frames per second."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of a spoken digit, described by its file name."""

    file: Path
    digit: int
    speaker: str
    take: int

    @property
    def split(self) -> str:
        """``train`` or ``test``, depending on the take."""
        return "test" if self.take >= FIRST_TEST_TAKE else "train"


def recordings(folder: Path) -> list[Recording]:
    """Return all recordings of a folder, in the order of digit, speaker and take."""
    found = []
    for file in folder.glob("*.wav"):
        parts = re.fullmatch(r"(\d)_(.+)_(\d+)", file.stem)
        if parts:
            found.append(Recording(file, int(parts[1]), parts[2], int(parts[3])))
    return sorted(found, key=lambda one: (one.digit, one.speaker, one.take))


def handwriting(found: Sequence[Recording], seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield the (8, 8) ink, 0 to 1, of a digit for each recording; splits and speakers share no pictures."""
    images, labels = load_digits(return_X_y=True)
    cells = Counter((one.digit, one.speaker, one.split) for one in found)
    pools: dict[tuple[int, str, str], NDArray[np.float64]] = {}
    for digit in range(10):
        own = np.random.default_rng([seed, digit]).permutation(images[labels == digit] / 16)
        mine = sorted(cell for cell in cells if cell[0] == digit)
        counts = np.array([cells[cell] for cell in mine])
        if not mine:
            continue
        # Each cell gets one picture, and a share of the rest in proportion to its recordings.
        rest = np.round(np.cumsum(counts) / counts.sum() * (len(own) - len(mine))).astype(int)
        pools |= dict(zip(mine, np.split(own, (rest + np.arange(1, len(mine) + 1))[:-1]), strict=True))
    used: Counter[tuple[int, str, str]] = Counter()
    for one in found:
        cell = (one.digit, one.speaker, one.split)
        yield pools[cell][used[cell] % len(pools[cell])].reshape(8, 8)
        used[cell] += 1


def draw(ink: NDArray[np.float64], rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """Yield (SIDE, SIDE) frames, white on black, of a digit that moves in a straight line."""
    size = int(rng.integers(SIDE * 60 // 100, SIDE * 75 // 100))
    smooth = Image.fromarray(ink.astype(np.float32)).resize((size, size), Image.Resampling.BICUBIC)
    # Smoothing alone gives a blur; this makes the edges as sharp as a pen's.
    edge = np.clip((np.asarray(smooth) - 0.25) / 0.5, 0, 1)
    digit = np.round(255 * edge * edge * (3 - 2 * edge)).astype(np.uint8)
    start, stop = rng.uniform(0, SIDE - size, (2, 2))
    for way in np.linspace(0, 1, int(rng.integers(RATE, 2 * RATE + 1))):
        x, y = np.round(start + way * (stop - start)).astype(int)
        frame = np.zeros((SIDE, SIDE), np.uint8)
        frame[y : y + size, x : x + size] = digit
        yield frame


def write_video(path: Path, frames: Iterator[NDArray[np.uint8]]) -> None:
    """Write an MP4 of grey frames; equal frames give equal bytes."""
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        # MPEG-4: x264's output differs between runs in a few percent of videos, even with one thread.
        stream = container.add_stream(
            "mpeg4", rate=RATE, options={"qmin": "3", "qmax": "5", "flags": "+bitexact"}
        )
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        planes = np.full((SIDE * 3 // 2, SIDE), 128, np.uint8)  # no colour
        for number, pixels in enumerate(frames):
            planes[:SIDE] = np.round(16 + pixels * (219 / 255))  # from black to white in video levels
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make(out: Path, seed: int, work: tuple[Recording, NDArray[np.float64]]) -> dict[str, str | int]:
    """Write the two files of one recording, and return its row of the manifest."""
    recording, ink = work
    name = recording.file.stem
    audio, video = Path("audio", f"{name}.wav"), Path("video", f"{name}.mp4")
    shutil.copyfile(recording.file, out / audio)
    # Seeded by the name, so that the order of the work does not matter.
    write_video(out / video, draw(ink, np.random.default_rng([seed, zlib.crc32(name.encode())])))
    return {
        "id": name,
        "audio": audio.as_posix(),
        "video": video.as_posix(),
        "caption": f"the digit {NAMES[recording.digit]}",
        "digit": recording.digit,
        "speaker": recording.speaker,
        "split": recording.split,
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    default = Path(os.environ.get("XMODAL_DATA", beside)) / "spoken-digits"
    parser = argparse.ArgumentParser(prog="make_spoken_digits_video", description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder for manifest.csv, audio/ and video/")
    parser.add_argument("--recordings", type=Path, default=default, help="folder of WAV files (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawing (%(default)s)")
    options = parser.parse_args(argv)
    found = recordings(options.recordings)
    if not found:
        parser.error(f"no recordings named DIGIT_SPEAKER_TAKE.wav in {options.recordings}: give --recordings")
    for kind in ("audio", "video"):
        (options.out / kind).mkdir(parents=True, exist_ok=True)
    rows = []
    with ProcessPoolExecutor() as pool:
        works = zip(found, handwriting(found, options.seed), strict=True)
        for row in pool.map(partial(make, options.out, options.seed), works, chunksize=25):
            rows.append(row)
            if len(rows) % 100 == 0 or len(rows) == len(found):
                sys.stderr.write(f"\r{len(rows)} of {len(found)} videos")
    sys.stderr.write("\n")
    with (options.out / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
