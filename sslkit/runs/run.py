"""The run folder: everything one training leaves behind."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sslkit.errors import RunError
from sslkit.files import point, read_regular_file, remove_partial_files, to_json, write_atomic
from sslkit.locks import hold, is_locked

VARIABLE = "SSLKIT_RUNS"
"""Environment variable: the folder that runs go to, ``./runs`` where it is unset."""

LATEST = "latest"
"""Name of the link to the newest run."""

STAMP = "%Y%m%d-%H%M%S"

EVALUATION_STAMP = f"{STAMP}-%f"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

State = Literal["running", "interrupted", "failed", "finished"]
Count = Annotated[int, Field(ge=0, strict=True)]
Printable = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=300)]


@dataclass(frozen=True)
class Status:
    """How far a run is.

    Attributes:
        state: what became of it.
        step: optimizer steps taken.
        steps: optimizer steps in all.
        epoch: epochs completed.
        epochs: epochs in all.
        updated: when this was written, ISO 8601 in UTC.
        process: ``host:pid`` of the process that trains, or trained.
    """

    state: State
    step: Count = 0
    steps: Count = 0
    epoch: Count = 0
    epochs: Count = 0
    updated: Printable = ""
    process: Printable = ""


STATUS = TypeAdapter(Status)


class Run:
    """One run folder, ``<runs>/<name>/<id>``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(cls, root: Path, name: str) -> Run:
        """A new folder that no other run has, and make it the latest.

        Raises:
            RunError: the folder cannot be made, or a run cannot be called so.
        """
        if not NAME.fullmatch(name) or name == LATEST:
            raise RunError(
                f"a run cannot be called {name!r}: set run.name to letters, digits, '.', '_' and '-', "
                f"at most 64, beginning with a letter or digit, and not {LATEST!r}"
            )
        stamp = datetime.now(UTC).strftime(STAMP)
        try:
            while True:
                path = root / name / f"{stamp}-{secrets.token_hex(2)}"
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
                f"cannot make a run folder in {root}: {error.strerror}; name another with --runs or {VARIABLE}"
            ) from error
        return run

    def mark_latest(self) -> None:
        """Point ``<runs>/latest`` at this run."""
        root = self.path.parent.parent
        point(root / LATEST, str(self.path.relative_to(root)))

    @property
    def name(self) -> str:
        """``<name>/<id>``."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def recipe(self) -> Path:
        """The resolved recipe, trainable as it is."""
        return self.path / "recipe.toml"

    @property
    def provenance(self) -> Path:
        """What it was trained with."""
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        """The history of loss and monitors."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """What a resume needs."""
        return self.path / "checkpoints"

    @property
    def evaluations(self) -> Path:
        """One JSON file per evaluation."""
        return self.path / "evaluations"

    @property
    def backbone(self) -> Path:
        """The trained backbone's weights."""
        return self.path / "backbone.safetensors"

    @property
    def heads(self) -> Path:
        """The trained heads' weights."""
        return self.path / "heads.safetensors"

    @property
    def last_checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.ckpt"

    @property
    def status(self) -> Status:
        """How far it is; a run that no process holds counts as interrupted.

        Raises:
            RunError: the folder holds no readable status.
        """
        try:
            status = STATUS.validate_json(read_regular_file(self.path / "status.json"))
        except ValidationError as error:
            raise self._no_status(_first(error)) from error
        except (OSError, ValueError) as error:
            raise self._no_status(str(error)) from error
        if status.state == "running" and not is_locked(self._lock):
            return Status(**(asdict(status) | {"state": "interrupted"}))
        return status

    def _no_status(self, reason: str) -> RunError:
        return RunError(f"{self.path} is not a run folder: its status.json cannot be read ({reason})")

    @property
    def readable(self) -> bool:
        """Whether its status can be read."""
        try:
            return bool(self.status)
        except RunError:
            return False

    @property
    def complete(self) -> bool:
        """Whether the trained weights are all there."""
        return self.backbone.exists() and self.heads.exists()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the run to this process while it trains; the hold ends with the process, however that ends.

        Raises:
            RunError: another process holds it, or the file system cannot tell.
        """
        try:
            file = self._lock.open("a")
        except OSError as error:
            raise RunError(
                f"nothing can be written to {self.path}: {error.strerror}; "
                "a run that cannot be written to can be evaluated, but not trained"
            ) from error
        with file:
            try:
                free = hold(file)
            except OSError as error:
                raise RunError(
                    f"{self.path} is on a file system that cannot lock files ({error.strerror}), so nothing keeps two "
                    f"trainings apart there: name a folder on another with --runs or {VARIABLE}"
                ) from error
            if not free:
                raise RunError(f"{self.name} is being trained right now, by another process")
            for folder in (self.path, self.checkpoints):
                remove_partial_files(folder)
            yield

    @property
    def _lock(self) -> Path:
        return self.path / ".lock"

    def write_status(self, state: State, step: int, steps: int, epoch: int, epochs: int) -> None:
        """Record how far the run is."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        status = Status(state, step, steps, epoch, epochs, now, _this_process())
        write_atomic(self.path / "status.json", to_json(asdict(status)))

    def save_evaluation(self, result: dict[str, Any]) -> Path:
        """Keep an evaluation's figures; returns the file, whose name sorts after those of all that are there."""
        self.evaluations.mkdir(exist_ok=True)
        # Later than the newest, even within one tick of the clock or after the clock was set back.
        after = [_after(path.stem) for path in self.evaluations.glob("*.json")]
        when = max([datetime.now(UTC).replace(tzinfo=None), *after])
        path = self.evaluations / f"{when.strftime(EVALUATION_STAMP)}-{secrets.token_hex(2)}.json"
        write_atomic(path, to_json(result))
        return path


def _after(name: str) -> datetime:
    """The first moment after an evaluation was saved, by its file's name; the beginning of time where it tells none."""
    with suppress(ValueError, OverflowError):
        return datetime.strptime(name[:22], EVALUATION_STAMP) + timedelta(microseconds=1)
    return datetime.min


def _first(error: ValidationError) -> str:
    found = error.errors()[0]
    return ": ".join([*map(str, found["loc"]), found["msg"]])


def _this_process() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
