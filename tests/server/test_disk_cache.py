"""The server's thumbnail cache: its size limit, and how it handles a missing folder or a full disk."""

import os
import shutil

import pytest

from retrieval.server.disk_cache import DiskCache


def test_cached_data_is_shared_with_another_server(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    assert cache.get("a") is None
    cache.put("a", b"one")
    cache.put("../b", b"two")
    other = DiskCache(tmp_path / "cache")
    assert (other.get("a"), other.get("../b")) == (b"one", b"two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache"]


def test_least_recently_used_files_are_evicted_first(tmp_path):
    cache = DiskCache(tmp_path / "cache", max_bytes=1000)
    for number in range(9):
        cache.put(str(number), bytes(100))
        os.utime(cache._path(str(number)), ns=(number, number))
    assert cache.get("0")  # marks it as used now
    cache.put("9", bytes(100))
    cache.put("10", bytes(100))
    cached = {number for number in range(11) if cache.get(str(number))}
    assert cached == {0, 3, 4, 5, 6, 7, 8, 9, 10}
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) <= 900


def test_folder_may_be_deleted_at_any_time(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    cache.put("a", b"one")
    shutil.rmtree(tmp_path / "cache")
    assert cache.get("a") is None
    cache.put("a", b"two")
    assert cache.get("a") == b"two"


@pytest.mark.parametrize("kind", ["file", "under a file"])
def test_unwritable_folder_is_replaced_by_a_temporary_one(tmp_path, kind):
    (tmp_path / "taken").write_bytes(b"")
    cache = DiskCache(tmp_path / "taken" if kind == "file" else tmp_path / "taken/cache")
    cache.put("a", b"one")
    assert cache.get("a") == b"one"
    temporary = cache._folder
    cache.close()
    assert not temporary.exists()


def test_full_disk_raises_no_error(tmp_path, monkeypatch):
    cache = DiskCache(tmp_path / "cache")

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("retrieval.server.disk_cache.tempfile.NamedTemporaryFile", full)
    cache.put("a", b"one")
    assert cache.get("a") is None
