"""Sample upright frames from the whole length of a video, with FFmpeg through PyAV.

A file is read twice. The first pass decodes nothing: it records when each packet is shown and which packets can be
decoded alone (keyframes). So a wrong or missing duration, a truncated end or a wrong index does no harm. The second
pass decodes the runs of packets that lead to the chosen frames and skips the rest.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING

import numpy as np

from retrieval.errors import MediaError
from retrieval.formatting import reason
from retrieval.media.source import TIME_LIMIT, open_source
from retrieval.media.timeline import (
    DecodeRun,
    FrameRequest,
    Timeline,
    choose_frames,
    decode_runs,
    widen_requests,
)

if TYPE_CHECKING:
    from av import Packet, VideoFrame
    from av.container import InputContainer
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream
    from PIL import Image

MAX_SECONDS = 4 * 3600.0
"""Maximum length of a video, in seconds."""

MAX_PACKETS = 2_000_000
"""Maximum number of coded frames: more than four hours at 120 per second."""

MAX_FRAME_PIXELS = 8192 * 8192
"""Maximum number of pixels of a frame."""

_FALLBACK_SECONDS = 10.0
"""Seconds within which ``load_frame`` searches for a frame that is not black."""

# The defaults of FFmpeg's blackframe filter: 98 % of the pixels are below a tenth of white.
_BLACK_SHARE, _BLACK_LEVEL = 0.98, 26

# FFmpeg reads still pictures as videos of one frame; these formats may also hold an animation.
_ANIMATIONS = frozenset({"gif", "apng", "webp", "webp_anim", "avif"})


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video.

    Attributes:
        seconds: when it is shown, counted from the first frame.
        image: upright, in RGB.
        black: whether it is almost entirely black.
    """

    seconds: float
    image: Image.Image
    black: bool


@dataclass(frozen=True, slots=True)
class SampledFrames:
    """Frames sampled from a video.

    Attributes:
        seconds: length of the video, from its first frame to the end of its last.
        frames: at least one, in the order in which they are shown.
    """

    seconds: float
    frames: tuple[Frame, ...]


def sample_frames(
    source: str | os.PathLike[str] | bytes, *, side: int, windows: Callable[[float], int]
) -> SampledFrames:
    """Sample frames from the whole length of a video: one from each of equally long windows.

    In each window a keyframe is preferred, because it is decoded alone; otherwise the frame nearest to the middle
    is taken. If that frame is almost black, the first frame of the window that is not is taken. A window without a
    new frame gives none; neither does a window that is all black, unless the whole video is.
    Anamorphic pixels become square, and the rotation recorded by the camera is applied; transparency is ignored.

    Args:
        source: a path, or the bytes of a file.
        side: shorter side, in pixels, to which larger frames are scaled down.
        windows: returns the number of windows for a video of the given length in seconds.

    Raises:
        MediaError: the source is not a readable video, is a still picture, or exceeds a limit of this module.
    """
    with _readable(source) as file:
        return _sample(file, windows, side, time.monotonic() + TIME_LIMIT)


def load_frame(source: str | os.PathLike[str] | bytes, *, side: int, since: float = 0.0) -> Image.Image:
    """Load the frame shown at a time of a video or, if it is almost black, one shortly after.

    Args:
        source: a path, or the bytes of a file.
        side: shorter side, in pixels, to which a larger frame is scaled down.
        since: the time, in seconds; the last frame is used if it is past the end.

    Raises:
        MediaError: as ``sample_frames``.
    """
    deadline = time.monotonic() + TIME_LIMIT
    with _readable(source) as file:
        with _opened(file) as (container, stream):
            timeline, clock = _read_timeline(container, stream, deadline)
        since = min(since, float(timeline.seconds.max()))
        until = since + _FALLBACK_SECONDS
        inside = np.flatnonzero((timeline.seconds >= since) & (timeline.seconds < until))
        frame = None
        for _, frame in _decode_requests(
            file, timeline, clock, side, deadline, [FrameRequest(since, until, int(inside[-1]))]
        ):
            if not frame.black:
                break
        if frame is None:
            raise MediaError(f"expected a video, but none of its frames after {since:.1f} s can be decoded")
        return frame.image


