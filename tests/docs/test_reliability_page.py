"""The table of failures names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\|(?! ---| What can go wrong )(.*)\|$", re.MULTILINE)


def test_every_row_names_existing_tests() -> None:
    rows = ROW.findall((ROOT / "docs" / "reliability.md").read_text())
    assert len(rows) > 30
    for row in rows:
        tests = re.findall(r"`([\w/.]+\.py)::(\w+)`", row)
        assert tests, row
        for file, test in tests:
            tree = ast.parse((ROOT / file).read_text())
            functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert test in functions, f"{file} has no {test}"
