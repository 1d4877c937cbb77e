"""Training of a run's head with the corrections, in a background thread of ``sslkit explore``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sslkit.errors import InputError, SslkitError

if TYPE_CHECKING:
    from sslkit.device.hardware import DeviceName
    from sslkit.explore.corrected_run import CorrectedRun
    from sslkit.explore.workbench import Workbench


class StoppedError(Exception):
    """Raised in the training thread when the server stops."""


class TrainingJob:
    """Background job that trains the head of a run with corrections. Only one head is trained at a time.

    Args:
        device: device that trains the head, or ``auto``.

    Attributes:
        result: the new run of the latest training, or None if none has finished.
    """

    def __init__(self, device: DeviceName) -> None:
        self.device = device
        self.result: CorrectedRun | None = None
        self._error: str | None = None
        self._stage = ("", 0, 0)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, bench: Workbench) -> None:
        """Start training with the corrections of a workbench, in a background thread.

        Raises:
            InputError: a head is already being trained.
        """
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise InputError("a training is running: wait until it has finished")
            self.result, self._error, self._stage = None, None, ("preparing", 0, 1)
            self._thread = threading.Thread(target=self._train, args=[bench], name="explore-train", daemon=True)
            self._thread.start()

    def estimate(self, bench: Workbench) -> float | None:
        """Return the estimated duration of the training in seconds, or None while a head is being trained.

        Raises:
            InputError: the run has more than one head.
        """
        from sslkit.device.hardware import choose_device
        from sslkit.explore.corrected_training import estimate_seconds

        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return None
        return estimate_seconds(bench, choose_device(self.device))

    def status(self) -> dict[str, Any]:
        """Return the state and progress of the training, and its result or error, as JSON values."""
        result, error = self.result, self._error
        running = result is None and error is None and self._thread is not None
        stage, done, total = self._stage
        return {
            "state": "finished" if result else "failed" if error else "running" if running else "idle",
            "stage": stage,
            "done": done,
            "total": total,
            "error": error,
            "result": None if result is None else _describe(result),
        }

    def stop(self) -> None:
        """Stop the training and wait until it ends. No run folder remains unless the new run is already written."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _train(self, bench: Workbench) -> None:
        try:
            from sslkit.device.hardware import choose_device
            from sslkit.explore.corrected_training import train_head

            runs: Path = bench.run.path.parent.parent
            self.result = train_head(bench, runs, choose_device(self.device), self._progress)
        except (SslkitError, StoppedError) as error:
            self._error = str(error)
        except Exception as error:  # a plugin's head may raise any exception
            self._error = f"{type(error).__name__}: {error}"

    def _progress(self, stage: str, done: int, total: int) -> None:
        self._stage = (stage, done, total)
        if self._stop.is_set():
            raise StoppedError("the server ends")


def _describe(result: CorrectedRun) -> dict[str, Any]:
    """Return what the page shows about the new run, such as its name and the images that changed class."""
    from sslkit.explore.queries import predict_command

    facts = {"run": result.run.name, "images": result.changed.tolist(), "predict": predict_command(result.run)}
    return result.summary() | facts