@contextmanager
def _readable(source: str | os.PathLike[str] | bytes) -> Iterator[IO[bytes]]:
    """Open the file; errors inside the context become a ``MediaError`` that names the file."""
    import av

    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "video in memory"
    try:
        with open_source(source, kind="video", accepted="a path or bytes") as file:
            yield file
    except MediaError as error:
        raise MediaError(f"{name}: {error}") from None
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError(f"{name}: cannot be read as a video: {reason(error)}") from error


def _sample(file: IO[bytes], windows: Callable[[float], int], side: int, deadline: float) -> SampledFrames:
    with _opened(file) as (container, stream):
        timeline, clock = _read_timeline(container, stream, deadline)
        form = container.format.name
    if form in _ANIMATIONS and len(timeline.seconds) == 1:
        raise MediaError(f"expected a video, but it is a still picture ({form})")
    take = partial(_decode_requests, file, timeline, clock, side, deadline)
    count = windows(timeline.end)
    requests = choose_frames(timeline, count)
    found_frames = dict(take(requests))
    unmet = [
        request
        for request in requests
        if request.until not in found_frames or found_frames[request.until].black
    ]
    if unmet:
        found_frames |= dict(take(widen_requests(timeline, unmet, count)))
    frames = [found_frames[until] for until in sorted(found_frames)]
    if not frames:
        raise MediaError("expected a video, but none of its frames can be decoded")
    return SampledFrames(timeline.end, tuple([frame for frame in frames if not frame.black] or frames))


@dataclass(frozen=True, slots=True)
class _Clock:
    """Converts timestamps: ``unit`` seconds per tick from ``start``, or ``rate`` frames per second if that is None."""

    unit: float
    start: float | None
    rate: float

    def seconds(self, stamp: int | None, shown: int) -> float:
        """Return when a frame is shown, from its timestamp and the number of frames shown before it."""
        if self.start is None or stamp is None:
            return shown / self.rate
        return stamp * self.unit - self.start


