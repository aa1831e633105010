"""Choose frames of a video, and the packets to decode for them; pure arithmetic, no files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Timeline:
    """The packets of a video, in the order in which they are stored and decoded.

    Attributes:
        seconds: (n,) float64, when each frame is shown, counted from the first one shown; -1 if it never is.
        keys: (n,) bool, whether the packet is a keyframe, which can be decoded without those before it.
        end: second when the last frame shown ends.
    """

    seconds: NDArray[np.float64]
    keys: NDArray[np.bool_]
    end: float


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """A request for the first frame shown in an interval of time.

    Attributes:
        since: start of the interval, in seconds.
        until: end of the interval, exclusive.
        packet: the last packet to decode for this request, counted from 0.
    """

    since: float
    until: float
    packet: int


@dataclass(frozen=True, slots=True)
class DecodeRun:
    """Consecutive packets to decode with a decoder that has no memory of earlier ones.

    Attributes:
        first: the first packet; a keyframe if there is one.
        last: the last packet.
        requests: the frames requested from these packets, in the order of time.
    """

    first: int
    last: int
    requests: tuple[FrameRequest, ...]


def choose_frames(timeline: Timeline, windows: int) -> list[FrameRequest]:
    """Choose one frame from each of ``windows`` equally long windows that has any, in the order of time.

    A keyframe is preferred because it costs only one packet; among equals, the one nearest to the middle is chosen.
    """
    edges = np.linspace(0, timeline.end, windows + 1)
    order = np.argsort(timeline.seconds, kind="stable")
    cuts = np.searchsorted(timeline.seconds[order], edges)
    cuts[-1] = len(order)  # the last edge is the end, with rounding
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
    """Widen requests to any frame of their windows; this needs more packets to be decoded."""
    wide = []
    for request in requests:
        since = request.until - timeline.end / windows
        inside = (timeline.seconds >= since) & (timeline.seconds < request.until)
        wide.append(
            replace(request, since=since, packet=max(request.packet, int(np.flatnonzero(inside)[-1])))
        )
    return wide


def decode_runs(timeline: Timeline, requests: Iterable[FrameRequest]) -> Iterator[DecodeRun]:
    """Yield the runs to decode for ``requests``, in stored order; no packet is decoded twice."""
    ordered = sorted(requests, key=lambda request: request.packet)
    starts = np.flatnonzero(timeline.keys)
    firsts = np.array([_start(timeline, starts, request) for request in ordered], np.int64)
    # If a later request starts further back, it is decoded together with the earlier ones: packets come once.
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
    """Return the packet to start from: the last keyframe stored and shown no later than the requested frame."""
    before = starts[: np.searchsorted(starts, request.packet, side="right")]
    # A frame stored after a keyframe but shown before it may depend on the previous keyframe.
    usable = before[timeline.seconds[before] <= request.since]
    return int(usable[-1]) if len(usable) else 0
