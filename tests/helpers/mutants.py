"""Test the conformance tests with mutants: components that fail one conformance test and pass all others."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from sslkit.testing import KITS, ComponentTests
from sslkit.testing.conformance import kit_tests, run_kit

IMPORT_TEST = "test_import_is_fast_and_has_no_side_effects"


class Mutants(list[tuple[str, type]]):
    """Pairs of a conformance test and a component that fails only this test."""

    def fails(self, test: str) -> Callable[[type], type]:
        """Register the decorated class as a mutant that fails ``test``."""

        def register(mutant: type) -> type:
            mutant.__doc__ = mutant.__doc__ or f"Component that fails {test}."
            self.append((test, mutant))
            return mutant

        return register


def failures(kind: str, component: type) -> dict[str, str]:
    """Return a mapping from each conformance test that a component does not pass to the reason."""
    kit = type("Kit", (KITS[kind],), {"component": component, IMPORT_TEST: None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {result.test: result.reason for result in run_kit(kit) if result.status != "passed"}


class MutantTests:
    """Tests of the conformance tests of a kind. Set ``kind``, ``valid`` (correct components) and ``mutants``."""

    kind: str
    valid: tuple[type, ...]
    mutants: Mutants

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if "mutant" in metafunc.fixturenames:
            names = [mutant.__name__ for _, mutant in self.mutants]
            metafunc.parametrize(("test", "mutant"), self.mutants, ids=names)

    def test_a_valid_component_passes_every_test(self) -> None:
        for component in self.valid:
            assert failures(self.kind, component) == {}

    def test_a_mutant_fails_its_test_and_no_other(self, test: str, mutant: type) -> None:
        failed = failures(self.kind, mutant)
        assert list(failed) == [test.removeprefix("test_").replace("_", " ")], failed

    def test_every_conformance_test_has_a_mutant(self) -> None:
        shared = {name for name, _ in kit_tests(ComponentTests)}
        own = {name for name, _ in kit_tests(KITS[self.kind])} - shared
        assert own <= {test for test, _ in self.mutants}
