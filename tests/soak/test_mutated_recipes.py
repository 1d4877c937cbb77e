"""Recipes changed at random either run or are refused, with the lines that are wrong, never with anything else."""

from __future__ import annotations

import copy
import random
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sslkit.cli.main import app
from sslkit.components.catalog import Catalog
from sslkit.errors import RecipeError, SslkitError
from sslkit.recipe.check import load_recipe
from sslkit.training.dry_run import dry_run
from sslkit.training.events import Reporter

VALUES: list[Any] = [
    0, 1, -1, 2**40, 10**12, 2**62, 2**70, 0.5, -0.0, 1e308, True, "", "auto", "selfcls", "sslkit:digits", "a:b:c",
    "é\n\x7f", "x" * 5000, [], [[]], [1, "a"], [10, 20], [2**62], {}, {"use": "digits"}, {"use": 3}, [{}],
    [{"use": "selfcls"}], {"a": {"b": {"c": 1}}},
]  # fmt: skip
KEYS = ["use", "epochs", "__class__", "model_config", "", "a.b", "é", "name", "extends", "weight", "head", "lr"]

OTHERS = [
    *("views.use=crops", "views.saturation=0", "views.hue=0", "views.grayscale_p=0", "views.local_crops=1"),
    *("method.use=momentum-teacher", "head.use=dino", "head.hidden_dim=16", "head.embedding_dim=8"),
    *("head.classifiers=[10]", "loss.use=dino", "optimizer.use=lars"),
]
"""Other components than the recipe's own."""

WHOLE = re.compile(r"is not valid TOML|is nested too deeply|: the section is missing")
"""What has no line: it is about the file, or about what is not in it."""


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def mutate(tables: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    tables = copy.deepcopy(tables)
    for _ in range(chance.choice((1, 1, 2, 4))):
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


class Mutations:
    """Changes a recipe, or one with every default written out, and tries what comes of it."""

    def __init__(self, text: str, folder: Path) -> None:
        self.path = folder / "mutated.toml"
        self.path.write_text(text)
        self.catalog = Catalog.scan()
        written_out = [load_recipe(self.path, settings, self.catalog).resolved() for settings in ((), OTHERS)]
        self.bases = [tomllib.loads(text), *written_out]
        self.done = Counter[str]()

    def write(self, chance: random.Random) -> None:
        self.path.write_bytes(scramble(tomli_w.dumps(mutate(chance.choice(self.bases), chance)), chance))

    def try_out(self) -> None:
        """Build the recipe and take a batch through it, or see its refusal."""
        self.done["mutated"] += 1
        try:
            dry_run(load_recipe(self.path, catalog=self.catalog), Reporter())
        except SslkitError as error:
            self.refused(error)
            return
        self.done["good"] += 1

    def refused(self, refusal: SslkitError) -> None:
        self.done["refused"] += 1
        assert refusal.exit_code == 2
        if isinstance(refusal, RecipeError):
            assert refusal.problems
        for line in str(refusal).splitlines()[isinstance(refusal, RecipeError) :]:
            self.located(line.strip())

    def located(self, problem: str) -> None:
        found = re.match(rf"{re.escape(str(self.path))}:(\d+): ", problem)
        if found:
            assert 1 <= int(found[1]) <= len(self.path.read_bytes().splitlines()) + 1, problem
        else:
            assert problem.startswith(f"{self.path}: "), problem
            key = problem.removeprefix(f"{self.path}: ").split(".")[0].split(":")[0]
            assert WHOLE.search(problem) or key not in tomllib.loads(self.path.read_text()), problem


@settings(max_examples=150, deadline=None, derandomize=True)
@given(chance=st.integers(0, 2**32))
def slice_of_them(mutations: Mutations, chance: int) -> None:
    mutations.write(random.Random(chance))
    mutations.try_out()


def test_mutated_recipes_pass_or_are_refused(tiny_text: str, tmp_path: Path) -> None:
    mutations = Mutations(tiny_text, tmp_path)
    slice_of_them(mutations)
    assert mutations.done["good"] > 10
    assert mutations.done["refused"] > 50


@pytest.mark.parametrize(
    "setting",
    ["views.size=1099511627776", "backbone.width=1000000000000", "head.embedding_dim=4611686018427387904"],
)
def test_absurd_sizes_are_refused_with_their_line(tiny: Path, setting: str) -> None:
    section, option, value = re.split("[.=]", setting)
    text = tiny.read_text().replace(f"[{section}]\n", f"[{section}]\n{option} = {value}\n")
    tiny.write_text(text)
    line = text.splitlines().index(f"{option} = {value}") + 1
    result = CliRunner().invoke(app, ["train", str(tiny), "--dry-run"])
    assert result.exit_code == 2
    assert f"{tiny}:{line}: {section}.{option}: should be less than or equal to" in result.stderr


@pytest.mark.soak
def test_five_thousand_mutated_recipes(tiny_text: str, tmp_path: Path, record) -> None:
    mutations, chance = Mutations(tiny_text, tmp_path), random.Random(1)
    for _ in range(5000):
        mutations.write(chance)
        mutations.try_out()
    record("mutated recipes", dict(mutations.done))
