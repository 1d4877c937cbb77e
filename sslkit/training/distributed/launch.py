"""Starts the processes of a training on one machine, passes on what they tell, and ends them all with the first that
fails.  What each of them does is what it would do if torchrun or SLURM had started it.
"""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import Pipe, connection, current_process, set_forkserver_preload
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from lightning_fabric.plugins.environments.lightning import find_free_network_port
from torch.multiprocessing.spawn import start_processes

from sslkit.components.catalog import LOCAL, local_entries
from sslkit.device.hardware import choose_device
from sslkit.errors import InputError, TrainingError
from sslkit.recipe.model import Recipe
from sslkit.training.distributed.processes import detect_lost_process, devices_of, environment, is_main_process
from sslkit.training.distributed.signals import signals
from sslkit.training.distributed.worker import Call, Done, Failed, Task, unreachable, work
from sslkit.training.events import Reporter

Result = TypeVar("Result")

GRACE = 10.0
"""Seconds that the others have to end by themselves once one has failed."""


def spread(task: Callable[..., Result], recipe: Recipe, reporter: Reporter, *arguments: Any) -> Result:
    """Run ``task(recipe, reporter, *arguments)`` in as many processes as the recipe asks for.

    Args:
        task: a function of a module.  It runs here where one process is asked for, or where torchrun or SLURM started
            this one; else in processes of their own.
        recipe: a checked recipe.
        reporter: told, here, what the main process tells.
        arguments: whatever can be pickled.

    Returns:
        The main process's result.

    Raises:
        InputError: there are not as many devices, or a component cannot be had in another process.
        TrainingError: a process was killed, or ended before this one.
        Exception: what the first that failed raised.
    """
    devices = devices_of(recipe.train, choose_device(recipe.train.device))
    if environment() is not None:
        with detect_lost_process():
            return task(recipe, reporter if is_main_process() else Reporter(), *arguments)
    if recipe.train.nodes > 1:
        raise InputError(
            f"train.nodes = {recipe.train.nodes}: several machines are started by torchrun or SLURM, "
            "see docs/scaling.md"
        )
    if devices == 1:
        return task(recipe, reporter, *arguments)
    if getattr(current_process(), "_inheriting", False):
        raise InputError(
            "each process of a training imports the program that started it, and this one would start another: "
            'put what it does below `if __name__ == "__main__":`'
        )
    order = Task(task, recipe.document, _registered(recipe), arguments, dict(os.environ), str(Path.cwd()))
    result: Result = _Launch(pickle.dumps(order), devices, reporter).result()
    return result


def _registered(recipe: Recipe) -> dict[str, bytes]:
    """The components of the recipe that this process registered, as other processes may import them."""
    found = {}
    for entry in (selected.entry for selected in recipe.selected if selected.entry.distribution == LOCAL):
        try:
            found[entry.name] = pickle.dumps(local_entries[entry.kind.group, entry.name][1])
        except Exception as error:
            raise unreachable(entry.name, error) from error
    return found


class _Launch:
    """The processes from their start to their end."""

    def __init__(self, order: bytes, devices: int, reporter: Reporter) -> None:
        self.reporter = reporter
        self.asked: list[signal.Signals] = []
        """Signals that asked to stop."""
        self.unheard: BaseException | None = None
        """Why the reporter cannot be told any more."""
        self.ends: dict[int, Done | Failed] = {}
        pipes = [Pipe(duplex=False) for _ in range(devices)]
        senders = [sender for _, sender in pipes]
        self.pipes = {receiver: rank for rank, (receiver, _) in enumerate(pipes)}
        # The server imports everything once; each process is a copy of it.  What torch warns of there is on purpose.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        set_forkserver_preload(["sslkit.training.train"])
        with _handling(signal.SIG_IGN, [signal.SIGINT]):
            self.processes: list[Any] = start_processes(
                work,
                (find_free_network_port(), order, senders),
                nprocs=devices,
                join=False,
                start_method="forkserver",
            ).processes
        for sender in senders:
            sender.close()

    def result(self) -> Any:
        """What the main process gives, once all have ended.

        Raises:
            BaseException: why the first that failed did.
        """
        lost: set[int] = set()
        try:
            with _handling(self._stop, signals()):
                self._listen()
        finally:
            for rank, process in enumerate(self.processes):
                if process.is_alive():
                    lost.add(rank)
                    process.kill()
                process.join()
        failure = self.unheard or self._failure(lost)
        if failure is not None:
            raise failure
        end = self.ends[0]
        assert isinstance(end, Done)
        return end.result

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Ask all processes to stop after the same step; a second Ctrl-C does not wait for them."""
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked.append(signal.Signals(number))
        for process in self.processes:
            # Never SIGINT: a terminal has sent that to all of them already, and a second one means at once.
            process.terminate()

    def _listen(self) -> None:
        """Pass on what is told until all have ended, or until one has failed and the others had their time."""
        waiting = {process.sentinel: process for process in self.processes}
        failed = float("inf")
        while waiting and (left := failed + GRACE - time.monotonic()) > 0:
            ready = connection.wait([*self.pipes, *waiting], None if failed == float("inf") else left)
            for pipe in [pipe for pipe in self.pipes if pipe in ready]:
                self._hear(pipe)
            for sentinel in [sentinel for sentinel in waiting if sentinel in ready]:
                process = waiting.pop(sentinel)
                process.join()
                if process.exitcode:
                    failed = min(failed, time.monotonic())
        for pipe in list(self.pipes):
            while pipe in self.pipes and pipe.poll():
                self._hear(pipe)

    def _hear(self, pipe: connection.Connection) -> None:
        try:
            told = pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # it ended, perhaps in the middle of a word
            del self.pipes[pipe]
            return
        if isinstance(told, Call):
            self._tell(told)
        else:
            self.ends[self.pipes[pipe]] = told

    def _tell(self, call: Call) -> None:
        if self.unheard is not None:
            return
        try:
            getattr(self.reporter, call.method)(*call.arguments)
        except KeyboardInterrupt:
            raise  # a second Ctrl-C may come here, too
        except BaseException as error:
            # Processes that are killed lose what they have done since they saved; asked to stop, they save first.
            self.unheard = error
            for process in self.processes:
                process.terminate()

    def _failure(self, lost: set[int]) -> BaseException | None:
        """Why the training failed: one that died without a word comes first, the others only miss it."""
        count = len(self.processes)
        for rank, process in enumerate(self.processes):
            code = process.exitcode
            if rank in lost or rank in self.ends:
                continue
            if self.asked and code == -signal.SIGTERM:
                return KeyboardInterrupt()  # it had not begun to train
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            hint = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
            return TrainingError(
                f"process {rank} of {count} {how}{hint}, and the others were stopped; "
                "if a checkpoint was saved, `sslkit resume` goes on from it"
            )
        failures = [end for end in self.ends.values() if isinstance(end, Failed)]
        return min(failures, key=lambda end: end.moment).error if failures else None


@contextmanager
def _handling(handler: Any, numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """Handle signals so for a while; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
