"""Run the command line and scripts in forked processes, which do not import torch again.

The fork server has imported slow libraries and the core of sslkit, but no plugin, and has read no recipe. Each process
has real exit codes, signals and streams.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess
from typing import IO, Any

PRELOADED = [
    *("torch", "torchvision", "pytorch_lightning", "lightly.loss"),
    *("sklearn.cluster", "sklearn.linear_model", "scipy"),
    *("sslkit.cli.main", "sslkit.training.train", "sslkit.evaluation.evaluate"),
]

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(PRELOADED)


def run_sslkit(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, limit_s: float = 300
) -> CompletedProcess[str]:
    """Run ``sslkit ARGUMENTS`` and return its exit code and output.

    Raises:
        TimeoutError: the command takes longer than the time limit.
    """
    return _run(_sslkit, arguments, environment, folder, limit_s)


def run_script(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, limit_s: float = 300
) -> CompletedProcess[str]:
    """Run ``python ARGUMENTS`` and return its exit code and output. The first argument is the script's path.

    Raises:
        TimeoutError: the script takes longer than the time limit.
    """
    return _run(_script, arguments, environment, folder, limit_s)


def start_sslkit(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: IO[Any], err: IO[Any]
) -> BaseProcess:
    """Start ``sslkit ARGUMENTS``. The two open files or pipes receive its output."""
    return _start(_sslkit, arguments, environment, folder, out, err)


def _run(
    program: Callable[[list[str]], None],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    limit_s: float,
) -> CompletedProcess[str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = _start(program, arguments, environment, folder, out, err)
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"{' '.join(arguments)} takes longer than {limit_s:g} s")
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
        return CompletedProcess(list(arguments), process.exitcode, *texts)


def _start(
    program: Callable[[list[str]], None],
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    out: IO[Any],
    err: IO[Any],
) -> BaseProcess:
    streams = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (out, err)]
    process = PROCESSES.Process(
        target=_run_in_child, args=(program, list(arguments), dict(environment), folder, streams)
    )
    process.start()
    return process


def _run_in_child(
    program: Callable[[list[str]], None],
    arguments: list[str],
    environment: dict[str, str],
    folder: Path,
    streams: list[str],
) -> None:
    import torch

    gc.freeze()  # Otherwise the garbage collector copies the memory of the fork server.
    for number, path in enumerate(streams, start=1):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1, closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    # The Python interpreter does this at its start.
    sys.path[:0] = [part for part in environment.get("PYTHONPATH", "").split(os.pathsep) if part]
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", "1")))
    program(arguments)


def _sslkit(arguments: list[str]) -> None:
    sys.argv = ["sslkit", *arguments]
    from sslkit.cli.__main__ import main

    main()


def _script(arguments: list[str]) -> None:
    sys.argv = arguments
    runpy.run_path(arguments[0], run_name="__main__")
