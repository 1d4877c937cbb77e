from __future__ import annotations

import gc
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

TINY_RECIPE = """\
[run]
seed = 7

[train]
epochs = 2
batch_size = 256
device = "cpu"

[data]
use = "digits"
size = 8

[views]
use = "affine"

[backbone]
use = "convnet"

[head]
use = "selfcls-mlp"
hidden_dims = []
classifiers = [10]

[loss]
use = "selfcls"

[optimizer]
use = "adamw"
lr = 1e-3

[monitor]
log_every_steps = 3
"""


SLOW_FILES = (
    "test_captured_recipes",
    "test_shipped_recipes",
    "test_scaffold",
    "test_tutorial",
    "test_examples",
    "test_matches_one_process",
    "test_learns",
    "test_startup_imports",
    "test_broken_plugins",
    "test_wheels",
    "test_core_components",
)
"""Slow test files. They run first, so that no worker runs a slow file alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run slow files first; keep the order within a file."""
    items.sort(key=lambda item: SLOW_FILES.index(item.path.stem) if item.path.stem in SLOW_FILES else len(SLOW_FILES))


def pytest_collection_finish() -> None:
    """Exclude the imported modules from garbage collection: a collection then takes 1 ms instead of 150 ms."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def single_thread() -> None:
    """Limit torch to one thread, because test processes share the machine's cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_recipe_text() -> str:
    """Return a recipe of ten steps."""
    return TINY_RECIPE


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run of the tiny recipe. Tests may read or copy the folder, but must not change
    it."""
    import sslkit

    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(TINY_RECIPE)
    return sslkit.train(folder / "tiny.toml", runs=folder).path


@pytest.fixture
def tiny(tiny_recipe_text: str, tmp_path: Path) -> Path:
    """Return the path of the tiny recipe."""
    path = tmp_path / "tiny.toml"
    path.write_text(tiny_recipe_text)
    return path


@pytest.fixture(autouse=True, scope="session")
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Set a temporary cache folder for tests and for the commands that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def fail_if_blocked() -> Iterator[None]:
    """Fail a test that blocks on a pipe for two minutes."""

    class Blocked(BaseException):
        """Exception that no code catches, unlike an OSError."""

    def raise_blocked(number: int, frame: object) -> None:
        raise Blocked

    previous = signal.signal(signal.SIGALRM, raise_blocked)
    signal.alarm(120)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts a distribution with its metadata and modules on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(name: str, entry_points: str, *, version: str = "1.0", **modules: str) -> Path:
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(entry_points)
        for module, source in modules.items():
            (site / f"{module}.py").write_text(source)
        return site

    return install
