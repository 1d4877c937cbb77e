"""Out-of-memory errors, reported with the line of the recipe that decides on the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sslkit.errors import RecipeError
from sslkit.recipe.document import Document
from sslkit.recipe.line_numbers import KeyPath

MESSAGES = ("allocate memory", "size calculation overflowed", "integer multiplication overflow")
"""Parts of the messages of torch's out-of-memory errors on the CPU, which have no exception class of their own."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out."""
    has_message = isinstance(error, RuntimeError) and any(text in str(error) for text in MESSAGES)
    return has_message or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def out_of_memory_error(document: Document, path: KeyPath, what: str, error: BaseException) -> RecipeError:
    """Return the error for ``what`` not fitting into memory, at the recipe key ``path`` that decides on its size."""
    message = f"{what} needs more memory than is available ({first_line(error)})"
    return RecipeError([document.problem(path, message, "make it smaller")])


@contextmanager
def explain_out_of_memory(document: Document, path: KeyPath, what: str) -> Iterator[None]:
    """Turn out-of-memory errors in the block into ``out_of_memory_error``.

    Raises:
        RecipeError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory_error(document, path, what, error) from error
        raise


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its class: torch appends a C++ stack trace."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
