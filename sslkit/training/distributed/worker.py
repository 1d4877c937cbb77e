"""Run the task of a launched process, and send its events and its outcome to the parent process."""

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
from sslkit.components.registration import register
from sslkit.errors import InputError, SslkitError
from sslkit.recipe.document import Document
from sslkit.recipe.load import check_document
from sslkit.training.events import Event, Reporter


@dataclass(frozen=True)
class Task:
    """Task that each launched process runs: ``function(recipe, reporter, *arguments)``.

    Attributes:
        function: the function.
        document: the document of the recipe.
        registered: mapping from name to pickled class of the components that the parent registered.
        arguments: arguments after recipe and reporter.
        environment: the parent's environment variables.
        working_directory: the parent's working directory.
    """

    function: Callable[..., Any]
    document: Document
    registered: Mapping[str, bytes]
    arguments: tuple[Any, ...]
    environment: Mapping[str, str]
    working_directory: str


@dataclass(frozen=True)
class Succeeded:
    """Outcome of a process that succeeded; ``result`` is None except in the main process."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """Outcome of a process that raised an exception; ``time`` is Unix time in seconds."""

    error: BaseException
    time: float


def run_worker(rank: int, port: int, task: bytes, pipes: list[Connection]) -> None:
    """Run a task in this process and send its outcome to the parent.

    Args:
        rank: rank of this process.
        port: local port that the processes use to connect.
        task: the pickled ``Task``.
        pipes: connections to the parent, one for each rank.
    """
    # A terminal sends Ctrl-C to every process, but only the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_stop_without_parent, daemon=True).start()
    pipe = pipes.pop(rank)
    for other in pipes:
        other.close()
    try:
        result = _run_task(rank, port, pickle.loads(task), pipe)
    except BaseException as error:
        with suppress(OSError):
            pipe.send(Failed(_picklable(error), time.time()))
        sys.exit(1)
    with suppress(OSError):
        pipe.send(Succeeded(result if rank == 0 else None))


def _stop_without_parent() -> None:
    """Wait until the parent ends, then send SIGTERM to this process, which stops training after the current step."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _run_task(rank: int, port: int, task: Task, pipe: Connection) -> Any:
    os.environ.clear()
    os.environ.update(task.environment)
    # With these variables, Lightning connects to the launched processes instead of launching its own.
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    os.chdir(task.working_directory)
    # Standard output is for results, which only the parent prints.
    sys.stdout.flush()
    if rank == 0:
        os.dup2(2, 1)
    else:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        warnings.simplefilter("ignore")
    for name, component in task.registered.items():
        try:
            register(name, pickle.loads(component))
        except SslkitError:
            raise
        except Exception as error:
            raise not_importable_error(name, error) from error
    reporter = Reporter() if rank else _PipeReporter(pipe)
    return task.function(check_document(task.document, Catalog.scan()), reporter, *task.arguments)


def not_importable_error(name: str, error: Exception) -> InputError:
    """Return the error for a registered component that other processes cannot import."""
    return InputError(
        f"other processes cannot import the component {name!r} from the program that registered it ({error}): "
        "put it into a module, or into a package (sslkit plugins new), or train with train.devices = 1"
    )


def _picklable(error: BaseException) -> BaseException:
    """Return ``error`` or, if it cannot be pickled, a ``RuntimeError`` whose message is the traceback of ``error``.

    Pickling drops the traceback. The traceback is therefore added as a note, except for errors that the user can fix
    (``SslkitError``, ``OSError``) and Ctrl-C.
    """
    if not isinstance(error, (SslkitError, OSError, KeyboardInterrupt)):
        error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # third-party exceptions may raise any error here
        return RuntimeError("".join(traceback.format_exception(error)))
    return error


class _PipeReporter(Reporter):
    """Reporter that sends events to the parent process, as long as the parent runs."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def on_event(self, event: Event) -> None:
        with suppress(BrokenPipeError):
            self.pipe.send(event)
