"""Run the conformance tests of a component without pytest."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from sslkit.components.catalog import Entry
from sslkit.components.importer import load_component, variant_options
from sslkit.contracts.component import Component
from sslkit.errors import ComponentError, SslkitError
from sslkit.testing import KITS
from sslkit.testing.base import ComponentTests

IMPORT_TEST = "it can be imported and has the interface of its kind"


@dataclass(frozen=True)
class ConformanceResult:
    """Result of a conformance test.

    Attributes:
        test: name of the test in words.
        status: ``passed``, ``failed``, or ``skipped`` if it cannot run with default options.
        reason: why it did not pass.
    """

    test: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""


def kit_tests(kit: type[ComponentTests]) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Yield name and function of each test of a kit, base classes first, in source order."""
    for base in reversed(kit.__mro__):
        for name in vars(base):
            test = getattr(kit, name)
            if name.startswith("test_") and callable(test) and base is _first_definition(kit, name):
                yield name, test


def _first_definition(kit: type, name: str) -> type:
    return next(base for base in reversed(kit.__mro__) if name in vars(base))


def run_kit(kit: type[ComponentTests], *, fast: bool = False) -> list[ConformanceResult]:
    """Run the tests of a kit.

    Args:
        kit: the kit with its component.
        fast: whether to leave out the tests in ``kit.slow``.
    """
    results = []
    for name, test in kit_tests(kit):
        if fast and name in kit.slow:
            continue
        words = name.removeprefix("test_").replace("_", " ")
        try:
            test(kit())
        except AssertionError as error:
            results.append(ConformanceResult(words, "failed", str(error) or "an assertion without a message"))
        except SslkitError as error:
            results.append(ConformanceResult(words, "skipped", f"with default options: {error}"))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # A component may even call sys.exit.
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            results.append(ConformanceResult(words, "failed", reason))
        else:
            results.append(ConformanceResult(words, "passed"))
    return results


def check_component(entry: Entry) -> list[ConformanceResult]:
    """Import a component, check the contract of its kind, and run the fast tests with default options."""
    try:
        component = load_component(entry)
    except ComponentError as error:
        return [ConformanceResult(IMPORT_TEST, "failed", str(error))]
    first = ConformanceResult(IMPORT_TEST, "passed")
    options = variant_options(entry, component)
    try:
        component.Options.model_validate(options)
    except ValidationError as error:
        missing = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        return [first, ConformanceResult("all other tests", "skipped", f"there is no default for {missing}")]
    return [first, *run_kit(kit_for(entry.kind.singular, component, options), fast=True)]


def kit_for(kind: str, component: type[Component], options: dict[str, str]) -> type[ComponentTests]:
    """Return the kit of a kind, as a subclass for a component."""
    kit = KITS[kind]
    own = {"component": component, "options": options, "__module__": __name__, "__doc__": inspect.getdoc(kit)}
    return type(f"{component.__name__}Tests", (kit,), own)
