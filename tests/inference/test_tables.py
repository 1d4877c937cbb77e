from __future__ import annotations

import csv
import io
import re

from hypothesis import given
from hypothesis import strategies as st

from sslkit.inference import tables

APOSTROPHE_BEFORE_FORMULA = re.compile(r"^'(?=[=+\-@\t\r\n])")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3))
def test_any_text_survives_csv_and_is_never_a_formula(texts: list[str]) -> None:
    file = io.BytesIO()
    tables.write_rows(file, [[tables.text_cell(text) for text in texts]])
    (cells,) = csv.reader(io.StringIO(file.getvalue().decode(), newline=""))
    assert [APOSTROPHE_BEFORE_FORMULA.sub("", cell) for cell in cells] == [
        APOSTROPHE_BEFORE_FORMULA.sub("", text) for text in texts
    ]
    assert not [cell for cell in cells if cell.startswith(tables.FORMULA_STARTS)]
