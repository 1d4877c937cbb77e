"""The page of ``sslkit explore`` in a browser: every action, without console errors or requests to other servers.

All tests use one server and one browser. After each test, all its corrections are undone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import browser
import pytest
from axe_playwright_python.sync_playwright import Axe
from explore.server import LIMIT_S, Server, start_explore
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from sslkit import Run
from sslkit.runs.class_names import read_class_names

CHROMIUM = browser.find_chromium()

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(browser.COMMANDS)} is installed")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
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


def test_images_are_selected_moved_marked_and_restored(page: Page, server: Server) -> None:
    first, other = largest(server)
    count = open_class(page, first)
    tiles(page).nth(0).click()
    tiles(page).nth(3).click(modifiers=["Shift"])
    tiles(page).nth(1).click(modifiers=["Control"])
    expect(page.locator(".selection strong")).to_have_text("3 selected")
    page.get_by_role("button", name="Move…").click()
    page.locator(f".targets button[data-class='{other}']").click()
    expect(page.locator(".message")).to_contain_text("3 images moved")
    expect(page.locator(".found")).to_have_text(f"{count - 3} images")
    assert size(server, first) == count - 3
    # A new class with a name that would be dangerous as HTML.
    tiles(page).nth(0).click()
    page.keyboard.press("m")
    page.locator("#target").fill("<img src=x onerror=alert(1)>")
    page.keyboard.press("Enter")
    expect(page.locator(".found")).to_have_text(f"{count - 4} images")
    assert server.get("api/classes").json()["classes"][3]["name"] == "<img src=x onerror=alert(1)>"
    # Marks, and undo with the keyboard.
    for key, number in (("o", -1), ("i", -2)):
        tiles(page).nth(0).click()
        page.keyboard.press(key)
        expect(page.locator(".message")).to_contain_text("1 image")
        assert size(server, number) == 1
        page.keyboard.press("Control+z")
        expect(page.locator(".found")).to_have_text(f"{count - 4} images")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".found")).to_have_text(f"{count - 3} images")
    page.get_by_role("button", name="Redo").click()
    expect(page.locator(".found")).to_have_text(f"{count - 4} images")
    page.goto(f"{server.url}#/class/{other}")
    page.locator("#corrected").select_option("true")
    expect(page.locator(".found")).to_have_text("3 images")
    page.locator(".gallery").focus()
    page.keyboard.press("Control+a")
    page.keyboard.press("r")
    expect(page.locator(".found")).to_have_text("0 images")
    assert size(server, first) == count - 1


def test_dragging_a_rectangle_selects_and_more_like_this_sorts(page: Page, server: Server) -> None:
    open_class(page, largest(server)[0])
    boxes = [tiles(page).nth(index).bounding_box() for index in (0, 2)]
    assert boxes[0]
    assert boxes[1]
    page.mouse.move(boxes[0]["x"] + 20, boxes[0]["y"] + 20)
    page.mouse.down()
    page.mouse.move(boxes[1]["x"] + 40, boxes[1]["y"] + 60, steps=5)
    page.mouse.up()
    expect(page.locator(".selection strong")).to_have_text("3 selected")
    page.keyboard.press("Escape")
    expect(page.locator(".selection")).to_have_count(0)
    index = tiles(page).nth(1).get_attribute("data-index")
    tiles(page).nth(1).click()
    page.get_by_role("button", name="More like this").click()
    expect(page.locator(".toolbar h2")).to_have_text("Most similar images")
    expect(tiles(page).nth(0)).to_have_attribute("data-index", index or "")
    expect(page.locator(".found")).to_have_text("52 images")


def test_images_are_searched_sorted_and_filtered(page: Page, server: Server) -> None:
    page.goto(f"{server.url}#/all")
    expect(page.locator(".found")).to_have_text("52 images")
    page.keyboard.press("/")
    page.keyboard.type("alert(3)")
    expect(page.locator(".found")).to_have_text("4 images")
    page.locator("#split").select_option("test")
    expect(page.locator(".found")).to_have_text("2 images")
    page.locator("#label").select_option(index=1)
    expect(page.locator(".found")).to_have_text("1 image")
    page.locator("#label").select_option("")
    page.locator("#split").select_option("")
    page.locator("#search").fill("")
    expect(page.locator(".found")).to_have_text("52 images")
    for sort in ("confidence false", "similarity true", "outlier true", "file false", "date true"):
        page.locator("#sort").select_option(sort)
        name, descending = sort.split()
        wanted = server.get("api/images", sort=name, descending=descending).json()["images"]
        expect(tiles(page).nth(0)).to_have_attribute("data-index", str(wanted[0]))
    page.locator("#low").fill("1")
    page.locator("#low").press("Enter")
    expect(page.locator(".found")).not_to_have_text("52 images")


def test_a_class_is_shown_with_one_request_and_without_waiting_for_covers(page: Page, server: Server) -> None:
    holding, held, failed, requested = [True], [], [], []
    page.on("request", lambda one: requested.append(one.url.removeprefix(server.url)))
    page.on("requestfailed", lambda one: failed.append(one.url))
    page.route("**/thumbnail/*", lambda route: held.append(route.request.url) if holding else route.continue_())
    page.reload()
    expect(page.locator(".cards li")).to_have_count(3)
    page.wait_for_function("document.querySelectorAll('.cards img').length >= 4")
    covers = page.locator(".cards img").count()
    while len(held) < covers:
        page.wait_for_timeout(10)
    holding.clear()
    requested.clear()
    count = open_class(page, largest(server)[0])
    page.wait_for_function(
        f"[...document.querySelectorAll('.tile img')].filter((one) => one.naturalWidth).length == {count}"
    )
    assert sorted(failed) == sorted(held), "the covers that were being loaded"
    queries = [path.split("?")[0] for path in requested if path.startswith("api/")]
    assert queries == ["api/images"]
    expect(page.locator(".tile .file")).to_have_count(count)


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


def test_enter_in_the_move_dialog_does_what_its_first_button_says(page: Page, server: Server) -> None:
    first, other = largest(server)
    assert server.post("name", {"number": other, "name": "spots"}).status_code == 200
    page.reload()
    open_class(page, first)
    before = size(server, other)
    tiles(page).nth(0).click()
    page.keyboard.press("m")
    expect(page.locator(f".targets button[data-class='{other}'] .number")).to_have_text(str(other))
    page.locator("#target").fill("spo")
    expect(page.locator("dialog button.primary")).to_have_text("Move to spots")
    expect(page.get_by_role("button", name="New class “spo”")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator(".message")).to_have_text("1 image moved to spots")
    assert size(server, other) == before + 1
    tiles(page).nth(0).click()
    page.keyboard.press("m")
    page.locator("#target").fill("rings")
    expect(page.locator("dialog button.primary")).to_have_text("New class “rings”")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)
    page.keyboard.press("o")
    expect(page.locator(".message")).to_have_text("1 image marked as outlier")


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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_has_no_serious_accessibility_problem_and_fits_a_phone(page: Page, server: Server, dark: bool) -> None:
    page.emulate_media(color_scheme="dark" if dark else "light")
    first, _ = largest(server)
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
    page.keyboard.press("Enter")
    expect(page.locator("dialog.viewer")).to_be_visible()
    check("viewer")
    page.keyboard.press("Escape")
    page.goto(f"{server.url}#/map")
    expect(page.locator(".legend li")).to_have_count(3)
    check("map")
    for width in (768, 390):
        page.set_viewport_size({"width": width, "height": 800})
        for view in ("#/", f"#/class/{first}", "#/map"):
            page.goto(f"{server.url}{view}")
            page.wait_for_timeout(100)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (view, width)


def test_hostile_names_run_nothing(page: Page, server: Server) -> None:
    page.goto(f"{server.url}#/all")
    expect(tiles(page).nth(0)).to_be_visible()
    expect(page.locator(".tile .file").nth(0)).to_contain_text("<img src=x onerror=alert(")
    assert page.locator("#app [onerror]").count() == 0
    assert page.locator("#label option").all_text_contents() == ["all", '<b>cat & "co"', "dog\\u202egod"]


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
        page.keyboard.press("t")
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
        page.get_by_role("button", name="Show changed images").click()
        expect(page.locator(".found")).to_have_text(re.compile(f"^{result['changed']} images?$"))
        expect(page.locator("h1")).to_have_text(result["run"])
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
    new = run.path.parent / result["run"].split("/")[1]
    assert (new / "corrections.csv").read_text().count("outlier") == 1
    assert "outlier" not in (run.path / "corrections.csv").read_text()
