"""Result of a comparison: methods, runs and protocol, as JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sslkit.method_comparison.accuracies import ACCURACIES, Accuracies, Summary, summarise
from sslkit.method_comparison.curves import History
from sslkit.method_comparison.plan import Plan

FORMAT = 1
"""Version of the JSON layout of a comparison."""

State = Literal["finished", "collapsed", "failed"]


@dataclass(frozen=True)
class RunResult:
    """Result of a method with one seed.

    Attributes:
        seed: seed of the run.
        run: path of the run folder, or ``""`` if there is none.
        state: ``finished``, ``collapsed`` (trained to the end, but with symptoms of collapse), or ``failed``.
        reason: reason for a failure or a collapse.
        history: time and validation accuracy during training, or None if the run failed.
        accuracies: accuracies on the test images, or None if the run failed.
        hardware: device, precision and threads of training.
    """

    seed: int
    run: str
    state: State
    reason: str = ""
    history: History | None = None
    accuracies: Accuracies | None = None
    hardware: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodResult:
    """Results of a method.

    Attributes:
        name: name of the method.
        recipe: path of its recipe.
        plan: plan of its runs, or None if the recipe cannot be trained.
        own_views: options of the method's views that differ from those of most methods.
        changes: values of the method's own recipe that the comparison replaces with shared values.
        runs: a result for each seed.
    """

    name: str
    recipe: str
    plan: Plan | None
    own_views: dict[str, Any]
    changes: dict[str, str]
    runs: tuple[RunResult, ...]

    @property
    def state(self) -> State:
        """``failed`` if a run failed, else ``collapsed`` if a run collapsed, else ``finished``."""
        states = {run.state for run in self.runs}
        return "failed" if "failed" in states else "collapsed" if "collapsed" in states else "finished"

    @property
    def reason(self) -> str:
        """The reasons for failures and collapses, with the seeds unless all runs have the same reason."""
        reasons: dict[str, list[int]] = {}
        for run in self.runs:
            if run.reason:
                reasons.setdefault(run.reason, []).append(run.seed)
        if len(reasons) == 1 and len(*reasons.values()) == len(self.runs):
            return next(iter(reasons))
        return "; ".join(f"seed {', '.join(map(str, seeds))}: {reason}" for reason, seeds in reasons.items())

    @property
    def measured(self) -> list[Accuracies]:
        """Accuracies of all runs that did not fail."""
        return [run.accuracies for run in self.runs if run.accuracies is not None]

    @property
    def accuracies(self) -> dict[str, Summary]:
        """Mean accuracies over the seeds."""
        return summarise([accuracies.trained for accuracies in self.measured])

    @property
    def random_weights(self) -> dict[str, Summary]:
        """Mean accuracies of the untrained networks."""
        return summarise([accuracies.random_weights for accuracies in self.measured])

    @property
    def minutes(self) -> float | None:
        """Minutes spent on training steps, averaged over the seeds; None if all runs failed."""
        minutes = [run.history.minutes for run in self.runs if run.history is not None]
        return sum(minutes) / len(minutes) if minutes else None

    @property
    def classes(self) -> int:
        """Number of discovered classes; 0 without a classifier."""
        return max((accuracies.classes for accuracies in self.measured), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        plan = self.plan
        return {
            "method": self.name,
            "recipe": self.recipe,
            "state": self.state,
            "reason": self.reason,
            "accuracies": {name: asdict(summary) for name, summary in self.accuracies.items()},
            "random_weights": {name: asdict(summary) for name, summary in self.random_weights.items()},
            "discovered_classes": self.classes,
            "planned_minutes": plan and plan.minutes,
            "minutes": self.minutes,
            "steps": plan and plan.length.steps,
            "batch_size": plan and plan.batch_size,
            "passes": plan and plan.length.steps / plan.steps_per_pass,
            "images_seen": plan and plan.images_seen,
            "views_seen": plan and plan.views_seen,
            "views": plan and [list(group) for group in plan.views],
            "own_views": self.own_views,
            "changes": self.changes,
            "runs": [_run_json(run) for run in self.runs],
        }


@dataclass(frozen=True)
class Comparison:
    """Result of a comparison.

    Attributes:
        methods: results of the methods, best first by accuracy of the linear probe; methods without a result last.
        protocol: every setting that the results depend on.
        verdict: sentences about the best method.
        files: path of each written file, keyed by ``json``, ``csv``, ``png`` and ``svg``.
    """

    methods: tuple[MethodResult, ...]
    protocol: dict[str, Any]
    verdict: tuple[str, ...]
    files: dict[str, str]

    @property
    def kmeans_pixels(self) -> float | None:
        """Accuracy of k-means on pixels, which is the same for all methods, or None if it was not measured."""
        measured = [accuracies for method in self.methods for accuracies in method.measured]
        return next((each.kmeans_pixels for each in measured if each.kmeans_pixels is not None), None)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values, with the format version first."""
        return {
            "format": FORMAT,
            "protocol": self.protocol,
            "verdict": list(self.verdict),
            "kmeans_pixels_acc": self.kmeans_pixels,
            "methods": [method.to_json() for method in self.methods],
            "files": self.files,
        }


def _run_json(run: RunResult) -> dict[str, Any]:
    own = run.accuracies
    return {
        "seed": run.seed,
        "run": run.run,
        "state": run.state,
        "reason": run.reason,
        "minutes": run.history and run.history.minutes,
        "accuracies": own.trained if own else {},
        "random_weights": own.random_weights if own else {},
        "curve": [asdict(point) for point in run.history.curve] if run.history else [],
        "hardware": dict(run.hardware),
    }


def sort_methods(methods: Sequence[MethodResult]) -> tuple[MethodResult, ...]:
    """Sort methods by the accuracy of the linear probe, best first.

    Methods without a result are last, in the given order.
    """

    def key(method: MethodResult) -> float:
        summary = method.accuracies.get("linear_top1")
        return -1.0 if summary is None else summary.mean

    return tuple(sorted(methods, key=key, reverse=True))


def to_csv(methods: Sequence[MethodResult]) -> str:
    """Return a CSV table with a row for each method and seed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [*ACCURACIES, *(f"{name}_random_weights" for name in ACCURACIES), "kmeans_pixels_acc"]
    counts = ("steps", "batch_size", "images_seen", "views_seen", "planned_minutes")
    writer.writerow(["method", "seed", "state", "reason", "run", *counts, "minutes", *columns])
    for method in methods:
        values = method.to_json()
        for run in method.runs:
            own = run.accuracies
            accuracies = [own.trained.get(name) if own else None for name in ACCURACIES]
            accuracies += [own.random_weights.get(name) if own else None for name in ACCURACIES]
            writer.writerow(
                [
                    *(method.name, run.seed, run.state, run.reason, run.run),
                    *(values[name] for name in counts),
                    run.history and run.history.minutes,
                    *accuracies,
                    own and own.kmeans_pixels,
                ]
            )
    return text.getvalue()
