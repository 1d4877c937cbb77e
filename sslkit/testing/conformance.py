"""Run the conformance tests of a component without pytest."""

from __future__ import annotations

import inspect
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch

from pydantic import ValidationError

from sslkit.components.catalog import Entry
from sslkit.components.importer import load_component, variant_options
from sslkit.contracts.component import Component
from sslkit.data.cache import CACHE_VARIABLE
from sslkit.errors import ComponentError, MissingExtraError, SslkitError
from sslkit.testing import KITS
from sslkit.testing.base import ComponentTests

IMPORT_TEST = "it can be imported and has the interface of its kind"
OTHER_TESTS = "all other tests"

REFUSED = "the component refuses the options, context or data of the test: "
ADVICE = "give the component check_options"
REFUSAL_ADVICE = f"{ADVICE} or check_context"

TESTING = Path(__file__).parent
"""Folder of the conformance tests; error locations in this folder are not shown."""

ComponentStatus = Literal["passed", "failed", "not checked"]


@dataclass(frozen=True)
class ConformanceResult:
    """Result of a conformance test.

    Attributes:
        test: name of the test in words.
        status: ``passed``, ``failed``, or ``skipped`` if the test did not run.
        reason: why the test failed or was skipped.
    """

    test: str
    status: Literal["passed", "failed", "skipped"]
    reason: str = ""


def kit_tests(kit: type[ComponentTests]) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Yield the name and the function of each test of a test class, base classes first, in order of definition."""
    for base in reversed(kit.__mro__):
        for name in vars(base):
            test = getattr(kit, name)
            if name.startswith("test_") and callable(test) and base is _first_definition(kit, name):
                yield name, test


def _first_definition(kit: type, name: str) -> type:
    return next(base for base in reversed(kit.__mro__) if name in vars(base))


def run_kit(kit: type[ComponentTests], *, fast: bool = False) -> list[ConformanceResult]:
    """Run the tests of a test class and return their results.

    A test is skipped if the component rejects its options, context or data by raising an ``SslkitError`` that is not a
    ``ComponentError``.

    Args:
        kit: the test class, with its attribute ``component``.
        fast: whether to leave out the tests in ``kit.slow``.
    """
    results = []
    for name, test in kit_tests(kit):
        if fast and name in kit.slow:
            continue
        words = _words(name)
        try:
            test(kit())
        except AssertionError as error:
            results.append(ConformanceResult(words, "failed", _describe_assertion(error, kit.component)))
        except ComponentError as error:
            results.append(ConformanceResult(words, "failed", str(error)))
        except SslkitError as error:
            results.append(ConformanceResult(words, "skipped", f"{REFUSED}{error}"))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # A component may even call sys.exit.
            results.append(ConformanceResult(words, "failed", _describe(error) + _location(error, kit.component)))
        else:
            results.append(ConformanceResult(words, "passed"))
    return results


def check_component(entry: Entry) -> list[ConformanceResult]:
    """Import a component, run its conformance tests with its ``check_options``, and return all results.

    Without ``check_options``, the component is built with its default options, and slow tests are skipped.
    """
    try:
        component = load_component(entry)
    except MissingExtraError as error:
        return [ConformanceResult(IMPORT_TEST, "skipped", str(error))]
    except ComponentError as error:
        return [ConformanceResult(IMPORT_TEST, "failed", str(error))]
    first = ConformanceResult(IMPORT_TEST, "passed")
    declared: Mapping[str, Any] | None = None
    with TemporaryDirectory() as folder, patch.dict(os.environ, {CACHE_VARIABLE: f"{folder}/cache"}):
        try:
            (own := Path(folder) / "own").mkdir()
            declared = component.check_options(own)
            kit = kit_for(entry.kind.singular, component, {**(declared or {}), **variant_options(entry, component)})
            kit().make_options()
        except ValidationError as error:
            if declared is None and all(problem["type"] == "missing" for problem in error.errors()):
                missing = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
                reason = f"there is no default for {missing}: {ADVICE}"
                return [first, ConformanceResult(OTHER_TESTS, "skipped", reason)]
            return [first, ConformanceResult("the options of the check are valid", "failed", _describe(error))]
        except Exception as error:
            return [first, ConformanceResult("check_options returns options", "failed", _describe(error))]
        try:
            kit().build()
        except ComponentError:
            pass  # every test reports this error
        except SslkitError as error:
            return [first, ConformanceResult(OTHER_TESTS, "skipped", f"{REFUSED}{error}: {REFUSAL_ADVICE}")]
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            text = str(error) if isinstance(error, AssertionError) and str(error) else _describe(error)
            reason = text + _location(error, component)
            return [first, ConformanceResult("it can be built", "failed", reason)]
        return [first, *_run_affordable(kit, declared is not None)]


def component_status(results: Sequence[ConformanceResult]) -> ComponentStatus:
    """Return ``failed`` if a test failed, ``not checked`` if at least half the tests were skipped, else ``passed``."""
    statuses = [result.status for result in results if result.test != IMPORT_TEST]
    if any(result.status == "failed" for result in results):
        return "failed"
    return "not checked" if 2 * statuses.count("skipped") >= len(statuses) else "passed"


def _run_affordable(kit: type[ComponentTests], quick: bool) -> list[ConformanceResult]:
    """Run the tests of a test class, except the import test and, unless ``quick`` is true, slow tests.

    ``quick`` is true if the component has ``check_options``, which make its tests fast. If it is false, the results
    list each slow test as skipped.
    """
    if quick:
        return run_kit(type(kit.__name__, (kit,), {"slow": ComponentTests.slow}), fast=True)
    left_out = [name for name, _ in kit_tests(kit) if name in kit.slow - ComponentTests.slow]
    reason = f"it may take long or need data: {ADVICE}"
    return run_kit(kit, fast=True) + [ConformanceResult(_words(name), "skipped", reason) for name in left_out]


def kit_for(kind: str, component: type[Component], options: Mapping[str, Any]) -> type[ComponentTests]:
    """Return a test class for a component with ``options``, derived from the test class of its kind."""
    kit = KITS[kind]
    own = {"component": component, "options": options, "__module__": __name__, "__doc__": inspect.getdoc(kit)}
    return type(f"{component.__name__}Tests", (kit,), own)


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _describe_assertion(error: AssertionError, component: type[Component]) -> str:
    """Return the message of a failed test, with the file and line if the component's code raised the exception."""
    cause = error.__cause__ or error
    return (str(error) or "an assertion without a message") + _location(cause, component)


def _location(error: BaseException, component: type[Component]) -> str:
    """Return the innermost line of the traceback in the component's folder, such as `` (loss.py, line 12)``."""
    try:
        folder = Path(inspect.getsourcefile(component) or "").resolve().parent
    except TypeError:  # the class is defined in an interactive session
        return ""
    lines = [
        f" ({Path(frame.filename).name}, line {frame.lineno})"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve().parent == folder and folder != TESTING
    ]
    return lines[-1] if lines else ""
