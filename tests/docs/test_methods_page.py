"""The page of all methods lists every loss of the installed lightly, and names losses and recipes that exist."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest
from shipped_recipes import RECIPES

from sslkit.recipe.load import load_recipe

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def methods() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_methods", DOCS / "make_methods.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_methods"] = module  # dataclasses look up the module of their class
    spec.loader.exec_module(module)
    return module


def test_page_is_up_to_date(methods: ModuleType) -> None:
    assert (DOCS / "methods.md").read_text(encoding="utf-8") == methods.page(), "run python docs/make_methods.py"


def test_every_loss_of_lightly_is_listed(methods: ModuleType) -> None:
    listed = {name for method in methods.METHODS for name in method.classes}
    assert listed == methods.lightly_classes()


OTHER_PLUGINS = ("sslkit_selfcls.", "sslkit_discovery.", "sslkit_pretext.")


def of_plugins(group: str, *packages: str) -> set[str]:
    """Return the names of the packages' components in an entry-point group."""
    return {point.name for point in entry_points(group=group) if point.value.startswith(packages)}


@pytest.mark.parametrize(("table", "packages"), [("METHODS", ("sslkit_lightly.",)), ("OTHERS", OTHER_PLUGINS)])
def test_every_loss_and_method_of_the_plugins_is_listed_with_a_recipe_that_uses_it(
    methods: ModuleType, table: str, packages: tuple[str, ...]
) -> None:
    rows = getattr(methods, table)
    assert {loss for method in rows for loss in method.losses} == of_plugins("sslkit.losses", *packages)
    assert {method.method for method in rows if method.method} == of_plugins("sslkit.methods", *packages)
    for method in rows:
        own = [*method.losses, *([method.method] if method.method else [])]
        assert table == "OTHERS" or bool(own) == bool(method.recipe), method.name
        assert own or method.note, f"{method.name}: give the reason why sslkit does not have it"
        if method.recipe:
            recipe = load_recipe(RECIPES / f"{method.recipe}.toml").resolved()
            used = recipe["method"] if method.method else recipe["loss"][0]
            assert used["use"].partition(":")[2] == own[0]
