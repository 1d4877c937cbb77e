"""Checks a document in two stages: structure and names without importing anything, then options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslkit.components.catalog import Catalog, Entry
from sslkit.components.importing import load, variant
from sslkit.components.kinds import kind_named
from sslkit.contracts.options import Options
from sslkit.errors import ComponentError, Problem, RecipeError
from sslkit.recipe.document import COMPONENT_TABLES, Document, read
from sslkit.recipe.locate import KeyPath
from sslkit.recipe.model import Recipe, Selected, Trained
from sslkit.recipe.overrides import override
from sslkit.recipe.schema import EvaluationSection, MonitorSection, Placement, RunSection, TrainSection
from sslkit.recipe.validation import suggestion, validate

SECTIONS: dict[str, type[Options]] = {
    "run": RunSection,
    "train": TrainSection,
    "monitor": MonitorSection,
    "evaluation": EvaluationSection,
}

KIND_OF = {
    "data": "dataset",
    "views": "view",
    "backbone": "backbone",
    "head": "head",
    "loss": "loss",
    "method": "method",
    "optimizer": "optimizer",
}

REPEATED = ("head", "loss")
"""Sections that may be an array of tables."""

DEFAULTS: dict[str, dict[str, Any]] = {"method": {"use": "sslkit:joint-embedding"}}

Named = tuple[KeyPath, dict[str, Any], Entry]


def load_recipe(path: Path, settings: Sequence[str] = (), catalog: Catalog | None = None) -> Recipe:
    """Read, override and check a recipe.

    Raises:
        RecipeError: every problem of the first stage that finds any.
    """
    document = read(path)
    override(document, settings)
    return check(document, catalog or Catalog.scan())


def check(document: Document, catalog: Catalog) -> Recipe:
    """Check a document and load the components it names.

    Raises:
        RecipeError: every problem of the first stage that finds any.
    """
    checker = _Checker(document, catalog)
    sections, selected = checker.check()
    one: dict[str, Any] = {name: items[0] for name, items in selected.items() if name not in REPEATED}
    heads, losses = tuple(selected.get("head", [])), tuple(selected.get("loss", []))
    recipe = Recipe(document=document, heads=heads, losses=losses, **sections, **one)
    checker.references(recipe)
    checker.raise_problems()
    return recipe


def load_trained(path: Path, *, heads: bool = True) -> Trained:
    """Read what evaluation needs of a run's recipe: whatever else it was trained with need not be installed.

    Args:
        path: the resolved recipe.
        heads: also its heads.

    Raises:
        RecipeError: data set, backbone or heads cannot be used.
    """
    document = read(path)
    wanted = ("data", "backbone", "head") if heads else ("data", "backbone")
    sections, selected = _Checker(document, Catalog.scan(), wanted).check()
    found = tuple(selected.get("head", []))
    return Trained(
        document=document, data=selected["data"][0], backbone=selected["backbone"][0], heads=found, **sections
    )


class _Checker:
    def __init__(self, document: Document, catalog: Catalog, wanted: Sequence[str] = COMPONENT_TABLES) -> None:
        self.document = document
        self.catalog = catalog
        self.wanted = wanted
        self.problems: list[Problem] = []
        self.named: dict[str, list[Named]] = {}

    def check(self) -> tuple[dict[str, Any], dict[str, list[Selected]]]:
        """The core's sections and the components of the others, or every problem of the first stage that finds any."""
        sections = self.structure()
        self.raise_problems()
        selected = self.options()
        self.raise_problems()
        return sections, selected

    def raise_problems(self) -> None:
        if self.problems:
            raise RecipeError(sorted(self.problems, key=lambda problem: (problem.source, problem.line)))

    def complain(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(self.document.problem(path, message, hint))

    def structure(self) -> dict[str, Any]:
        """Validate the core's own sections, and find the entry of every named component."""
        known = [*SECTIONS, *COMPONENT_TABLES]
        for name in self.document.tables:
            if name not in known:
                self.complain((name,), "unknown section", suggestion(name, [*known, "extends"]))
        sections: dict[str, Any] = {}
        for name, model in SECTIONS.items():
            table = self.document.tables.get(name, {})
            if not isinstance(table, dict):
                self.complain((name,), f"must be a table, [{name}]")
                continue
            result = validate(model, table, (name,), self.document)
            if isinstance(result, list):
                self.problems += result
            else:
                sections[name] = result
        for name in self.wanted:
            self.named[name] = [item for item in map(self._named, self._tables(name)) if item]
        return sections

    def _tables(self, section: str) -> list[tuple[KeyPath, dict[str, Any]]]:
        found = self.document.tables.get(section, DEFAULTS.get(section))
        if found is None and section == "head":
            return []
        if found is None or found == []:
            self.complain((section,), "the section is missing", f'write [{section}] with use = "..."')
            return []
        if isinstance(found, dict):
            return [((section,), found)]
        if section in REPEATED and isinstance(found, list) and all(isinstance(item, dict) for item in found):
            return [((section, index), table) for index, table in enumerate(found)]
        form = f"[{section}] or [[{section}]]" if section in REPEATED else f"[{section}]"
        self.complain((section,), f"must be a table, {form}")
        return []

    def _named(self, item: tuple[KeyPath, dict[str, Any]]) -> Named | None:
        path, table = item
        kind = kind_named(KIND_OF[str(path[0])])
        use = table.get("use")
        if not isinstance(use, str):
            names = ", ".join(entry.name for entry in self.catalog.of(kind))
            found = "is required" if use is None else f"must be a string, found {use!r}"
            self.complain((*path, "use"), found, f"there are {names}" if names else "none is installed")
            return None
        try:
            return path, table, self.catalog.find(kind, use)
        except ComponentError as error:
            self.complain((*path, "use"), str(error))
            return None

    def options(self) -> dict[str, list[Selected]]:
        """Import the named components and validate their options."""
        return {
            section: [selected for item in items if (selected := self._selected(*item))]
            for section, items in self.named.items()
        }

    def _selected(self, path: KeyPath, table: dict[str, Any], entry: Entry) -> Selected | None:
        taken = entry.kind.reserved
        place = validate(Placement, {key: table[key] for key in table if key in taken}, path, self.document)
        own = {key: value for key, value in table.items() if key != "use" and key not in taken}
        try:
            component = load(entry)
        except ComponentError as error:
            self.complain((*path, "use"), str(error))
            return None
        for option in variant(entry, component):
            if option in own:
                self.complain((*path, option), f"is given twice: {table['use']!r} says it already")
                return None
        options = validate(component.Options, variant(entry, component) | own, path, self.document)
        if isinstance(place, list) or isinstance(options, list):
            self.problems += place if isinstance(place, list) else []
            self.problems += options if isinstance(options, list) else []
            return None
        return Selected(path, table["use"], entry, component, options, place)

    def references(self, recipe: Recipe) -> None:
        """Check what sections cannot tell alone: unique names, references that find a head, batches to share."""
        names = [head.name for head in recipe.heads]
        for group in (recipe.heads, recipe.losses):
            seen: set[str] = set()
            for item in group:
                if item.name in seen:
                    self.complain((*item.path, "name"), f"there are two called {item.name!r}", "give each its own name")
                seen.add(item.name)
        for loss in recipe.losses:
            if loss.place.head and loss.place.head not in names:
                self.complain(
                    (*loss.path, "head"), f"no head is called {loss.place.head!r}", suggestion(loss.place.head, names)
                )
        train = recipe.train
        processes = 1 if train.devices == "auto" else train.devices * train.nodes
        if train.batch_size % processes:
            self.complain(
                ("train", "batch_size"),
                f"{train.batch_size} images cannot be shared equally by {processes} processes",
                f"set it to a multiple of {processes}",
            )
        chosen = recipe.evaluation.head
        if chosen and chosen not in names:
            self.complain(("evaluation", "head"), f"no head is called {chosen!r}", suggestion(chosen, names))
