"""Decode audio from files, bytes or arrays into mono samples at a requested rate.

libsndfile reads the formats that it knows. FFmpeg, through PyAV, reads all others and the sound tracks of videos.
Decoding is the same for indexing and for queries. The libraries are imported with the first audio.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from retrieval.arrays.scratch import Scratch
from retrieval.errors import MediaError, NoSoundError
from retrieval.formatting import reason
from retrieval.media.source import TIME_LIMIT, open_source

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream, Packet

ACCEPTED = "a path, bytes, or an array of samples with its rate"
"""Accepted sources, for error messages."""

MAX_SECONDS = 3600.0
"""Audio is decoded only up to this length, in seconds."""

MAX_BYTES = 4 * 2**30
"""Maximum size of a file, in bytes."""

RATES = range(100, 1_000_001)
"""Accepted sample rates, in samples per second; a header with another rate is damaged."""

_BLOCK = 2**17  # samples of all channels together that are decoded at once; soxr's memory grows with it

_PCM_16 = np.float32(2**-15)  # value of one step of a 16-bit sample

_Block: TypeAlias = tuple[int, NDArray[np.float32]]  # rate and (n,) mono samples, valid until the next block

_SCRATCH = Scratch()


@dataclass(frozen=True, slots=True)
class AudioClip:
    """Decoded mono audio.

    Attributes:
        samples: (n,) float32, at least one, all finite; full scale is -1 to 1, which decoders may exceed.
        rate: samples per second.
        truncated: whether the source was longer than ``MAX_SECONDS``.
    """

    samples: NDArray[np.float32]
    rate: int
    truncated: bool = False

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.samples) / self.rate


def load_audio(
    source: str | os.PathLike[str] | bytes | tuple[NDArray[np.float32], int], rate: int | None = None
) -> AudioClip:
    """Load audio as the mean of its channels, resampled at most once.

    Only the first ``MAX_SECONDS`` are decoded. For a file that is damaged or cut short, the samples before the
    damage are used, if there are any. Resampling is soxr's HQ, as in librosa.

    Args:
        source: a path, the bytes of a file, or an array of float32 mono samples with its rate.
        rate: samples per second of the result; None for the source's own rate.

    Raises:
        MediaError: the source has no audio that can be decoded, or exceeds a limit; ``NoSoundError`` if it
            is a video without a sound track.
    """
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else "sound in memory"
    try:
        if isinstance(source, tuple):
            return _collect(_array_block(source), rate)
        with open_source(source, kind="sound", accepted=ACCEPTED, max_bytes=MAX_BYTES) as file:
            return _decode(file, rate)
    except OSError as error:
        raise MediaError(f"{name}: cannot be read: {error.strerror or error}") from error
    except MediaError as error:
        kind = NoSoundError if isinstance(error, NoSoundError) else MediaError
        raise kind(f"{name}: {error}") from None


def _decode(file: IO[bytes], rate: int | None) -> AudioClip:
    """Decode an open file with the first library that gets samples out of it."""
    try:
        return _collect(_libsndfile_blocks(file), rate)
    except _NoSamplesError:
        file.seek(0)
        return _collect(_ffmpeg_blocks(file), rate)


class _NoSamplesError(MediaError):
    """A decoder reached the end, or something that it cannot read, before the first sample."""


def _array_block(source: tuple[Any, ...]) -> Iterator[_Block]:
    """Yield the one block of an array that was passed with its rate."""
    if len(source) != 2 or not isinstance(source[1], int | np.integer):
        raise MediaError(
            "expected a pair: an array of samples, and its rate in samples per second as an integer"
        )
    array = np.asarray(source[0])
    if array.ndim != 1 or array.dtype.kind != "f":
        came = f"{array.dtype} of shape {array.shape}"
        raise MediaError(f"expected float32 mono samples of shape (n,), not {came}")
    if not array.size:
        raise MediaError("expected at least one sample, the array is empty")
    yield int(source[1]), array.astype(np.float32, copy=False)


def _libsndfile_blocks(file: IO[bytes]) -> Iterator[_Block]:
    """Yield blocks of a file in a format that libsndfile reads."""
    from soundfile import LibsndfileError, SoundFile

    # Pass the file descriptor if there is one: libsndfile then reads directly, and checks content, not the name.
    handle = file if isinstance(file, BytesIO) else file.fileno()
    try:
        with SoundFile(handle, closefd=False) as opened:
            shape = max(1, _BLOCK // opened.channels), opened.channels
            fractions = _SCRATCH.array("fractions", shape, np.float32)
            # Converting integers to fractions is six times faster here than in libsndfile, with equal results.
            whole = _SCRATCH.array("whole", shape, np.int16) if opened.subtype == "PCM_16" else None
            while len(block := opened.read(out=fractions if whole is None else whole)):
                if whole is not None:
                    block = np.multiply(block, _PCM_16, out=fractions[: len(block)])
                yield opened.samplerate, block.mean(axis=1) if opened.channels > 1 else block[:, 0]
                if opened.tell() >= opened.frames:  # otherwise an empty block would follow
                    break
    except LibsndfileError as error:
        raise _NoSamplesError(error.error_string) from error


def _ffmpeg_blocks(file: IO[bytes]) -> Iterator[_Block]:
    """Yield blocks of the sound track that FFmpeg considers the main one."""
    import av
    from av.stream import Discard

    deadline = time.monotonic() + TIME_LIMIT
    # FFmpeg reads through the open file. Opening anything else, for example from a playlist, is refused: no
    # protocol has the name "none".
    options = {"protocol_whitelist": "none"}
    try:
        with av.open(file, "r", options=options, metadata_errors="ignore") as container:
            stream = container.streams.best("audio")
            if not isinstance(stream, av.AudioStream):
                if container.streams.video:
                    raise NoSoundError("expected a sound, but it has only pictures")
                raise _NoSamplesError(f"expected a sound, but it has none ({container.format.name})")
            for other in container.streams:
                if other is not stream:
                    other.discard = Discard.all
            planes = av.AudioResampler(format="fltp")
            for packet in container.demux(stream):
                if time.monotonic() > deadline:
                    raise MediaError(f"cannot be decoded within {TIME_LIMIT:g} seconds")
                for frame in _decoded_frames(packet):
                    for plane in planes.resample(frame):
                        yield plane.sample_rate, plane.to_ndarray().mean(axis=0)
    except (av.FFmpegError, ValueError) as error:
        raise _NoSamplesError(f"expected a sound, but it cannot be decoded: {reason(error)}") from error


def _decoded_frames(packet: Packet[AudioStream]) -> list[AudioFrame]:
    """Return the frames of a packet; none if it is damaged."""
    import av

    try:
        return packet.decode()
    except av.InvalidDataError:
        return []


def _collect(blocks: Iterator[_Block], rate: int | None) -> AudioClip:
    """Join blocks of samples into one clip, up to the first damage or the limit."""
    parts: list[NDArray[np.float32]] = []
    native, count, limit = 0, 0, 0
    with closing(_until_damage(blocks)) as sound_blocks:
        for block_rate, block in sound_blocks:
            if not native:
                native, limit = block_rate, int(MAX_SECONDS * block_rate)
                resample = _resampler(native, rate)
            elif block_rate != native:
                break  # the rate changes in the middle: damage, or a second recording
            if not np.isfinite(block).all():
                raise MediaError("has samples that are not finite numbers: save the sound again")
            parts.append(resample(block[: limit - count], False))
            count += len(block)
            if count > limit:
                break
    parts.append(resample(np.empty(0, np.float32), True))
    target_rate = native if rate is None else rate
    parts = [part for part in parts if len(part)]
    # Avoid needless copies: each maps new memory, which costs as much as the decoding.
    samples = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, np.float32), *parts])
    # soxr rounds the length to nearest; this rounds up, as librosa does, so that no clip is empty.
    length = -(-min(count, limit) * target_rate // native)
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    return AudioClip(samples[:length], target_rate, truncated=count > limit)


def _until_damage(blocks: Iterator[_Block]) -> Generator[_Block]:
    """Yield the non-empty blocks up to the first that cannot be decoded; raise if there are none."""
    any_samples = False
    try:
        for block in blocks:
            if len(block[1]):
                any_samples = True
                yield block
    except _NoSamplesError:
        if not any_samples:
            raise
    if not any_samples:
        raise _NoSamplesError("expected a sound, but it has no samples")


def _resampler(native: int, rate: int | None) -> Callable[[NDArray[np.float32], bool], NDArray[np.float32]]:
    """Return a function that resamples the next samples to ``rate``; its second argument marks the last ones."""
    if native not in RATES:
        raise MediaError(f"expected a rate from {RATES[0]} to {RATES[-1]} samples a second, not {native}")
    if rate is None or rate == native:
        return lambda block, _last: block.copy()
    from soxr import ResampleStream

    stream = ResampleStream(native, rate, 1, dtype="float32", quality="HQ")

    def resample(block: NDArray[np.float32], last: bool) -> NDArray[np.float32]:
        resampled: NDArray[np.float32] = stream.resample_chunk(block, last)
        return resampled

    return resample
