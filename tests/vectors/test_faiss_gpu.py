"""The paths to FAISS's GPU side, with a stand-in where it begins: what is put there, and what comes back.

The stand-in computes on the CPU. It refuses what the real one refuses: FastScan, and any subset of rows.
"""

from types import SimpleNamespace

import faiss
import numpy as np
import pytest

from retrieval.errors import DependencyError, DeviceError
from retrieval.vectors import faiss_gpu, faiss_module, load_index, registry
from retrieval.vectors.exact import ExactIndex
from retrieval.vectors.search_effort import Effort
from retrieval.vectors.selection import manifest_entry

COUNT = 2000


def vectors(count=COUNT, seed=0):
    made = np.random.default_rng(seed).standard_normal((count, 16)).astype(np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made.astype(np.float16).astype(np.float32)


class Gpus:
    """So many GPUs, which remember what was asked of them."""

    def __init__(self, count):
        self.count = count
        self.calls = []

    def __getattr__(self, name):
        return getattr(faiss, name)  # everything else is FAISS's own

    def get_num_gpus(self):
        return self.count

    def StandardGpuResources(self):  # noqa: N802 - FAISS's name
        return SimpleNamespace()

    def GpuMultipleClonerOptions(self):  # noqa: N802 - FAISS's name
        return SimpleNamespace(shard=False, useFloat16=False)

    def index_cpu_to_all_gpus(self, index, co):
        return self._placed(index, f"{self.count} GPUs, half {co.useFloat16}, sharded {co.shard}")

    def index_cpu_to_gpu(self, _resources, device, index):
        return self._placed(index, f"GPU {device}")

    def index_gpu_to_cpu(self, index):
        self.calls.append("back")
        return index

    def _placed(self, index, where):
        if not faiss_gpu.supports(index):
            raise RuntimeError("Error in ToGpuCloner: Error: 'false' failed: not implemented on the GPU")
        self.calls.append(f"{type(index).__name__} to {where}")
        return faiss.clone_index(index)


@pytest.fixture
def gpus(monkeypatch):
    def install(count=1):
        stand_in = Gpus(count)
        monkeypatch.setattr(faiss_module, "load", lambda: stand_in)
        return stand_in

    return install


PLACED = {
    "flat": "IndexFlatIP",
    "fastscan": "IndexFlatIP",
    "ivf-fastscan": "IndexFlatIP",
    "IVF8,Flat": "IndexIVFFlat",
    "IVF8,PQ8": "IndexIVFPQ",
    "IVF8,SQfp16": "IndexIVFScalarQuantizer",
}


@pytest.mark.parametrize("spec", PLACED)
@pytest.mark.parametrize("count", [1, 4])
def test_what_the_cpu_wrote_is_searched_on_gpus(gpus, spec, count, tmp_path):
    index = registry.build(spec, vectors())
    index.save(tmp_path / "i.faiss")
    made = gpus(count)
    effort = Effort(depth=500, probes=8).as_entry() if "factory" in manifest_entry(index) else {}
    placed = load_index.load(manifest_entry(index) | effort, tmp_path / "i.faiss", device="cuda")
    assert made.calls == [f"{PLACED[spec]} to {count} GPUs, half True, sharded {count > 1}"]
    queries = vectors(20, seed=1)
    for rows in (None, np.arange(0, COUNT, 3)):
        _, found = placed.search(queries, 10, rows)
        _, expected = ExactIndex(vectors()).search(queries, 10, rows)
        same = [np.isin(a, b).mean() for a, b in zip(found, expected, strict=True)]
        assert np.mean(same) >= 0.95
    placed.save(tmp_path / "again.faiss")
    assert (tmp_path / "again.faiss").read_bytes() == (tmp_path / "i.faiss").read_bytes()


@pytest.mark.parametrize(("spec", "on_gpu"), [("IVF8,Flat", True), ("IVF8,PQ8", True), ("fastscan", False)])
def test_training_and_adding_take_the_gpu_where_it_knows_the_kind(gpus, spec, on_gpu, tmp_path):
    made = gpus()
    index = registry.build(spec, vectors(), device="cuda")
    assert bool(made.calls) == on_gpu
    assert ("back" in made.calls) == on_gpu
    index.save(tmp_path / "i.faiss")
    again = load_index.load(manifest_entry(index), tmp_path / "i.faiss")
    queries = vectors(5, seed=1)
    np.testing.assert_array_equal(again.search(queries, 3)[1], index.search(queries, 3)[1])


def test_a_gpu_is_not_needed_to_build():
    assert registry.build("IVF8,Flat", vectors(), device="cuda").kind == "factory"


def test_cagra_is_built_on_a_gpu_and_searched_on_the_cpu(gpus, tmp_path):
    made = gpus()

    def cagra(_resources, dimension, metric):
        graph = faiss.IndexHNSWFlat(dimension, 16, metric)
        return SimpleNamespace(train=graph.add, graph=graph)

    made.GpuIndexCagra = cagra
    made.index_gpu_to_cpu = lambda index: index.graph
    index = registry.build("cagra", vectors(), device="cuda")
    index.save(tmp_path / "i.faiss")
    again = load_index.load(manifest_entry(index) | {"effort": {"beam": 256}}, tmp_path / "i.faiss")
    assert (again.kind, len(again)) == ("cagra", COUNT)
    np.testing.assert_array_equal(again.search(vectors(), 1)[1][:, 0], np.arange(COUNT))


def test_what_is_missing_is_said(gpus, monkeypatch):
    with pytest.raises(DependencyError, match=r"no GPU support.*pip install faiss-gpu"):
        faiss_gpu.to_gpus(faiss.IndexFlatIP(4))
    made = gpus(0)
    with pytest.raises(DeviceError, match="FAISS finds no GPU"):
        faiss_gpu.to_gpus(faiss.IndexFlatIP(4))
    made.count = 1
    with pytest.raises(
        DeviceError, match=r"cannot put this index on a GPU \('false' failed: not implemented"
    ):
        faiss_gpu.to_gpus(faiss.IndexLSH(16, 4))
    with pytest.raises(DependencyError, match="without CAGRA"):
        faiss_gpu.build_cagra(vectors())
