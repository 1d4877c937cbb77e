"""Memory that runs out because of what a recipe asks for: told with the line that asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sslkit.errors import RecipeError
from sslkit.recipe.document import Document
from sslkit.recipe.locate import KeyPath

SIGNS = ("allocate memory", "size calculation overflowed", "integer multiplication overflow")
"""What torch says of it on processors, where it has no exception of its own for that."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not as much memory."""
    said = isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
    return said or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def out_of_memory_error(document: Document, path: KeyPath, what: str, error: BaseException) -> RecipeError:
    """The refusal of what does not fit into memory: ``what`` needs it, and ``path`` is the key that decides on that."""
    message = f"{what} needs more memory than there is ({first_line(error)})"
    return RecipeError([document.problem(path, message, "make it smaller")])


@contextmanager
def fitting(document: Document, path: KeyPath, what: str) -> Iterator[None]:
    """A block whose memory the recipe decides on.

    Raises:
        RecipeError: there is not enough.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise out_of_memory_error(document, path, what, error) from error
        raise


def first_line(error: BaseException) -> str:
    """What an error says, without the stack that torch writes below it."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
