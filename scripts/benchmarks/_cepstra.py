"""Sound files to MFCC by this project's front end, where worker processes find it too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.media import acoustics, audio

RATE = 22050
"""What ``librosa.load`` resamples to unless told otherwise."""


def ours(file: Path) -> NDArray[np.float32]:
    """(frames, 20) float32."""
    return acoustics.mfcc(audio.load_audio(file, RATE).samples, RATE)
