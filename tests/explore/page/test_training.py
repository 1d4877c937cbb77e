"""Training with corrections on the page of ``sslkit explore``."""

from __future__ import annotations

import re
from collections.abc import Callable

from explore.page import largest, open_page, tiles
from explore.server import Server
from playwright.sync_api import Browser, expect

from sslkit import Run


def test_the_head_is_trained_again_and_the_new_run_is_shown(
    chromium: Browser, start: Callable[[Run], Server], run: Run
) -> None:
    server = start(run)
    bright = server.get("api/images", split="train", label=1).json()["images"]
    with open_page(chromium, server) as page:
        expect(page.get_by_role("button", name="Train again")).to_be_disabled()
        assert server.post("move", {"images": bright[:10], "number": None, "name": "bright"}).status_code == 200
        page.reload()
        expect(page.get_by_role("button", name="Train again")).to_be_enabled()
        expect(page.get_by_role("button", name="Train again")).to_have_class("primary")
        page.keyboard.press("t")
        expect(page.locator("dialog")).to_contain_text(re.compile(r"training takes about \d+ (s|min)\."))
        expect(page.locator("dialog .unnamed")).to_have_count(0)
        page.locator("dialog").get_by_role("button", name="Train", exact=True).click()
        expect(page.locator("dialog progress")).to_be_visible()
        expect(page.locator("dialog tbody tr")).to_have_count(2)
        result = server.get("api/training").json()["result"]
        expect(page.locator("dialog tbody tr").nth(1)).to_have_text(
            f"Accuracy on test images{result['before']:.3f}{result['after']:.3f}"
        )
        expect(page.locator("dialog")).to_contain_text("puts 10 of 10 images that you moved into the class")
        command = f"sslkit predict {run.path.parent / result['run'].split('/')[1]} IMAGES --out classes.csv"
        expect(page.locator("dialog code").last).to_have_text(command)
        expect(page.locator("dialog .unnamed")).to_contain_text("no name")
        page.get_by_role("button", name="Show changed images").click()
        expect(page.locator(".found")).to_have_text(re.compile(f"^{result['changed']} images?$"))
        expect(page.locator("h1")).to_have_text(result["run"])
        expect(page.get_by_role("button", name="Train again")).not_to_have_class("primary")
        # The new run has the names, and the corrections as one step. Another tab with the old run cannot change it.
        state = server.get("api/classes").json()
        assert state["run"] == result["run"]
        assert (state["corrected"], state["undo"]) == (10, 1)
        assert "bright" in [card["name"] for card in state["classes"]]
        answer = server.post("move", {"images": [0], "number": 0})
        assert (answer.status_code, answer.json()["error"]) == (
            400,
            f"sslkit explore shows {result['run']} now: reload the page",
        )
        page.goto(f"{server.url}#/class/{largest(server)[0]}")
        tiles(page).nth(0).click()
        page.keyboard.press("o")
        expect(page.locator(".message")).to_contain_text("1 image")
        expect(page.get_by_role("button", name="Train again")).to_have_class("primary")
    new = run.path.parent / result["run"].split("/")[1]
    assert (new / "corrections.csv").read_text().count("outlier") == 1
    assert "outlier" not in (run.path / "corrections.csv").read_text()