@contextmanager
def _opened(file: IO[bytes]) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open the container and its video stream."""
    import av
    from av.stream import Discard, Disposition

    # FFmpeg reads through the open file. Opening anything else, for example from a playlist, is refused:
    # the protocols for files and addresses are not on the list.
    options = {"protocol_whitelist": "pipe", "max_pixels": str(MAX_FRAME_PIXELS)}
    with av.open(file, "r", options=options, buffer_size=1 << 18, timeout=TIME_LIMIT) as container:
        form = container.format.name
        if form.endswith("_pipe") or form == "image2":
            raise MediaError(f"expected a video, but it is a still picture ({form.removesuffix('_pipe')})")
        streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        if not streams:
            what = "only sound" if container.streams.audio else f"no pictures ({form})"
            raise MediaError(f"expected a video, but it holds {what}")
        stream = streams[0]
        if stream.codec_context is None:
            raise MediaError("FFmpeg has no decoder for its pictures")
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        # Several files are read in parallel: more threads per file would only compete with each other.
        stream.codec_context.thread_count = 1
        yield container, stream


def _packets(
    container: InputContainer, stream: VideoStream, deadline: float
) -> Iterator[Packet[VideoStream]]:
    """Yield the coded frames up to the first damage."""
    import av

    packets = container.demux(stream)
    while True:
        if time.monotonic() > deadline:
            raise MediaError(f"takes longer to read than {TIME_LIMIT:.0f} s: cut or re-encode the video")
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            return
        if packet is None:
            return
        if packet.size:  # packets without data repeat the previous picture, or end the stream
            yield packet


def _read_timeline(
    container: InputContainer, stream: VideoStream, deadline: float
) -> tuple[Timeline, _Clock]:
    """Read when the frame of each packet is shown; if the file has no timestamps, frames are counted."""
    stamps: list[int | None] = []
    keys: list[bool] = []
    hidden: list[bool] = []
    duration: int | None = None
    for packet in _packets(container, stream, deadline):
        stamps.append(packet.pts)
        keys.append(packet.is_keyframe)
        hidden.append(packet.is_discard)
        duration = packet.duration or duration
        if len(stamps) > MAX_PACKETS:
            raise MediaError(f"has more than {MAX_PACKETS} frames, the limit: cut the video")
    if not stamps:
        raise MediaError("expected a video, but it has no frames")
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    unit = float(stream.time_base or 0)
    if unit and None not in stamps and not all(hidden):
        seconds = np.array(stamps, np.float64) * unit
        start, last = float(seconds[~np.array(hidden)].min()), duration * unit if duration else 1 / rate
        # Frames hidden by an edit list are decoded if others depend on them; they lie before every window.
        seconds = np.where(hidden, -1.0, seconds - start)
        clock = _Clock(unit, start, rate)
    else:
        seconds, last = np.arange(len(stamps)) / rate, 1 / rate
        clock = _Clock(unit, None, rate)
    end = float(seconds.max()) + last
    if end > MAX_SECONDS:
        raise MediaError(f"is {end:.0f} s long, the limit is {MAX_SECONDS:.0f} s: cut the video")
    return Timeline(seconds, np.array(keys), end), clock


def _decode_requests(
    file: IO[bytes],
    timeline: Timeline,
    clock: _Clock,
    side: int,
    deadline: float,
    requests: Sequence[FrameRequest],
) -> Iterator[tuple[float, Frame]]:
    """Yield (``request.until``, frame) pairs: for each request its black frames and, last, one that is not black."""
    from av.video.reformatter import VideoReformatter

    file.seek(0)
    # Open the file again: some of FFmpeg's formats cannot be rewound, and this yields the same packets.
    with _opened(file) as (container, stream):
        scaler = VideoReformatter()
        aspect = float(stream.sample_aspect_ratio or 1)
        packets = enumerate(_packets(container, stream, deadline))
        for run in decode_runs(timeline, requests):
            waiting = deque(run.requests)
            for seconds, frame in _decoded(packets, run, stream, clock):
                while waiting and seconds >= waiting[0].until:
                    waiting.popleft()
                if waiting and seconds >= waiting[0].since:
                    image = _to_image(frame, scaler, side, aspect)
                    sampled = Frame(seconds, image, _is_black(image))
                    yield waiting[0].until, sampled
                    if not sampled.black:
                        waiting.popleft()
            stream.codec_context.flush_buffers()


def _decoded(
    packets: Iterator[tuple[int, Packet[VideoStream]]], run: DecodeRun, stream: VideoStream, clock: _Clock
) -> Iterator[tuple[float, VideoFrame]]:
    """Yield the frames of a run in the order in which they are shown; frames that cannot be decoded are skipped."""
    import av

    shown = run.first
    decoder = stream.codec_context
    for number, packet in packets:
        if number < run.first:
            continue
        # After the last packet, None makes the decoder return the frames that it still holds.
        for piece in (packet, None) if number == run.last else (packet,):
            try:
                frames = decoder.decode(piece)
            except av.FFmpegError:
                continue
            for frame in frames:
                yield clock.seconds(frame.pts, shown), frame
                shown += 1
        if number == run.last:
            return


def _to_image(frame: VideoFrame, scaler: VideoReformatter, side: int, aspect: float) -> Image.Image:
    """Convert a frame to an upright RGB image with square pixels and a shorter side of at most ``side``."""
    if frame.width * frame.height > MAX_FRAME_PIXELS:
        pixels = f"{frame.width} x {frame.height} pixels"
        raise MediaError(f"has frames of {pixels}, the limit is {MAX_FRAME_PIXELS}: scale the video down")
    width, height = frame.width * max(aspect, 1), frame.height / min(aspect, 1)
    scale = min(1.0, side / min(width, height))
    scaled = scaler.reformat(frame, max(1, round(width * scale)), max(1, round(height * scale)), "rgb24")
    image: Image.Image = scaled.to_image()  # type: ignore[no-untyped-call]
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image


def _is_black(image: Image.Image) -> bool:
    levels = image.convert("L").histogram()
    return sum(levels[:_BLACK_LEVEL]) >= _BLACK_SHARE * sum(levels)
