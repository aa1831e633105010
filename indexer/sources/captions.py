"""Caption files: one caption a line."""

from __future__ import annotations

import re
from pathlib import Path

from retrieval.errors import SourceError

LIMIT = 1_000_000
"""Bytes of a caption file; whatever is longer is a document, not captions."""

# Tux Paint and others keep a caption's translations in the same file, as lines like `pt_br.utf8=Uma gata.`;
# they are not further captions: the packaged text encoder reads English.
TRANSLATION = re.compile(r"[A-Za-z]{2,3}(?:[_@-]\w+)*\.utf8=")


def read(path: Path) -> list[str]:
    """The captions in ``path``: its lines without blank ones and translations.

    Raises:
        SourceError: the file cannot be read, is too long, is not text, or holds no caption.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise SourceError(
                f"a caption file may hold {LIMIT:,} bytes, this one has {path.stat().st_size:,}"
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
    found = [line.strip() for line in lines if line.strip() and not TRANSLATION.match(line)]
    if not found:
        raise SourceError("the caption file holds no caption: write one a line, or remove it")
    return found
