"""Published results to compare runs with, read from a TOML file."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from sslkit.contracts.options import Options
from sslkit.errors import RecipeError
from sslkit.recipe.document import read_document
from sslkit.recipe.option_problems import validate_table

ABOVE = re.compile(r"above (-?\d+(?:\.\d+)?)")


def _require_plain(value: Any) -> Any:
    if any(isinstance(item, (dict, list)) for item in (value if isinstance(value, list) else [value])):
        raise ValueError("must be a string, a number, a boolean or a list of these")
    return value


Value = Annotated[Any, AfterValidator(_require_plain)]
"""A published value; the string ``above X`` states a lower bound."""

Table = dict[str, dict[str, Value]]


class Row(Options):
    """A row of published results."""

    label: str
    """Name of the row."""
    metrics: dict[str, Annotated[float, Field(ge=0, le=1)]]
    """Metrics in [0, 1], keyed by names such as ``cluster acc`` or ``finetune 10 % top1``."""
    settings: Table = Field(default={})
    """Settings of this row, keyed by recipe section and option."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the row's metric groups: metric names without their last word, such as ``finetune 10 %``."""
        return tuple(dict.fromkeys(name.rpartition(" ")[0] for name in self.metrics))


class Reference(Options):
    """Rows of published results, with the settings and protocols that the publication states."""

    source: str
    """Title and authors of the publication."""
    protocol: str
    """Sentence that says how the metrics were measured."""
    settings: Table = Field(default={})
    """Settings that all rows share, keyed by recipe section and option."""
    protocols: Table = Field(default={})
    """Protocol of each evaluator, keyed by the evaluator's name."""
    aliases: dict[str, str] = Field(default={})
    """Published metric to compare with a run's metric of a different name and protocol, keyed by the run's metric."""
    rows: Annotated[list[Row], Field(min_length=1)]
    """Published rows."""

    def settings_of(self, row: Row) -> dict[str, Value]:
        """Return the settings that all rows share, updated with those of ``row``, keyed by ``section.option``."""
        sections = dict.fromkeys([*self.settings, *row.settings])
        return {
            f"{section}.{option}": value
            for section in sections
            for option, value in (self.settings.get(section, {}) | row.settings.get(section, {})).items()
        }

    def rows_for(self, metrics: Collection[str]) -> list[Row]:
        """Return the rows that have at least one of ``metrics``, or all rows if no row has any of them.

        If ``aliases`` maps a published metric to a run metric with a different name, the returned rows contain the
        published value under the name used in runs.
        """
        rows = []
        for row in self.rows:
            own = dict(row.metrics)
            for alias, name in self.aliases.items():
                if alias in metrics and name in own:
                    own[alias] = own[name] if name in metrics else own.pop(name)
            rows.append(row.model_copy(update={"metrics": own}))
        return [row for row in rows if row.metrics.keys() & metrics] or rows


def matches(published: Value, value: Any) -> bool:
    """Return whether ``value`` equals the published value or, if that is a lower bound, is above it."""
    bound = ABOVE.fullmatch(published) if isinstance(published, str) else None
    if bound:
        return isinstance(value, (int, float)) and value > float(bound[1])
    return bool(published == value)


def format_setting(value: Any) -> str:
    """Format a value as in a recipe, such as ``"sgd"``, ``true`` or ``[10, 20]``; None is ``not set``."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(format_setting, value))}]"
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def format_published(published: Value) -> str:
    """Format a published value as in a recipe; a lower bound becomes ``above X``."""
    return published if isinstance(published, str) and ABOVE.fullmatch(published) else format_setting(published)


def read_reference(path: Path) -> Reference:
    """Read a file of published results.

    Raises:
        RecipeError: the file cannot be read, or has unknown, missing or wrong keys; the message gives the line of each
            problem.
    """
    where = f"the reference {path}"
    try:
        document = read_document(path)
    except RecipeError as error:
        raise RecipeError(error.problems, where) from error
    reference = validate_table(Reference, document.tables, (), document)
    if isinstance(reference, list):
        raise RecipeError(reference, where)
    return reference
