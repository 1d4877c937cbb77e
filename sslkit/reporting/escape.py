"""Texts from recipes, class names and file names, made harmless for people to see."""

from __future__ import annotations

import unicodedata

CONTROLS = frozenset(["Cc", "Cs", "Zl", "Zp"])
"""Unicode categories of what moves the cursor, breaks a line or is no character at all."""

BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the direction of the text around them."""


def visible(text: str) -> str:
    """A text on one line that says all it holds: what would act and not show is written as an escape."""
    if text.isprintable():
        return text
    return "".join(_escape(mark) if mark in BIDI or unicodedata.category(mark) in CONTROLS else mark for mark in text)


def _escape(mark: str) -> str:
    return mark.encode("unicode_escape").decode()
