"""Recipes changed at random either pass or are refused with located problems, never with anything else."""

from __future__ import annotations

import copy
import random
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from sslkit.components.catalog import Catalog
from sslkit.errors import RecipeError
from sslkit.recipe.check import load_recipe

VALUES: list[Any] = [
    0, 1, -1, 2**70, 0.5, -0.0, 1e308, True, "", "auto", "selfcls", "sslkit:digits", "a:b:c", "é\n\x7f", "x" * 5000,
    [], [[]], [1, "a"], [10, 20], {}, {"use": "digits"}, {"use": 3}, [{}], [{"use": "selfcls"}], {"a": {"b": {"c": 1}}},
]  # fmt: skip
KEYS = ["use", "epochs", "__class__", "model_config", "", "a.b", "é", "name", "extends", "weight", "head", "lr"]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def mutate(tables: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    tables = copy.deepcopy(tables)
    for _ in range(chance.randint(1, 4)):
        *parents, last = chance.choice([place for place in places(tables) if place])
        parent: Any = tables
        for part in parents:
            parent = parent[part]
        match chance.randrange(4):
            case 0:
                del parent[last]
            case 1:
                parent[last] = copy.deepcopy(chance.choice(VALUES))
            case 2 if isinstance(parent, dict):
                parent[chance.choice(KEYS)] = copy.deepcopy(chance.choice(VALUES))
            case 3 if isinstance(parent, dict):
                parent[chance.choice(KEYS)] = parent.pop(last)
    return tables


def scramble(text: str, chance: random.Random) -> bytes:
    """Now and then damage the file itself: its bytes rather than its meaning."""
    data = bytearray(text.encode())
    if chance.random() < 0.2 and data:
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def mutations(tiny_text: str, folder: Path, count: int, seed: int) -> dict[str, int]:
    tables, catalog, chance = tomllib.loads(tiny_text), Catalog.scan(), random.Random(seed)
    path = folder / "mutated.toml"
    done = {"mutated": 0, "good": 0, "refused": 0}
    refusals: list[RecipeError] = []
    for _ in range(count):
        path.write_bytes(scramble(tomli_w.dumps(mutate(tables, chance)), chance))
        try:
            load_recipe(path, catalog=catalog)
            done["good"] += 1
        except RecipeError as error:
            refusals.append(error)
            done["refused"] += 1
        done["mutated"] += 1
    for problem in (problem for error in refusals for problem in error.problems):
        assert problem.source == str(path)
        assert problem.message
    assert all(error.problems for error in refusals)
    return done


def test_mutated_recipes_pass_or_are_refused(tiny_text: str, tmp_path: Path) -> None:
    done = mutations(tiny_text, tmp_path, count=300, seed=0)
    assert done["good"] > 10
    assert done["refused"] > 100


@pytest.mark.soak
def test_five_thousand_mutated_recipes(tiny_text: str, tmp_path: Path, record) -> None:
    record("mutated recipes", mutations(tiny_text, tmp_path, count=5000, seed=1))
