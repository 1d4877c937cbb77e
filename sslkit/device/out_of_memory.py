"""Report out-of-memory errors with the line of the recipe that determines the memory use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sslkit.errors import RecipeError
from sslkit.recipe.document import Document
from sslkit.recipe.line_numbers import KeyPath

MESSAGES = ("allocate memory", "size calculation overflowed", "integer multiplication overflow")
"""Texts in PyTorch's out-of-memory errors on the CPU, which are plain RuntimeErrors."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception is an out-of-memory error."""
    has_message = isinstance(error, RuntimeError) and any(text in str(error) for text in MESSAGES)
    return has_message or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def out_of_memory_error(document: Document, path: KeyPath, what: str, error: BaseException) -> RecipeError:
    """Return a ``RecipeError`` reporting that ``what`` (such as "a step") needs too much memory.

    The message names the recipe's line with the key ``path``, and quotes the caught out-of-memory exception ``error``.
    """
    message = f"{what} needs more memory than is available ({first_line(error)})"
    return RecipeError([document.problem(path, message, "make it smaller")])


@contextmanager
def explain_out_of_memory(document: Document, path: KeyPath, what: str) -> Iterator[None]:
    """Convert an out-of-memory error in the ``with`` block to an error that names a line of the recipe.

    ``out_of_memory_error`` describes the arguments.

    Raises:
        RecipeError: the block ran out of memory.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory_error(document, path, what, error) from error
        raise


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, without torch's C++ stack trace, or its class name if empty."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
