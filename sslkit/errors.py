"""Exceptions that sslkit raises for expected problems.

    SslkitError                             base class; exit code 1
     ├─ TrainingError                       training failed
     ├─ NotSavedError                       metrics were computed, but could not be written
     └─ InputError                          the user's input is wrong; exit code 2
         ├─ RecipeError                     problems in a recipe or in --set options
         ├─ ComponentError                  a component cannot be used
         │   ├─ UnknownComponentError       no installed distribution has a component of that name
         │   ├─ AmbiguousComponentError     more than one distribution has a component of that name
         │   ├─ BrokenComponentError        the entry point exists, but importing it fails
         │   │   └─ MissingExtraError       the component needs an optional dependency that is not installed
         │   └─ IncompatibleComponentError  the imported object violates the contract of its kind
         ├─ OptionError                     a component rejects the value of an option
         ├─ DataError                       images or labels cannot be used
         └─ RunError                        a run folder is missing, unfinished or damaged

A message states what is wrong, where, why, and what to do. The command line prints the message without a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class SslkitError(Exception):
    """Base class of all exceptions that sslkit raises for expected problems."""

    exit_code = 1


class TrainingError(SslkitError):
    """Training failed."""


class NotSavedError(SslkitError):
    """Metrics were computed, but could not be written.

    Attributes:
        result: the ``EvaluationResult``.
    """

    def __init__(self, message: str, result: Any) -> None:
        self.result = result
        super().__init__(message)

    def __reduce__(self) -> tuple[type[NotSavedError], tuple[str, Any]]:
        return type(self), (str(self), self.result)


class InputError(SslkitError):
    """The user's input is wrong."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One problem in a recipe, with its location and a hint.

    Attributes:
        message: what is wrong and what is allowed.
        key: dotted path of the key, such as ``loss.row_temperature``, or ``""`` if the problem concerns the whole file.
        source: the file, or the ``--set`` option, that contains the key.
        line: 1-based line in the file; 0 if there is no line.
        hint: how to solve the problem, such as the likely spelling.
    """

    message: str
    key: str = ""
    source: str = ""
    line: int = 0
    hint: str = ""

    def __str__(self) -> str:
        location = f"{self.source}:{self.line}" if self.line else self.source
        text = ": ".join(part for part in (location, self.key, self.message) if part)
        return f"{text} ({self.hint})" if self.hint else text


class RecipeError(InputError):
    """A recipe has problems.

    Attributes:
        problems: all problems that one stage of checking found.
        where: name of the checked input, for the first line of the message.
    """

    def __init__(self, problems: Sequence[Problem], where: str = "the recipe") -> None:
        self.problems = tuple(problems)
        self.where = where
        count = len(self.problems)
        title = f"{count} problem{'s' if count != 1 else ''} in {where}"
        super().__init__("\n".join([title, *(f"  {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[tuple[Problem, ...], str]]:
        # By default, pickle would rebuild the exception from its message alone.
        return type(self), (self.problems, self.where)


class ComponentError(InputError):
    """A component cannot be used."""


class UnknownComponentError(ComponentError):
    """No installed distribution has a component with the requested name."""


class AmbiguousComponentError(ComponentError):
    """More than one installed distribution has a component with the requested name."""


class BrokenComponentError(ComponentError):
    """An entry point exists, but importing it fails."""


class MissingExtraError(BrokenComponentError):
    """A component needs an optional dependency of its distribution that is not installed."""


class IncompatibleComponentError(ComponentError):
    """An imported object violates the contract of its kind."""


class OptionError(InputError):
    """A component rejects the value of an option.

    Raise this exception in a component's constructor when a value does not fit the context, for example
    ``OptionError("queue_size", "must be at least the batch size, 256")``. sslkit converts the error to a
    ``RecipeError`` with file and line.

    Args:
        option: name of the option, without the component's table.
        message: what is wrong and what is allowed.
    """

    def __init__(self, option: str, message: str) -> None:
        self.option = option
        self.message = message
        super().__init__(f"{option}: {message}")

    def __reduce__(self) -> tuple[type[OptionError], tuple[str, str]]:
        return type(self), (self.option, self.message)


class DataError(InputError):
    """Images or labels cannot be used."""


class RunError(InputError):
    """A run folder is missing, unfinished or damaged."""
