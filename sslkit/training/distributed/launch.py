"""Launch the processes of a training run on one machine, forward their events, and stop all if one fails.

Each process behaves as if torchrun or SLURM had started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from multiprocessing import Pipe, connection, current_process, set_forkserver_preload
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing.spawn import start_processes

from sslkit.components.catalog import THIS_PROCESS, registered_components
from sslkit.device.hardware import choose_device
from sslkit.errors import InputError, TrainingError
from sslkit.recipe.recipe import Recipe
from sslkit.training.distributed.environment import cluster_environment, devices_per_node, is_main_process
from sslkit.training.distributed.processes import detect_lost_process
from sslkit.training.distributed.signals import restored_handlers, stop_signals
from sslkit.training.distributed.worker import Failed, Succeeded, Task, not_importable_error, run_worker
from sslkit.training.events import Event, Reporter

Result = TypeVar("Result")

GRACE_PERIOD = 10.0
"""Seconds that the other processes have to end after one has failed, before they are killed."""


def launch(function: Callable[..., Result], recipe: Recipe, reporter: Reporter, *arguments: Any) -> Result:
    """Run ``function(recipe, reporter, *arguments)`` in the number of processes that the recipe sets.

    ``function`` runs in this process if the recipe sets one process, or if torchrun or SLURM started this process.
    Otherwise, ``function`` runs in new processes.

    Args:
        function: a function defined at the top level of a module.
        recipe: a checked recipe.
        reporter: receives the events of the main process; runs in this process.
        arguments: more arguments of ``function``, which must be picklable.

    Returns:
        The result of the main process (rank 0).

    Raises:
        InputError: this machine has too few devices, or a new process cannot import a component.
        TrainingError: a process was killed or ended early.
        Exception: the exception of the first process that failed.
    """
    devices = devices_per_node(recipe.train, choose_device(recipe.train.device))
    if cluster_environment() is not None:
        with detect_lost_process():
            return function(recipe, reporter if is_main_process() else Reporter(), *arguments)
    if recipe.train.nodes > 1:
        raise InputError(
            f"train.nodes = {recipe.train.nodes}: start several machines with torchrun or SLURM; see docs/scaling.md"
        )
    if devices == 1:
        return function(recipe, reporter, *arguments)
    if getattr(current_process(), "_inheriting", False):
        raise InputError(
            "each training process imports the program that started it, and this program would start another training: "
            'move its statements below `if __name__ == "__main__":`'
        )
    task = Task(function, recipe.document, _registered(recipe), arguments, dict(os.environ), str(Path.cwd()))
    result: Result = _Launch(pickle.dumps(task), devices, reporter).result()
    return result


def _registered(recipe: Recipe) -> dict[str, bytes]:
    """Return the recipe's components that this process registered, pickled for new processes, keyed by name."""
    registered = {}
    for entry in (spec.entry for spec in recipe.components if spec.entry.distribution == THIS_PROCESS):
        try:
            registered[entry.name] = pickle.dumps(registered_components[entry.kind.group, entry.name][1])
        except Exception as error:
            raise not_importable_error(entry.name, error) from error
    return registered


class _Launch:
    """Launch of new processes: starts the processes, receives their messages and waits until all have ended."""

    def __init__(self, task: bytes, devices: int, reporter: Reporter) -> None:
        self.reporter = reporter
        self.stop_signals: list[signal.Signals] = []
        """Stop signals that this process has received."""
        self.reporter_error: BaseException | None = None
        """Exception that the reporter raised. The reporter then receives no more events."""
        self.outcomes: dict[int, Succeeded | Failed] = {}
        """Mapping from rank to the outcome of the process."""
        pipes = [Pipe(duplex=False) for _ in range(devices)]
        senders = [sender for _, sender in pipes]
        self.pipes = {receiver: rank for rank, (receiver, _) in enumerate(pipes)}
        # The fork server imports all modules once, then forks. Hide torch's warnings about the fork.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        set_forkserver_preload(["sslkit.training.train"])
        with restored_handlers([signal.SIGINT], signal.SIG_IGN):
            self.processes: list[Any] = start_processes(
                run_worker,
                (find_free_network_port(), task, senders),
                nprocs=devices,
                join=False,
                start_method="forkserver",
            ).processes
        for sender in senders:
            sender.close()

    def result(self) -> Any:
        """Wait for all processes and return the result of the main process.

        Raises:
            BaseException: the exception of the first process that failed, or of the reporter.
        """
        killed: set[int] = set()
        try:
            with restored_handlers(stop_signals(), self._stop):
                self._receive_until_all_end()
        finally:
            for rank, process in enumerate(self.processes):
                if process.is_alive():
                    killed.add(rank)
                    process.kill()
                process.join()
        error = self.reporter_error or self._error(killed)
        if error is not None:
            raise error
        outcome = self.outcomes[0]
        assert isinstance(outcome, Succeeded)
        return outcome.result

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: stop all processes after the same step; on a second Ctrl-C, raise ``KeyboardInterrupt``."""
        if self.stop_signals and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop_signals.append(signal.Signals(number))
        for process in self.processes:
            # SIGTERM, because a process that received SIGINT twice would stop without saving.
            process.terminate()

    def _receive_until_all_end(self) -> None:
        """Receive messages until all processes have ended, or until ``GRACE_PERIOD`` seconds after one has failed."""
        running = {process.sentinel: process for process in self.processes}
        failed_at = float("inf")
        while running and (left := failed_at + GRACE_PERIOD - time.monotonic()) > 0:
            ready = connection.wait([*self.pipes, *running], None if failed_at == float("inf") else left)
            for pipe in [pipe for pipe in self.pipes if pipe in ready]:
                self._receive(pipe)
            for sentinel in [sentinel for sentinel in running if sentinel in ready]:
                process = running.pop(sentinel)
                process.join()
                if process.exitcode:
                    failed_at = min(failed_at, time.monotonic())
        for pipe in list(self.pipes):
            while pipe in self.pipes and pipe.poll():
                self._receive(pipe)

    def _receive(self, pipe: connection.Connection) -> None:
        try:
            message = pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # the process has ended, maybe within a message
            del self.pipes[pipe]
            return
        if isinstance(message, (Succeeded, Failed)):
            self.outcomes[self.pipes[pipe]] = message
        else:
            self._report(message)

    def _report(self, event: Event) -> None:
        if self.reporter_error is not None:
            return
        try:
            self.reporter.on_event(event)
        except KeyboardInterrupt:
            raise  # a second Ctrl-C within the reporter
        except BaseException as error:
            # Terminate instead of kill: a terminated process saves a checkpoint first.
            self.reporter_error = error
            for process in self.processes:
                process.terminate()

    def _error(self, killed: set[int]) -> BaseException | None:
        """Return the error that made training fail, or None if all processes succeeded.

        A process that died without a message takes precedence, because it can cause errors in other processes.
        """
        count = len(self.processes)
        for rank, process in enumerate(self.processes):
            code = process.exitcode
            if rank in killed or rank in self.outcomes:
                continue
            if self.stop_signals and code == -signal.SIGTERM:
                return KeyboardInterrupt()  # the process had not started training
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            hint = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
            return TrainingError(
                f"process {rank} of {count} {how}{hint}, and the others were stopped; "
                "if a checkpoint was saved, `sslkit resume` continues from it"
            )
        failures = [outcome for outcome in self.outcomes.values() if isinstance(outcome, Failed)]
        return min(failures, key=lambda failure: failure.time).error if failures else None
