"""Caption files: one caption per line."""

from __future__ import annotations

import re
from pathlib import Path

from retrieval.errors import SourceError

LIMIT = 1_000_000
"""Maximum bytes of a caption file; a longer file is a document, not captions."""

# Tux Paint and others keep translations of a caption in the same file, as lines like `pt_br.utf8=Uma gata.`.
# These lines are not further captions: the packaged text encoder reads English.
TRANSLATION = re.compile(r"[A-Za-z]{2,3}(?:[_@-]\w+)*\.utf8=")


def read(path: Path) -> list[str]:
    """Return the captions in ``path``: its lines, except blank lines and translations.

    Raises:
        SourceError: the file cannot be read, is too long, is not text, or holds no caption.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise SourceError(
                f"a caption file may have at most {LIMIT:,} bytes, this one has {path.stat().st_size:,}"
            )
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}") from error
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        lines = data.decode(encoding).splitlines()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"expected text in UTF-8, byte {error.start} is not: save the file as UTF-8"
        ) from error
    captions = [line.strip() for line in lines if line.strip() and not TRANSLATION.match(line)]
    if not captions:
        raise SourceError("the caption file holds no caption: write one per line, or remove the file")
    return captions
