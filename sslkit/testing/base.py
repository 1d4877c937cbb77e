"""What is promised of components of every kind."""

from __future__ import annotations

import inspect
import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy
import torch

from sslkit.contracts import API, OLDEST_API
from sslkit.contracts.component import Component
from sslkit.contracts.context import Context, World
from sslkit.contracts.options import Options

IMPORT = """
import importlib, json, os, random, runpy, sys, time
sys.path[:0] = json.loads(sys.argv[3])
import numpy, torch, sslkit, sslkit.contracts.loss, sslkit.contracts.method
def state():
    return (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            str(torch.get_default_dtype()), dict(os.environ))
before, start = state(), time.perf_counter()
try:
    importlib.import_module(sys.argv[1])
except ModuleNotFoundError as error:
    if error.name != sys.argv[1].partition(".")[0]:
        raise
    runpy.run_path(sys.argv[2])
seconds, after = time.perf_counter() - start, state()
names = ("Python's random state", "numpy's random state", "torch's random state", "torch's default dtype", "os.environ")
changed = [name for name, old, new in zip(names, before, after) if old != new]
sys.stdout.flush()
print("\\nimported", json.dumps([seconds, changed]))
"""


def require(condition: object, promise: str) -> None:
    """Fail with what was promised."""
    if not condition:
        raise AssertionError(promise)


@contextmanager
def no_global_randomness(what: str) -> Iterator[None]:
    """Fail if something draws from, or seeds, a global random state."""
    # Each is first moved to where nobody left it: seeding it again to what it was would not show.
    random.random(), numpy.random.random(), torch.rand(1)
    before = (random.getstate(), _numpy_state(), torch.get_rng_state())
    yield
    require(random.getstate() == before[0], f"{what} must not use Python's global random state")
    require(_numpy_state() == before[1], f"{what} must not use numpy's global random state")
    require(torch.equal(torch.get_rng_state(), before[2]), f"{what} must not use torch's global random state")


def _numpy_state() -> tuple[list[int], int]:
    _, keys, position, *_ = numpy.random.get_state(legacy=True)
    return numpy.asarray(keys).tolist(), int(position)


class ComponentTests:
    """Subclass the one of the component's kind, and set ``component``."""

    component: ClassVar[type[Component]]
    """The class under test."""

    options: ClassVar[Mapping[str, Any]] = {}
    """Options that differ from their defaults, as a recipe would give them."""

    import_seconds: ClassVar[float] = 20.0
    """How long importing the component's module may take, beyond torch and sslkit."""

    slow: ClassVar[frozenset[str]] = frozenset({"test_import_is_quiet_and_quick"})
    """Promises that ``sslkit plugins check`` leaves out."""

    def make_options(self) -> Options:
        """The validated options."""
        return self.component.Options.model_validate_json(json.dumps(dict(self.options)))

    def make_context(self, **facts: Any) -> Context:
        """Runtime facts of a small training; override what the component needs otherwise."""
        given: dict[str, Any] = {
            "channels": 3,
            "image_size": 32,
            "mean": (0.5, 0.4, 0.6),
            "std": (0.2, 0.25, 0.3),
            "batch_size": 8,
            "steps_per_epoch": 4,
            "epochs": 3,
            "seed": 1,
            "world": World(),
            "view_size": 32,
            "view_count": 4,
            "global_view_count": 2,
            "feature_dim": 12,
            "embedding_dim": 6,
            "classifiers": (7, 3),
        }
        return Context(**given | facts)

    def make(self, *arguments: Any, seed: int = 0) -> Any:
        """The component, built after seeding torch's global state as the core does; the state is put back."""
        build: Any = self.component
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(self.make_options(), *arguments)

    def test_it_states_its_contract_version(self) -> None:
        api = getattr(self.component, "api", None)
        known = isinstance(api, int) and OLDEST_API <= api <= API
        require(known, f"api must be a contract version from {OLDEST_API} to {API}, not {api!r}")

    def test_every_option_is_documented(self) -> None:
        fields = self.component.Options.model_fields
        silent = [name for name, field in fields.items() if not (field.description or "").strip()]
        require(not silent, f"options need a docstring below them: {', '.join(silent)}")
        require((self.component.__doc__ or "").strip(), f"{self.component.__name__} needs a docstring")

    def test_import_is_quiet_and_quick(self) -> None:
        """In a process of its own."""
        module, file = self.component.__module__, inspect.getsourcefile(self.component) or ""
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, module, file, json.dumps([path for path in sys.path if path])],
            capture_output=True,
            text=True,
            timeout=300,
        )
        printed, found, result = done.stdout.rpartition("\nimported ")
        reason = (done.stderr.strip().splitlines() or [f"it exits with {done.returncode}"])[-1]
        require(done.returncode == 0 and found, f"importing {module} fails: {reason}")
        seconds, changed = json.loads(result)
        require(not changed, f"importing {module} changes {', '.join(changed)}")
        require(not printed.strip(), f"importing {module} prints {printed.strip()[:60]!r}")
        require(
            seconds < self.import_seconds,
            f"importing {module} takes {seconds:.1f} s, more than {self.import_seconds:g}: import inside functions",
        )
