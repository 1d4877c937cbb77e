"""Images on the page of ``sslkit explore``: selected, moved, marked, searched, sorted and filtered."""

from __future__ import annotations

from explore.page import largest, open_class, size, tiles
from explore.server import Server
from playwright.sync_api import Page, expect


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


def test_hostile_names_run_nothing(page: Page, server: Server) -> None:
    page.goto(f"{server.url}#/all")
    expect(tiles(page).nth(0)).to_be_visible()
    expect(page.locator(".tile .file").nth(0)).to_contain_text("<img src=x onerror=alert(")
    assert page.locator("#app [onerror]").count() == 0
    assert page.locator("#label option").all_text_contents() == ["all", '<b>cat & "co"', "dog\\u202egod"]


def test_a_class_is_shown_with_one_request_and_without_waiting_for_covers(page: Page, server: Server) -> None:
    holding, held, failed, requested = [True], [], [], []
    page.on("request", lambda one: requested.append(one.url.removeprefix(server.url)))
    page.on("requestfailed", lambda one: failed.append(one.url))
    page.route("**/thumbnail/*", lambda route: held.append(route.request.url) if holding else route.continue_())
    page.reload()
    expect(page.locator(".cards li")).to_have_count(3)
    while (covers := page.locator(".cards img").count()) < 4:
        page.wait_for_timeout(10)
    while len(held) < covers:
        page.wait_for_timeout(10)
    holding.clear()
    failed.clear()  # by reloading
    requested.clear()
    count = open_class(page, largest(server)[0])
    shown = "[...document.querySelectorAll('.tile img')].filter((one) => one.naturalWidth).length"
    while page.evaluate(shown) < count:
        page.wait_for_timeout(10)
    assert sorted(failed) == sorted(held), "the covers that were being loaded"
    queries = [path.split("?")[0] for path in requested if path.startswith("api/")]
    assert queries == ["api/images"]
    expect(page.locator(".tile .file")).to_have_count(count)
