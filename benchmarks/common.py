"""What the benchmarks share: made-up images, sides that take turns, tables, and dated records."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("SSLKIT_RETAIN_FREED_MEMORY", "1")  # as the sslkit command does

ROOT = Path(__file__).parents[1]


def sslkit(*arguments: str) -> Any:
    """What a command prints with ``--json``."""
    command = [sys.executable, "-m", "sslkit.cli", *arguments, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def take_turns(sides: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What each side measures in each round; each round begins with another side.

    A machine that becomes slower, or is used by others for a while, is so for all sides alike.
    """
    found: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(sides[name]())
            print(f"round {number + 1} of {rounds}: {name} {found[name][-1]:.4g}", file=sys.stderr, flush=True)
    return found


def ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, Any]:
    """The ratio of two sides: median of the rounds' own ratios, and all of them."""
    each = [a / b for a, b in zip(over, under, strict=True)]
    return {"median": median(each), "rounds": each}


def in_process(program: str, *arguments: object) -> Any:
    """The JSON value that a benchmark prints last when it is started as a process of its own."""
    command = [sys.executable, program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def machine() -> dict[str, Any]:
    """What the figures were measured on: processor or GPU, threads, and what arithmetic it is fast in."""
    import torch

    from sslkit.device.hardware import choose_hardware

    chosen = choose_hardware("auto", "auto")
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.processor()
    found: dict[str, Any] = {
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "name": torch.cuda.get_device_name() if chosen.device == "cuda" else str(name),
        "device": chosen.device,
        "precision": chosen.precision,
        "why": chosen.reason,
        "threads": torch.get_num_threads(),
    }
    if hasattr(os, "getloadavg"):
        found["load_at_the_end"] = round(os.getloadavg()[0], 1)
    return found


def versions(*others: str) -> dict[str, str]:
    """Versions of what was measured, where it is installed."""
    found = {}
    for name in ("sslkit", "torch", "pytorch-lightning", *others):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def by_device(name: str) -> str:
    """A record's name; on an accelerator it ends in ``-cuda`` or ``-mps``, so that it replaces no processor's."""
    device = machine()["device"]
    return name if device == "cpu" else f"{name}-{device}"


def write_record(name: str, command: str, found: Mapping[str, Any], libraries: Sequence[str] = ()) -> None:
    """Write ``benchmarks/records/<name>.json``: the figures, with command, date, machine and versions."""
    record = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(*libraries),
        **found,
    }
    path = ROOT / "benchmarks" / "records" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def command_line() -> str:
    """How this program was started."""
    return " ".join(["python", str(Path(sys.argv[0]).resolve().relative_to(ROOT)), *sys.argv[1:]])
