"""The only place that imports FAISS; it checks that exactly one FAISS package is installed.

``faiss-cpu`` and ``faiss-gpu`` install their files into the same module ``faiss``. With both installed, the last one
overwrites the other, and removing either breaks both. An extra ``xmodal[gpu]`` could not prevent that, because extras
can only add requirements. So the plain install has the CPU package, and the user replaces it by the GPU package
(``INSTALL_GPU``).
"""

import functools
import importlib
from importlib import metadata
from types import ModuleType
from typing import Any

from retrieval.errors import DependencyError

INSTALL_CPU = "pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-cpu"
INSTALL_GPU = "pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-gpu"
_INSTALL_HINT = f"for the CPU run: {INSTALL_CPU}\nfor an NVIDIA GPU run: {INSTALL_GPU}"


@functools.cache
def load() -> ModuleType:
    """Import FAISS on first use.

    Returns:
        The module ``faiss``.

    Raises:
        DependencyError: no FAISS package is installed, both are, or the installed one cannot be imported.
    """
    if _installed("faiss-cpu") and _installed("faiss-gpu"):
        raise DependencyError(
            f"expected one FAISS package, found both faiss-cpu and faiss-gpu;\n{_INSTALL_HINT}"
        )
    try:
        module = importlib.import_module("faiss")
    except ImportError as error:
        raise DependencyError(
            f"FAISS is needed but cannot be imported ({error});\n{_INSTALL_HINT}"
        ) from error
    if not hasattr(module, "IndexFlatIP"):
        # After one of two installed packages is removed, the rest still imports as an empty module.
        raise DependencyError(f"FAISS is only partly installed: it has no IndexFlatIP;\n{_INSTALL_HINT}")
    return module


def search(index: Any, queries: Any, k: int, parameters: Any) -> Any:
    """Search ``index``; a single query is searched in the calling thread alone.

    FAISS would wake up all OpenMP threads for it, which have nothing to do, and wait for them: some microseconds on
    an idle machine, milliseconds on a busy one. The number of OpenMP threads is set for the calling thread only.
    """
    if len(queries) > 1:
        return index.search(queries, k, params=parameters)
    faiss = load()
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        return index.search(queries, k, params=parameters)
    finally:
        faiss.omp_set_num_threads(threads)


def reason(error: RuntimeError) -> str:
    """Return the message of a FAISS error, without its position in the FAISS sources."""
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2]


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
