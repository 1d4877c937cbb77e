"""The page for naming classes in a browser: no requests, no console errors, and working interaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import browser
import pytest

from sslkit import Run
from sslkit.reporting.label_page import write_label_page
from sslkit.runs.class_names import write_class_names

CHROMIUM = browser.find_chromium()

pytestmark = [
    pytest.mark.usefixtures("shared_cache"),
    pytest.mark.skipif(CHROMIUM is None, reason=f"none of {', '.join(browser.COMMANDS)} is installed"),
]


@pytest.fixture(scope="module")
def label_page(labelled_run: Run) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSLKIT_CACHE", str(labelled_run.path.parents[2] / "cache"))
        write_class_names(labelled_run, ("saved", "", ""))
        yield write_label_page(labelled_run)[0]
    (labelled_run.path / "classes.toml").unlink()


def test_typed_names_become_the_command_that_saves_them(label_page: Path, labelled_run: Run) -> None:
    assert CHROMIUM is not None
    with browser.open_page(CHROMIUM, label_page) as page:
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
