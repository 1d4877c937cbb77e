"""Parse an HTML page for tests."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

VOID_ELEMENTS = {"meta", "link", "img", "input", "br"}


class ParsedPage(HTMLParser):
    """Parsed HTML page.

    Attributes:
        elements: tag and attributes of every element.
        text: text outside scripts and styles, with single spaces.
        rows: cells of every table row.
        scripts: content of each script, after its type.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        self.text = re.sub(r"\s+", " ", "".join(self._texts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes no element"

    def handle_data(self, data: str) -> None:
        parent = self._open[-1] if self._open else ""
        if parent == "script":
            self.scripts.append((self.elements[-1][1].get("type", ""), data))
        elif parent != "style":
            self._texts.append(data)
            if {"td", "th"} & set(self._open):
                self.rows[-1][-1] += data

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        """Return the attributes of every element with this tag and these attributes (``class_`` means ``class``)."""
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [own for name, own in self.elements if name == tag and wanted.items() <= own.items()]

    def row(self, first: str) -> list[str]:
        """Return the first table row whose first cell contains this text only."""
        return next(cells for cells in self.rows if cells and cells[0].strip() == first)

    def require_self_contained(self) -> None:
        """Assert that the page loads no resources, has no inline handlers, has unique ids and describes every image."""
        assert not self._open
        for tag, attributes in self.elements:
            assert not [name for name in attributes if name.startswith("on")], tag
            for name in ("src", "href", "xlink:href", "action", "data"):
                assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
            assert "url(" not in re.sub(r"url\((#|data:)", "", attributes.get("style", "")), (tag, attributes)
        for attributes in self.all("img"):
            assert attributes["alt"]
            assert attributes["src"].startswith("data:image/")
        ids = Counter(attributes["id"] for _, attributes in self.elements if "id" in attributes)
        assert [name for name, count in ids.items() if count > 1] == []
