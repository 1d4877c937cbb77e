"""Start ``sslkit explore`` in another process, and send requests to its server."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
from processes.forked_cli import start_sslkit

from sslkit import Run

LIMIT_S = 120
"""Time limit of a request, and of the start."""


@dataclass
class Server:
    """A running ``sslkit explore``.

    Attributes:
        process: the process.
        url: address of the page, with the secret token.
        run: the run.
    """

    process: BaseProcess
    url: str
    run: Run

    def get(self, path: str, **parameters: object) -> httpx.Response:
        return httpx.get(self.url + path, params=parameters, timeout=LIMIT_S)

    def post(self, path: str, body: object) -> httpx.Response:
        full = {"run": self.run.name} | body if isinstance(body, dict) else body
        return httpx.post(f"{self.url}api/{path}", json=full, timeout=LIMIT_S)

    def signal(self, number: signal.Signals) -> int | None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)
        self.process.join(60)
        return self.process.exitcode

    def wait_until_loaded(self) -> None:
        """Wait until the server has loaded the images."""
        deadline = time.monotonic() + LIMIT_S
        while (status := self.get("api/status").json())["state"] == "loading":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert status["state"] == "ready", status


def start_explore(run: Run, folder: Path) -> Server:
    """Start ``sslkit explore --no-open`` and wait until it prints its address; its output is written to ``folder``."""
    folder.mkdir()
    environment = dict(os.environ) | {"OMP_NUM_THREADS": "1"}
    deadline = time.monotonic() + LIMIT_S
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = start_sslkit(["explore", str(run.path), "--no-open"], environment, folder, out, err)
        while "\n" not in (folder / "out").read_text():  # the child opens the files again
            assert process.is_alive(), (folder / "err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    return Server(process, (folder / "out").read_text().strip(), run)
