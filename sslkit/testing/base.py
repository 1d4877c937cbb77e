"""Conformance tests for components of all kinds."""

from __future__ import annotations

import inspect
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy
import torch

from sslkit.contracts import API, OLDEST_API
from sslkit.contracts.component import KNOWN_NEEDS, Component
from sslkit.contracts.context import Context, World
from sslkit.contracts.options import Options
from sslkit.errors import ComponentError, InputError

IMPORT = """
import importlib, json, os, random, runpy, sys, time
sys.path[:0] = json.loads(sys.argv[3])
import numpy, torch, sslkit, sslkit.contracts.loss, sslkit.contracts.method
def state():
    return (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
            str(torch.get_default_dtype()), dict(os.environ))
package = sys.argv[1].partition(".")[0]
def load():
    try:
        importlib.import_module(sys.argv[1])
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        runpy.run_path(sys.argv[2])
names = ("Python's random state", "numpy's random state", "torch's random state", "torch's default dtype", "os.environ")
def changes(before, after):
    return [name for name, old, new in zip(names, before, after) if old != new]
dtype, environment, before, start = torch.get_default_dtype(), dict(os.environ), state(), time.perf_counter()
load()
seconds, changed = time.perf_counter() - start, changes(before, state())
if changed:
    # Libraries, such as rich, draw random numbers when they are imported. The second time, only own code runs.
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    torch.set_default_dtype(dtype)
    os.environ.clear()
    os.environ.update(environment)
    random.random(), numpy.random.random(), torch.rand(1)
    before = state()
    try:
        load()
        changed = changes(before, state())
    except Exception:
        pass  # it cannot be imported twice
sys.stdout.flush()
print("\\nimported", json.dumps([seconds, changed]))
"""

SEEDING = threading.Lock()
"""Lock for torch's global generator, because tests build components in threads that simulate processes."""


def require(condition: object, message: str) -> None:
    """Raise ``AssertionError`` with ``message`` if the condition is false."""
    if not condition:
        raise AssertionError(message)


def require_known_needs(kind: str, needs: frozenset[str]) -> None:
    """Raise ``AssertionError`` if ``needs`` has a name that sslkit does not know for components of this kind."""
    known = KNOWN_NEEDS[kind]
    unknown = sorted(set(needs) - set(known))
    require(not unknown, f"needs may contain {', '.join(known)}, not {', '.join(unknown)}")


@contextmanager
def no_global_randomness(subject: str) -> Iterator[None]:
    """Raise ``AssertionError`` if the ``with`` block draws random numbers from a global generator or seeds one.

    Args:
        subject: subject of the error message, such as "the loss".
    """
    # Advance each generator first, because seeding with the same value again would leave its state unchanged.
    random.random(), numpy.random.random(), torch.rand(1)
    before = (random.getstate(), _numpy_state(), torch.get_rng_state())
    yield
    require(random.getstate() == before[0], f"{subject} must not use Python's global random state")
    require(_numpy_state() == before[1], f"{subject} must not use numpy's global random state")
    require(torch.equal(torch.get_rng_state(), before[2]), f"{subject} must not use torch's global random state")


@contextmanager
def works_or_refuses(subject: str, other: str = "") -> Iterator[None]:
    """Raise ``AssertionError`` unless the ``with`` block succeeds or raises ``InputError`` with a message.

    Args:
        subject: subject of the error message, such as "with 2 views, the loss".
        other: advice at the end of the error message; if empty, the message says that the component must work or
            raise ``InputError``.
    """
    try:
        yield
    except (AssertionError, ComponentError):
        raise
    except InputError as error:
        require(str(error).strip(), f"{subject} raises {type(error).__name__} without a message")
    except Exception as error:
        advice = other or "it must work, or raise sslkit.InputError, if possible in the constructor"
        raise AssertionError(f"{subject} raises {type(error).__name__}: {error}; {advice}") from error


def _numpy_state() -> tuple[list[int], int]:
    _, keys, position, *_ = numpy.random.get_state(legacy=True)
    return numpy.asarray(keys).tolist(), int(position)


