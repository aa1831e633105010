"""FAISS on GPUs: copying an index to them, building on one, and copying back to the CPU."""

from __future__ import annotations

from typing import Any

from retrieval.errors import DependencyError, DeviceError
from retrieval.types import Matrix
from retrieval.vectors import faiss_module

CAGRA = "cagra"
"""A graph that can only be built on a GPU; on the CPU it is searched as an HNSW graph."""


SUPPORTED = ("IndexFlat", "IndexIVFFlat", "IndexIVFPQ", "IndexIVFScalarQuantizer", "IndexHNSWCagra")
"""FAISS classes that also exist on GPUs; FastScan does not, because it uses registers of CPUs."""


def available() -> bool:
    """Return whether FAISS finds a GPU that it can use."""
    faiss = faiss_module.load()
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def supports(index: Any) -> bool:
    """Return whether FAISS has this kind of index on GPUs."""
    faiss = faiss_module.load()
    return isinstance(index, tuple(getattr(faiss, name) for name in SUPPORTED if hasattr(faiss, name)))


def to_gpus(index: Any) -> Any:
    """Copy ``index``, of a kind that ``supports`` accepts, to all GPUs at half precision; each GPU holds a part.

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
        index: an empty FAISS index on the CPU.
        training: (t, d) float32.
        vectors: (n, d) float32.

    Returns:
        The same kind of index, trained and filled, on the CPU.

    Raises:
        DependencyError, DeviceError: as ``to_gpus``.
    """
    faiss = _module()
    placed = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)
    placed.train(training)
    placed.add(vectors)
    return faiss.index_gpu_to_cpu(placed)


def build_cagra(vectors: Matrix) -> Any:
    """Build a CAGRA graph (Ootomo et al. 2023, arXiv:2308.15136) of ``vectors`` (n, d) float32, returned on the CPU.

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
        raise DeviceError("device 'cuda' was requested, but FAISS finds no GPU: use --device cpu")
    return faiss
