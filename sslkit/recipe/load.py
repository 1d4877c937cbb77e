"""Load a recipe: read and override the recipe, check it, and import its components.

Checks run in three stages. The first checks structure and names without importing anything. The second imports the
components and validates their options. The third checks rules that involve multiple sections. All problems of a stage
are reported together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sslkit.components.catalog import Catalog, Entry
from sslkit.components.importer import load_component, variant_options
from sslkit.contracts.options import Options
from sslkit.errors import ComponentError, Problem, RecipeError
from sslkit.recipe.document import COMPONENT_TABLES, Document, read_document
from sslkit.recipe.duration_problems import duration_problems
from sslkit.recipe.line_numbers import KeyPath
from sslkit.recipe.objective_problems import objective_problems
from sslkit.recipe.option_problems import suggestion, validate_table
from sslkit.recipe.overrides import apply_overrides
from sslkit.recipe.recipe import ComponentSpec, DataRecipe, NetworkRecipe, Recipe
from sslkit.recipe.run_name import NAME_RULE, is_run_name
from sslkit.recipe.sections import EvaluationSection, MonitorSection, RunSection, TrainSection, Wiring

CORE_SECTIONS: dict[str, type[Options]] = {
    "run": RunSection,
    "train": TrainSection,
    "monitor": MonitorSection,
    "evaluation": EvaluationSection,
}

ARRAY_SECTIONS = ("head", "loss")
"""Sections that may be an array of tables."""

DEFAULT_TABLES: dict[str, dict[str, Any]] = {
    "method": {"use": "sslkit:joint-embedding"},
    "positives": {"use": "sslkit:views"},
}

ComponentTable = tuple[KeyPath, dict[str, Any], Entry]


def load_recipe(path: Path, settings: Sequence[str] = (), catalog: Catalog | None = None) -> Recipe:
    """Read a recipe, apply ``--set`` options, and check the result.

    Args:
        path: the TOML file.
        settings: overrides, such as ``"train.epochs=10"``.
        catalog: the installed components; if None, the installed distributions are scanned.

    Raises:
        RecipeError: lists all problems of the first stage that fails (see the module docstring).
    """
    document = read_document(path)
    apply_overrides(document, settings)
    return check_document(document, catalog or Catalog.scan())


def check_document(document: Document, catalog: Catalog) -> Recipe:
    """Check a document, load the components that it names, and return the recipe.

    Raises:
        RecipeError: lists all problems of the first stage that fails (see the module docstring).
    """
    checker = _Checker(document, catalog)
    sections, specs = checker.check()
    single: dict[str, Any] = {name: items[0] for name, items in specs.items() if name not in ARRAY_SECTIONS}
    heads, losses = tuple(specs.get("head", [])), tuple(specs.get("loss", []))
    recipe = Recipe(document=document, heads=heads, losses=losses, **sections, **single)
    checker.check_references(recipe)
    checker.raise_problems()
    return recipe


def load_data_recipe(path: Path) -> DataRecipe:
    """Read the part of a run's recipe that describes the data set. Only the data set's component is imported.

    Args:
        path: the resolved recipe of the run.

    Raises:
        RecipeError: the data set cannot be used.
    """
    document = read_document(path)
    _, specs = _Checker(document, Catalog.scan(), ("data",)).check()
    return DataRecipe(document, specs["data"][0])


def load_network_recipe(path: Path, *, heads: bool = True) -> NetworkRecipe:
    """Read the part of a run's recipe that evaluation needs: data set, backbone and heads.

    Other components, such as losses, need not be installed.

    Args:
        path: the resolved recipe of the run.
        heads: whether to load the heads.

    Raises:
        RecipeError: the data set, the backbone or a head cannot be used.
    """
    document = read_document(path)
    tables = ("data", "backbone", "head") if heads else ("data", "backbone")
    sections, specs = _Checker(document, Catalog.scan(), tables).check()
    return NetworkRecipe(
        document=document,
        data=specs["data"][0],
        backbone=specs["backbone"][0],
        heads=tuple(specs.get("head", [])),
        **sections,
    )


class _Checker:
    def __init__(self, document: Document, catalog: Catalog, tables: Iterable[str] = COMPONENT_TABLES) -> None:
        self.document = document
        self.catalog = catalog
        self.tables = tables
        self.problems: list[Problem] = []
        self.component_tables: dict[str, list[ComponentTable]] = {}

    def check(self) -> tuple[dict[str, Any], dict[str, list[ComponentSpec]]]:
        """Return the sections that sslkit reads itself, and the components of the other sections.

        Raises:
            RecipeError: lists all problems of the first stage that fails (see the module docstring).
        """
        sections = self.check_structure()
        self.raise_problems()
        specs = {
            section: [spec for table in tables if (spec := self._load_component(*table))]
            for section, tables in self.component_tables.items()
        }
        self.raise_problems()
        return sections, specs

    def raise_problems(self) -> None:
        if self.problems:
            raise RecipeError(sorted(self.problems, key=lambda problem: (problem.source, problem.line)))

    def add_problem(self, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(self.document.problem(path, message, hint))

    def check_structure(self) -> dict[str, Any]:
        """Validate and return the sections that sslkit reads itself, and find the catalog entry of each component."""
        known = [*CORE_SECTIONS, *COMPONENT_TABLES]
        for name in self.document.tables:
            if name not in known:
                self.add_problem((name,), "unknown section", suggestion(name, [*known, "extends"]))
        sections: dict[str, Any] = {}
        for name, model in CORE_SECTIONS.items():
            table = self.document.tables.get(name, {})
            if not isinstance(table, dict):
                self.add_problem((name,), f"must be a table, [{name}]")
                continue
            result = validate_table(model, table, (name,), self.document)
            if isinstance(result, list):
                self.problems += result
            else:
                sections[name] = result
        for name in self.tables:
            self.component_tables[name] = [entry for item in self._tables(name) if (entry := self._find_entry(*item))]
        return sections

    def _tables(self, section: str) -> list[tuple[KeyPath, dict[str, Any]]]:
        value = self.document.tables.get(section, DEFAULT_TABLES.get(section))
        if value is None and (section == "head" or (section == "loss" and "method" in self.document.tables)):
            return []  # a method may have its own objective
        if value is None or value == []:
            self.add_problem((section,), "the section is missing", f'add [{section}] with use = "..."')
            return []
        if isinstance(value, dict):
            return [((section,), value)]
        if section in ARRAY_SECTIONS and isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return [((section, index), table) for index, table in enumerate(value)]
        form = f"[{section}] or [[{section}]]" if section in ARRAY_SECTIONS else f"[{section}]"
        self.add_problem((section,), f"must be a table, {form}")
        return []

    def _find_entry(self, path: KeyPath, table: dict[str, Any]) -> ComponentTable | None:
        kind = COMPONENT_TABLES[str(path[0])]
        use = table.get("use")
        if not isinstance(use, str):
            names = ", ".join(entry.name for entry in self.catalog.of_kind(kind))
            message = "is required" if use is None else f"must be a string, found {use!r}"
            self.add_problem((*path, "use"), message, f"available: {names}" if names else "none is installed")
            return None
        try:
            return path, table, self.catalog.find(kind, use)
        except ComponentError as error:
            self.add_problem((*path, "use"), str(error))
            return None

    def _load_component(self, path: KeyPath, table: dict[str, Any], entry: Entry) -> ComponentSpec | None:
        reserved = entry.kind.reserved
        wiring = validate_table(Wiring, {key: table[key] for key in table if key in reserved}, path, self.document)
        own = {key: value for key, value in table.items() if key != "use" and key not in reserved}
        try:
            component = load_component(entry)
        except ComponentError as error:
            self.add_problem((*path, "use"), str(error))
            return None
        variant = variant_options(entry, component)
        for option in variant:
            if option in own:
                self.add_problem((*path, option), f"is set twice: {table['use']!r} sets it already", "remove this line")
                return None
        options = validate_table(component.Options, variant | own, path, self.document)
        if isinstance(wiring, list) or isinstance(options, list):
            self.problems += wiring if isinstance(wiring, list) else []
            self.problems += options if isinstance(options, list) else []
            return None
        return ComponentSpec(path, table["use"], entry, component, options, wiring)

    def check_references(self, recipe: Recipe) -> None:
        """Check rules that involve multiple sections: names, references to heads, batch size and durations."""
        if not is_run_name(recipe.run_name):
            source = "" if recipe.run.name else "the recipe file's name "
            message = f"{source}{recipe.run_name!r} cannot be the name of the run"
            self.add_problem(("run", "name"), message, f"set it to {NAME_RULE}")
        names = [head.name for head in recipe.heads]
        for group in (recipe.heads, recipe.losses):
            seen: set[str] = set()
            for spec in group:
                if spec.name in seen:
                    self.add_problem((*spec.path, "name"), f"the name {spec.name!r} is used twice", "set another name")
                seen.add(spec.name)
        for loss in recipe.losses:
            self._check_head((*loss.path, "head"), loss.wiring.head, names)
        train = recipe.train
        processes = 1 if train.devices == "auto" else train.devices * train.nodes
        if train.batch_size % processes:
            self.add_problem(
                ("train", "batch_size"),
                f"{train.batch_size} images cannot be shared equally by {processes} processes",
                f"set it to a multiple of {processes}",
            )
        self._check_head(("evaluation", "head"), recipe.evaluation.head, names)
        self.problems += [*objective_problems(recipe), *duration_problems(recipe)]

    def _check_head(self, path: KeyPath, name: str, names: list[str]) -> None:
        if name and name not in names:
            self.add_problem(path, f"no head is called {name!r}", suggestion(name, names))
