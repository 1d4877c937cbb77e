"""The page of all commands matches their current help."""

from __future__ import annotations

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_commands", DOCS / "make_commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.page()
    assert (DOCS / "commands.md").read_text(encoding="utf-8") == page, "run python docs/make_commands.py"
    for text in (
        "## `sslkit plugins check`\n\nImport components, check their contracts",
        "| `[RECIPE]` | | Recipe, a TOML file. |",
        "| `--yes`, `-y` |  | Do not ask for confirmation. |",
        "| `--device` | `auto, cpu, cuda, mps` |",
        "| `--data` | `NAME\\|RECIPE` |",
    ):
        assert text in page
