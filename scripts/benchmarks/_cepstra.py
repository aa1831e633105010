"""Audio files to MFCC with this project's front end, in a module that worker processes can import."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.media import acoustics, audio

RATE = 22050
"""Default sample rate of ``librosa.load``."""


def ours(file: Path) -> NDArray[np.float32]:
    """Return the MFCC of a file, (frames, 20) float32."""
    return acoustics.mfcc(audio.load_audio(file, RATE).samples, RATE)
