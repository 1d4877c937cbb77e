"""The built page in the package is the result of building the sources in ``explore-ui``."""

from __future__ import annotations

import hashlib
from pathlib import Path

ROOT = Path(__file__).parents[3]
UI = ROOT / "explore-ui"
PAGE = ROOT / "sslkit" / "explore" / "page"


def test_the_built_page_is_up_to_date() -> None:
    fixed = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"]
    sources = [path.relative_to(UI).as_posix() for path in (UI / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for name in sorted([*fixed, *sources]):
        digest.update(f"{name}\n".encode())
        digest.update((UI / name).read_bytes())
    assert (PAGE / "sources.sha256").read_text().strip() == digest.hexdigest(), (
        "build the page: cd explore-ui && npm ci && npm run build"
    )


def test_the_built_page_has_no_address_of_another_server_in_its_html() -> None:
    html = (PAGE / "index.html").read_text()
    assert "//" not in html.replace("<!doctype html>", "")
    for asset in ("index.js", "index.css"):
        assert f"./assets/{asset}" in html
        assert (PAGE / "assets" / asset).stat().st_size > 1000
