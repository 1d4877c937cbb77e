"""The map on the page of ``sslkit explore``: colours, selection, zoom and moves."""

from __future__ import annotations

from explore.server import Server
from playwright.sync_api import Page, expect


def place_of(page: Page, point: list[float], zoom: float = 1, moved: float = 0) -> tuple[float, float]:
    """Return the position of a point of the map on the page, after a zoom at the centre and a move to the right."""
    area = page.locator(".plot canvas").bounding_box()
    assert area
    scale = 0.45 * zoom * min(area["width"], area["height"])  # a point at 1 is at 90 % of the way to the nearer edge
    across, up = point
    return area["x"] + area["width"] / 2 + across * scale + moved, area["y"] + area["height"] / 2 - up * scale


def test_the_map_shows_all_images_and_a_lasso_selects(page: Page, server: Server) -> None:
    page.get_by_role("link", name="Map").click()
    expect(page.locator(".legend li")).to_have_count(3)
    for colour, entries in (("label", 2), ("confidence", 5), ("split", 2), ("class", 3)):
        page.locator("#colour").select_option(colour)
        expect(page.locator(".legend li")).to_have_count(entries)
    found = server.get("api/map/pca").json()
    page.mouse.move(*place_of(page, found["points"][:2]))
    expect(page.locator(".tip img")).to_be_visible()
    page.mouse.click(*place_of(page, found["points"][:2]))
    expect(page.locator(".selection strong")).to_have_text("1 selected")
    # A selected point has the colour of the legend.
    shown = """([left, top]) => {
        const canvas = document.querySelector(".plot canvas"), {x, y} = canvas.getBoundingClientRect();
        const [r, g, b] = canvas.getContext("2d").getImageData(left - x, top - y, 1, 1).data;
        return `rgb(${r}, ${g}, ${b})`;
    }"""
    entry = page.locator(".legend i").nth(found["classes"][0])
    colour = entry.evaluate("(entry) => getComputedStyle(entry).backgroundColor")
    assert page.evaluate(shown, place_of(page, found["points"][:2])) == colour
    page.get_by_role("button", name="Lasso").click()
    area = page.locator(".plot canvas").bounding_box()
    assert area
    corners = [(2, 2), (area["width"] - 2, 2), (area["width"] - 2, area["height"] - 2), (2, area["height"] - 2), (2, 2)]
    page.mouse.move(area["x"] + 2, area["y"] + 2)
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(area["x"] + x, area["y"] + y, steps=3)
    page.mouse.up()
    expect(page.locator(".selection strong")).to_have_text("52 selected")
    page.get_by_role("button", name="Show images").click()
    expect(page.locator(".found")).to_have_text("52 images")
    page.go_back()
    page.locator("#method").select_option("tsne")
    expect(page.locator(".legend li")).to_have_count(3)


def test_the_map_is_zoomed_and_moved(page: Page, server: Server) -> None:
    page.goto(f"{server.url}#/map")
    expect(page.locator(".legend li")).to_have_count(3)
    points = server.get("api/map/pca").json()["points"]
    least = min(range(52), key=lambda index: abs(points[2 * index]) + abs(points[2 * index + 1]))
    point = points[2 * least : 2 * least + 2]
    canvas = page.locator(".plot canvas")
    canvas.press("+")
    page.mouse.move(*place_of(page, point, zoom=1.5))
    expect(page.locator(".tip img")).to_have_attribute("src", f"thumbnail/{least}")
    canvas.press("ArrowLeft")
    page.mouse.move(*place_of(page, point, zoom=1.5, moved=60))
    expect(page.locator(".tip img")).to_have_attribute("src", f"thumbnail/{least}")
    x, y = place_of(page, point, zoom=1.5, moved=60)
    page.mouse.down()
    page.mouse.move(x + 50, y, steps=3)
    expect(page.locator(".tip")).to_have_count(0)
    page.mouse.up()
    expect(page.locator(".selection")).to_have_count(0)
    page.mouse.move(x + 51, y)
    expect(page.locator(".tip img")).to_have_attribute("src", f"thumbnail/{least}")
    page.mouse.wheel(0, -300)
    expect(page.locator(".tip")).to_have_count(0)
    page.mouse.move(x + 52, y)
    expect(page.locator(".tip img")).to_have_attribute("src", f"thumbnail/{least}")
