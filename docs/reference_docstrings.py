"""griffe extension that adapts docstrings to the reference pages.

Converts code blocks after ``::`` to fenced Markdown blocks, and appends the list of tests to the docstring of each test
class in ``sslkit.testing``.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe

CODE_BLOCK = re.compile(r"::\n\n((?: {4}.*(?:\n|\Z)|\n)+)")


class ReferenceDocstrings(griffe.Extension):
    """Extension that rewrites each docstring when griffe has loaded its object."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is None:
            return
        obj.docstring.value = CODE_BLOCK.sub(_fence, obj.docstring.value)
        if obj.is_class and obj.path.startswith("sslkit.testing.") and obj.name.endswith("Tests"):
            obj.docstring.value += f"\n\n{_test_list(obj)}"


def _fence(match: re.Match[str]) -> str:
    return f":\n\n```python\n{dedent(match[1]).strip()}\n```\n\n"


def _test_list(kit: griffe.Object) -> str:
    """Return a Markdown list of the tests of a class, in source order."""
    tests = [(name, test) for name, test in kit.members.items() if name.startswith("test_")]
    return "Tests:\n\n" + "\n".join(f"- {_words(name)}{_first_line(test)}" for name, test in tests)


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _first_line(test: griffe.Object | griffe.Alias) -> str:
    return f" ({test.docstring.value.splitlines()[0].rstrip('.')})" if test.docstring else ""
