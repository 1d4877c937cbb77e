"""Every error that a user of sslkit can meet.

    SslkitError                      something went wrong (exit code 1)
     ├─ TrainingError                training could not go on
     ├─ NotSavedError                     figures that could not be written, which it holds
     └─ InputError                   what the user gave is wrong (exit code 2)
         ├─ RecipeError              a recipe, or a --set, with every problem of one stage
         ├─ ComponentError           a component that cannot be used
         │   ├─ UnknownComponentError     no installed distribution offers that name
         │   ├─ AmbiguousComponentError   several distributions offer that name
         │   ├─ BrokenComponentError      the entry point exists, but importing or building it fails
         │   └─ IncompatibleComponentError  imported, but not what its kind promises
         ├─ OptionError              a component refuses one of its options, given what it is combined with
         ├─ DataError                images or labels that cannot be used as asked
         └─ RunError                 a run folder that is missing, unfinished or damaged

Messages say what is wrong, where, why, and what to do.  The command line prints them without a traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class SslkitError(Exception):
    """Base of all errors that sslkit raises on purpose."""

    exit_code = 1


class TrainingError(SslkitError):
    """Training could not go on."""


class NotSavedError(SslkitError):
    """An evaluation was made, but could not be written.

    Attributes:
        result: the ``EvaluationResult``.
    """

    def __init__(self, message: str, result: Any) -> None:
        self.result = result
        super().__init__(message)

    def __reduce__(self) -> tuple[type[NotSavedError], tuple[str, Any]]:
        return type(self), (str(self), self.result)


class InputError(SslkitError):
    """What the user gave cannot be used."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a recipe.

    Attributes:
        message: what was found and what is allowed.
        key: dotted path of the key, such as ``loss.row_temperature``; empty for the whole file.
        source: the file, or the ``--set`` option, that holds it.
        line: 1-based line in that file; 0 where there is none.
        hint: what to do, such as the likely spelling.
    """

    message: str
    key: str = ""
    source: str = ""
    line: int = 0
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        head = ": ".join(part for part in (place, self.key, self.message) if part)
        return f"{head} ({self.hint})" if self.hint else head


class RecipeError(InputError):
    """One or more problems of a recipe, all that one stage of checking found."""

    def __init__(self, problems: Sequence[Problem], where: str = "the recipe") -> None:
        self.problems = tuple(problems)
        self.where = where
        count = len(self.problems)
        title = f"{count} problem{'s' if count != 1 else ''} in {where}"
        super().__init__("\n".join([title, *(f"  {problem}" for problem in self.problems)]))

    def __reduce__(self) -> tuple[type[RecipeError], tuple[tuple[Problem, ...], str]]:
        # By default an exception is unpickled (in another process) from its message.
        return type(self), (self.problems, self.where)


class ComponentError(InputError):
    """A component that cannot be used."""


class UnknownComponentError(ComponentError):
    """No installed distribution offers a component of that name."""


class AmbiguousComponentError(ComponentError):
    """Several installed distributions offer a component of that name."""


class BrokenComponentError(ComponentError):
    """An entry point whose import or construction fails."""


class IncompatibleComponentError(ComponentError):
    """An imported object that does not keep the promises of its kind."""


class OptionError(InputError):
    """A component refuses one of its options in the context it is built in.

    Raised by a component's constructor; the core turns it into a ``RecipeError`` with file and line.

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
    """Images or labels that cannot be used as asked."""


class RunError(InputError):
    """A run folder that is missing, unfinished or damaged."""
