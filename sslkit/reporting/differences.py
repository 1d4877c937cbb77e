"""In what two rows of figures differ besides the figures, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sslkit.reporting.references import Row, Stated

Table = Mapping[str, Mapping[str, Any]]


def between(name: str, protocols: Table, first: str, others: Table) -> list[str]:
    """Differences of a run's protocols from the first run's, by ``evaluator`` or ``evaluator 10 %``."""
    found: dict[str, list[str]] = {}
    for label in (label for label in others if label in protocols):
        before, now = others[label], protocols[label]
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                line = f"{key} is {now.get(key)!r} in {name}, {before.get(key)!r} in {first}"
                found.setdefault(line, []).append(label)
    return [f"{', '.join(labels)}: {line}" for line, labels in found.items()]


def from_published(
    name: str, settings: Mapping[str, Any], protocols: Table, rows: Sequence[Row], evaluations: Table
) -> list[str]:
    """Differences of a run from published rows: in what it was trained with, then in how it was evaluated.

    Args:
        name: the run's.
        settings: the run's recipe.
        protocols: the run's, by ``evaluator`` or ``evaluator 10 %``.
        rows: the published ones.
        evaluations: what the publication states, by evaluator and key of its protocol.
    """
    lines = _lines(name, [(key, *_setting(settings, key, row), row) for row in rows for key in row.settings])
    for label in dict.fromkeys(label for row in rows for label in row.labels if label in protocols):
        evaluator, own = label.partition(" ")[0], protocols[label]
        stated = evaluations.get(evaluator, {})
        obtained = [
            (key, own[key], stated[key], row) for row in rows if label in row.labels for key in stated if key in own
        ]
        lines += [line for line in _lines(f"{name}: {evaluator}", obtained) if line not in lines]
    return lines


def _setting(settings: Mapping[str, Any], key: str, row: Row) -> tuple[Any, Any]:
    """What is found and what is expected; the same twice, where the run has no such option as it uses another part."""
    expected, found = row.settings[key], at(settings, key)
    section = key.partition(".")[0]
    use = f"{section}.use"
    same = section in settings and (use not in row.settings or holds(row.settings[use], at(settings, use)))
    return (found, found) if found is None and key != use and not same else (found, expected)


def _lines(name: str, values: Iterable[tuple[str, Any, Any, Row]]) -> list[str]:
    """A line for each value, found and expected, that differs, with the rows that it differs from."""
    found: dict[tuple[str, str], list[str]] = {}
    asked: Counter[str] = Counter()
    for key, own, expected, row in values:
        asked[key] += 1
        if not holds(expected, own):
            words = expected.words if isinstance(expected, Stated) else repr(expected)
            found.setdefault((key, f"{name}: {key} is {own!r}, {words} in "), []).append(repr(row.label))
    return sorted(
        line + ("every row" if len(labels) == asked[key] > 1 else " and ".join(labels))
        for (key, line), labels in found.items()
    )


def holds(expected: Any, found: Any) -> bool:
    """Whether a value is as it was published."""
    return expected.holds(found) if isinstance(expected, Stated) else bool(expected == found)


def at(recipe: Mapping[str, Any], key: str) -> Any:
    """The value at ``section.option``; of several heads, the first, but all names, without their distributions."""
    section, option = key.split(".")
    table = recipe.get(section, {})
    tables = [each for each in (table if isinstance(table, list) else [table]) if isinstance(each, dict)]
    values = [each.get(option) for each in tables]
    if option == "use":
        return " + ".join(str(value).rpartition(":")[2] for value in values if value is not None) or None
    return values[0] if values else None