class ComponentTests:
    """Base class of all conformance tests: builds the component, and contains the tests for components of any kind.

    Subclass the test class for the kind of your component instead.

    Attributes:
        component: the component class under test. Required.
        options: mapping with options, as in a recipe; other options keep their defaults.
        import_seconds: float, longest allowed import time of the component's module in seconds, not counting the
            imports of torch and sslkit.
        slow: names of the tests that ``sslkit plugins check`` skips if the component has no ``check_options``.
        draws_weights: bool, whether the constructor may draw initial weights from torch's global generator.
    """

    component: ClassVar[type[Component]]
    options: ClassVar[Mapping[str, Any]] = {}
    import_seconds: ClassVar[float] = 20.0
    slow: ClassVar[frozenset[str]] = frozenset({"test_import_is_fast_and_has_no_side_effects"})
    draws_weights: ClassVar[bool] = True
    _seed_offset = 0
    _generator_use = ""

    def make_options(self) -> Options:
        """Return ``options``, validated."""
        return self.component.Options.model_validate_json(json.dumps(dict(self.options)))

    def make_context(self, **facts: Any) -> Context:
        """Return the context of a small training run. ``facts`` replace its attributes, such as ``batch_size=4``."""
        defaults: dict[str, Any] = {
            "channels": 3,
            "image_size": 32,
            "mean": (0.5, 0.4, 0.6),
            "std": (0.2, 0.25, 0.3),
            "batch_size": 8,
            "steps_per_epoch": 4,
            "epochs": 3,
            "seed": 1,
            "training_images": 32,
            "world": World(),
            "view_size": 32,
            "view_count": 4,
            "global_view_count": 2,
            "feature_dim": 12,
            "embedding_dim": 6,
            "classifiers": (7, 3),
        }
        return Context(**defaults | dict(self.component.check_context) | facts)

    def make(self, *arguments: Any, seed: int = 0) -> Any:
        """Build the component from its options and ``arguments``.

        Seed torch's global generator before building, as sslkit does, and restore its state afterwards.
        """
        build: Any = self.component
        seed += self._seed_offset
        with SEEDING, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            built = build(self.make_options(), *arguments)
            initialised = not isinstance(built, torch.nn.Module) or "_modules" in vars(built)
            require(initialised, "the constructor must call super().__init__ with its own arguments first")
            if torch.initial_seed() != seed:
                self._generator_use = "seeds"
            elif not torch.equal(torch.get_rng_state(), before):
                self._generator_use = "draws from"
            return built

    def build(self) -> Any:
        """Build the component for a small training run."""
        raise NotImplementedError

    def test_contract_version_is_declared(self) -> None:
        api = getattr(self.component, "api", None)
        valid = isinstance(api, int) and OLDEST_API <= api <= API
        require(valid, f"api must be a contract version from {OLDEST_API} to {API}, not {api!r}")

    def test_every_option_is_documented(self) -> None:
        fields = self.component.Options.model_fields
        undocumented = [name for name, field in fields.items() if not (field.description or "").strip()]
        require(not undocumented, f"these options need a docstring below them: {', '.join(undocumented)}")
        require((self.component.__doc__ or "").strip(), f"{self.component.__name__} needs a docstring")

    def test_constructor_neither_seeds_nor_draws_except_for_initial_weights(self) -> None:
        """Check that the constructor draws only initial weights from torch's global generator.

        Any other draw would change the initial weights of components that are built later.
        """
        self._seed_offset = 3_141_592_653  # an unlikely seed for a component
        with no_global_randomness("the constructor"):
            built = self.build()
        has_weights = self.draws_weights and bool(built.state_dict())
        allowed = ("", "draws from") if has_weights else ("",)
        message = f"the constructor {self._generator_use} torch's global generator: use a torch.Generator of your own"
        require(self._generator_use in allowed, message)

    def test_import_is_fast_and_has_no_side_effects(self) -> None:
        """Import the module in a new process; check that this is fast, prints nothing and changes nothing global."""
        module, file = self.component.__module__, inspect.getsourcefile(self.component) or ""
        done = subprocess.run(
            [sys.executable, "-c", IMPORT, module, file, json.dumps([path for path in sys.path if path])],
            capture_output=True,
            text=True,
            timeout=300,
        )
        printed, separator, result = done.stdout.rpartition("\nimported ")
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        require(done.returncode == 0 and separator, f"importing {module} fails: {reason}")
        seconds, changed = json.loads(result)
        require(not changed, f"importing {module} changes {', '.join(changed)}")
        require(not printed.strip(), f"importing {module} prints {printed.strip()[:60]!r}")
        require(
            seconds < self.import_seconds,
            f"importing {module} takes {seconds:.1f} s, more than {self.import_seconds:g}: import inside functions",
        )
