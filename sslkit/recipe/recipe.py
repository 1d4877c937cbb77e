"""A checked recipe, with validated sections and loaded components."""

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
from sslkit.recipe.line_numbers import KeyPath
from sslkit.recipe.sections import EvaluationSection, MonitorSection, RunSection, TrainSection, Wiring


@dataclass(frozen=True)
class ComponentSpec:
    """A component that the recipe names, with its options.

    Attributes:
        path: key path of the component's table.
        use: the value of ``use``.
        entry: catalog entry of the component.
        component: class of the component.
        options: validated options.
        wiring: keys of the component's table that sslkit reads itself, such as ``name`` and ``weight``.
    """

    path: KeyPath
    use: str
    entry: Entry
    component: type[Component]
    options: Options
    wiring: Wiring

    @property
    def identity(self) -> dict[str, Any]:
        """Version and options of the component, which determine the component's outputs, as JSON values."""
        return {
            "component": f"{self.entry.qualified} {self.entry.version}",
            "options": self.options.model_dump(mode="json"),
        }

    @property
    def name(self) -> str:
        """Name of the component in the recipe: ``name`` of a head or loss, else the component's own name."""
        return self.wiring.name or self.entry.name


@dataclass(frozen=True)
class DataRecipe:
    """The part of a recipe that is needed to load the images."""

    document: Document
    data: ComponentSpec

    def option_error(self, spec: ComponentSpec, error: OptionError) -> RecipeError:
        """Convert a component's ``OptionError`` to a ``RecipeError`` with file and line."""
        return RecipeError([self.document.problem((*spec.path, error.option), error.message)])


@dataclass(frozen=True)
class NetworkRecipe(DataRecipe):
    """The part of a recipe that is needed to evaluate the trained network."""

    run: RunSection
    train: TrainSection
    monitor: MonitorSection
    evaluation: EvaluationSection
    backbone: ComponentSpec
    heads: tuple[ComponentSpec, ...]


@dataclass(frozen=True)
class Recipe(NetworkRecipe):
    """A complete recipe, ready for training."""

    views: ComponentSpec
    positives: ComponentSpec
    losses: tuple[ComponentSpec, ...]
    method: ComponentSpec
    optimizer: ComponentSpec

    @property
    def run_name(self) -> str:
        """Name of the run: ``run.name``, or the name of the recipe file if ``run.name`` is empty."""
        return self.run.name or Path(self.document.source).stem

    @property
    def components(self) -> Iterator[ComponentSpec]:
        """All components, in the order in which they are built."""
        yield from (self.data, self.views, self.positives, self.backbone, *self.heads, *self.losses)
        yield from (self.method, self.optimizer)

    def resolved(self) -> dict[str, Any]:
        """Return all sections as plain values, with all defaults and absolute paths."""
        tables: dict[str, Any] = {
            "run": _plain(self.run),
            "train": _plain(self.train),
            "data": _table(self.data),
            "views": _table(self.views),
            "positives": _table(self.positives),
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
        """Return the resolved recipe as TOML. Loading this TOML gives the same recipe."""
        return tomli_w.dumps(self.resolved())


def _table(spec: ComponentSpec) -> dict[str, Any]:
    wiring = {
        name: value
        for name, value in _plain(spec.wiring).items()
        if name in spec.wiring.model_fields_set and value != ""
    }
    # The qualified name remains unique if a component with the same name is installed later.
    return {"use": spec.entry.qualified} | wiring | _plain(spec.options)


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
