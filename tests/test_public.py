"""The public interface: exported names, and the imports and dependencies of the bundled plugins."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import sslkit

ROOT = Path(__file__).parents[1]
DISTRIBUTIONS = [ROOT, *sorted((ROOT / "plugins").iterdir())]


def imports(folder: Path) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name, ()) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield path, node.module, tuple(alias.name for alias in node.names)


def package(distribution: Path) -> Path:
    (folder,) = (path.parent for path in distribution.glob("sslkit*/__init__.py"))
    return folder


def test_every_public_name_exists_and_is_in_the_stub() -> None:
    stub = ast.parse((ROOT / "sslkit" / "__init__.pyi").read_text())
    named = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert named | {"__version__"} == set(sslkit.__all__)
    for name in sslkit.__all__:
        assert getattr(sslkit, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = sslkit.nothing


def test_importing_sslkit_does_not_import_torch() -> None:
    script = "import sys, sslkit; assert not {'torch', 'pydantic', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS[1:], ids=lambda path: path.name)
def test_plugins_import_only_public_names(distribution: Path) -> None:
    for path, module, names in imports(package(distribution)):
        if module.partition(".")[0] == "sslkit":
            assert module == "sslkit", f"{path} imports {module}"
            assert set(names) <= set(sslkit.__all__), path


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda path: path.name)
def test_every_import_is_a_declared_dependency(distribution: Path) -> None:
    metadata = tomllib.loads((distribution / "pyproject.toml").read_text())["project"]
    extras = [extra for name, extra in metadata.get("optional-dependencies", {}).items() if name != "dev"]
    dependencies = sum(extras, metadata["dependencies"])
    declared = {dependency.partition(">")[0].strip().lower() for dependency in dependencies}
    own = {metadata["name"], *declared}
    if "mlflow" in own:
        own.add("mlflow-skinny")  # a part of mlflow, which is all that the tests need
    offers = packages_distributions()
    for path, module, _ in imports(package(distribution)):
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == "__future__" or top == package(distribution).name:
            continue
        assert {name.lower().replace("_", "-") for name in offers.get(top, [top])} & own, f"{path} imports {top}"


def test_the_version_equals_the_version_in_pyproject() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata["version"] == sslkit.__version__
