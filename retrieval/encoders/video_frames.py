"""Videos by their frames: an image encoder's features, averaged over each segment and over the whole.

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
"""Pixels of the shorter side that frames reach the image encoder with, if they have more."""

FRAME_INTERVAL = 2.5
"""Seconds of video that one frame stands for at most, in videos of less than FRAME_INTERVAL * MAX_FRAMES seconds."""

MIN_FRAMES, MAX_FRAMES = 8, 512
"""Frames looked at of a short video and of a long one."""

STRETCHES = 8
"""Parts of a video or segment: its frames in stretches of as many each as can be; of fewer frames, each is one."""

SEGMENT_SECONDS = 10.0
"""Seconds of a segment, so that it has four frames; it is longer where MAX_FRAMES leaves fewer than that."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedVideo:
    """A video as ``VideoFrameEncoder.prepare`` leaves it.

    Attributes:
        frames: what the image encoder made of each frame, in the order of time.
        segments: (n,) int64, the segment each frame is in, counted from 0 without gaps.
        spans: of the whole video, and then of each segment where there are several.
    """

    frames: Sequence[Any]
    segments: NDArray[np.int64]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class VideoTransform:
    """Videos to their video.

    Attributes:
        prepare: the image encoder's.
    """

    prepare: Callable[[Any], Any]

    def __call__(self, medium: Any) -> PreparedVideo:
        """The frames of a video, each as the image encoder prepares it.

        Args:
            medium: a path or ``bytes``.

        Raises:
            MediaError: the medium is no readable video or exceeds a limit.
        """
        sampled = sample_frames(medium, side=SIDE, windows=frame_count)
        starts = segment_starts([frame.seconds for frame in sampled.frames], sampled.seconds)
        numbers = np.searchsorted(starts, [frame.seconds for frame in sampled.frames], side="right") - 1
        parts = tuple(map(Span, starts, [*starts[1:], sampled.seconds])) if len(starts) > 1 else ()
        return PreparedVideo([self.prepare(frame.image) for frame in sampled.frames], numbers, WHOLE + parts)


class VideoFrameEncoder:
    """Videos to the mean features of frames from their whole length, one row a segment and one for all.

    With ``parts`` the means of ``STRETCHES`` stretches of a row's frames follow.
    """

    def __init__(self, image: Encoder, device: str, *, parts: bool = False) -> None:
        """Wrap ``image``, an encoder of pictures that computes on ``device``.

        Raises:
            OptionError: its own rows hold parts.
        """
        whole = image.spec.dimension
        if parts_of(image):
            raise OptionError(
                f"the parts of a video are its frames, not those of encoder {image.spec.name!r}: use "
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
        """Let go of the image encoder's network."""
        if isinstance(self._image, Releasable):
            self._image.release()

    @property
    def numerics(self) -> str:
        """The image encoder's."""
        return self._image.numerics

    def spans(self, prepared: PreparedVideo) -> Sequence[Span]:
        """What each row that ``encode`` returns for a video is of: the whole, then segments if several."""
        return prepared.spans

    def encode(self, prepared: Sequence[PreparedVideo]) -> Matrix:
        """(rows, dimension) float32 features: of each video the mean, then its segments' means if several."""
        return np.concatenate(
            [np.empty((0, self.spec.dimension), np.float32), *(self._rows(video) for video in prepared)]
        )

    def _rows(self, video: PreparedVideo) -> Matrix:
        # Video by video: no more than one video's frames are in the network's memory at a time.
        features = self._image.encode(video.frames)
        parts = [features[video.segments == number] for number in range(len(video.spans) - 1)]
        return np.stack([self._row(part) for part in (features, *parts)])

    def _row(self, features: Matrix) -> Matrix:
        """(dimension,) float32 of the (n, d) features of some frames."""
        row = np.zeros(self.spec.dimension, np.float32)
        row[: features.shape[1]] = features.mean(0)
        if self.parts:
            stretches = np.array_split(features, min(len(features), STRETCHES))
            self.parts.split(row[None])[0, : len(stretches)] = [stretch.mean(0) for stretch in stretches]
        return row

    def class_head(self) -> ClassHead | None:
        """The image encoder's, for the features are means of its own; it reads no part."""
        head = self._image.class_head()
        if head is None or self.parts is None:
            return head
        more = self.spec.dimension - self.parts.whole
        return replace(head, weights=np.pad(head.weights, ((0, 0), (0, more))))


def frame_count(seconds: float) -> int:
    """How many frames are looked at of a video of so many seconds."""
    return min(max(MIN_FRAMES, math.ceil(seconds / FRAME_INTERVAL)), MAX_FRAMES)


def segment_starts(shown: Sequence[float], seconds: float) -> list[float]:
    """Where the segments start of a video of so many seconds, frames of which are shown at ``shown``.

    Segments lie at fixed times rather than at changes of scene: they depend on the video's length alone, so
    nothing has to be decoded twice, none is too short to be sampled or too long to name a moment, and a cut,
    a flash or a new version of a decoder moves none. A stretch that gave no frame belongs to the one before.
    """
    if seconds <= SEGMENT_SECONDS:
        return [0.0]
    length = max(SEGMENT_SECONDS, 4 * seconds / frame_count(seconds))
    return [0.0, *sorted({at // length * length for at in shown})[1:]]
