"""``sslkit plugins new``: for every kind, the created distribution builds, installs, trains and passes its tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from wheels import build_wheels, create_environment

from sslkit.components.kinds import KINDS, find_kind
from sslkit.errors import InputError
from sslkit.scaffold import write_distribution

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, **options: object) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def package_of(folder: Path) -> str:
    return f"sslkit_{folder.name.replace('-', '_')}"


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of a created distribution, keyed by kind."""
    root = tmp_path_factory.mktemp("distributions")
    return {
        kind.singular: write_distribution(f"my-{kind.singular}", kind, root / f"my-{kind.singular}") for kind in KINDS
    }


def test_a_loss_distribution_has_code_tests_recipe_and_packaging(distributions: dict[str, Path]) -> None:
    folder = distributions["loss"]
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()) == [
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "recipes/my-loss.toml",
        "sslkit_my_loss/__init__.py",
        "sslkit_my_loss/loss.py",
        "sslkit_my_loss/py.typed",
        "tests/test_loss.py",
    ]
    assert 'my-loss = "sslkit_my_loss.loss:MyLoss"' in (folder / "pyproject.toml").read_text()


def test_every_kind_passes_ruff_and_mypy(distributions: dict[str, Path]) -> None:
    settings = ROOT / "pyproject.toml"
    folders = list(distributions.values())
    run(sys.executable, "-m", "ruff", "check", "--no-cache", "--config", settings, *folders)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "--config", settings, *folders)
    packages = [folder / package_of(folder) for folder in folders]
    cache = ("--cache-dir", ROOT / ".mypy_cache")  # of `make types`
    run(sys.executable, "-m", "mypy", "--config-file", settings, *cache, *packages, cwd=folders[0].parent)


COMMANDS = """
import importlib, json, sys
import pytest
from sslkit.cli.__main__ import main
from sslkit.testing.base import no_global_randomness
modules, tests, commands = map(json.loads, sys.argv[1:])
if pytest.main(tests):
    sys.exit("the tests fail")
for module in [module for module in sys.modules if module.startswith("sslkit_my_")]:
    del sys.modules[module]
with no_global_randomness("the import of a module"):
    for module in modules:
        importlib.import_module(module)
for arguments in commands:
    sys.argv = ["sslkit", *arguments]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise
"""
"""Program that runs tests, imports modules and runs commands. One process imports torch once."""


def test_every_kind_is_built_installed_tested_and_trained_in_a_clean_environment(
    distributions: dict[str, Path], tmp_path: Path
) -> None:
    wheels = tmp_path / "wheels"
    first, *others = distributions.values()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, first)
    build_wheels(others, wheels)
    create_environment(tmp_path / "clean", lambda name: True)
    python, command = (tmp_path / "clean" / "bin" / name for name in ("python", "sslkit"))
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", *wheels.glob("*.whl"))
    command.write_text(f"#!{python}\nfrom sslkit.cli.__main__ import main\nmain()\n")
    command.chmod(0o755)

    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "SSLKIT", "PYTEST"))}
    environment = own | {"OMP_NUM_THREADS": "1", "SSLKIT_RUNS": str(tmp_path / "runs")}
    tests = [str(folder / "tests") for folder in distributions.values()]
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    # Each import test imports torch in a new process, and all kinds import the same libraries.
    options += ["-k", "test_loss or not test_import_is_fast_and_has_no_side_effects"]

    recipes = [folder / "recipes" / f"my-{kind}.toml" for kind, folder in distributions.items()]
    modules = [f"{package_of(folder)}.{kind}" for kind, folder in distributions.items()]
    names = [f"sslkit-my-{kind}" for kind in distributions]
    commands = [
        ["recipes", "check", *map(str, recipes)],
        ["train", str(distributions["loss"] / "recipes" / "my-loss.toml"), "--set", "train.epochs=1"],
        ["eval", "--use", "my-evaluator", "--json"],
        ["plugins", "check", *names],
    ]
    program = (python, "-c", COMMANDS, *map(json.dumps, (modules, [*options, *tests], commands)))
    out = run(*program, cwd=tmp_path, env=environment)
    assert '"my-evaluator"' in out
    listed = run(command, "plugins", "list", "--json", cwd=tmp_path, env=environment)
    assert all(name in listed for name in names)


@pytest.mark.parametrize("name", ["My-Loss", "loss_2", "-loss", "2loss", "", "a--b", "../loss"])
def test_an_invalid_name_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be a component's name: use lower-case letters, digits and dashes"):
        write_distribution(name, find_kind("loss"), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_an_existing_folder_is_not_changed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="already exists: choose another name, or another folder with --out"):
        write_distribution("my-loss", find_kind("loss"), tmp_path)
    assert list(tmp_path.iterdir()) == []
