"""Which frames of a video to look at, and which packets lead to them: arithmetic alone, no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Timeline:
    """The packets of a video in the order they are stored and decoded.

    Attributes:
        seconds: (n,) float64, when each frame is shown, counted from the first shown; -1 if it never is.
        keys: (n,) bool, whether it can be decoded without those before it.
        end: when the last frame shown is over.
    """

    seconds: NDArray[np.float64]
    keys: NDArray[np.bool_]
    end: float


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """The first frame shown in a stretch of time.

    Attributes:
        since: the stretch's first second.
        until: its end, which is not in it any more.
        packet: the last packet to decode for it, counted from 0.
    """

    since: float
    until: float
    packet: int


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """Packets to decode one after the other, the decoder knowing nothing of those before.

    Attributes:
        first: the first packet, a keyframe wherever there is one.
        last: the last packet.
        requests: what is looked for in them, in the order of time.
    """

    first: int
    last: int
    requests: tuple[FrameRequest, ...]


def choose_frames(timeline: Timeline, windows: int) -> list[FrameRequest]:
    """One frame from each of equally long windows that has any, in the order of time.

    A keyframe is chosen before others, for it costs one packet; among equals the one nearest to the middle.
    """
    edges = np.linspace(0, timeline.end, windows + 1)
    order = np.argsort(timeline.seconds, kind="stable")
    cuts = np.searchsorted(timeline.seconds[order], edges)
    cuts[-1] = len(order)  # the last edge is the end itself, rounded
    requests = []
    for since, until, low, high in zip(edges[:-1], edges[1:], cuts[:-1], cuts[1:], strict=True):
        members = order[low:high]
        if not len(members):
            continue
        keys = members[timeline.keys[members]]
        candidates = keys if len(keys) else members
        nearest = candidates[np.abs(timeline.seconds[candidates] - (since + until) / 2).argmin()]
        requests.append(FrameRequest(float(timeline.seconds[nearest]), float(until), int(nearest)))
    return requests


def widen_requests(timeline: Timeline, requests: Iterable[FrameRequest], windows: int) -> list[FrameRequest]:
    """The same requests for any frame of their windows, for which more must be decoded."""
    wide = []
    for request in requests:
        since = request.until - timeline.end / windows
        inside = (timeline.seconds >= since) & (timeline.seconds < request.until)
        wide.append(
            replace(request, since=since, packet=max(request.packet, int(np.flatnonzero(inside)[-1])))
        )
    return wide


def decode_runs(timeline: Timeline, requests: Iterable[FrameRequest]) -> Iterator[DecodeRun]:
    """What to decode for ``requests``, in the order it is stored; no packet is decoded twice."""
    ordered = sorted(requests, key=lambda request: request.packet)
    starts = np.flatnonzero(timeline.keys)
    firsts = np.array([_start(timeline, starts, request) for request in ordered], np.int64)
    # What a later request needs from further back is decoded with the earlier ones: packets come once.
    firsts = np.minimum.accumulate(firsts[::-1])[::-1]
    current: DecodeRun | None = None
    for first, request in zip(firsts.tolist(), ordered, strict=True):
        if current is not None and first <= current.last:
            together = sorted((*current.requests, request), key=lambda request: request.until)
            current = DecodeRun(current.first, request.packet, tuple(together))
            continue
        if current is not None:
            yield current
        current = DecodeRun(first, request.packet, (request,))
    if current is not None:
        yield current


def _start(timeline: Timeline, starts: NDArray[np.intp], request: FrameRequest) -> int:
    """The packet to start from: the last keyframe stored and shown no later than what is wished for."""
    before = starts[: np.searchsorted(starts, request.packet, side="right")]
    # A frame stored behind a keyframe and shown before it may lean on the keyframe before that.
    usable = before[timeline.seconds[before] <= request.since]
    return int(usable[-1]) if len(usable) else 0
