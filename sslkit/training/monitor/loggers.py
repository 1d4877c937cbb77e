"""External loggers (TensorBoard, Weights & Biases, MLflow) that receive the rows of ``metrics.csv``.

Rows are sent after each checkpoint, because a resumed run repeats the steps after its checkpoint. ``loggers.json``
contains the number of rows sent to each logger. Each row is sent at least once. If the run is killed before a new
number is written, the rows after the old number are sent again, with the same steps. If ``metrics.csv`` was deleted and
created anew, all its rows are sent. If a logger fails, training continues, and the missing rows are sent after the next
checkpoint or at the end.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import groupby, islice
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from sslkit.errors import RecipeError
from sslkit.files import to_json, write_atomic
from sslkit.recipe.recipe import Recipe
from sslkit.runs.loggers_file import read_logger_progress
from sslkit.runs.metrics_file import MetricsRow, MetricsTail
from sslkit.runs.run import Run
from sslkit.training.checkpoint.random_state import get_random_state, set_random_state
from sslkit.training.events import Reporter


def _tensorboard(run: Run, progress: dict[str, Any]) -> Logger:
    return TensorBoardLogger(run.path, name="", version="tensorboard", default_hp_metric=False)


def _wandb(run: Run, progress: dict[str, Any]) -> Logger:
    import wandb

    # W&B must not capture sslkit's output. With the fixed id, a resumed run continues the same W&B run.
    settings = wandb.Settings(console="off", silent=True)
    name = run.name.replace("/", "-")
    return WandbLogger(name=run.name, save_dir=run.path, id=name, resume="allow", settings=settings)


def _mlflow(run: Run, progress: dict[str, Any]) -> Logger:
    import mlflow

    logger = MLFlowLogger(
        experiment_name=run.path.parent.name,
        run_name=run.name,
        tracking_uri=mlflow.get_tracking_uri(),  # MLflow's own default, which differs from Lightning's
        run_id=progress.get("id"),
    )
    progress["id"] = logger.run_id
    return logger


FACTORIES: dict[str, Callable[[Run, dict[str, Any]], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
"""Mapping from logger name to a function that creates the logger.

Arguments are the run and the logger's entry in ``loggers.json``, which the function may change.
"""


def check_installed(recipe: Recipe) -> None:
    """Check that the packages of the recipe's loggers are installed.

    Raises:
        RecipeError: a package is not installed.
    """
    problems = [
        recipe.document.problem(
            ("run", "loggers"),
            f"{name!r} needs the package {name}, which is not installed",
            f"pip install 'sslkit[{name}]', or leave it out",
        )
        for name in recipe.run.loggers
        if find_spec(name) is None
    ]
    if problems:
        raise RecipeError(problems)


class Loggers:
    """The recipe's loggers, which receive the rows of a run's ``metrics.csv``.

    Args:
        run: the run.
        recipe: the recipe of the run.
        reporter: receives a warning when a logger fails.
    """

    def __init__(self, run: Run, recipe: Recipe, reporter: Reporter) -> None:
        self.run = run
        self.recipe = recipe
        self.reporter = reporter
        self.loggers: dict[str, Logger] = {}
        self.failing: set[str] = set()
        self.progress_file = run.path / "loggers.json"
        self.progress: dict[str, dict[str, Any]] = {}
        self.tails: dict[str, MetricsTail] = {}

    def send(self) -> None:
        """Send all unsent rows. Call this method only after a checkpoint, because a resumed run replaces later rows."""
        for name in self.recipe.run.loggers:
            with self._isolated(name):
                self._send(name)

    def close(self, *, finished: bool) -> None:
        """Close all loggers, and report to them whether the run has ``finished``."""
        if finished and self.failing:
            names = " and ".join(sorted(self.failing))
            self.reporter.note(f"warning: {names} did not receive the last metrics: metrics.csv has all of them")
        for name, logger in self.loggers.items():
            with self._isolated(name):
                logger.finalize("success" if finished else "failed")
                if isinstance(logger, WandbLogger):
                    logger.experiment.finish()

    def _send(self, name: str) -> None:
        if not self.progress and self.progress_file.exists():
            self.progress = read_logger_progress(self.progress_file)
        progress = self.progress.setdefault(name, {"rows": 0, "step": 0})
        if name not in self.loggers:
            self.loggers[name] = FACTORIES[name](self.run, progress)
            if not progress["rows"]:
                self.loggers[name].log_hyperparams(self.recipe.resolved())
        rows = self._unsent_rows(name, progress)
        while rows:
            step, group = next(groupby(rows, key=lambda row: row.step))
            step_rows = list(group)
            self.loggers[name].log_metrics({row.metric: row.value for row in step_rows}, step=step)
            progress["rows"] += len(step_rows)
            progress["step"] = step
            for _ in step_rows:
                rows.popleft()
        if isinstance(self.loggers[name], TensorBoardLogger):
            self.loggers[name].save()
        write_atomic(self.progress_file, to_json(self.progress))
        self.failing.discard(name)

    def _unsent_rows(self, name: str, progress: dict[str, Any]) -> deque[MetricsRow]:
        """Return the rows that a logger has not received; these are all rows if ``metrics.csv`` was created anew."""
        tail = self.tails.get(name) or MetricsTail(self.run.metrics)
        restarted = tail.read()
        if name not in self.tails:
            self.tails[name] = tail
            sent = list(islice(tail.rows, progress["rows"]))
            restarted = len(sent) < progress["rows"] or bool(sent and sent[-1].step != progress["step"])
            if not restarted:
                for _ in sent:
                    tail.rows.popleft()
        if restarted:
            progress["rows"] = 0
        return tail.rows

    @contextmanager
    def _isolated(self, name: str) -> Iterator[None]:
        """Prevent exceptions, log messages and random numbers of a logger from affecting training."""
        random_state = get_random_state()
        logger = logging.getLogger(name)
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            yield
        except Exception as error:
            if name not in self.failing:
                self.reporter.note(
                    f"warning: the logger {name!r} fails: {type(error).__name__}: {error}; "
                    "metrics.csv has all metrics, and sending is tried again later"
                )
            self.failing.add(name)
        finally:
            logger.setLevel(level)
            set_random_state(random_state)
