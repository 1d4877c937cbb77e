"""Plan of a method's training runs: number of steps, and the time that these steps are expected to take."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from sslkit.bench.training_time import measure_steps
from sslkit.errors import InputError
from sslkit.files import to_json, write_atomic
from sslkit.method_comparison.budget import Budget, Length, divide_into_epochs, mean_step_seconds, steps_in_budget
from sslkit.recipe.recipe import Recipe
from sslkit.runs.json_records import read_json, validate
from sslkit.training.events import Reporter
from sslkit.training.preparation import prepare

FILE = "plans.json"
"""Name of the file with the plans, in the folder of a comparison."""


@dataclass(frozen=True)
class Plan:
    """Plan of a method's training runs, which all seeds share.

    Attributes:
        views: number and side in pixels of each group of views, as ``(count, size)``.
        batch_size: number of images in a step.
        steps_per_pass: number of steps in a pass over the training images.
        epochs: number of epochs.
        steps_per_epoch: number of steps in an epoch.
        step_seconds: measured seconds of a step, or None if the budget is not a time.
    """

    views: tuple[tuple[int, int], ...]
    batch_size: int
    steps_per_pass: int
    epochs: int
    steps_per_epoch: int
    step_seconds: float | None

    @property
    def length(self) -> Length:
        """Length of each training run."""
        return Length(self.epochs, self.steps_per_epoch)

    @property
    def views_per_image(self) -> int:
        """Number of views of each image."""
        return sum(count for count, _ in self.views)

    @property
    def images_seen(self) -> int:
        """Number of images in all steps; an image counts again in each pass."""
        return self.length.steps * self.batch_size

    @property
    def views_seen(self) -> int:
        """Number of views in all steps."""
        return self.images_seen * self.views_per_image

    @property
    def minutes(self) -> float | None:
        """Expected minutes of all steps, or None if the speed is not measured."""
        return None if self.step_seconds is None else self.length.steps * self.step_seconds / 60


class Plans:
    """Plans of a comparison, saved in its folder so that repeating the comparison trains the same number of steps.

    Args:
        folder: folder of the comparison.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.plans: dict[str, Plan] = {}
        if self.path.exists():
            self.plans = {key: _ADAPTER.validate_python(plan) for key, plan in self._read().items()}

    def get(self, recipe: Recipe, budget: Budget, images: str) -> Plan:
        """Return the saved plan of a recipe, or make and save one.

        Args:
            recipe: the recipe of a method with the shared settings.
            budget: the budget of the comparison.
            images: checksum of the training images.

        Raises:
            SslkitError: the components of the recipe do not fit together, or the budget is smaller than a step.
        """
        key = _key(recipe, budget, images)
        if key not in self.plans:
            self.plans[key] = make_plan(recipe, budget)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, to_json({key: asdict(plan) for key, plan in self.plans.items()}))
        return self.plans[key]

    def _read(self) -> dict[str, dict[str, object]]:
        return validate(dict[str, dict[str, object]], read_json(self.path), self.path)


_ADAPTER = TypeAdapter(Plan)


def make_plan(recipe: Recipe, budget: Budget) -> Plan:
    """Return the plan of a recipe; for a budget of minutes, measure a few steps, which are not part of the training.

    Raises:
        SslkitError: the components of the recipe do not fit together, or the budget is smaller than a step.
    """
    step_seconds: dict[int | str, float] = {}
    if budget.unit == "minutes":
        if recipe.train.devices != 1 or recipe.train.nodes != 1:
            raise InputError(
                "the speed of a step is measured in one process: leave out train.devices and train.nodes, or give the "
                "budget as --views-seen or --epochs"
            )
        measured = measure_steps(recipe)
        assembly, step_seconds = measured.assembly, measured.step_seconds
    else:
        _, assembly, _ = prepare(recipe, Reporter())
    views = tuple((group.count, group.size) for group in assembly.views.groups)
    batch_size, steps_per_pass = assembly.context.batch_size, assembly.loader.steps_per_pass
    if budget.unit == "epochs":
        length = Length(int(budget.amount), steps_per_pass)
    else:
        view_count = sum(count for count, _ in views)
        steps = steps_in_budget(budget, steps_per_pass, batch_size, view_count, step_seconds)
        length = divide_into_epochs(steps, steps_per_pass)
    seconds = mean_step_seconds(step_seconds) if step_seconds else None
    return Plan(views, batch_size, steps_per_pass, length.epochs, length.steps_per_epoch, seconds)


def _key(recipe: Recipe, budget: Budget, images: str) -> str:
    """Return a checksum of everything that a plan depends on, except the machine."""
    tables = recipe.resolved()
    tables["run"] = {key: value for key, value in tables["run"].items() if key != "seed"}
    text = json.dumps([tables, str(budget), images], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
