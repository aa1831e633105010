"""Where the files of an index are: its sources, as they were recorded or as somebody says they are now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from retrieval.errors import MissingFileError, OptionError

_FORMAT = re.compile(r"[a-z0-9-]{2,}:(?=/)")
"""What precedes the path of a source that is read by an adapter."""


class AssetFiles:
    """The folders that the catalog's paths are relative to."""

    def __init__(self, recorded: Sequence[str], roots: Sequence[Path] = (), *, confined: bool = True) -> None:
        """Take the sources from the manifest.

        Args:
            recorded: what the manifest names.
            roots: folders to take in their place, one for each of them; those recorded when empty.
            confined: whether only what lies in these folders is named, also when links are followed: for
                whoever shows files to others.

        Raises:
            OptionError: another number of roots than of sources, or a root that is no folder.
        """
        if roots and len(roots) != len(recorded):
            raise OptionError(
                f"the index has {len(recorded)} sources ({', '.join(recorded)}): "
                f"give a root for each, in this order, not {len(roots)}"
            )
        if strange := [str(root) for root in roots if not root.is_dir()]:
            raise OptionError(
                f"the root {strange[0]!r} is no folder: expected where the source's files are now"
            )
        self._confined = confined
        self._folders = [root.resolve() for root in roots] or [_folder(each) for each in recorded]

    def file(self, source: int | None, path: str | None) -> Path:
        """The file of an asset: a regular one, links followed.

        Args:
            source: its source's position.
            path: relative to the source, as the catalog has it.

        Raises:
            MissingFileError: there is none, or it lies elsewhere; with the reason.
        """
        if path is None or source is None or source >= len(self._folders):
            raise MissingFileError("this asset has no file: it came as text or as a vector")
        folder = self._folders[source]
        try:
            file = (folder / path).resolve()
            if self._confined and not file.is_relative_to(folder):
                raise MissingFileError(
                    f"the file {path!r} lies outside its source and is not served: name a root that holds it"
                )
            if file.is_file():
                return file
        except (OSError, ValueError, RuntimeError) as error:  # loops of links, names no file system takes
            # Without the error's own text, which has the whole path in it.
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise MissingFileError(f"the file {path!r} cannot be read: {reason}") from error
        raise MissingFileError(
            f"the file {path!r} is not where it was indexed: restore it, or name the root it is under now"
        )


def _folder(recorded: str) -> Path:
    path = Path(_FORMAT.sub("", recorded, count=1))
    return (path if path.is_dir() else path.parent).resolve()
