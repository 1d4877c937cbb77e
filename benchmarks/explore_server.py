"""Start ``sslkit explore`` and send requests to it, as its page does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import sslkit


@dataclass
class Server:
    """A running ``sslkit explore``."""

    process: subprocess.Popen[str]
    url: str
    started: float

    def get(self, path: str, **parameters: object) -> Any:
        with urlopen(f"{self.url}{path}?{urlencode(parameters)}") as answer:
            data = answer.read()
        return json.loads(data) if path.startswith("api") else data

    def post(self, path: str, **body: object) -> Any:
        data = json.dumps({"run": self.get("api/status")["run"], **body}).encode()
        with urlopen(Request(f"{self.url}api/{path}", data, {"content-type": "application/json"})) as answer:
            return json.loads(answer.read())["result"]

    def cpu_seconds(self) -> float:
        return _cpu_seconds(Path(f"/proc/{self.process.pid}"))

    def memory(self, key: str) -> float:
        """Return ``VmHWM`` (peak) or ``VmRSS`` in GB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e9


@contextmanager
def running(run: sslkit.Run) -> Iterator[Server]:
    """Start ``sslkit explore``, and wait until it has loaded the images."""
    command = [sys.executable, "-m", "sslkit.cli", "explore", str(run.path), "--no-open"]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        server = Server(process, process.stdout.readline().strip(), started)
        while server.get("api/status")["state"] == "loading":
            time.sleep(0.02)
        assert server.get("api/status")["state"] == "ready", server.get("api/status")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def cpu_seconds_of_descendants() -> float:
    """Return the CPU seconds of all running processes that this process started, and of those that these started."""
    children: dict[int, list[Path]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended
            children.setdefault(int(_fields(process)[1]), []).append(process)
    found = children.get(os.getpid(), [])
    for process in found:
        found += children.get(int(process.name), [])
    return sum(map(_cpu_seconds, found))


def _cpu_seconds(process: Path) -> float:
    fields = _fields(process)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _fields(process: Path) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the name of the program."""
    return (process / "stat").read_text().rpartition(")")[2].split()
