"""Encode videos by their frames: image features, averaged over each segment and over the whole.

The mean keeps the features in the image encoder's own space, where its classifier still applies: a linear
classifier of a mean is the mean of the classifier's logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.encoders.base import (
    WHOLE,
    ClassHead,
    Encoder,
    EncoderSpec,
    PartLayout,
    Releasable,
    Span,
    parts_of,
)
from retrieval.errors import OptionError
from retrieval.media.video import sample_frames
from retrieval.types import Matrix, Modality

SIDE = 256
"""Shorter side of frames, in pixels, when they reach the image encoder; larger frames are scaled down."""

FRAME_INTERVAL = 2.5
"""Maximum seconds of video per sampled frame, in videos shorter than FRAME_INTERVAL * MAX_FRAMES seconds."""

MIN_FRAMES, MAX_FRAMES = 8, 512
"""Number of frames sampled from a short video and from a long one."""

STRETCHES = 8
"""Number of parts of a video or segment: stretches of almost equally many frames; fewer frames are one part each."""

SEGMENT_SECONDS = 10.0
"""Length of a segment, which then has four frames; it is longer where MAX_FRAMES would leave fewer than four."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedVideo:
    """A video after ``VideoFrameEncoder.prepare``.

    Attributes:
        frames: the frames as the image encoder prepared them, in the order of time.
        segments: (n,) int64, segment number of each frame, counted from 0 without gaps.
        spans: span of the whole video, then of each segment if there are several.
    """

    frames: Sequence[Any]
    segments: NDArray[np.int64]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class VideoTransform:
    """Decodes a video and prepares its frames.

    Attributes:
        prepare: the image encoder's ``prepare``.
    """

    prepare: Callable[[Any], Any]

    def __call__(self, medium: Any) -> PreparedVideo:
        """Return the sampled frames of a video, prepared by the image encoder.

        Args:
            medium: a path or ``bytes``.

        Raises:
            MediaError: the medium is not a readable video or exceeds a limit.
        """
        sampled = sample_frames(medium, side=SIDE, windows=frame_count)
        starts = segment_starts([frame.seconds for frame in sampled.frames], sampled.seconds)
        numbers = np.searchsorted(starts, [frame.seconds for frame in sampled.frames], side="right") - 1
        parts = tuple(map(Span, starts, [*starts[1:], sampled.seconds])) if len(starts) > 1 else ()
        return PreparedVideo([self.prepare(frame.image) for frame in sampled.frames], numbers, WHOLE + parts)


class VideoFrameEncoder:
    """Encodes videos as mean features of frames from their whole length: one row for the whole and one per segment.

    With ``parts``, the means of ``STRETCHES`` stretches of a row's frames follow.
    """

    def __init__(self, image: Encoder, device: str, *, parts: bool = False) -> None:
        """Wrap the image encoder ``image``, which computes on ``device``.

        Raises:
            OptionError: the rows of ``image`` already hold parts.
        """
        whole = image.spec.dimension
        if parts_of(image):
            raise OptionError(
                f"the parts of a video are its frames, so it cannot use the parts of encoder {image.spec.name!r}: use "
                f"frames-parts:{image.spec.name.removesuffix('-parts')}"
            )
        self.parts = PartLayout.after_whole(whole, STRETCHES, whole) if parts else None
        self.spec = EncoderSpec(
            name=f"frames-parts:{image.spec.name}" if parts else f"frames:{image.spec.name}",
            modality=Modality.VIDEO,
            dimension=self.parts.dimension if self.parts else whole,
            weights=image.spec.weights,
            preprocessing=f"a frame every {FRAME_INTERVAL} s, {MIN_FRAMES} to {MAX_FRAMES}, scaled to {SIDE} by "
            f"swscale, mean over {SEGMENT_SECONDS} s and over all, of {image.spec.fingerprint}"
            + (f"; {STRETCHES} stretches" if parts else ""),
        )
        self.prepare = VideoTransform(image.prepare)
        self._image = image
        self._device = device

    def __repr__(self) -> str:
        return f"Frames({self._image!r}, device={self._device!r})"

    def release(self) -> None:
        """Release the image encoder's network."""
        if isinstance(self._image, Releasable):
            self._image.release()

    @property
    def numerics(self) -> str:
        """Numerics of the image encoder."""
        return self._image.numerics

    def spans(self, prepared: PreparedVideo) -> Sequence[Span]:
        """Return the span of each row of a video: the whole, then the segments if there are several."""
        return prepared.spans

    def encode(self, prepared: Sequence[PreparedVideo]) -> Matrix:
        """Return (rows, dimension) float32: for each video its mean, then the means of its segments if several."""
        return np.concatenate(
            [np.empty((0, self.spec.dimension), np.float32), *(self._rows(video) for video in prepared)]
        )

    def _rows(self, video: PreparedVideo) -> Matrix:
        # Video by video, so that the network holds the frames of only one video in memory at a time.
        features = self._image.encode(video.frames)
        parts = [features[video.segments == number] for number in range(len(video.spans) - 1)]
        return np.stack([self._row(part) for part in (features, *parts)])

    def _row(self, features: Matrix) -> Matrix:
        """Return the (dimension,) float32 row for the (n, d) features of some frames."""
        row = np.zeros(self.spec.dimension, np.float32)
        row[: features.shape[1]] = features.mean(0)
        if self.parts:
            stretches = np.array_split(features, min(len(features), STRETCHES))
            self.parts.split(row[None])[0, : len(stretches)] = [stretch.mean(0) for stretch in stretches]
        return row

    def class_head(self) -> ClassHead | None:
        """Return the image encoder's classifier, which applies to means of its features; it ignores the parts."""
        head = self._image.class_head()
        if head is None or self.parts is None:
            return head
        more = self.spec.dimension - self.parts.whole
        return replace(head, weights=np.pad(head.weights, ((0, 0), (0, more))))


def frame_count(seconds: float) -> int:
    """Return how many frames to sample from a video of this many seconds."""
    return min(max(MIN_FRAMES, math.ceil(seconds / FRAME_INTERVAL)), MAX_FRAMES)


def segment_starts(shown: Sequence[float], seconds: float) -> list[float]:
    """Return the start of each segment of a video, from its length and the times ``shown`` of its sampled frames.

    Segments lie at fixed times rather than at changes of scene. They depend on the video's length alone: nothing is
    decoded twice, no segment is too short to have frames or too long to locate a moment, and a cut, a flash or a
    new version of a decoder moves none. A stretch without a frame belongs to the segment before.
    """
    if seconds <= SEGMENT_SECONDS:
        return [0.0]
    length = max(SEGMENT_SECONDS, 4 * seconds / frame_count(seconds))
    return [0.0, *sorted({at // length * length for at in shown})[1:]]
