"""Whether pages come back: a new process counts those that the system gives it again for a block it had before."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sslkit.heap import ASKED, LARGE

COUNT = """
import resource
import sys
from pathlib import Path

import torch

exec(sys.argv[1], {"path": Path(sys.argv[3])})
faults = []
for _ in range(20):  # a freed block is not always where the next one fits
    torch.ones(int(sys.argv[2]), dtype=torch.uint8)
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(min(after - before for before, after in zip(faults, faults[1:])))
"""

TRAIN = """
from sslkit.recipe.check import load_recipe
from sslkit.training.prepare import prepare
from sslkit.training.reporter import Reporter
prepare(load_recipe(path, []), Reporter())
"""

EVALUATE = """
from sslkit.evaluation.network import RunNetwork
from sslkit.runs import Run
RunNetwork(Run(path), "cpu")
"""

KEEP = "from sslkit.heap import keep_freed; keep_freed({!r})"

BLOCK = 2**26
"""Bytes; glibc itself keeps blocks of up to 2 ** 25."""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")


def fetched(after: str, path: Path, size: int = BLOCK, **environment: str) -> float:
    """Part of a block's pages that are fetched anew, after some statements, each time such a block is asked for."""
    kept = {name: value for name, value in os.environ.items() if name not in ASKED} | environment
    command = [sys.executable, "-c", COUNT, after, str(size), str(path)]
    said = subprocess.run(command, env=kept, check=True, capture_output=True, text=True)
    return int(said.stdout.splitlines()[-1]) * os.sysconf("SC_PAGE_SIZE") / size


def test_who_trains_or_evaluates_on_a_processor_keeps_what_a_step_frees(tiny: Path, finished_run: Path) -> None:
    assert fetched(TRAIN, tiny) < 0.1
    assert fetched(EVALUATE, finished_run) < 0.1
    assert fetched(KEEP.format("cpu"), tiny) < 0.1


@pytest.mark.parametrize(
    ("device", "environment"),
    [("cuda", {}), ("cpu", {"MALLOC_MMAP_THRESHOLD_": "1000000"}), ("cpu", {"MALLOC_TRIM_THRESHOLD_": "1000000"})],
)
def test_elsewhere_memory_goes_back_as_ever(device: str, environment: dict[str, str], tmp_path: Path) -> None:
    assert fetched(KEEP.format(device), tmp_path, **environment) > 0.9


def test_large_blocks_go_back(tmp_path: Path) -> None:
    assert fetched(KEEP.format("cpu"), tmp_path, LARGE) > 0.9
