"""Code for FAISS on GPUs, with a stand-in for its GPU functions: what is copied there and back.

The stand-in computes on the CPU. It refuses what the real one refuses: FastScan, and any subset of rows.
"""

from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from retrieval.errors import DependencyError, DeviceError
from retrieval.vectors import faiss_gpu, faiss_module, load_index, registry
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.index_selection import manifest_entry
from retrieval.vectors.search_effort import Effort

COUNT = 2000


def vectors(count=COUNT, seed=0):
    rows = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float16).astype(np.float32)


class Gpus:
    """A stand-in for FAISS with GPUs, which records its calls."""

    def __init__(self, count):
        self.count = count
        self.calls = []

    def __getattr__(self, name):
        return getattr(faiss, name)  # everything else is the real FAISS

    def get_num_gpus(self):
        return self.count

    def StandardGpuResources(self):  # noqa: N802 - FAISS's name
        return SimpleNamespace()

    def GpuMultipleClonerOptions(self):  # noqa: N802 - FAISS's name
        return SimpleNamespace(shard=False, useFloat16=False)

    def index_cpu_to_all_gpus(self, index, co):
        return self._copied(index, f"{self.count} GPUs, half {co.useFloat16}, sharded {co.shard}")

    def index_cpu_to_gpu(self, _resources, device, index):
        return self._copied(index, f"GPU {device}")

    def index_gpu_to_cpu(self, index):
        self.calls.append("back")
        return index

    def _copied(self, index, where):
        if not faiss_gpu.supports(index):
            raise RuntimeError("Error in ToGpuCloner: Error: 'false' failed: not implemented on the GPU")
        self.calls.append(f"{type(index).__name__} to {where}")
        return faiss.clone_index(index)


@pytest.fixture
def gpus(monkeypatch):
    def install(count=1):
        fake = Gpus(count)
        monkeypatch.setattr(faiss_module, "load", lambda: fake)
        return fake

    return install


CLASS_ON_GPU = {
    "flat": "IndexFlatIP",
    "fastscan": "IndexFlatIP",
    "ivf-fastscan": "IndexFlatIP",
    "IVF8,Flat": "IndexIVFFlat",
    "IVF8,PQ8np": "IndexIVFPQ",
    "IVF8,SQfp16": "IndexIVFScalarQuantizer",
}


@pytest.mark.parametrize("spec", CLASS_ON_GPU)
@pytest.mark.parametrize("count", [1, 4])
def test_an_index_written_on_the_cpu_is_searched_on_gpus(gpus, spec, count, tmp_path):
    index = registry.build(spec, vectors())
    index.save(tmp_path / "i.faiss")
    fake = gpus(count)
    effort = Effort(depth=500, probes=8).as_entry() if "factory" in manifest_entry(index) else {}
    on_gpu = load_index.load(manifest_entry(index) | effort, tmp_path / "i.faiss", device="cuda")
    assert fake.calls == [f"{CLASS_ON_GPU[spec]} to {count} GPUs, half True, sharded {count > 1}"]
    queries = vectors(20, seed=1)
    for rows in (None, np.arange(0, COUNT, 3)):
        _, found = on_gpu.search(queries, 10, rows)
        _, expected = ExactIndex(vectors()).search(queries, 10, rows)
        same = [np.isin(a, b).mean() for a, b in zip(found, expected, strict=True)]
        assert np.mean(same) >= 0.95
    on_gpu.save(tmp_path / "again.faiss")
    assert (tmp_path / "again.faiss").read_bytes() == (tmp_path / "i.faiss").read_bytes()


@pytest.mark.parametrize(
    ("spec", "uses_gpu"), [("IVF8,Flat", True), ("IVF8,PQ8np", True), ("fastscan", False)]
)
def test_training_and_adding_use_the_gpu_for_supported_kinds(gpus, spec, uses_gpu, tmp_path):
    fake = gpus()
    index = registry.build(spec, vectors(), device="cuda")
    assert bool(fake.calls) == uses_gpu
    assert ("back" in fake.calls) == uses_gpu
    index.save(tmp_path / "i.faiss")
    again = load_index.load(manifest_entry(index), tmp_path / "i.faiss")
    queries = vectors(5, seed=1)
    np.testing.assert_array_equal(again.search(queries, 3)[1], index.search(queries, 3)[1])


def test_building_works_without_a_gpu():
    assert registry.build("IVF8,Flat", vectors(), device="cuda").kind == "factory"


def test_cagra_is_built_on_a_gpu_and_searched_on_the_cpu(gpus, tmp_path):
    fake = gpus()

    def cagra(_resources, dimension, metric):
        graph = faiss.IndexHNSWFlat(dimension, 16, metric)
        return SimpleNamespace(train=graph.add, graph=graph)

    fake.GpuIndexCagra = cagra
    fake.index_gpu_to_cpu = lambda index: index.graph
    index = registry.build("cagra", vectors(), device="cuda")
    index.save(tmp_path / "i.faiss")
    again = load_index.load(manifest_entry(index) | {"effort": {"beam": 256}}, tmp_path / "i.faiss")
    assert (again.kind, len(again)) == ("cagra", COUNT)
    np.testing.assert_array_equal(again.search(vectors(), 1)[1][:, 0], np.arange(COUNT))


def test_errors_name_what_is_missing(gpus, monkeypatch):
    with pytest.raises(DependencyError, match=r"no GPU support.*pip install faiss-gpu"):
        faiss_gpu.to_gpus(faiss.IndexFlatIP(4))
    fake = gpus(0)
    with pytest.raises(DeviceError, match="FAISS finds no GPU"):
        faiss_gpu.to_gpus(faiss.IndexFlatIP(4))
    fake.count = 1
    with pytest.raises(
        DeviceError, match=r"cannot put this index on a GPU \('false' failed: not implemented"
    ):
        faiss_gpu.to_gpus(faiss.IndexLSH(16, 4))
    with pytest.raises(DependencyError, match="without CAGRA"):
        faiss_gpu.build_cagra(vectors())
