"""A browser, and a server with the run ``hostile_run``, for all tests of a file in this folder.

After each test, all its corrections are undone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import browser
import pytest
from explore.page import CHROMIUM, open_page
from explore.server import LIMIT_S, Server, start_explore
from playwright.sync_api import Browser, Page, sync_playwright

from sslkit import Run


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(f"none of {', '.join(browser.COMMANDS)} is installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=1000 * LIMIT_S)
        yield started
        started.close()


@pytest.fixture(scope="module")
def started(hostile_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(hostile_run.path, folder / "runs" / "mine" / "1")
    server = start_explore(Run(folder / "runs" / "mine" / "1"), folder / "server")
    server.wait_until_loaded()
    yield server
    server.process.kill()
    server.process.join()


@pytest.fixture
def server(started: Server) -> Iterator[Server]:
    """The server, without corrections."""
    yield started
    while started.get("api/classes").json()["undo"]:
        assert started.post("undo", {}).status_code == 200


@pytest.fixture
def page(chromium: Browser, server: Server) -> Iterator[Page]:
    with open_page(chromium, server) as opened:
        yield opened
