"""Classes on the page of ``sslkit explore``: named, merged, split and separated."""

from __future__ import annotations

from explore.page import largest, open_class, size
from explore.server import Server
from playwright.sync_api import Page, expect

from sslkit.runs.class_names import read_class_names


def test_classes_are_named_merged_split_and_separated(page: Page, server: Server) -> None:
    first, other = largest(server)
    count = open_class(page, first)
    page.get_by_role("button", name="Name").click()
    page.locator("#name").fill("animals")
    page.keyboard.press("Enter")
    expect(page.locator(".toolbar h2")).to_have_text(f"{first} animals")
    assert (read_class_names(server.run, 3) or ())[first] == "animals"
    page.get_by_role("button", name="Split").click()
    page.locator("#parts").fill("3")
    expect(page.locator(".part")).to_have_count(3)
    page.locator("dialog button.primary").click()
    expect(page.locator(".message")).to_contain_text("split into 3 classes")
    added = [card["number"] for card in server.get("api/classes").json()["classes"] if card["added"]]
    parts = [size(server, number) for number in (first, *added)]
    assert sum(parts) == count
    assert parts[0] == max(parts)
    page.keyboard.press("Control+z")
    expect(page.locator(".found")).to_have_text(f"{count} images")
    page.get_by_role("link", name="Back to all classes").click()
    for number in (first, other):
        page.locator(f".cards li[data-class='{number}'] input").check()
    expect(page.get_by_role("button", name="Merge…")).to_be_in_viewport()
    page.get_by_role("button", name="Merge…").click()
    expect(page.locator("#name")).to_have_value("animals")
    page.keyboard.press("Enter")
    expect(page.locator(".cards li")).to_have_count(2)
    names = read_class_names(server.run, 3) or ()
    assert names[first] == names[other] == "animals"
    page.locator(f".cards li[data-class='{min(first, other)}'] a").click()
    page.get_by_role("button", name="Separate merged classes").click()
    page.get_by_role("link", name="Back to all classes").click()
    expect(page.locator(".cards li")).to_have_count(3)


def test_a_merge_of_classes_without_a_name_asks_for_one(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 500, "height": 500})
    boxes = page.locator(".cards input")
    boxes.nth(0).check()
    expect(page.get_by_role("button", name="Merge…")).to_be_disabled()
    boxes.nth(2).check()
    expect(page.get_by_role("button", name="Merge…")).to_be_in_viewport()
    page.get_by_role("button", name="Merge…").click()
    expect(page.locator("#name")).to_have_value("")
    expect(page.locator("dialog button.primary")).to_be_disabled()
    page.locator("#name").fill("pair")
    page.keyboard.press("Enter")
    expect(page.locator(".cards li strong").nth(0)).to_have_text("0 pair")
    assert read_class_names(server.run, 3) == ("pair", "", "pair")
