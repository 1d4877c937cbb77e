"""Open the page of ``sslkit explore`` in a Chromium, and use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import browser
from playwright.sync_api import Browser, Locator, Page, expect

from explore.server import LIMIT_S, Server

CHROMIUM = browser.find_chromium()


@contextmanager
def open_page(chromium: Browser, server: Server) -> Iterator[Page]:
    """Open the page. At the end, the test fails if there were console errors or requests to other servers."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(1000 * LIMIT_S)
    expect.set_options(timeout=1000 * LIMIT_S)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("request", lambda one: None if one.url.startswith((server.url, "blob:")) else problems.append(one.url))
    opened.goto(server.url)
    expect(opened.locator(".cards li")).to_have_count(3)
    yield opened
    context.close()
    assert problems == []


def tiles(page: Page) -> Locator:
    return page.locator(".tile")


def open_class(page: Page, number: int) -> int:
    """Open a class, and return its number of images."""
    page.locator(f".cards li[data-class='{number}'] a").click()
    expect(page.locator(".found")).to_have_text(re.compile(r"^\d+ images?$"))
    return int((page.locator(".found").text_content() or "").split()[0])


def largest(server: Server) -> tuple[int, int]:
    """Return the numbers of the largest class, and of another class."""
    cards = sorted(server.get("api/classes").json()["classes"], key=lambda card: -card["size"])
    return cards[0]["number"], cards[1]["number"]


def size(server: Server, number: int) -> int:
    return next(card["size"] for card in server.get("api/classes").json()["classes"] if card["number"] == number)
