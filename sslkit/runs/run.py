"""The run folder, with its files, lock and status."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from sslkit.errors import RunError
from sslkit.files import remove_partial_files, replace_symlink
from sslkit.locks import is_locked, try_lock
from sslkit.recipe.run_name import LATEST, NAME_RULE, is_run_name
from sslkit.runs.status import State, Status, read_status, write_status

RUNS_VARIABLE = "SSLKIT_RUNS"
"""Environment variable that sets the folder of all runs. The default is ``./runs``."""

CLASS_COUNT_FILE = "class_count.json"
"""Name of the file with the scores of each number of classes, in the folder of a recipe and of its runs."""

TIME_FORMAT = "%Y%m%d-%H%M%S"
"""Format of the time in a run's ID."""


class Run:
    """A run folder, ``<runs>/<name>/<id>``.

    Args:
        path: path of the folder.

    Attributes:
        path: path of the folder.
        recipe: path of the resolved recipe, which contains all defaults.
        provenance: path of the record of versions, hardware, data and components.
        metrics: path of the metrics logged during training.
        checkpoints: path of the folder of checkpoints.
        evaluations: path of the folder of evaluations, with a JSON file for each.
        backbone: path of the trained backbone's weights.
        heads: path of the trained heads' weights.
        class_count: path of the scores that ``sslkit init --classes auto`` gave to each number of classes.
        typical_images: path of a sample of the training images' features, with which sslkit finds outliers.
        last_checkpoint: path of the newest checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.toml"
        self.provenance = path / "provenance.json"
        self.metrics = path / "metrics.csv"
        self.checkpoints = path / "checkpoints"
        self.evaluations = path / "evaluations"
        self.backbone = path / "backbone.safetensors"
        self.heads = path / "heads.safetensors"
        self.class_count = path / CLASS_COUNT_FILE
        self.typical_images = path / "typical-images.safetensors"
        self.last_checkpoint = self.checkpoints / "last.ckpt"
        self._lock = path / ".lock"

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(cls, root: Path, name: str) -> Run:
        """Create a new run folder, and mark the run as the latest.

        Args:
            root: the folder of all runs.
            name: name of the run.

        Raises:
            RunError: the name is invalid, or the folder cannot be created.
        """
        if not is_run_name(name):
            raise RunError(f"{name!r} is not a valid run name: set run.name to {NAME_RULE}")
        time = datetime.now(UTC).strftime(TIME_FORMAT)
        try:
            while True:
                path = root / name / f"{time}-{secrets.token_hex(2)}"
                path.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    path.mkdir()
                    break
            run = cls(path)
            run.checkpoints.mkdir()
            run.evaluations.mkdir()
            run.mark_latest()
        except OSError as error:
            raise RunError(
                f"a run folder cannot be created in {root}: {error.strerror}; "
                f"choose another folder with --runs or {RUNS_VARIABLE}"
            ) from error
        return run

    def mark_latest(self) -> None:
        """Make ``<runs>/latest`` a link to this run."""
        root = self.path.parent.parent
        replace_symlink(root / LATEST, str(self.path.relative_to(root)))

    @property
    def name(self) -> str:
        """Name of the run, ``<name>/<id>``."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def status(self) -> Status:
        """State and progress of the run.

        If the saved state is ``running`` but no process holds the lock, the state is ``interrupted``.

        Raises:
            RunError: the folder has no valid status.
        """
        status = read_status(self.path)
        if status.state == "running" and not is_locked(self._lock):
            return replace(status, state="interrupted")
        return status

    def write_status(self, state: State, step: int, steps: int, epoch: int, epochs: int) -> None:
        """Write state and progress. ``Status`` describes the arguments."""
        write_status(self.path, state, step, steps, epoch, epochs)

    @property
    def has_valid_status(self) -> bool:
        """Whether ``status.json`` is valid."""
        try:
            return bool(self.status)
        except RunError:
            return False

    def describe_state(self, *, advice: bool = True) -> str:
        """Return a sentence about an unfinished run, such as ``a/1 is still running, at step 4 of 9``.

        Args:
            advice: whether to add advice on how to complete the run.
        """
        if not self.has_valid_status:
            return f"{self.name} has no valid status.json"
        status = self.status
        phrase, remedy = {
            "running": ("is still running, at", "wait until it has finished"),
            "interrupted": ("was interrupted at", f"`sslkit resume {self.path}` completes it"),
            "failed": ("failed at", f"`sslkit resume {self.path}` continues it"),
            "finished": ("is finished, at", f"`sslkit resume {self.path}` writes its weights"),
        }[status.state]
        sentence = f"{self.name} {phrase} step {status.step} of {status.steps}"
        return f"{sentence}; {remedy}" if advice else sentence

    @property
    def has_weights(self) -> bool:
        """Whether the weights of the backbone and the heads exist. Training writes them at its end."""
        return self.backbone.exists() and self.heads.exists()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the run for this process during a ``with`` block. If the process is killed, the lock is released.

        Raises:
            RunError: another process holds the lock, or the file system does not support locks.
        """
        try:
            file = self._lock.open("a")
        except OSError as error:
            raise RunError(
                f"{self.path} is not writable: {error.strerror}; it can be evaluated, but not trained"
            ) from error
        with file:
            try:
                acquired = try_lock(file)
            except OSError as error:
                raise RunError(
                    f"{self.path} is on a file system that cannot lock files ({error.strerror}), which would allow two "
                    f"trainings in one run folder: choose another folder with --runs or {RUNS_VARIABLE}"
                ) from error
            if not acquired:
                raise RunError(f"another process is training {self.name}: wait for it, or stop it")
            for folder in (self.path, self.checkpoints):
                remove_partial_files(folder)
            yield
