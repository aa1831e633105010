"""Benchmark of audio files to MFCC: this project's front end compared with librosa.

Usage: scripts/benchmark audio [--clips 48] [--seconds 5] [--rate 44100] [--threads 2] [--rounds 7]

All methods read the same WAV files and give the same features, which is checked first. They run in threads; this
project's front end also runs as in a job, where each thread has a worker process that decodes for it.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy as np
import soundfile
from _cepstra import ours
from _common import compare, facts, scaling
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from indexer.decoding.media_file import MediaFile
from indexer.decoding.worker_pool import decoding
from indexer.encoding.encode import LIMITS
from retrieval.encoders.mfcc import MfccEncoder
from retrieval.types import Modality


def main(argv: Sequence[str] | None = None) -> None:
    """Print the clips per second of each method, and the largest difference between features."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=int, default=44100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args(argv)
    print(facts("librosa", "soundfile", "soxr", "scipy"))
    print(f"{options.threads} busy threads do {scaling(options.threads):.2f} times the work of one")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.wav" for number in range(options.clips)]
        for seed, file in enumerate(files):
            soundfile.write(file, _clip(options.seconds, options.rate, seed), options.rate, subtype="PCM_16")
        difference = max(float(np.abs(ours(file) - _theirs(file)).max()) for file in files)
        print(
            f"{options.clips} clips of {options.seconds:g} s at {options.rate} Hz, {options.threads} threads;"
        )
        print(f"MFCC of both differ by at most {difference:.1e}")
        encoder = MfccEncoder("cpu")
        media = [MediaFile(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        with (
            ThreadPoolExecutor(options.threads) as pool,
            decoding(ours, LIMITS[Modality.AUDIO], trusted=False) as decode,
        ):

            def alone() -> int:
                with threadpool_limits(1, "blas"):
                    return len(list(pool.map(_theirs, files)))

            compare(
                {
                    "librosa": lambda: len(list(pool.map(_theirs, files))),
                    "librosa, BLAS on one thread": alone,
                    "retrieval": lambda: len(list(pool.map(ours, files))),
                    "retrieval in processes": lambda: len(list(pool.map(decode, media))),
                    "retrieval's encoder": lambda: len(list(pool.map(encoder.prepare, files))),
                },
                rounds=options.rounds,
                unit="clips",
            )


def _clip(seconds: float, rate: int, seed: int) -> NDArray[np.float64]:
    """Return a falling tone over noise of varying loudness."""
    times = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).standard_normal(len(times))
    tone = np.sin(2 * np.pi * (300 + 50 * seed) * times * (1 - times / (4 * seconds)))
    return 0.4 * tone + 0.05 * noise * (1 + np.sin(3 * times))


def _theirs(file: Path) -> NDArray[np.float32]:
    samples, rate = librosa.load(file)
    features: NDArray[np.float32] = librosa.feature.mfcc(y=samples, sr=rate).T
    return features


if __name__ == "__main__":
    main()
