"""The report in a browser: no requests, no console errors, no accessibility findings, and working interaction."""

from __future__ import annotations

import re
from collections.abc import Iterator

import browser
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright

from sslkit import Run
from sslkit.reporting.report_page import write_report

CHROMIUM = browser.find_chromium()

pytestmark = [
    pytest.mark.usefixtures("shared_cache"),
    pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(browser.COMMANDS)} is installed"),
]

LIMIT_MS = 60_000


@pytest.fixture(scope="module")
def opened(labelled_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, list[str]]]:
    """The open report, and its console errors and requests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(labelled_run.path.parents[2] / "cache"))
        path, _ = write_report([labelled_run], tmp_path_factory.mktemp("browser") / "report.html")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=LIMIT_MS)
        page = started.new_page()
        page.set_default_timeout(LIMIT_MS)
        expect.set_options(timeout=LIMIT_MS)
        problems: list[str] = []
        page.on("console", lambda line: problems.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda one: None if one.url.startswith(("data:", "file:")) else problems.append(one.url))
        page.goto(path.as_uri())
        yield page, problems
        started.close()


@pytest.fixture
def page(opened: tuple[Page, list[str]]) -> Iterator[Page]:
    """The report at 1440 pixels. At the end, the test fails if there were console errors or requests."""
    page, problems = opened
    page.set_viewport_size({"width": 1440, "height": 900})
    yield page
    assert problems == []


def test_the_report_fits_the_window_and_is_accessible(page: Page) -> None:
    for width, scheme in ((1440, "dark"), (768, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") == width
        widths = page.evaluate("Array.from(document.querySelectorAll('.tile'), (tile) => tile.offsetWidth)")
        assert min(widths) >= 96
        if width != 768:  # the check takes seconds
            violations = Axe().run(page).response["violations"]
            assert [each["id"] for each in violations if each["impact"] in ("serious", "critical")] == []
    assert page.evaluate("[...document.querySelectorAll('.tile img')].every((image) => image.naturalWidth === 8)")


def test_images_are_enlarged_by_mouse_and_keyboard(page: Page) -> None:
    tiles = page.locator(".neighbours .tiles").first.locator("button")
    texts = [image.get_attribute("alt") for image in tiles.locator("img").all()]
    viewer = page.locator("dialog.viewer")
    tiles.nth(1).click()
    expect(viewer.locator("figcaption")).to_have_text(texts[1] or "")
    assert "<img src=x onerror=alert(" in (texts[1] or "")
    expect(viewer.locator("img")).to_have_js_property("naturalWidth", 8)
    assert page.evaluate("document.querySelector('dialog.viewer img').width") > 200
    page.keyboard.press("ArrowRight")
    expect(viewer.locator("figcaption")).to_have_text(texts[2] or "")
    viewer.get_by_role("button", name="Previous image").click()
    viewer.get_by_role("button", name="Previous image").click()
    expect(viewer.locator("figcaption")).to_have_text(texts[0] or "")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(tiles.nth(0)).to_be_focused()
    page.keyboard.press("End")
    expect(tiles.last).to_be_focused()
    page.keyboard.press("Enter")
    expect(viewer.locator("figcaption")).to_have_text(texts[-1] or "")
    viewer.get_by_role("button", name="Close").click()
    expect(viewer).to_be_hidden()
    focusable = page.evaluate("document.querySelectorAll('.tiles button:not([tabindex=\"-1\"])').length")
    assert focusable == page.locator(".tiles:has(button)").count(), "one stop of the Tab key in each list"


def test_the_map_shows_images_zooms_and_changes_colours(page: Page) -> None:
    chart = page.locator(".map")
    figure = page.locator(".map-figure")
    text = chart.locator(".preview span")
    pixels = "document.querySelector('.map canvas').toDataURL()"
    chart.scroll_into_view_if_needed()
    chart.focus()
    page.keyboard.press("ArrowRight")
    first = text.text_content()
    page.keyboard.press("ArrowRight")
    assert text.text_content() != first
    assert re.search(r"class \d, confidence .*, label .*<img src=x", text.text_content() or "")
    page.keyboard.press("Enter")
    expect(page.locator("dialog.viewer figcaption")).to_have_text(text.text_content() or "")
    expect(page.locator("dialog.viewer img")).to_have_js_property("naturalWidth", 8)
    page.keyboard.press("Escape")
    expect(chart).to_be_focused()
    page.keyboard.press("Escape")
    plain = page.evaluate(pixels)
    figure.get_by_role("button", name="Zoom in").click()
    zoomed = page.evaluate(pixels)
    assert zoomed != plain
    figure.get_by_role("button", name="Reset").click()
    assert page.evaluate(pixels) == plain
    pictures = {plain}
    names = figure.locator("option").all_text_contents()
    assert names == ["class", "label", "confidence", "split"]
    for name in names[1:]:
        figure.get_by_label("Colour").select_option(name)
        pictures.add(page.evaluate(pixels))
    assert len(pictures) == 4, "each colouring draws another picture"
    expect(figure.locator(".legend button")).to_have_text([re.compile(r"test \(24\)"), re.compile(r"train \(36\)")])
    figure.locator(".legend button").first.click()
    assert page.evaluate(pixels) not in pictures, "other groups are drawn faintly"
    # The pointer shows the image of the nearest point, and a click enlarges the image.
    figure.get_by_label("Colour").select_option("class")
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    for step in range(1, 200):
        if chart.locator(".preview").is_visible():
            break
        page.mouse.move(box["x"] + box["width"] * step / 200, box["y"] + box["height"] * ((7 * step) % 200) / 200)
    shown = text.text_content()
    page.mouse.down()
    page.mouse.up()
    expect(page.locator("dialog.viewer figcaption")).to_have_text(shown or "")
    page.keyboard.press("Escape")


def test_the_report_prints_and_its_policy_blocks_requests(opened: tuple[Page, list[str]]) -> None:
    page, problems = opened
    assert page.pdf(print_background=True).startswith(b"%PDF")
    assert problems == []
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\">')")
    page.wait_for_timeout(200)
    assert any("violates the following Content Security Policy directive" in problem for problem in problems)
