"""The built page in the package."""

from __future__ import annotations

import gzip
import re

from retrieval.server.static_page import BUILT_PAGE


def test_page_is_small() -> None:
    files = [path for path in BUILT_PAGE.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".html", ".js", ".css", ".svg"}
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) < 150_000


def test_page_loads_nothing_from_other_hosts() -> None:
    for path in BUILT_PAGE.rglob("*.*"):
        addresses = set(re.findall(r"https?://[\w./-]+", path.read_text(encoding="utf-8")))
        assert all(address.startswith("http://www.w3.org/") for address in addresses), addresses
