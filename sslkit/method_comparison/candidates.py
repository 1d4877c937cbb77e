"""The compared methods and the settings that they share."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sslkit.components.catalog import Catalog
from sslkit.errors import InputError
from sslkit.method_comparison.budget import Length, relative_durations
from sslkit.recipe.document import Document, Origin, read_document
from sslkit.recipe.find import find_recipe
from sslkit.recipe.load import check_document
from sslkit.recipe.overrides import apply_overrides
from sslkit.recipe.recipe import Recipe

DEFAULT_BATCH_SIZE = 256
"""Batch size if the first recipe sets none."""

ONE_PROCESS = {"devices": 1, "nodes": 1}

INTERVALS: Mapping[str, dict[str, Any]] = {
    "train": {"checkpoint_every": "10%"},
    "monitor": {"every_epochs": "25%", "max_images": 2000},
}
"""Settings of all methods. The validation metrics are few, because they take time in addition to the budget."""


@dataclass(frozen=True)
class Candidate:
    """A method of a comparison.

    Attributes:
        name: name of the method in the results.
        recipe: path of its recipe.
    """

    name: str
    recipe: Path


def find_candidates(names: Iterable[str]) -> tuple[Candidate, ...]:
    """Return the methods with the given names or recipe paths. Recipes with the same name are named by their paths.

    Raises:
        InputError: there is no such recipe, or there are fewer than two methods.
    """
    paths = list(dict.fromkeys(find_recipe(name) for name in names if name))
    if len(paths) < 2:
        raise InputError("a comparison needs at least two methods, such as simclr,moco")
    count = Counter(path.stem for path in paths)
    return tuple(Candidate(path.stem if count[path.stem] == 1 else str(path.with_suffix("")), path) for path in paths)


@dataclass(frozen=True)
class SharedSettings:
    """Settings of all methods of a comparison.

    Attributes:
        data: table ``[data]``.
        backbone: table ``[backbone]``.
        batch_size: number of images in a step.
        settings: the user's ``--set`` options.
        sources: text about the origin of ``data``, ``backbone`` and ``batch_size``, for error messages.
    """

    data: Mapping[str, Any]
    backbone: Mapping[str, Any]
    batch_size: int
    settings: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, first: Candidate, data: str | None, backbone: str | None, settings: Sequence[str]) -> SharedSettings:
        """Return the settings from the options; where an option is missing, use the recipe of the first method.

        Args:
            first: the first method.
            data: name of a data set, or path of a recipe whose ``[data]`` is used.
            backbone: name of a backbone.
            settings: the user's ``--set`` options.
        """
        tables = read_document(first.recipe).tables
        recipe = f"the recipe of the first method, {first.recipe}"
        sources = dict.fromkeys(("data", "backbone", "batch_size"), recipe)
        data_table, backbone_table = _table(tables, "data"), _table(tables, "backbone")
        if data is not None:
            is_recipe = data.endswith(".toml")
            data_table = _table(read_document(Path(data)).tables, "data") if is_recipe else {"use": data}
            sources["data"] = f"--data {data}"
        if backbone is not None:
            same = str(backbone_table.get("use", "")).rpartition(":")[2] == backbone.rpartition(":")[2]
            backbone_table = backbone_table if same else {"use": backbone}
            sources["backbone"] = f"--backbone {backbone}"
        batch_size = _table(tables, "train").get("batch_size", DEFAULT_BATCH_SIZE)
        return cls(data_table, backbone_table, batch_size, tuple(settings), sources)

    def load(self, candidate: Candidate, seed: int, catalog: Catalog, length: Length | None = None) -> Recipe:
        """Return the recipe of a method with the shared settings.

        Args:
            candidate: the method.
            seed: seed of the run.
            catalog: the installed components.
            length: length of training; None keeps the recipe's own number of epochs.

        Raises:
            RecipeError: the recipe has problems.
        """
        document = self._document(candidate, seed)
        recipe = check_document(copy.deepcopy(document), catalog)
        apply_overrides(document, relative_durations(recipe))
        if length is not None:
            document.tables["train"] |= {"epochs": length.epochs, "steps_per_epoch": length.steps_per_epoch}
        return check_document(document, catalog)

    def _document(self, candidate: Candidate, seed: int) -> Document:
        document = read_document(candidate.recipe)
        tables = document.tables
        for name, table in (("data", self.data), ("backbone", self.backbone)):
            tables[name] = copy.deepcopy(dict(table))
            document.drop_origins((name,))
            document.origins[(name,)] = Origin(self.sources.get(name, ""))
        for name, values in INTERVALS.items():
            tables[name] = _table(tables, name) | values
        tables["train"] |= ONE_PROCESS | {"batch_size": self.batch_size}
        document.origins[("train", "batch_size")] = Origin(self.sources.get("batch_size", ""))
        apply_overrides(document, [*self.settings, f"run.seed={seed}"])
        return document

    def changes(self, candidate: Candidate) -> dict[str, str]:
        """Return the batch size and the backbone of a method's own recipe, if they differ from the shared ones."""
        tables = read_document(candidate.recipe).tables
        own = {
            "train.batch_size": (_table(tables, "train").get("batch_size"), self.batch_size),
            "backbone.use": (_table(tables, "backbone").get("use"), self.backbone.get("use")),
        }
        return {key: str(before) for key, (before, shared) in own.items() if before is not None and before != shared}


def _table(tables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a table of a recipe; empty if there is none. Checking the recipe reports values that are not tables."""
    table = tables.get(name, {})
    return dict(table) if isinstance(table, dict) else {}
