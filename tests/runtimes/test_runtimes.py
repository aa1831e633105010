"""Runtimes give the same rows, and exports are complete or made again."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from retrieval.arrays.norms import unit
from retrieval.encoders.minilm import MiniLM
from retrieval.errors import DependencyError, OptionError
from retrieval.runtimes import device, export_cache, registry
from retrieval.runtimes.base import Network
from retrieval.runtimes.openvino_cpu import OpenVINOSession
from retrieval.runtimes.torch_module import COMPILE_AFTER_BATCHES, TorchSession
from retrieval.types import Modality
from tests.helpers.encoder_cases import FP32, encoder, media


def cosines(first: Any, second: Any) -> Any:
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / norms


def network(key: str = "0", built: list[int] | None = None) -> Network:
    """Return a network that maps (n, k) integers to their sums and half their sums: (n, 2)."""
    import torch

    class Sums(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, numbers: torch.Tensor) -> torch.Tensor:
            total = numbers.to(self.scale.dtype).sum(1)
            return torch.stack([total, total * self.scale], 1)

    def build() -> torch.nn.Module:
        if built is not None:
            built.append(1)
        return Sums()

    return Network("sums", key, build, ((None, None),), (np.ones((2, 3), np.int32),))


BATCHES = [(np.arange(n * k, dtype=np.int32).reshape(n, k),) for n, k in [(1, 1), (4, 7), (2, 3), (5, 1)]]


def expected(batch: Any) -> Any:
    total = batch[0].sum(axis=1)
    return np.stack([total, total / 2], axis=1)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "xmodal" / "exports"


@pytest.mark.parametrize("runtime", registry.RUNTIMES)
def test_batches_of_any_shape_come_back_in_order(runtime: str, own_cache: Path) -> None:
    session = registry.session(network(), device="cpu", runtime=runtime)
    for batches in (BATCHES, BATCHES[1:2], BATCHES * 20):
        for batch, rows in zip(batches, session.run(batches), strict=True):
            assert rows.dtype == np.float32
            assert_allclose(rows, expected(batch))


@pytest.mark.parametrize("name", ["minilm", "efficientnet-lite0"])
def test_runtimes_agree(name: str) -> None:
    first, second = (encoder(name, runtime) for runtime in ("torch", "openvino"))
    assert first.spec == second.spec
    prepared = [first.prepare(one) for one in media(first.spec.modality)]
    least = cosines(first.encode(prepared), second.encode(prepared)).min()
    # In bf16, features of noise and of a single pixel, unlike any training data, change more than those of photos.
    assert least > (1 - 1e-5 if second.numerics == FP32 else 0.95)


def test_bf16_changes_vectors_only_slightly() -> None:
    """Compares an index in bf16 with a query in fp32; PyTorch computes in bf16 on any CPU."""
    minilm = encoder("minilm", "torch")
    prepared = [minilm.prepare(one) for one in media(Modality.TEXT)]
    exact = minilm.encode(prepared)
    half = TorchSession(minilm._network(), "cpu", precision="bf16")
    assert half.numerics == "torch bf16"
    minilm_half = type(minilm)("cpu", "torch")
    minilm_half.__dict__["_session"] = half
    assert cosines(exact, minilm_half.encode(prepared)).min() > 0.999


@pytest.mark.parametrize(("name", "least"), [("minilm", 0.9999), ("efficientnet-lite0", 0.996)])
def test_rows_in_bf16_are_close_to_rows_in_fp32(name: str, least: float, data_folder: Path) -> None:
    """Compares an index built here with a query on another machine, on photos and their captions."""
    fast, full = encoder(name), encoder(name, FP32)
    if fast.numerics == full.numerics:
        pytest.skip("this processor does not compute in bf16")
    with (data_folder / "photos" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        photos = list(csv.DictReader(file))[:60]
    examples = [each["caption"] for each in photos]
    if name == "efficientnet-lite0":
        examples = [data_folder / "photos" / each["image"] for each in photos]
    prepared = [fast.prepare(one) for one in examples]
    low, full_rows = fast.encode(prepared), full.encode(prepared)
    assert cosines(low, full_rows).min() > least
    if name == "efficientnet-lite0":  # the classifier's features change less than those of earlier layers
        assert cosines(low[:, :1280], full_rows[:, :1280]).min() > 0.997
    nearest = [unit(each) @ unit(each).T - 2 * np.eye(len(each)) for each in (low, full_rows)]
    agreeing = np.mean([first.argmax() == second.argmax() for first, second in zip(*nearest, strict=True)])
    assert agreeing > 0.9


def test_openvino_uses_bf16_if_the_processor_supports_it(own_cache: Path) -> None:
    session = OpenVINOSession(network())
    if session.numerics == "openvino bf16":
        assert OpenVINOSession(network(), "fp32").numerics == "openvino fp32"
    else:
        with pytest.raises(OptionError, match="does not compute in bf16"):
            OpenVINOSession(network(), "bf16")


def test_auto_is_openvino_on_a_processor_and_torch_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.resolve("auto", "cpu") == "openvino"
    assert registry.resolve("auto", "cuda") == "torch"
    with pytest.raises(OptionError, match="not on cuda"):
        registry.resolve("openvino", "cuda")
    with pytest.raises(OptionError, match="'onnx': expected one of auto, torch, openvino"):
        registry.check_runtime("onnx")
    monkeypatch.setattr(registry, "find_spec", lambda _name: None)
    assert registry.resolve("auto", "cpu") == "torch"
    with pytest.raises(DependencyError, match="pip install openvino"):
        registry.resolve("openvino", "cpu")


def test_a_released_network_is_loaded_again() -> None:
    minilm = MiniLM("cpu", "torch")
    prepared = [minilm.prepare("a red apple")]
    before, session = minilm.encode(prepared), minilm._session
    minilm.release()
    minilm.release()
    assert_array_equal(minilm.encode(prepared), before)
    assert minilm._session is not session


def test_a_frequent_shape_is_compiled() -> None:
    session = TorchSession(network(), "cpu", backend="eager")
    frequent, rare = BATCHES[1], BATCHES[2]
    plain = [session.module_for(frequent) for _ in range(COMPILE_AFTER_BATCHES)]
    assert len(set(map(id, plain))) == 1
    compiled = session.module_for(frequent)
    assert compiled is not plain[0]
    assert session.module_for(rare) is plain[0]


def test_a_network_is_exported_once(own_cache: Path) -> None:
    built: list[int] = []
    for _ in range(2):
        OpenVINOSession(network("a", built)).run(BATCHES[:1])
    assert len(built) == 1
    OpenVINOSession(network("b", built)).run(BATCHES[:1])
    assert len(built) == 2
    assert len(list(own_cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "sums", "empty"])
def test_a_damaged_export_is_made_again(own_cache: Path, damage: str) -> None:
    built: list[int] = []
    OpenVINOSession(network(built=built)).run(BATCHES[:1])
    folder = next(own_cache.iterdir())
    file = folder / "model.bin"
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "flip":
        file.write_bytes(bytes(255 - byte for byte in file.read_bytes()))
    elif damage == "remove":
        file.unlink()
    elif damage == "sums":
        (folder / export_cache.CHECKSUMS).write_text("[")
    else:
        (folder / export_cache.CHECKSUMS).write_text("{}")
    assert_allclose(OpenVINOSession(network(built=built)).run(BATCHES[:1])[0], expected(BATCHES[0]))
    assert len(built) == 2
    assert [one.name for one in own_cache.iterdir()] == [folder.name]
    OpenVINOSession(network(built=built)).run(BATCHES[:1])
    assert len(built) == 2


def test_concurrent_writers_leave_one_complete_export(own_cache: Path) -> None:
    barrier = threading.Barrier(4)

    def make(folder: Path) -> None:
        barrier.wait()
        (folder / "content").write_bytes(b"the same" * 1000)

    found: list[Path | None] = []
    threads = [
        threading.Thread(target=lambda: found.append(export_cache.cached_export("key", make)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [own_cache / "key"] * 4
    assert [one.name for one in own_cache.iterdir()] == ["key"]
    assert export_cache.cached_export("key", make) == own_cache / "key"


def test_a_failed_export_leaves_nothing(own_cache: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        export_cache.cached_export("key", fail)
    assert list(own_cache.iterdir()) == []


def test_a_network_runs_without_a_writable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert_array_equal(OpenVINOSession(network()).run(BATCHES[:1])[0], expected(BATCHES[0]))


def test_streams_use_no_more_threads_than_cores(own_cache: Path) -> None:
    session = OpenVINOSession(network())
    session.run(BATCHES)
    compiled = session._compiled[device.cores()]
    assert compiled.get_property("INFERENCE_NUM_THREADS") <= device.cores()
    assert compiled.get_property("NUM_STREAMS") <= device.cores()


def test_importing_openvino_sends_no_telemetry(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from retrieval.runtimes.openvino_module import import_openvino\n"
        "assert import_openvino().Core().available_devices\n"
        "print(sorted(name for name in sys.modules if 'telemetry' in name))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert list(tmp_path.iterdir()) == []
