from __future__ import annotations

import pytest

from sslkit.reporting.escape import escape_controls


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("plain, with spaces", "plain, with spaces"),
        ("Übung 猫 قطة 👩‍🔬", "Übung 猫 قطة 👩‍🔬"),
        ("two\nlines\tand \x1b[31mred\x00", r"two\nlines\tand \x1b[31mred\x00"),
        ("\u202ereversed\u2069 \u2028", r"\u202ereversed\u2069 \u2028"),
        ("no character \udcff", r"no character \udcff"),
    ],
)
def test_control_and_direction_characters_become_escapes(text: str, escaped: str) -> None:
    assert escape_controls(text) == escaped
