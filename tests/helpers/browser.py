"""Opens a page in a headless Chromium, and tells what the page asked for and complained of.

Chromium is spoken to over a pipe (``--remote-debugging-pipe``), so no port is opened and nothing else is needed.
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

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")

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


def find() -> str | None:
    """The browser's path; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@dataclass
class Page:
    """A page that is open.

    Attributes:
        requests: addresses it asked for besides its own; what stands in the page itself (``data:``) is no request.
        complaints: errors and warnings on its console, and uncaught exceptions.
    """

    send: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def run(self, script: str) -> Any:
        """The value of an expression in the page, promises awaited."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def show(self, width: int, *, dark: bool = False, phone: bool = False) -> None:
        """Make the window so wide, and the preferred colours dark or light."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self) -> bytes:
        """The whole page as PNG."""
        return b64decode(self.send("Page.captureScreenshot", captureBeyondViewport=True)["data"])

    def print(self) -> bytes:
        """The page as PDF."""
        return b64decode(self.send("Page.printToPDF", printBackground=True)["data"])


@contextmanager
def opened(browser: str, path: Path) -> Iterator[Page]:
    """Open a file."""
    from_browser, to_us = os.pipe()
    from_us, to_browser = os.pipe()

    def connect() -> None:
        # Chromium listens on descriptor 3 and answers on 4; copies are made first, as either may be one of these.
        ends = os.dup(from_us), os.dup(to_us)
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    # Its other processes may still write there when it is gone.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [browser, *OPTIONS, f"--user-data-dir={profile}"],
            preexec_fn=connect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        try:
            with os.fdopen(from_browser, "rb") as reader, os.fdopen(to_browser, "wb", buffering=0) as writer:
                yield _open(_Speech(reader, writer), path)
        finally:
            process.kill()
            process.wait()


class _Speech:
    """Chromium's protocol: JSON with zero bytes between."""

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
            assert byte, "the browser has gone"
            text += byte
        message = json.loads(text)
        self.note(message.get("method"), message.get("params", {}))
        return message

    def note(self, method: str | None, found: Any) -> None:
        if method == "Page.loadEventFired":
            self.loaded = True
        if self.page is None:
            return
        if method == "Network.requestWillBeSent" and not found["request"]["url"].startswith("data:"):
            self.page.requests.append(found["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.page.complaints.append(found["exceptionDetails"]["text"])
        elif method == "Runtime.consoleAPICalled" and found["type"] in ("error", "warning", "assert"):
            self.page.complaints.append(str(found["args"]))
        elif method == "Log.entryAdded" and found["entry"]["level"] in ("error", "warning"):
            self.page.complaints.append(found["entry"]["text"])


def _open(speech: _Speech, path: Path) -> Page:
    target = speech.call("Target.createTarget", url="about:blank")["targetId"]
    session = speech.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def send(method: str, **parameters: Any) -> Any:
        return speech.call(method, session, **parameters)

    page = Page(send)
    for domain in ("Page", "Runtime", "Network", "Log"):
        send(f"{domain}.enable")
    speech.page = page
    send("Page.navigate", url=path.resolve().as_uri())
    while not speech.loaded:
        speech.receive()
    page.requests.remove(path.resolve().as_uri())
    return page
