"""Runs a kit without pytest: on what is installed, and on mutants of our own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from sslkit.components.catalog import Entry
from sslkit.components.importing import load, variant
from sslkit.contracts.component import Component
from sslkit.errors import ComponentError, SslkitError
from sslkit.testing import KITS
from sslkit.testing.base import ComponentTests


@dataclass(frozen=True)
class Result:
    """What became of one promise.

    Attributes:
        promise: in words, from the test's name.
        state: ``kept``, ``broken``, or ``skipped`` where it cannot be tried with default options.
        reason: why it is not kept.
    """

    promise: str
    state: str
    reason: str = ""


def promises(kit: type[ComponentTests]) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """The tests of a kit by name, in the order they are written."""
    for base in reversed(kit.__mro__):
        for name in vars(base):
            test = getattr(kit, name)
            if name.startswith("test_") and callable(test) and base is _first(kit, name):
                yield name, test


def _first(kit: type, name: str) -> type:
    """The eldest class that has the test."""
    return next(base for base in reversed(kit.__mro__) if name in vars(base))


def try_kit(kit: type[ComponentTests], *, quick: bool = False) -> list[Result]:
    """Try every promise of a kit; with ``quick``, those that take no time."""
    results = []
    for name, test in promises(kit):
        if quick and name in kit.slow:
            continue
        words = name.removeprefix("test_").replace("_", " ")
        try:
            test(kit())
        except AssertionError as error:
            results.append(Result(words, "broken", str(error) or "it fails"))
        except SslkitError as error:
            results.append(Result(words, "skipped", f"with default options: {error}"))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a component may even call sys.exit
            results.append(Result(words, "broken", f"{type(error).__name__}: {' '.join(str(error).split())}"))
        else:
            results.append(Result(words, "kept"))
    return results


def check(entry: Entry) -> list[Result]:
    """Import a component, check it against its kind's contract, and try the quick part of the kit on it."""
    try:
        component = load(entry)
    except ComponentError as error:
        return [Result("it can be imported and keeps its kind's contract", "broken", str(error))]
    first = Result("it can be imported and keeps its kind's contract", "kept")
    try:
        component.Options.model_validate(variant(entry, component))
    except ValidationError as error:
        missing = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        return [first, Result("all others", "skipped", f"there is no default for {missing}")]
    return [first, *try_kit(kit_for(entry.kind.singular, component, variant(entry, component)), quick=True)]


def kit_for(kind: str, component: type[Component], options: dict[str, str]) -> type[ComponentTests]:
    """The kit of a kind, for a component."""
    kit = KITS[kind]
    own = {"component": component, "options": options, "__module__": __name__, "__doc__": inspect.getdoc(kit)}
    return type(f"{component.__name__}Tests", (kit,), own)
