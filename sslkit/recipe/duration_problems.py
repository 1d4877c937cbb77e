"""Find durations in a recipe that are longer than the training run."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil

from sslkit.contracts.duration import PartOfTraining, parse_duration
from sslkit.contracts.options import Options
from sslkit.errors import Problem
from sslkit.recipe.line_numbers import KeyPath
from sslkit.recipe.recipe import Recipe


def duration_problems(recipe: Recipe, steps: int = 0) -> list[Problem]:
    """Return a problem for each duration that is longer than the training run.

    Args:
        recipe: the recipe.
        steps: number of optimizer steps of the training run. 0 means unknown; durations in steps are then not checked.
    """
    problems = []
    for path, value, part in durations(recipe):
        number, unit = parse_duration(value) if isinstance(value, str) else (Fraction(value), "epochs")
        length = {"%": 1, "epochs": recipe.train.epochs, "steps": steps}[unit]
        if not length or number < length or (number == length and not part.must_end):
            continue
        ends = f"{length} {unit}" if unit != "%" else f"{recipe.train.epochs} epochs"
        message = f"{_format(value)} is longer than the training of {ends}"
        if path[-1] == "start_epoch":
            message = f"this loss never starts: the training ends after {ends}, found {_format(value)}"
        problems.append(recipe.document.problem(path, message, _hint(recipe, number, unit, part)))
    return problems


def durations(recipe: Recipe) -> Iterator[tuple[KeyPath, int | float | str, PartOfTraining]]:
    """Yield key path, value and ``PartOfTraining`` of each option that is a duration, including defaults."""
    for spec in recipe.components:
        options: Options
        for options in (spec.wiring, spec.options):
            for name, field in type(options).model_fields.items():
                for part in field.metadata:
                    if isinstance(part, PartOfTraining):
                        yield (*spec.path, name), getattr(options, name), part


def _format(value: int | float | str) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g} epochs"


def _hint(recipe: Recipe, number: Fraction, unit: str, part: PartOfTraining) -> str:
    """Return advice on a duration of ``number`` ``unit`` (such as 20 epochs) that is too long.

    If ``--set`` lowered the epochs, the advice is to write the duration as a percentage of the original epochs.
    """
    epochs, before = recipe.train.epochs, recipe.document.replaced.get(("train", "epochs"))
    most = f"less than {epochs} epochs" if part.must_end else f"at most {epochs} epochs"
    if unit == "epochs" and isinstance(before, int) and number < before:
        share = ceil(number / before * 10_000) / 100
        return f'write "{share:g}%", its share of {before} epochs, or {most}'
    example = "50%" if part.must_end else "10%"
    return f'write a percentage of the training, such as "{example}", or {most}'
