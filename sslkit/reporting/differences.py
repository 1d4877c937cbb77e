"""Differences in settings and protocol between two results, as lines such as ``run: epochs = 3, but 5 in other``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sslkit.reporting.evaluation_tables import flatten
from sslkit.reporting.references import Reference, Row, Value, format_published, format_setting, matches

Protocols = Mapping[str, Mapping[str, Any]]
"""Protocol of each metric group, keyed by the group's name, such as ``linear 10 %``."""

NOT_COMPARED = frozenset({"same_labels_as"})
"""Protocol entries that do not affect how a metric is measured, so they are not compared."""


def protocol_differences(name: str, protocols: Protocols, first: str, first_protocols: Protocols) -> list[str]:
    """Return a line for each difference between the protocols of the runs ``name`` and ``first``."""
    groups: dict[str, list[str]] = {}
    for group in (group for group in first_protocols if group in protocols):
        other, own = (dict(flatten(each[group], ".")) for each in (first_protocols, protocols))
        for key in sorted((other.keys() | own.keys()) - NOT_COMPARED):
            if other.get(key) != own.get(key):
                line = f"{_assignment(key, own.get(key))} in {name}, but {format_setting(other.get(key))} in {first}"
                groups.setdefault(line, []).append(group)
    return [f"{', '.join(names)}: {line}" for line, names in groups.items()]


def published_differences(
    name: str, settings: Mapping[str, Any], protocols: Protocols, rows: Sequence[Row], reference: Reference
) -> list[str]:
    """Return how the run ``name`` differs from published results, first in settings, then in evaluation protocols.

    Only values that the publication states are compared.
    """
    published = [(row.label, reference.settings_of(row)) for row in rows]
    compared = [(key, *_compared(settings, key, stated), label) for label, stated in published for key in stated]
    sentences = _sentences(name, compared)
    for group in dict.fromkeys(group for row in rows for group in row.groups if group in protocols):
        evaluator, own = group.partition(" ")[0], protocols[group]
        stated = reference.protocols.get(evaluator, {})
        compared = [
            (key, own[key], stated[key], row.label)
            for row in rows
            if group in row.groups
            for key in stated
            if key in own
        ]
        sentences += [line for line in _sentences(f"{name}: {evaluator}", compared) if line not in sentences]
    return sentences


def setting(recipe: Mapping[str, Any], key: str) -> Any:
    """Return a recipe's value at ``section.option``.

    With multiple heads or losses, the value is that of the first head or loss. The value of ``use`` has the
    names of all components in the section, without their packages: ``swav`` for ``sslkit-lightly:swav``.
    """
    section, _, option = key.partition(".")
    table = recipe.get(section, {})
    tables = [each for each in (table if isinstance(table, list) else [table]) if isinstance(each, dict)]
    values = [each.get(option) for each in tables]
    if option == "use":
        return " + ".join(str(value).rpartition(":")[2] for value in values if value is not None) or None
    return values[0] if values else None


def _assignment(key: str, value: Any) -> str:
    return f"{key} is not set" if value is None else f"{key} = {format_setting(value)}"


def _compared(recipe: Mapping[str, Any], key: str, published: Mapping[str, Value]) -> tuple[Any, Any]:
    """Return the run's value and the published value of a setting, to compare them.

    If the run lacks the option because it uses another component, the run's value is returned twice, so that only
    the difference in ``use`` is reported.
    """
    own, section = setting(recipe, key), key.partition(".")[0]
    use = f"{section}.use"
    same_component = section in recipe and (use not in published or matches(published[use], setting(recipe, use)))
    return (own, own) if own is None and key != use and not same_component else (own, published[key])


def _sentences(name: str, compared: Iterable[tuple[str, Any, Any, str]]) -> list[str]:
    """Return a sentence for each value that differs from the published value.

    Args:
        name: name of the run.
        compared: for each value and published row, the key, the run's value, the published value and the row's label.
    """
    labels: dict[tuple[str, str], list[str]] = {}
    rows: Counter[str] = Counter()
    for key, own, published, label in compared:
        rows[key] += 1
        if not matches(published, own):
            sentence = f"{name}: {_assignment(key, own)}, but {format_published(published)} in "
            labels.setdefault((key, sentence), []).append(format_setting(label))
    return sorted(
        sentence + ("every row" if len(found) == rows[key] > 1 else " and ".join(found))
        for (key, sentence), found in labels.items()
    )
