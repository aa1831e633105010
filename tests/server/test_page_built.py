"""The page as it is shipped."""

from __future__ import annotations

import gzip
import re

from retrieval.server.static_page import BUILT


def test_the_page_is_light() -> None:
    files = [path for path in BUILT.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".js", ".css", ".svg"}
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 150_000


def test_the_page_needs_nothing_from_elsewhere() -> None:
    for path in BUILT.rglob("*.*"):
        addresses = set(re.findall(r"https?://[\w./-]+", path.read_text(encoding="utf-8")))
        assert all(address.startswith("http://www.w3.org/") for address in addresses), addresses
