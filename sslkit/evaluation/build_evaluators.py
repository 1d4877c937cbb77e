"""Build evaluators and data sets for ``sslkit eval`` from names and options."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from sslkit.assembly.build_component import build_dataset
from sslkit.components.catalog import CORE, Catalog, Entry
from sslkit.components.importer import load_component, variant_options
from sslkit.components.kinds import find_kind
from sslkit.contracts.dataset import Dataset
from sslkit.contracts.evaluator import Evaluator
from sslkit.errors import RecipeError
from sslkit.recipe.document import Document
from sslkit.recipe.load import load_recipe
from sslkit.recipe.option_problems import suggestion, validate_table
from sslkit.recipe.overrides import apply_overrides

SOURCE = "sslkit eval"
"""Name of the command, shown in error messages about its options."""


def build_evaluators(asked: Mapping[str, Mapping[str, Any]], settings: Sequence[str] = ()) -> dict[str, Evaluator]:
    """Return a mapping from name to evaluator. Ambiguous names are qualified: ``distribution:name``.

    Args:
        asked: mapping from evaluator name to options, such as ``{"cluster": {}, "linear": {"fractions": [0.1]}}``.
            Names may be qualified, as in ``sslkit:cluster``. If two names mean the same evaluator, their options are
            merged.
        settings: strings ``evaluator.option=value``, which override ``asked``.

    Raises:
        ComponentError: an evaluator is not installed, or cannot be imported.
        RecipeError: options are invalid; the error lists all of them.
    """
    catalog = Catalog.scan()
    found = {name: catalog.find(find_kind("evaluator"), name) for name in asked}
    names = {entry: _result_name(entry, set(found.values()), catalog) for entry in found.values()}
    entries = {name: entry for entry, name in names.items()}
    tables: dict[str, dict[str, Any]] = {name: {} for name in entries}
    for name, options in asked.items():
        tables[names[found[name]]] |= dict(options)
    document = Document(tables, source=SOURCE)
    apply_overrides(document, [_with_result_name(setting, entries) for setting in settings])
    problems = [
        document.problem((name,), "is not one of the requested evaluators", _hint(name, entries))
        for name in document.tables
        if name not in entries
    ]
    evaluators: dict[str, Evaluator] = {}
    for name, entry in entries.items():
        built = _build(entry, document, name)
        if isinstance(built, list):
            problems += built
        else:
            evaluators[name] = built
    if problems:
        raise RecipeError(problems, "the evaluation's options")
    return evaluators


def _result_name(entry: Entry, requested: Collection[Entry], catalog: Catalog) -> str:
    """Return the name under which the results of an evaluator are saved.

    The name is qualified with its distribution if another requested evaluator has the same name. The name of a plugin's
    evaluator is also qualified if another installed evaluator has the same name, so that later results of one
    evaluator do not replace those of the other.
    """
    same = requested if entry.distribution == CORE else {*requested, *catalog.of_kind(entry.kind)}
    ambiguous = any(other.name == entry.name and other.distribution != entry.distribution for other in same)
    name = entry.qualified if ambiguous else entry.name
    return f"{name}:{entry.variant}" if entry.variant else name


def _with_result_name(setting: str, entries: Mapping[str, Entry]) -> str:
    """Return a setting, such as ``linear.seeds=3``, with the evaluator's name replaced by its key in ``entries``.

    If the setting fits no evaluator or more than one, it is returned unchanged.

    Args:
        setting: a string ``evaluator.option=value``.
        entries: the requested evaluators, keyed by the name under which their results are saved.
    """
    asked, rest = re.fullmatch(r"([^.=]*)(.*)", setting, flags=re.DOTALL).groups()  # type: ignore[union-attr]  # always matches
    meant = [name for name, entry in entries.items() if asked.strip() in (name, entry.name, entry.qualified)]
    return meant[0] + rest if len(meant) == 1 else setting


def _hint(name: str, entries: Mapping[str, Entry]) -> str:
    meant = [repr(key) for key, entry in entries.items() if entry.name == name]
    return f"write {' or '.join(meant)}" if meant else suggestion(name, list(entries))


def build_other_dataset(asked: str, settings: Sequence[str] = ()) -> tuple[str, Dataset]:
    """Return the name and the data set that an evaluation uses instead of the run's own data set.

    Args:
        asked: name of a data set, or path of a recipe (ends in ``.toml``) whose ``[data]`` table is used.
        settings: strings ``data.option=value``.

    Raises:
        ComponentError: the data set is not installed, or cannot be imported.
        RecipeError: options are invalid; the error lists all of them.
    """
    if asked.endswith(".toml"):
        recipe = load_recipe(Path(asked), settings)
        return recipe.data.entry.name, build_dataset(recipe)
    entry = Catalog.scan().find(find_kind("dataset"), asked)
    document = Document({"data": {}}, source=SOURCE)
    apply_overrides(document, settings)
    built = _build(entry, document, "data")
    if isinstance(built, list):
        raise RecipeError(built, "the data set's options")
    return entry.name, built


def _build(entry: Entry, document: Document, name: str) -> Any:
    """Return a component, built with the options in the table ``name``, or a list of problems with the options."""
    table = document.tables[name]
    if not isinstance(table, dict):
        message = f"must be a table of options, not {table!r}"
        raise RecipeError([document.problem((name,), message, f"set one option, as in {name}.OPTION=VALUE")])
    component: Any = load_component(entry)
    options = validate_table(component.Options, variant_options(entry, component) | table, (name,), document)
    return options if isinstance(options, list) else component(options)
