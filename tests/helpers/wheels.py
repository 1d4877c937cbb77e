"""Build wheels, and create an environment in which they can be installed quickly."""

from __future__ import annotations

import contextlib
import sysconfig
import venv
from collections.abc import Callable, Iterable
from pathlib import Path

from hatchling.build import build_wheel


def build_wheels(distributions: Iterable[Path], folder: Path) -> None:
    """Build a wheel of each distribution with its build backend, like ``python -m build --wheel --no-isolation``."""
    for distribution in distributions:
        assert 'build-backend = "hatchling.build"' in (distribution / "pyproject.toml").read_text()
        with contextlib.chdir(distribution):
            build_wheel(str(folder))


def create_environment(folder: Path, is_linked: Callable[[str], bool]) -> Path:
    """Create an environment with links to installed packages, such as pip; return its ``site-packages``.

    Args:
        folder: folder of the environment.
        is_linked: whether the environment has an entry of this environment's ``site-packages``, by name.
    """
    venv.create(folder)
    site = next((folder / "lib").glob("python*/site-packages"))
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if is_linked(path.name):
            (site / path.name).symlink_to(path)
    return site
