"""Fuzz test of recipes: a randomly mutated recipe either trains or fails with located problems."""

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
from sslkit.recipe.load import load_recipe
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
"""Overrides that select components other than those of the base recipe."""

UNLOCATED = re.compile(r"is not valid TOML|is nested too deeply|: the section is missing")
"""Parts of messages without a line number, about the whole file or a missing part."""


def key_paths(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(below for key, value in items for below in key_paths(value, (*path, key)))]


def mutate(tables: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Delete, replace, add or rename one to four random values."""
    tables = copy.deepcopy(tables)
    for _ in range(rng.choice((1, 1, 2, 4))):
        *parents, last = rng.choice([path for path in key_paths(tables) if path])
        parent: Any = tables
        for part in parents:
            parent = parent[part]
        match rng.randrange(4):
            case 0:
                del parent[last]
            case 1:
                parent[last] = copy.deepcopy(rng.choice(VALUES))
            case 2 if isinstance(parent, dict):
                parent[rng.choice(KEYS)] = copy.deepcopy(rng.choice(VALUES))
            case 3 if isinstance(parent, dict):
                parent[rng.choice(KEYS)] = parent.pop(last)
    return tables


def corrupt_bytes(text: str, rng: random.Random) -> bytes:
    """Replace up to three random bytes in every fifth file."""
    data = bytearray(text.encode())
    if rng.random() < 0.2 and data:
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


class RecipeFuzzer:
    """Mutate a recipe, with and without explicit default values, and try each mutation."""

    def __init__(self, text: str, folder: Path) -> None:
        self.path = folder / "mutated.toml"
        self.path.write_text(text)
        self.catalog = Catalog.scan()
        resolved = [load_recipe(self.path, settings, self.catalog).resolved() for settings in ((), OTHERS)]
        self.bases = [tomllib.loads(text), *resolved]
        self.counts = Counter[str]()

    def write_mutation(self, rng: random.Random) -> None:
        self.path.write_bytes(corrupt_bytes(tomli_w.dumps(mutate(rng.choice(self.bases), rng)), rng))

    def try_mutation(self) -> None:
        """Run the recipe on one batch, or check its error."""
        self.counts["mutated"] += 1
        try:
            dry_run(load_recipe(self.path, catalog=self.catalog), Reporter())
        except SslkitError as error:
            self.check_error(error)
            return
        self.counts["valid"] += 1

    def check_error(self, error: SslkitError) -> None:
        self.counts["invalid"] += 1
        assert error.exit_code == 2
        if isinstance(error, RecipeError):
            assert error.problems
        for line in str(error).splitlines()[isinstance(error, RecipeError) :]:
            self.check_location(line.strip())

    def check_location(self, problem: str) -> None:
        match = re.match(rf"{re.escape(str(self.path))}:(\d+): ", problem)
        if match:
            assert 1 <= int(match[1]) <= len(self.path.read_bytes().splitlines()) + 1, problem
        else:
            assert problem.startswith(f"{self.path}: "), problem
            key = problem.removeprefix(f"{self.path}: ").split(".")[0].split(":")[0]
            assert UNLOCATED.search(problem) or key not in tomllib.loads(self.path.read_text()), problem


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def try_mutations(fuzzer: RecipeFuzzer, seed: int) -> None:
    fuzzer.write_mutation(random.Random(seed))
    fuzzer.try_mutation()


def test_a_mutated_recipe_trains_or_fails_with_located_problems(tiny_recipe_text: str, tmp_path: Path) -> None:
    fuzzer = RecipeFuzzer(tiny_recipe_text, tmp_path)
    try_mutations(fuzzer)
    assert fuzzer.counts["valid"] > 10
    assert fuzzer.counts["invalid"] > 50


@pytest.mark.parametrize(
    "setting",
    ["views.size=1099511627776", "backbone.width=1000000000000", "head.embedding_dim=4611686018427387904"],
)
def test_an_absurd_size_is_an_error_with_its_line(tiny: Path, setting: str) -> None:
    section, option, value = re.split("[.=]", setting)
    text = tiny.read_text().replace(f"[{section}]\n", f"[{section}]\n{option} = {value}\n")
    tiny.write_text(text)
    line = text.splitlines().index(f"{option} = {value}") + 1
    result = CliRunner().invoke(app, ["train", str(tiny), "--dry-run"])
    assert result.exit_code == 2
    assert f"{tiny}:{line}: {section}.{option}: should be less than or equal to" in result.stderr


@pytest.mark.soak
def test_five_thousand_mutated_recipes(tiny_recipe_text: str, tmp_path: Path, record) -> None:
    fuzzer, rng = RecipeFuzzer(tiny_recipe_text, tmp_path), random.Random(1)
    for _ in range(5000):
        fuzzer.write_mutation(rng)
        fuzzer.try_mutation()
    record("mutated recipes", dict(fuzzer.counts))
