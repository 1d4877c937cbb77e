"""Read CSV tables in tests."""

from __future__ import annotations

import csv
from pathlib import Path


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return each row of a CSV file as a mapping from column name to value."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
