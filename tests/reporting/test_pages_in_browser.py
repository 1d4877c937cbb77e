"""Pages in a browser: no requests, no console errors, readable contrast, and working interaction."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

from sslkit import Run
from sslkit.reporting.label_page import write_label_page
from sslkit.reporting.report_page import write_report
from sslkit.runs.class_names import write_class_names

CHROMIUM = browser.find_chromium()

pytestmark = [
    pytest.mark.usefixtures("shared_cache"),
    pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(browser.COMMANDS)} is installed"),
]


@pytest.fixture(scope="module")
def pages(labelled_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(labelled_run.path.parents[2] / "cache"))
        write_class_names(labelled_run, ("saved", "", ""))
        report, _ = write_report([labelled_run], folder / "report.html")
        yield report, write_label_page(labelled_run)[0]
    (labelled_run.path / "classes.toml").unlink()


def contrast(page: browser.Page, element: str) -> float:
    """Return the contrast between an element's text and its background, by WCAG 2."""
    colours = page.evaluate(f"""(() => {{
        const target = document.querySelector({element!r});
        const background = (one) => {{
            const colour = getComputedStyle(one).backgroundColor;
            return colour === "rgba(0, 0, 0, 0)" && one.parentElement ? background(one.parentElement) : colour;
        }};
        const style = getComputedStyle(target);
        const text = target instanceof SVGElement ? style.fill : style.color;
        return [text, background(target)].map((colour) => colour.match(/[0-9.]+/g).slice(0, 3).map(Number));
    }})()""")
    luminances = []
    for colour in colours:
        linear = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]
        luminances.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(luminances) + 0.05) / (min(luminances) + 0.05)


def test_the_report_is_readable_interactive_and_loads_nothing(pages: tuple[Path, Path]) -> None:
    assert CHROMIUM is not None
    with browser.open_page(CHROMIUM, pages[0]) as page:
        for dark in (False, True):
            page.resize(400, dark=dark, phone=True)
            assert page.evaluate("document.documentElement.scrollWidth") == 400, "the page fits a phone"
            for element in ("body", ".muted", "a", ".state", "figcaption", "figure.chart svg text", "summary", "th"):
                assert contrast(page, element) >= 4.5, (element, dark)
        page.evaluate("document.querySelector('.map').scrollIntoView()")
        x, y, text = page.evaluate("""(() => {
            const map = document.querySelector(".map");
            const data = JSON.parse(map.querySelector("script").textContent);
            const box = map.querySelector("svg").getBoundingClientRect();
            const [x, y] = data.points[7];
            return [box.left + x * box.width, box.top + y * box.height, data.texts[7]];
        })()""")
        page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        assert page.evaluate("document.querySelector('.map .preview').innerText.trim()") == text
        assert "<img src=x onerror=alert(" in text
        assert page.evaluate("document.querySelector('.map .preview div').getBoundingClientRect().width") == 96
        page.evaluate("document.querySelector('.map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))")
        assert page.evaluate("document.querySelector('.map .preview').innerText.trim()") != text
        assert page.evaluate("Array.from(document.images).every((image) => image.naturalWidth === 8)")
        width, height = struct.unpack(">II", page.screenshot()[16:24])
        assert width == 400
        assert height > 3000
        assert page.pdf().startswith(b"%PDF")
        assert page.errors == []
        assert page.requests == []
        page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\">')")
        assert page.evaluate("new Promise((done) => setTimeout(() => done(document.images.length), 100))")
        assert page.requests == ["https://example.org/x.png"], "requests are recorded"
        (error,) = page.errors
        assert "violates the following Content Security Policy directive" in error


def test_typed_names_become_the_command_that_saves_them(pages: tuple[Path, Path], labelled_run: Run) -> None:
    assert CHROMIUM is not None
    with browser.open_page(CHROMIUM, pages[1]) as page:
        page.resize(400)
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert page.evaluate("document.querySelector('input').value") == "saved"
        assert page.evaluate("document.getElementById('command').hidden")
        page.evaluate("""(() => {
            const [named, first, second] = document.querySelectorAll("input");
            named.value = "";
            first.value = "it's <b>";
            second.value = " it's <b> ";
            second.dispatchEvent(new Event("input"));
        })()""")
        command = page.evaluate("document.getElementById('command').textContent")
        quoted = r"'it'\''s <b>'".removeprefix("'")
        assert command == f"sslkit label {labelled_run.path} --set 0= --set '1={quoted} --set '2={quoted}"
        status = page.evaluate("document.getElementById('status').textContent")
        assert status == "2 of 3 classes named, merged into 1. To save the names, run:"
        assert page.errors == []
        assert page.requests == []
