"""Freed memory stays in the process: the resident memory of a new process is measured after it frees a block."""

from __future__ import annotations

import os
import platform
import tempfile
from pathlib import Path

import pytest
from processes.forked_cli import run_script

from sslkit.device.allocator import LARGE_BLOCK, MALLOC_VARIABLES, RETAIN_FREED_MEMORY

PROGRAM = """
import os
import sys
from pathlib import Path

import torch


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


_, statements, size, path = sys.argv
exec(statements, {"path": Path(path)})
before = resident()
torch.ones(int(size), dtype=torch.uint8)
print(resident() - before)
"""

LIBRARY_TRAINING = """
from sslkit.recipe.load import load_recipe
from sslkit.training.preparation import prepare
from sslkit.training.events import Reporter
prepare(load_recipe(path, []), Reporter())
"""

LIBRARY_NETWORK = """
from sslkit.trained.network import TrainedNetwork
from sslkit.runs.run import Run
TrainedNetwork(Run(path), "cpu")
"""

COMMAND = """
import sys
from sslkit.cli.__main__ import main
sys.argv = ["sslkit", *{arguments!r}]
try:
    main()
except SystemExit as end:
    assert not end.code
"""

RETAIN = "from sslkit.device.allocator import retain_freed_memory; retain_freed_memory({!r})"

BLOCK = 2**26
"""Size of the block in bytes; by default, glibc keeps blocks of up to 2 ** 25 bytes."""

COMMAND_BLOCK = 2**28
"""Size of the block in bytes, much larger than the memory that a command on digits keeps."""

ON = {RETAIN_FREED_MEMORY: "1"}

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")


def retained(statements: str, path: Path, size: int = BLOCK, **environment: str) -> float:
    """Run statements in a new process, then free a block; return the fraction of the block that stays resident."""
    unset = (*MALLOC_VARIABLES, RETAIN_FREED_MEMORY)
    variables = {name: value for name, value in os.environ.items() if name not in unset} | environment
    with tempfile.TemporaryDirectory() as folder:
        (program := Path(folder) / "program.py").write_text(PROGRAM)
        done = run_script([str(program), statements, str(size), str(path)], variables, Path(folder))
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1]) / size


def test_commands_that_compute_on_the_cpu_retain_freed_memory(tiny: Path, finished_run: Path, tmp_path: Path) -> None:
    assert retained(COMMAND.format(arguments=["train", str(tiny), "--dry-run"]), tiny, COMMAND_BLOCK) > 0.8
    report = ["report", str(finished_run), "--out", str(tmp_path / "report.html"), "--device", "cpu"]
    assert retained(COMMAND.format(arguments=report), tiny, COMMAND_BLOCK) > 0.8


def test_a_program_that_imports_sslkit_keeps_its_allocator_settings(tiny: Path, finished_run: Path) -> None:
    assert retained(LIBRARY_TRAINING, tiny) < 0.1
    assert retained(LIBRARY_NETWORK, finished_run) < 0.1


def test_a_program_can_ask_to_retain_freed_memory(tiny: Path, finished_run: Path) -> None:
    assert retained(LIBRARY_TRAINING, tiny, **ON) > 0.9
    assert retained(LIBRARY_NETWORK, finished_run, **ON) > 0.9
    assert retained(RETAIN.format("cpu"), tiny, **ON) > 0.9


@pytest.mark.parametrize(
    ("device", "environment"),
    [
        ("cuda", ON),
        ("cpu", {}),
        ("cpu", {RETAIN_FREED_MEMORY: "0"}),
        ("cpu", ON | {"MALLOC_MMAP_THRESHOLD_": "1000000"}),
        ("cpu", ON | {"MALLOC_TRIM_THRESHOLD_": "1000000"}),
    ],
)
def test_freed_memory_goes_back_otherwise(device: str, environment: dict[str, str], tmp_path: Path) -> None:
    assert retained(RETAIN.format(device), tmp_path, **environment) < 0.1


def test_large_blocks_go_back(tmp_path: Path) -> None:
    assert retained(RETAIN.format("cpu"), tmp_path, LARGE_BLOCK, **ON) < 0.1
