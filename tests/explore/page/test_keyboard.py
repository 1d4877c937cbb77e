"""The page of ``sslkit explore`` works with the keyboard."""

from __future__ import annotations

import re

from explore.page import largest, size, tiles
from explore.server import Server
from playwright.sync_api import Page, expect


def test_keys_work_without_the_focus(page: Page, server: Server) -> None:
    first, other = largest(server)
    page.locator("h1").click()
    page.keyboard.press(str(first))
    expect(page.locator(".found")).to_have_text(f"{size(server, first)} images")
    page.keyboard.press("o")
    expect(page.locator(".message")).to_have_text("no image is selected")
    page.keyboard.press("s")
    expect(page.locator("dialog h2")).to_have_text(f"Split Class {first}")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("n")
    page.locator("#name").fill("spots")
    page.keyboard.press("Enter")
    expect(page.locator(".toolbar h2")).to_have_text(f"{first} spots")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".gallery")).to_be_focused()
    page.keyboard.press("Space")
    expect(page.locator(".tile.selected")).to_have_attribute("data-position", "0")
    page.get_by_role("link", name="Back to all classes").click()
    expect(page.locator(".cards li")).to_have_count(3)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".cards a").nth(0)).to_be_focused()
    page.keyboard.press("n")
    expect(page.locator("dialog h2")).to_have_text(re.compile("^Name "))
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.get_by_role("button", name=f"Name Class {other}").click()
    page.locator("#name").fill("lines")
    page.keyboard.press("Enter")
    page.locator(".cards strong").get_by_text("lines").click()
    expect(page.locator(".toolbar h2")).to_have_text(f"{other} lines")


def test_everything_works_with_the_keyboard(page: Page, server: Server) -> None:
    first, other = largest(server)
    page.keyboard.press("?")
    expect(page.locator("dialog[open] h2")).to_have_text("Help")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.locator(".cards a").nth(0).focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".cards a").nth(1)).to_be_focused()
    page.keyboard.press(str(first))
    expect(page.locator(".found")).to_have_text(f"{size(server, first)} images")
    expect(tiles(page).nth(2)).to_be_visible()
    page.locator(".gallery").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".selection strong")).to_have_text("2 selected")
    before = size(server, other)
    page.keyboard.press(str(other))
    expect(page.locator(".message")).to_contain_text("2 images moved")
    assert size(server, other) == before + 2
    page.keyboard.press("Enter")
    expect(page.locator("dialog.viewer[open] img")).to_be_visible()
    shown = page.locator("dialog.viewer img").get_attribute("src")
    page.keyboard.press("ArrowRight")
    expect(page.locator("dialog.viewer img")).not_to_have_attribute("src", shown or "")
    natural = page.locator("dialog.viewer img").evaluate(
        "async (image) => { await image.decode(); return image.naturalWidth; }"
    )
    assert natural == 64, "the original file"
    page.keyboard.press("z")
    assert (page.locator("dialog.viewer img").bounding_box() or {})["width"] == 64, "in its original size"
    page.get_by_role("button", name="Original size").click()
    assert (page.locator("dialog.viewer img").bounding_box() or {})["width"] > 640, "the image fills the dialog"
    page.get_by_role("button", name="Previous image").click()
    expect(page.locator("dialog.viewer img")).to_have_attribute("src", shown or "")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(page.locator(".message")).to_have_text("undone")
    assert size(server, other) == before
