"""One process of a training that ``launch`` started: does what it was sent for, and tells its parent."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any

from sslkit.components.catalog import Catalog
from sslkit.components.local import register
from sslkit.errors import InputError, SslkitError
from sslkit.recipe.check import check
from sslkit.recipe.document import Document
from sslkit.training.events import Progress, Reporter


@dataclass(frozen=True)
class Task:
    """What each process is to do.

    Attributes:
        task: called with recipe, reporter and arguments.
        document: the recipe, as it was written.
        registered: the classes of components that the parent registered, pickled, by name.
        arguments: further arguments.
        environment: the parent's environment variables.
        folder: the parent's working directory.
    """

    task: Callable[..., Any]
    document: Document
    registered: Mapping[str, bytes]
    arguments: tuple[Any, ...]
    environment: Mapping[str, str]
    folder: str


@dataclass(frozen=True)
class Call:
    """What the main process tells its reporter."""

    method: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Done:
    """A process's result."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """What ended a process, and when."""

    error: BaseException
    moment: float


def work(rank: int, port: int, order: bytes, pipes: list[Connection]) -> None:
    """Run in each process.

    Args:
        rank: its place.
        port: where they meet.
        order: the pickled ``Task``.
        pipes: where each tells its parent.
    """
    # A terminal's Ctrl-C reaches every process; the parent passes on what is meant.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    pipe = pipes.pop(rank)
    for others in pipes:
        others.close()
    try:
        result = _run_task(rank, port, pickle.loads(order), pipe)
    except BaseException as error:
        with suppress(OSError):
            pipe.send(Failed(_portable(error), time.time()))
        sys.exit(1)
    with suppress(OSError):
        pipe.send(Done(result if rank == 0 else None))


def _stop_without_parent() -> None:
    """Stop, after a whole step where training has begun, when the parent is gone and nobody else would end this."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _run_task(rank: int, port: int, order: Task, pipe: Connection) -> Any:
    os.environ.clear()
    os.environ.update(order.environment)
    # As Lightning finds it where somebody else has started the processes.
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.chdir(order.folder)
    # Standard output is for results, and the parent prints them.
    sys.stdout.flush()
    if rank == 0:
        os.dup2(2, 1)
    else:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        warnings.simplefilter("ignore")
    for name, component in order.registered.items():
        try:
            register(name, pickle.loads(component))
        except SslkitError:
            raise
        except Exception as error:
            raise unreachable(name, error) from error
    reporter = Reporter() if rank else _Remote(pipe)
    return order.task(check(order.document, Catalog.scan()), reporter, *order.arguments)


def unreachable(name: str, error: Exception) -> InputError:
    """The refusal of a component that only the process that registered it can have."""
    return InputError(
        f"the component {name!r} was registered by a program that other processes cannot import it from ({error}): "
        "put it into a module, or into a package (sslkit plugins new), or train with train.devices = 1"
    )


def _portable(error: BaseException) -> BaseException:
    """An error as another process can raise it; of what nobody foresaw, with the story of how it came about."""
    if not isinstance(error, (SslkitError, OSError, KeyboardInterrupt)):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever the error's own code does when it is pickled
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


class _Remote(Reporter):
    """Tells the parent's reporter, as long as there is a parent."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def _call(self, method: str, *arguments: Any) -> None:
        with suppress(BrokenPipeError):
            self.pipe.send(Call(method, arguments))

    def note(self, text: str) -> None:
        self._call("note", text)

    def begin(self, progress: Progress) -> None:
        self._call("begin", progress)

    def step(self, progress: Progress) -> None:
        self._call("step", progress)

    def figures(self, progress: Progress, figures: Mapping[str, float]) -> None:
        self._call("figures", progress, dict(figures))

    def epoch(self, progress: Progress, figures: Mapping[str, float]) -> None:
        self._call("epoch", progress, dict(figures))

    def end(self, progress: Progress) -> None:
        self._call("end", progress)
