"""Open a page in a headless Chromium, and record its requests and console errors.

Chromium is controlled through a pipe (``--remote-debugging-pipe``), so no port is opened and no package is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def find_chromium() -> str | None:
    """Return the path of an installed Chromium, or None."""
    return next((path for name in COMMANDS if (path := shutil.which(name))), None)


@dataclass
class Page:
    """An open page.

    Attributes:
        send: calls a method of the browser protocol.
        requests: addresses that the page requested, without itself and ``data:`` addresses.
        errors: errors and warnings of its console, and uncaught exceptions.
    """

    send: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression; promises are awaited."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def resize(self, width: int, *, dark: bool = False, phone: bool = False) -> None:
        """Set the width of the window in pixels, and the preferred colour scheme."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self) -> bytes:
        """Return the full page as PNG."""
        return b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def pdf(self) -> bytes:
        """Return the page as PDF."""
        return b64decode(self.send("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def open_page(chromium: str, path: Path) -> Iterator[Page]:
    """Open an HTML file in a Chromium that is killed afterwards."""
    from_browser, to_us = os.pipe()
    from_us, to_browser = os.pipe()

    def connect() -> None:
        # Chromium reads descriptor 3 and writes 4. Copy both ends first, because either may have one of these numbers.
        ends = os.dup(from_us), os.dup(to_us)
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    # Child processes of Chromium may still write to the profile after it was killed.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [chromium, *OPTIONS, f"--user-data-dir={profile}"],
            preexec_fn=connect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        try:
            with os.fdopen(from_browser, "rb") as reader, os.fdopen(to_browser, "wb", buffering=0) as writer:
                yield _load(_Connection(reader, writer), path)
        finally:
            process.kill()
            process.wait()


class _Connection:
    """A connection in Chromium's protocol: JSON messages, each ended by a zero byte."""

    def __init__(self, reader: Any, writer: Any) -> None:
        self.reader = reader
        self.writer = writer
        self.count = 0
        self.page: Page | None = None
        self.loaded = False

    def call(self, method: str, session: str = "", **parameters: Any) -> Any:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        self.writer.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer["error"]
                return answer["result"]

    def receive(self) -> Any:
        text = bytearray()
        while (byte := self.reader.read(1)) != b"\0":
            assert byte, "the browser has exited"
            text += byte
        message = json.loads(text)
        self.record(message.get("method"), message.get("params", {}))
        return message

    def record(self, method: str | None, event: Any) -> None:
        if method == "Page.loadEventFired":
            self.loaded = True
        if self.page is None:
            return
        if method == "Network.requestWillBeSent" and not event["request"]["url"].startswith("data:"):
            self.page.requests.append(event["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.page.errors.append(event["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning", "assert"):
            self.page.errors.append(str(event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.page.errors.append(event["entry"]["text"])


def _load(connection: _Connection, path: Path) -> Page:
    target = connection.call("Target.createTarget", url="about:blank")["targetId"]
    session = connection.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def send(method: str, **parameters: Any) -> Any:
        return connection.call(method, session, **parameters)

    page = Page(send)
    for domain in ("Page", "Runtime", "Network", "Log"):
        send(f"{domain}.enable")
    connection.page = page
    send("Page.navigate", url=path.resolve().as_uri())
    while not connection.loaded:
        connection.receive()
    page.requests.remove(path.resolve().as_uri())
    return page
