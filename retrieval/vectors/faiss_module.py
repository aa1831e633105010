"""The one door to FAISS, which checks that exactly one of its packages is installed.

``faiss-cpu`` and ``faiss-gpu`` put their files into the same module ``faiss``: with both installed, whichever
came last wins, and removing either breaks the other. An extra ``xmodal[gpu]`` could not prevent that, because
extras only ever add to the plain install's requirements. So the plain install brings the CPU's package, and
the GPU's is swapped in by hand (``INSTALL_GPU``).
"""

import functools
import importlib
from importlib import metadata
from types import ModuleType
from typing import Any

from retrieval.errors import DependencyError

INSTALL_CPU = "pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-cpu"
INSTALL_GPU = "pip uninstall -y faiss-cpu faiss-gpu && pip install faiss-gpu"
_MEND = f"for the CPU's run: {INSTALL_CPU}\nfor an NVIDIA GPU's run: {INSTALL_GPU}"


@functools.cache
def load() -> ModuleType:
    """Import FAISS on first use.

    Returns:
        The module ``faiss``.

    Raises:
        DependencyError: No FAISS package is installed, both are, or the one that is cannot be imported.
    """
    if _installed("faiss-cpu") and _installed("faiss-gpu"):
        raise DependencyError(f"Expected one FAISS package, found both faiss-cpu and faiss-gpu;\n{_MEND}")
    try:
        module = importlib.import_module("faiss")
    except ImportError as error:
        raise DependencyError(f"FAISS is needed but cannot be imported ({error});\n{_MEND}") from error
    if not hasattr(module, "IndexFlatIP"):
        # What stays behind when one of two packages is removed still imports, as an empty module.
        raise DependencyError(f"FAISS is only partly installed: it has no IndexFlatIP;\n{_MEND}")
    return module


def searched(index: Any, queries: Any, k: int, parameters: Any) -> Any:
    """What ``index`` finds; for a lone query in the thread that asks.

    FAISS would let the others of OpenMP wake up for it, with nothing to do, and wait for them: some microseconds on
    a machine that is idle, milliseconds on one that is not. The number is the calling thread's own.
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
    """The last words of an error of FAISS, without where in its sources it said them."""
    return str(error).strip().splitlines()[-1].rpartition("Error: ")[2]


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
