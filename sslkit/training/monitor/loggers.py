"""Loggers of other tools, by name, through Lightning's own: what is in ``metrics.csv``, shown elsewhere too.

``metrics.csv`` stays the truth.  Its rows are sent when a checkpoint has made them permanent, so that a run which is
killed and resumed sends no figure that it measures anew.  Each row is sent at least once: how many were is kept in
``loggers.json``, after they were sent, and who is killed before that sends the rows since the last note again, to the
same step.  A file that begins anew, because somebody removed it, is sent from its beginning.  A tool that fails stops
no training: what it has missed is sent after the next checkpoint, or at the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import groupby
from typing import Any

from pytorch_lightning.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from sslkit.errors import RecipeError
from sslkit.files import to_json, write_atomic
from sslkit.recipe.model import Recipe
from sslkit.runs.metrics_file import read_history
from sslkit.runs.records import read_sent
from sslkit.runs.run import Run
from sslkit.training.checkpoint.random_state import random_state, restore_random_state
from sslkit.training.events import Reporter


def _tensorboard(run: Run, known: dict[str, Any]) -> Logger:
    return TensorBoardLogger(run.path, name="", version="tensorboard", default_hp_metric=False)


def _wandb(run: Run, known: dict[str, Any]) -> Logger:
    import wandb

    # What a training prints is sslkit's, and the same run is gone on with after a resume.
    settings = wandb.Settings(console="off", silent=True)
    name = run.name.replace("/", "-")
    return WandbLogger(name=run.name, save_dir=run.path, id=name, resume="allow", settings=settings)


def _mlflow(run: Run, known: dict[str, Any]) -> Logger:
    import mlflow

    logger = MLFlowLogger(
        experiment_name=run.path.parent.name,
        run_name=run.name,
        tracking_uri=mlflow.get_tracking_uri(),  # as MLflow itself is told: Lightning has another default
        run_id=known.get("id"),
    )
    known["id"] = logger.run_id
    return logger


MAKE: dict[str, Callable[[Run, dict[str, Any]], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}


def refuse_missing(recipe: Recipe) -> None:
    """Refuse loggers whose package is not installed.

    Raises:
        RecipeError: there are some.
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
    """Sends a run's rows to the loggers that its recipe names.

    Args:
        run: the run.
        recipe: its recipe.
        reporter: who is told of failures.
    """

    def __init__(self, run: Run, recipe: Recipe, reporter: Reporter) -> None:
        self.run = run
        self.recipe = recipe
        self.reporter = reporter
        self.made: dict[str, Logger] = {}
        self.failing: set[str] = set()
        self.note = run.path / "loggers.json"
        self.sent: dict[str, dict[str, Any]] = {}

    def send(self) -> None:
        """Send the rows that were not sent yet; call it when all of them are permanent."""
        for name in self.recipe.run.loggers:
            with self._harmless(name):
                self._send(name)

    def close(self, *, finished: bool) -> None:
        """Say that no more will come from this process."""
        if finished and self.failing:
            names = " and ".join(sorted(self.failing))
            self.reporter.note(f"warning: {names} will not be sent the newest figures any more: metrics.csv has all")
        for name, logger in self.made.items():
            with self._harmless(name):
                logger.finalize("success" if finished else "failed")
                if isinstance(logger, WandbLogger):
                    logger.experiment.finish()

    def _send(self, name: str) -> None:
        if not self.sent and self.note.exists():
            self.sent = read_sent(self.note)
        known = self.sent.setdefault(name, {"rows": 0, "step": 0})
        if name not in self.made:
            self.made[name] = MAKE[name](self.run, known)
            if not known["rows"]:
                self.made[name].log_hyperparams(self.recipe.resolved())
        rows = list(read_history(self.run.metrics))
        sent = rows[: known["rows"]]
        if len(sent) < known["rows"] or (sent and sent[-1].step != known["step"]):
            known["rows"] = 0  # it is not the file any more whose rows were sent
        for step, group in groupby(rows[known["rows"] :], key=lambda row: row.step):
            together = list(group)
            self.made[name].log_metrics({row.metric: row.value for row in together}, step=step)
            known["rows"] += len(together)
            known["step"] = step
        if isinstance(self.made[name], TensorBoardLogger):
            self.made[name].save()
        write_atomic(self.note, to_json(self.sent))
        self.failing.discard(name)

    @contextmanager
    def _harmless(self, name: str) -> Iterator[None]:
        """Neither failures nor random numbers of a tool reach the training."""
        before = random_state()
        quiet = logging.getLogger(name)
        level = quiet.level
        quiet.setLevel(logging.ERROR)
        try:
            yield
        except Exception as error:
            if name not in self.failing:
                self.reporter.note(
                    f"warning: the logger {name!r} fails: {type(error).__name__}: {error}; "
                    "metrics.csv has all figures, and it is tried again later"
                )
            self.failing.add(name)
        finally:
            quiet.setLevel(level)
            restore_random_state(before)
