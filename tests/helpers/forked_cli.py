"""Run the command line in forked processes, which do not import torch again.

The fork server has imported only slow libraries. Each process imports sslkit and has real exit codes, signals and
streams.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from subprocess import CompletedProcess

SLOW_LIBRARIES = [
    *("torch", "torchvision", "pytorch_lightning", "lightly.loss"),
    *("sklearn.cluster", "sklearn.linear_model", "scipy"),
]

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(SLOW_LIBRARIES)


def run_sslkit(
    arguments: Sequence[str], environment: Mapping[str, str], folder: Path, limit_s: float = 300
) -> CompletedProcess[str]:
    """Run ``sslkit ARGUMENTS`` and return its exit code and output.

    Raises:
        TimeoutError: the command takes longer than the time limit.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = [f"/proc/{os.getpid()}/fd/{stream.fileno()}" for stream in (out, err)]
        process = PROCESSES.Process(target=_run, args=(list(arguments), dict(environment), folder, streams))
        process.start()
        process.join(limit_s)
        if process.exitcode is None:
            process.kill()
            raise TimeoutError(f"sslkit {' '.join(arguments)} takes longer than {limit_s:g} s")
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
        return CompletedProcess(["sslkit", *arguments], process.exitcode, *texts)


def _run(arguments: list[str], environment: dict[str, str], folder: Path, streams: list[str]) -> None:
    import torch

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
    sys.argv = ["sslkit", *arguments]
    from sslkit.cli.__main__ import main

    main()
