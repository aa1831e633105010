"""Finding the files of an index: below its recorded sources, or below roots that replace them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from retrieval.errors import MissingFileError, OptionError

_FORMAT = re.compile(r"[a-z0-9-]{2,}:(?=/)")
"""Prefix of the path of a source that is read by an adapter."""


class AssetFiles:
    """The folders that the catalog's paths are relative to."""

    def __init__(self, recorded: Sequence[str], roots: Sequence[Path] = (), *, confined: bool = True) -> None:
        """Locate the folders of the sources.

        Args:
            recorded: the sources in the manifest.
            roots: folders that replace them, one for each source; the recorded ones are used if empty.
            confined: accept only files inside these folders, also after following links. Needed if files are shown
                to other people.

        Raises:
            OptionError: the numbers of roots and sources differ, or a root is not a folder.
        """
        if roots and len(roots) != len(recorded):
            raise OptionError(
                f"the index has {len(recorded)} sources ({', '.join(recorded)}): "
                f"give one root for each, in this order, not {len(roots)}"
            )
        if invalid := [str(root) for root in roots if not root.is_dir()]:
            raise OptionError(
                f"the root {invalid[0]!r} is not a folder: expected the folder that holds the source's files now"
            )
        self._confined = confined
        self._folders = [root.resolve() for root in roots] or [_folder(each) for each in recorded]

    def file(self, source: int | None, path: str | None) -> Path:
        """Return the regular file of an asset, with links resolved.

        Args:
            source: position of its source.
            path: path relative to the source, as in the catalog.

        Raises:
            MissingFileError: the file is missing or lies outside its source; the message names the reason.
        """
        if path is None or source is None or source >= len(self._folders):
            raise MissingFileError("this asset has no file: it was indexed as text or as a vector")
        folder = self._folders[source]
        try:
            file = (folder / path).resolve()
            if self._confined and not file.is_relative_to(folder):
                raise MissingFileError(
                    f"the file {path!r} lies outside its source and is not served: give a root that contains it"
                )
            if file.is_file():
                return file
        except (OSError, ValueError, RuntimeError) as error:  # loops of links, invalid names
            # Without the text of the error, which contains the absolute path.
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise MissingFileError(f"the file {path!r} cannot be read: {reason}") from error
        raise MissingFileError(
            f"the file {path!r} is not where it was indexed: restore it, or give the root that contains it now"
        )


def _folder(recorded: str) -> Path:
    path = Path(_FORMAT.sub("", recorded, count=1))
    return (path if path.is_dir() else path.parent).resolve()
