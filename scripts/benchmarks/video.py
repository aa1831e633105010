"""Benchmark of sampling frames from videos, compared with plain PyAV for the same frames.

    scripts/benchmark video [FILE_OR_FOLDER ...] [--rounds N]

Without files, videos are generated: one minute with few and with many keyframes, and twenty of two seconds, in the
size of the spoken digits. PyAV alone opens each file once and decodes from the start to the last requested frame or,
if that is faster, seeks to the keyframe of each frame. The frames are converted to pictures of the same size and
compared. Rounds alternate, and the fastest round of each side counts, in processor time: both decode on one thread,
and other programs may be running.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import av
import numpy as np
from PIL import Image

from retrieval.encoders.video_frames import SIDE, frame_count
from retrieval.media.formats import modality_of
from retrieval.media.video import SampledFrames, sample_frames
from retrieval.types import Modality


def ours(path: Path) -> SampledFrames:
    """Return the frames as they are indexed."""
    return sample_frames(path, side=SIDE, windows=frame_count)


def decode_through(path: Path, times: Sequence[float], size: tuple[int, int]) -> list[Image.Image]:
    """Return the frames at ``times`` seconds, decoded by plain PyAV from the start."""
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        waiting = iter(times)
        next_time = next(waiting, None)
        first = None
        for frame in container.decode(stream):
            first = frame.time if first is None else first
            if next_time is not None and frame.time - first >= next_time - 1e-6:
                pictures.append(frame.to_image(width=size[0], height=size[1]))
                next_time = next(waiting, None)
                if next_time is None:
                    break
    return pictures


def decode_seeking(path: Path, times: Sequence[float], size: tuple[int, int]) -> list[Image.Image]:
    """Return the same frames, each decoded from its keyframe after a seek."""
    pictures = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        first = (stream.start_time or 0) * stream.time_base
        for seconds in times:
            container.seek(round((seconds + first) / stream.time_base), stream=stream)
            for frame in container.decode(stream):
                if frame.time - first >= seconds - 1e-6:
                    pictures.append(frame.to_image(width=size[0], height=size[1]))
                    break
    return pictures


def write(path: Path, seconds: int, size: tuple[int, int], keys: int) -> Path:
    """Write a video of slowly moving noise."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
    scene = coarse.resize((size[0] * 2, size[1] * 2), Image.Resampling.BICUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = keys
        for number in range(seconds * 25):
            at = number % size[0] // 2
            image = scene.crop((at, at // 2, at + size[0], at // 2 + size[1]))
            container.mux(stream.encode(av.VideoFrame.from_image(image)))
        container.mux(stream.encode(None))
    return path


def fastest(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least processor seconds of each job; the jobs take turns."""
    least = dict.fromkeys(jobs, float("inf"))
    for _ in range(rounds):
        for name, job in jobs.items():
            started = time.process_time()
            job()
            least[name] = min(least[name], time.process_time() - started)
    return least


def compare(name: str, paths: Sequence[Path], rounds: int) -> float:
    """Print one line, and return the ratio of our speed to PyAV's."""
    sampled = [ours(path) for path in paths]
    plans = [
        (path, [frame.seconds for frame in one.frames], one.frames[0].image.size)
        for path, one in zip(paths, sampled, strict=True)
    ]
    for plan, one in zip(plans, sampled, strict=True):
        alone = decode_through(*plan)
        if [picture.tobytes() for picture in alone] != [frame.image.tobytes() for frame in one.frames]:
            print(f"{plan[0].name}: not the same frames", file=sys.stderr)
    jobs: dict[str, Callable[[], object]] = {"ours": lambda: [ours(path) for path in paths]}
    for method in (decode_through, decode_seeking):
        jobs[method.__name__] = partial(lambda method: [method(*plan) for plan in plans], method)
    least = fastest(jobs, rounds)
    ours_took, theirs_took = least["ours"], min(least["decode_through"], least["decode_seeking"])
    count = sum(len(one.frames) for one in sampled)
    print(
        f"{name:<32} {count:>6} frames  ours {count / ours_took:>7.0f}/s  "
        f"PyAV through {count / least['decode_through']:>7.0f}/s  "
        f"seeking {count / least['decode_seeking']:>7.0f}/s  ratio {theirs_took / ours_took:.2f}"
    )
    return theirs_took / ours_took


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sources", nargs="*", type=Path, help="video files or folders of them")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if options.sources:
            sets = {
                source.name: [
                    path for path in sorted(source.rglob("*")) if modality_of(path) is Modality.VIDEO
                ]
                if source.is_dir()
                else [source]
                for source in options.sources
            }
        else:
            sets = {
                "60 s 640x360, keyframe in 10 s": [write(folder / "few.mp4", 60, (640, 360), 250)],
                "60 s 640x360, keyframe in 1 s": [write(folder / "many.mp4", 60, (640, 360), 25)],
                "20 of 2 s 112x112": [write(folder / f"{n}.mp4", 2, (112, 112), 250) for n in range(20)],
            }
        for name, paths in sets.items():
            compare(name, paths, options.rounds)


if __name__ == "__main__":
    main()
