"""A checked recipe: every section validated, every component loaded, ready to be built or written out again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from sslkit.components.catalog import Entry
from sslkit.contracts.component import Component
from sslkit.contracts.options import Options
from sslkit.errors import OptionError, RecipeError
from sslkit.recipe.document import Document
from sslkit.recipe.locate import KeyPath
from sslkit.recipe.schema import EvaluationSection, MonitorSection, Placement, RunSection, TrainSection


@dataclass(frozen=True)
class Selected:
    """A component that the recipe names, with its options.

    Attributes:
        path: key path of its table.
        use: its name as the recipe gives it.
        entry: where it comes from.
        component: its class.
        options: its validated options.
        place: its place among others of its kind.
    """

    path: KeyPath
    use: str
    entry: Entry
    component: type[Component]
    options: Options
    place: Placement

    @property
    def name(self) -> str:
        """Name of this head or loss within the recipe."""
        return self.place.name or self.entry.name


@dataclass(frozen=True)
class Trained:
    """What evaluation needs of the recipe of a trained network."""

    document: Document
    run: RunSection
    train: TrainSection
    monitor: MonitorSection
    evaluation: EvaluationSection
    data: Selected
    backbone: Selected
    heads: tuple[Selected, ...]

    def failure(self, selected: Selected, error: OptionError) -> RecipeError:
        """A component's refusal of one of its options, located in the recipe."""
        return RecipeError([self.document.problem((*selected.path, error.option), error.message)])


@dataclass(frozen=True)
class Recipe(Trained):
    """A recipe that can be trained."""

    views: Selected
    losses: tuple[Selected, ...]
    method: Selected
    optimizer: Selected

    @property
    def selected(self) -> Iterator[Selected]:
        """Every component, in the order they are built."""
        yield from (self.data, self.views, self.backbone, *self.heads, *self.losses, self.method, self.optimizer)

    def resolved(self) -> dict[str, Any]:
        """All sections with every default filled in and every path made absolute."""
        tables: dict[str, Any] = {
            "run": _plain(self.run),
            "train": _plain(self.train),
            "data": _table(self.data),
            "views": _table(self.views),
            "backbone": _table(self.backbone),
            "head": [_table(head) for head in self.heads],
            "loss": [_table(loss) for loss in self.losses],
            "method": _table(self.method),
            "optimizer": _table(self.optimizer),
            "monitor": _plain(self.monitor),
            "evaluation": _plain(self.evaluation),
        }
        return {name: table for name, table in tables.items() if table}

    def to_toml(self) -> str:
        """The resolved recipe as TOML; reading it again gives the same recipe."""
        return tomli_w.dumps(self.resolved())


def _table(selected: Selected) -> dict[str, Any]:
    place = {
        name: value
        for name, value in _plain(selected.place).items()
        if name in selected.place.model_fields_set and value != ""
    }
    # Qualified, so that a component of the same name, installed later, cannot make this ambiguous.
    return {"use": selected.entry.qualified} | place | _plain(selected.options)


def _plain(options: Options) -> dict[str, Any]:
    return {name: _toml(value) for name, value in options.model_dump().items() if value is not None}


def _toml(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.expanduser().absolute())
    if isinstance(value, dict):
        return {name: _toml(item) for name, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_toml(item) for item in value]
    return value
