"""Shared parts of the benchmarks: options, interleaved rounds, tables and dated records."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

os.environ.setdefault("SSLKIT_RETAIN_FREED_MEMORY", "1")  # the sslkit command does the same

ROOT = Path(__file__).parents[1]

RECORDS = Path(os.environ.get("SSLKIT_RECORDS") or ROOT / "benchmarks" / "records")
"""Folder of the records; ``$SSLKIT_RECORDS`` names a different folder."""

Result = TypeVar("Result")


def option_parser(description: str | None, rounds: int | None = None) -> argparse.ArgumentParser:
    """Return a parser with ``--no-record``, and with ``--rounds`` if a default number of rounds is given."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-record", action="store_true", help="print the results without writing a record")
    if rounds is not None:
        parser.add_argument("--rounds", type=int, default=rounds, help="number of measurements of each variant")
    return parser


def run_sslkit(*arguments: str) -> Any:
    """Run an sslkit command with ``--json`` and return the parsed JSON output; progress is printed to stderr."""
    command = [sys.executable, "-m", "sslkit.cli", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def run_in_child(program: str, *arguments: object) -> Any:
    """Run a benchmark in a new process and return the JSON value in the last line of its output."""
    command = [sys.executable, program, *map(str, arguments)]
    completed = subprocess.run(command, capture_output=True, text=True)
    if completed.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{completed.stderr[-4000:]}")
    return json.loads(completed.stdout.strip().splitlines()[-1])


def measure_interleaved(
    measures: Mapping[str, Callable[[], Result]],
    rounds: int,
    after_round: Callable[[dict[str, list[Result]]], None] = lambda results: None,
) -> dict[str, list[Result]]:
    """Measure all variants once per round, and return the results of each variant in the order of the rounds.

    If the machine slows down for a while, all variants are affected. Each round starts with a different variant.

    Args:
        measures: mapping from the name of a variant to the function that measures it.
        rounds: number of rounds.
        after_round: receives the results so far, to save them in case the benchmark is stopped.
    """
    results: dict[str, list[Result]] = {name: [] for name in measures}
    names = list(measures)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            result = measures[name]()
            results[name].append(result)
            value = f" {result:.4g}" if isinstance(result, float) else ""
            print(f"round {number + 1} of {rounds}: {name}{value}", file=sys.stderr, flush=True)
        after_round(results)
    return results


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, Any]:
    """Return the ratio of two measurements in each round, and the median of these ratios."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return {"median": median(ratios), "rounds": ratios}


def seconds_of(work: Callable[[], object]) -> float:
    """Return the duration of a call in seconds."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table to standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def describe_machine() -> dict[str, Any]:
    """Return the CPU or GPU, the number of threads, the precision of ``auto``, and the current load average."""
    import torch

    from sslkit.device.hardware import choose_hardware

    hardware = choose_hardware("auto", "auto")
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    machine: dict[str, Any] = {
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "name": torch.cuda.get_device_name() if hardware.device == "cuda" else str(name),
        "device": hardware.device,
        "precision": hardware.precision,
        "precision_reason": hardware.reason,
        "threads": torch.get_num_threads(),
    }
    if hasattr(os, "getloadavg"):
        machine["load_average"] = round(os.getloadavg()[0], 1)
    return machine


def installed_versions(*libraries: str) -> dict[str, str]:
    """Return the installed versions of sslkit, torch, Lightning and the given packages."""
    versions = {}
    for name in ("sslkit", "torch", "pytorch-lightning", *libraries):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def name_with_device(name: str) -> str:
    """Return the name of a record, with ``-cuda`` or ``-mps`` appended on an accelerator.

    Records of a GPU then never overwrite records of a CPU.
    """
    device = describe_machine()["device"]
    return name if device == "cpu" else f"{name}-{device}"


def write_record(
    name: str, results: Mapping[str, Any], libraries: Sequence[str] = (), *, command: str | None = None
) -> None:
    """Write ``<name>.json`` in the folder of records, with command, date, machine, versions and results.

    Args:
        name: file name without suffix, optionally with a folder in front.
        results: further keys of the record.
        libraries: further packages whose versions are recorded.
        command: the command to record; None means the command line of this program.
    """
    from sslkit.files import write_atomic

    record = {
        "command": command or command_line(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": describe_machine(),
        "versions": installed_versions(*libraries),
        **results,
    }
    path = RECORDS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(record, indent=1) + "\n")


def command_line() -> str:
    """Return the command line that started this program."""
    return " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *sys.argv[1:]])
