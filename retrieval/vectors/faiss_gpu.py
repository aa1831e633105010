"""FAISS's GPU side: putting an index on the GPUs there are, building on one, and coming back."""

from __future__ import annotations

from typing import Any

from retrieval.errors import DependencyError, DeviceError
from retrieval.types import Matrix
from retrieval.vectors import faiss_module

CAGRA = "cagra"
"""The graph that is built on a GPU alone; on the CPU it is searched as an HNSW graph."""


TAKEN = ("IndexFlat", "IndexIVFFlat", "IndexIVFPQ", "IndexIVFScalarQuantizer", "IndexHNSWCagra")
"""Classes of FAISS that its GPU side has as well; FastScan is for the registers of CPUs."""


def available() -> bool:
    """Whether FAISS can use a GPU that is there."""
    faiss = faiss_module.load()
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def takes(index: Any) -> bool:
    """Whether FAISS has an index of this kind on the GPU."""
    faiss = faiss_module.load()
    return isinstance(index, tuple(getattr(faiss, name) for name in TAKEN if hasattr(faiss, name)))


def place(index: Any) -> Any:
    """``index``, of a kind that a GPU ``takes``, on the GPU at half precision; on several each holds a part.

    Raises:
        DependencyError: the FAISS installed has no GPU support.
        DeviceError: FAISS finds no GPU, or cannot put this index there.
    """
    faiss = _module()
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16 = True
    options.shard = faiss.get_num_gpus() > 1
    try:
        return faiss.index_cpu_to_all_gpus(index, co=options)
    except RuntimeError as error:
        raise DeviceError(
            f"FAISS cannot put this index on a GPU ({faiss_module.reason(error)}): "
            "use --device cpu or --index flat"
        ) from error


def build(index: Any, training: Matrix, vectors: Matrix) -> Any:
    """Train an empty index and fill it on the first GPU.

    Args:
        index: of FAISS, on the CPU.
        training: (t, d) float32.
        vectors: (n, d) float32.

    Returns:
        The same kind of index, trained and filled, on the CPU.

    Raises:
        DependencyError, DeviceError: as ``place``.
    """
    faiss = _module()
    placed = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    placed.train(training)
    placed.add(vectors)
    return faiss.index_gpu_to_cpu(placed)


def build_cagra(vectors: Matrix) -> Any:
    """A CAGRA graph (Ootomo et al. 2023, arXiv:2308.15136) of ``vectors`` (n, d) float32, as the CPU has it.

    Raises:
        DependencyError: the FAISS installed has no GPU support, or was built without CAGRA.
        DeviceError: FAISS finds no GPU.
    """
    faiss = _module()
    if not hasattr(faiss, "GpuIndexCagra"):
        raise DependencyError(
            "this faiss-gpu was built without CAGRA (which needs cuVS): install one that has it, or choose "
            "another --index"
        )
    index = faiss.GpuIndexCagra(
        faiss.StandardGpuResources(), int(vectors.shape[1]), faiss.METRIC_INNER_PRODUCT
    )
    index.train(vectors)
    return faiss.index_gpu_to_cpu(index)


def _module() -> Any:
    faiss = faiss_module.load()
    if not hasattr(faiss, "StandardGpuResources"):
        raise DependencyError(
            f"this FAISS has no GPU support: {faiss_module.INSTALL_GPU}, or use --device cpu"
        )
    if not faiss.get_num_gpus():
        raise DeviceError("device 'cuda' was asked for, but FAISS finds no GPU: use --device cpu")
    return faiss
