"""The shape of the code: who may import whom, what stays lazy, what the documents name, and the public names."""

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in ("retrieval", "indexer")
    for path in sorted((ROOT / package).rglob("*.py"))
}
HEAVY = ["PIL", "cca_zoo", "faiss", "fastapi", "httpx2", "jinja2", "librosa", "matplotlib",
         "numba", "open_clip", "openvino", "pyarrow", "pydantic", "scipy", "skimage", "sklearn",
         "sqlalchemy", "torch", "torchvision", "transformers", "uvicorn"]  # fmt: skip


SHARED_BASENAMES = {"__init__", "base", "registry"}
"""Basenames that several folders have, each for the same idea: its protocol, and its table of names."""

ROOT_MODULES = {"retrieval": 12, "indexer": 20}
FLOORS = 13


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


@cache
def imported(name: str) -> frozenset[str]:
    """Absolute names of the modules that a module imports, inside functions and for types alone included."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, (
                f"{name} imports relatively: imports are absolute, so that they can be searched"
            )
            assert node.module
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update({own if own in MODULES else node.module for own in submodules})
    return frozenset(found - {name})


def folder(name: str) -> str:
    """The subject that a module belongs to: a folder below ``retrieval`` or ``indexer``, or a module at their root."""
    return ".".join(name.split(".")[:2])


def innermost_folder(name: str) -> str:
    """The folder that a module lies in, subfolders of a subject apart; a module at the root of a package itself."""
    parent = name if MODULES[name].stem == "__init__" else name.rpartition(".")[0]
    return name if parent in ("retrieval", "indexer") else parent


def folder_imports(place: Callable[[str], str] = folder) -> dict[str, set[str]]:
    """The folders that each folder imports from; ``place`` says which folder a module counts for."""
    found: dict[str, set[str]] = {}
    for name in MODULES:
        if "." in name:  # the packages' own __init__ hand on names of all that is below
            own = found.setdefault(place(name), set())
            own |= {place(module) for module in imported(name) if "." in module and module in MODULES}
            own.discard(place(name))
    return found


def circle(imports: Mapping[str, set[str] | frozenset[str]]) -> list[str]:
    """One circle of imports, or nothing."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def heavy_after(code: str) -> list[str]:
    """Which heavy packages a fresh interpreter holds after running the code."""
    report = f"import sys\n{code}\nprint('loaded:', *sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", report], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].removeprefix("loaded:").split()


def test_modules_are_found() -> None:
    assert {"retrieval", "retrieval.errors", "indexer"} <= set(MODULES)


def test_heavy_imports_are_seen() -> None:
    assert heavy_after("import sqlalchemy") == ["sqlalchemy"]


def test_circles_are_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert not circle({"a": {"b", "c"}, "b": {"c"}})


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circle({name: imported(name) & MODULES.keys() for name in MODULES}) == []


@pytest.mark.parametrize("place", [folder, innermost_folder])
def test_no_import_runs_upward_between_folders(place: Callable[[str], str]) -> None:
    assert circle(folder_imports(place)) == []


def test_there_are_few_floors() -> None:
    """A folder stands one floor above the highest one that it imports from."""
    imports = folder_imports()
    floors: dict[str, int] = {}
    for name in TopologicalSorter(imports).static_order():
        floors[name] = 1 + max((floors[below] for below in imports[name]), default=0)
    assert max(floors.values()) <= FLOORS


@pytest.mark.parametrize(("package", "most"), ROOT_MODULES.items())
def test_few_modules_stand_outside_a_folder(package: str, most: int) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= most


def test_every_basename_means_one_thing() -> None:
    names = Counter(path.stem for path in MODULES.values())
    assert {name for name, count in names.items() if count > 1} == SHARED_BASENAMES


@pytest.mark.parametrize("document", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=str)
def test_documents_name_files_that_exist(document: Path) -> None:
    named = re.findall(
        r"`((?:retrieval|indexer|tests|scripts)/[\w./]+)`", document.read_text(encoding="utf-8")
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_document_names_exactly_the_modules_there_are() -> None:
    """The tables of ``docs/architecture.md``: a folder as heading, a row a module."""
    named: Counter[str] = Counter()
    place = ""
    for line in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").splitlines():
        if heading := re.fullmatch(r"#+ `((?:retrieval|indexer)/[a-z_/]*)`.*", line):
            place = heading[1]
        elif line.startswith("#"):
            place = ""
        elif place and (row := re.match(r"\| `([a-z0-9_]+\.py)` \|", line)):
            named[place + row[1]] += 1
    there = {str(path.relative_to(ROOT)) for path in MODULES.values() if path.name != "__init__.py"}
    assert set(named) == there
    assert max(named.values()) == 1


@pytest.mark.parametrize("name", [name for name in MODULES if name.split(".")[0] == "retrieval"])
def test_retrieval_never_imports_indexer(name: str) -> None:
    assert not [module for module in imported(name) if module.split(".")[0] == "indexer"]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring(name: str) -> None:
    assert ast.get_docstring(tree(name))


def test_every_error_is_documented() -> None:
    classes = [node for node in tree("retrieval.errors").body if isinstance(node, ast.ClassDef)]
    assert classes
    assert [node.name for node in classes if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("package", ["retrieval", "indexer"])
def test_importing_a_package_stays_light(package: str) -> None:
    assert heavy_after(f"import {package}") == []


def test_help_stays_light() -> None:
    run = "import contextlib, indexer.cli.main\nsys.argv = ['xmodal', '--help']\n"
    assert heavy_after(run + "with contextlib.suppress(SystemExit):\n    indexer.cli.main.main()") == []


@pytest.mark.parametrize(
    ("package", "names"),
    [
        (
            "retrieval",
            [
                "Client",
                "Hit",
                "Modality",
                "Query",
                "SearchEngine",
                "Several",
                "XmodalError",
                "evaluate",
                "open",
                "verify",
            ],
        ),
        ("indexer", ["build", "realign", "repair"]),
    ],
)
def test_public_names(package: str, names: list[str]) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == names
    assert [name for name in names if not getattr(module, name).__doc__] == []
