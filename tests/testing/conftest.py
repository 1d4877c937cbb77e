"""What the tests of every kind's mutants ask."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest

from sslkit.testing import KITS
from sslkit.testing.conformance import promises, try_kit

SHARED = {"test_it_states_its_contract_version", "test_every_option_is_documented", "test_import_is_quiet_and_quick"}
"""Promises of all kinds; their mutants stand among the losses, and with the imports."""


@pytest.fixture
def broken() -> Callable[[str, type], dict[str, str]]:
    """The promises of a kind that a component breaks, with the reasons."""

    def find(kind: str, component: type) -> dict[str, str]:
        kit = type("Kit", (KITS[kind],), {"component": component, "test_import_is_quiet_and_quick": None})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {result.promise: result.reason for result in try_kit(kit) if result.state != "kept"}

    return find


@pytest.fixture
def promised() -> Callable[[str], set[str]]:
    """The promises of a kind alone."""
    return lambda kind: {name for name, _ in promises(KITS[kind])} - SHARED
