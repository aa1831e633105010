"""The house's shape: who may import whom, what stays lazy, and the public names."""

import ast
import importlib
import importlib.util
import subprocess
import sys
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


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imported(name: str) -> set[str]:
    """Every module that a module imports anywhere in it, functions included, as absolute names."""
    is_package = MODULES[name].stem == "__init__"
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            here = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            found.add(".".join([*here, *([node.module] if node.module else [])]))
    return found


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
    if importlib.util.find_spec("indexer.cli.main") is None:
        pytest.skip("indexer.cli.main is not there yet")
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
