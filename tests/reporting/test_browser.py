"""Pages as a browser takes them: nothing is asked for, nothing complained of, and what they offer works."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

from sslkit import Run
from sslkit.reporting.label_page import label
from sslkit.reporting.report_page import write_report
from sslkit.runs.class_names import write_class_names

CHROMIUM = browser.find()

pytestmark = [
    pytest.mark.usefixtures("cache"),
    pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(browser.NAMES)} is installed"),
]


@pytest.fixture(scope="module")
def pages(labelled: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("browser")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(labelled.path.parents[2] / "cache"))
        write_class_names(labelled, ("kept", "", ""))
        report, _ = write_report([labelled], folder / "report.html")
        yield report, label(labelled).page
    (labelled.path / "classes.toml").unlink()


def contrast(page: browser.Page, element: str) -> float:
    """Contrast of an element's text with what is behind it, as WCAG 2 has it."""
    colours = page.run(f"""(() => {{
        const found = document.querySelector({element!r});
        const behind = (one) => {{
            const colour = getComputedStyle(one).backgroundColor;
            return colour === "rgba(0, 0, 0, 0)" && one.parentElement ? behind(one.parentElement) : colour;
        }};
        const paint = getComputedStyle(found);
        const text = found instanceof SVGElement ? paint.fill : paint.color;
        return [text, behind(found)].map((colour) => colour.match(/[0-9.]+/g).slice(0, 3).map(Number));
    }})()""")
    lights = []
    for colour in colours:
        linear = [value / 255 / 12.92 if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in colour]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_the_report(pages: tuple[Path, Path]) -> None:
    assert CHROMIUM is not None
    with browser.opened(CHROMIUM, pages[0]) as page:
        for dark in (False, True):
            page.show(400, dark=dark, phone=True)
            assert page.run("document.documentElement.scrollWidth") == 400, "nothing is wider than a phone"
            for element in ("body", ".muted", "a", ".state", "figcaption", "figure.chart svg text", "summary", "th"):
                assert contrast(page, element) >= 4.5, (element, dark)
        page.run("document.querySelector('.map').scrollIntoView()")
        x, y, text = page.run("""(() => {
            const map = document.querySelector(".map");
            const data = JSON.parse(map.querySelector("script").textContent);
            const box = map.querySelector("svg").getBoundingClientRect();
            const [x, y] = data.points[7];
            return [box.left + x * box.width, box.top + y * box.height, data.texts[7]];
        })()""")
        page.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        assert page.run("document.querySelector('.map .shown').innerText.trim()") == text
        assert "<img src=x onerror=alert(" in text
        assert page.run("document.querySelector('.map .shown div').getBoundingClientRect().width") == 96
        page.run("document.querySelector('.map').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}))")
        assert page.run("document.querySelector('.map .shown').innerText.trim()") != text
        assert page.run("Array.from(document.images).every((image) => image.naturalWidth === 8)")
        width, height = struct.unpack(">II", page.picture()[16:24])
        assert width == 400
        assert height > 3000
        assert page.print().startswith(b"%PDF")
        assert page.complaints == []
        assert page.requests == []
        page.run("document.body.insertAdjacentHTML('beforeend', '<img src=\"https://example.org/x.png\">')")
        assert page.run("new Promise((done) => setTimeout(() => done(document.images.length), 100))")
        assert page.requests == ["https://example.org/x.png"], "what is asked for is noticed"
        (refused,) = page.complaints
        assert "violates the following Content Security Policy directive" in refused


def test_names_become_the_command_that_keeps_them(pages: tuple[Path, Path], labelled: Run) -> None:
    assert CHROMIUM is not None
    with browser.opened(CHROMIUM, pages[1]) as page:
        page.show(400)
        assert page.run("document.documentElement.scrollWidth") == 400
        assert page.run("document.querySelector('input').value") == "kept"
        assert page.run("document.getElementById('command').hidden")
        page.run("""(() => {
            const [kept, first, second] = document.querySelectorAll("input");
            kept.value = "";
            first.value = "it's <b>";
            second.value = " it's <b> ";
            second.dispatchEvent(new Event("input"));
        })()""")
        command = page.run("document.getElementById('command').textContent")
        quoted = r"'it'\''s <b>'".removeprefix("'")
        assert command == f"sslkit label {labelled.path} --set 0= --set '1={quoted} --set '2={quoted}"
        told = page.run("document.getElementById('told').textContent")
        assert told == "2 of 3 classes named, merged into 1; to keep that, run:"
        assert page.complaints == []
        assert page.requests == []
