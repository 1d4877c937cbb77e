"""Accessibility of the page of ``sslkit explore``, and its width on a phone."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from explore.page import largest, tiles
from explore.server import Server
from playwright.sync_api import Page, expect


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_has_no_serious_accessibility_problem_and_fits_a_phone(page: Page, server: Server, dark: bool) -> None:
    long = "scratches along the rolling direction of the hot-rolled strip"
    page.emulate_media(color_scheme="dark" if dark else "light")
    first, other = largest(server)
    assert server.post("name", {"number": other, "name": long}).status_code == 200
    page.reload()
    axe = Axe()

    def check(where: str) -> None:
        results = axe.run(page)
        serious = [one for one in results.response["violations"] if one["impact"] in ("serious", "critical")]
        assert serious == [], where

    check("classes")
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_be_visible()
    check("help")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Export").click()
    check("export")
    page.keyboard.press("Escape")
    page.locator(".cards input").nth(0).check()
    check("selected classes")
    page.goto(f"{server.url}#/class/{first}")
    tiles(page).nth(0).click()
    expect(page.locator(".tile .file")).not_to_have_count(0)
    check("class")
    page.keyboard.press("m")
    check("move")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    for key, ready in (("n", "#name"), ("s", ".part"), ("t", "dialog .primary")):
        page.keyboard.press(key)
        expect(page.locator(ready).first).to_be_visible()
        check(f"dialog of {key}")
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("Enter")
    expect(page.locator("dialog.viewer")).to_be_visible()
    check("viewer")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.goto(f"{server.url}#/map")
    expect(page.locator(".legend li")).to_have_count(3)
    check("map")
    for width in (768, 390):
        page.set_viewport_size({"width": width, "height": 800})
        for view in ("#/", f"#/class/{first}", "#/map"):
            page.goto(f"{server.url}{view}")
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)
    page.goto(f"{server.url}#/class/{first}")
    expect(tiles(page).nth(0)).to_be_visible()
    for key, ready in (("n", "#name"), ("s", ".part"), ("t", "dialog .primary"), ("m", ".targets")):
        if key == "m":
            tiles(page).nth(0).click()
        page.keyboard.press(key)
        expect(page.locator(ready).first).to_be_visible()
        if key == "m":
            page.locator("#target").fill(long[:4])
            expect(page.locator("dialog .primary")).to_have_text(f"Move to {long}")
        assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 390, key
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
