"""Escaping of control characters and text-direction (bidi) marks in recipes, class names and file names."""

from __future__ import annotations

import unicodedata

CONTROL_CATEGORIES = frozenset(["Cc", "Cs", "Zl", "Zp"])
"""Unicode categories of control characters, surrogates and line separators."""

DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Text-direction (bidi) marks: characters that change the direction of the text around them."""


def escape_controls(text: str) -> str:
    r"""Return the text on one line, with control characters and bidi marks as escapes such as ``\n`` or ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if letter in DIRECTION_MARKS or unicodedata.category(letter) in CONTROL_CATEGORIES
        else letter
        for letter in text
    )
