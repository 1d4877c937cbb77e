from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

TINY = """\
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


LONG = (
    "test_kill_storm",
    "test_tutorial",
    "test_examples",
    "test_scaffold",
    "test_two_processes",
    "test_learns",
    "test_broken_plugins",
    "test_recipes_train",
    "test_wheels",
    "test_core_components",
)
"""Files whose tests take long.  They begin first, so that no worker is left with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; the order within a file stays."""
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))


@pytest.fixture(autouse=True, scope="session")
def single_thread() -> None:
    """Several test processes share the machine's cores."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_recipe_text() -> str:
    """A recipe of ten steps."""
    return TINY


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of that recipe, to be read or copied."""
    import sslkit

    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.toml").write_text(TINY)
    return sslkit.train(folder / "tiny.toml", runs=folder).path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The same, in a file."""
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(autouse=True, scope="session")
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests, and the commands they start, keep nothing in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def fail_if_blocked() -> Iterator[None]:
    """What waits for a pipe fails instead."""

    class Waited(BaseException):
        """What no code catches, unlike an OSError."""

    def late(number: int, frame: object) -> None:
        raise Waited

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with real metadata, and its module, on the path."""
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
