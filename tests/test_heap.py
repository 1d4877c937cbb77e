"""Whether memory goes back: a new process counts what it has more of once it has freed a block."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from sslkit.device.allocator import ASKED, LARGE

COUNT = """
import os
import sys
from pathlib import Path

import torch


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


exec(sys.argv[1], {"path": Path(sys.argv[3])})
before = resident()
torch.ones(int(sys.argv[2]), dtype=torch.uint8)
print(resident() - before)
"""

TRAIN = """
from sslkit.recipe.check import load_recipe
from sslkit.training.setup import prepare
from sslkit.training.events import Reporter
prepare(load_recipe(path, []), Reporter())
"""

EVALUATE = """
from sslkit.trained.network import TrainedNetwork
from sslkit.runs.run import Run
TrainedNetwork(Run(path), "cpu")
"""

KEEP = "from sslkit.device.allocator import retain_freed_memory; retain_freed_memory({!r})"

BLOCK = 2**26
"""Bytes; glibc itself keeps blocks of up to 2 ** 25."""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")


def kept(after: str, path: Path, size: int = BLOCK, **environment: str) -> float:
    """Part of a block that a process keeps when it is freed, after some statements."""
    others = {name: value for name, value in os.environ.items() if name not in ASKED} | environment
    command = [sys.executable, "-c", COUNT, after, str(size), str(path)]
    said = subprocess.run(command, env=others, check=True, capture_output=True, text=True)
    return int(said.stdout.splitlines()[-1]) / size


def test_who_trains_or_evaluates_on_a_processor_keeps_what_a_step_frees(tiny: Path, finished_run: Path) -> None:
    assert kept(TRAIN, tiny) > 0.9
    assert kept(EVALUATE, finished_run) > 0.9
    assert kept(KEEP.format("cpu"), tiny) > 0.9


@pytest.mark.parametrize(
    ("device", "environment"),
    [("cuda", {}), ("cpu", {"MALLOC_MMAP_THRESHOLD_": "1000000"}), ("cpu", {"MALLOC_TRIM_THRESHOLD_": "1000000"})],
)
def test_elsewhere_memory_goes_back_as_ever(device: str, environment: dict[str, str], tmp_path: Path) -> None:
    assert kept(KEEP.format(device), tmp_path, **environment) < 0.1


def test_large_blocks_go_back(tmp_path: Path) -> None:
    assert kept(KEEP.format("cpu"), tmp_path, LARGE) < 0.1
