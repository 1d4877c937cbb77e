"""Undo and redo of the steps in a log of corrections, and the corrections that are in effect."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sslkit.errors import RunError
from sslkit.runs.corrections import FILE, Row, Step, read_steps
from sslkit.runs.provenance_file import trained_with_corrections
from sslkit.runs.run import Run


@dataclass
class History:
    """Steps in a log of corrections: which steps are in effect, and which are undone.

    Attributes:
        steps: all steps, oldest first.
        done: numbers of the steps in effect, in the order in which they were made.
        undone: numbers of the undone steps that can be redone; the next one is last.
    """

    steps: list[Step] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    undone: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, steps: Iterable[Step]) -> History:
        """Return the history of a log of corrections with these steps, oldest first.

        Raises:
            RunError: a step undoes a step that is not the last in ``done``, or redoes a step that is not the last in
                ``undone``.
        """
        history = cls()
        for step in steps:
            history.add(step)
        return history

    def add(self, step: Step) -> None:
        """Add a step that was saved in the log of corrections.

        Raises:
            RunError: the step undoes a step that is not the last in ``done``, or redoes a step that is not the last in
                ``undone``.
        """
        action, number = step[0].action, step[0].number
        if action in ("undo", "redo"):
            source, target = (self.done, self.undone) if action == "undo" else (self.undone, self.done)
            if not source or source[-1] != number:
                raise RunError(f"step {len(self.steps)} of the corrections cannot {action} step {number}")
            target.append(source.pop())
        else:
            self.done.append(len(self.steps))
            self.undone.clear()
        self.steps.append(step)

    def rows(self) -> Iterator[Row]:
        """Yield the rows of the log for all steps that are not undone, oldest first."""
        for number in self.done:
            yield from self.steps[number]

    def image_corrections(self) -> dict[str, Row]:
        """Return the row that is in effect for each corrected image, keyed by the image's SHA-256 (``Row.content``)."""
        corrections: dict[str, Row] = {}
        for row in self.rows():
            if row.action == "restore":
                corrections.pop(row.content, None)
            elif row.content:
                corrections[row.content] = row
        return corrections

    def next_class(self, classes: int) -> int:
        """Return the number for the next class that a user adds. Numbers from undone steps are not used again.

        Args:
            classes: number of discovered classes.
        """
        used = [row.number for step in self.steps for row in step if row.action in ("move", "name")]
        return max([classes - 1, *used]) + 1


def read_image_corrections(run: Run) -> dict[str, Row]:
    """Return the corrections of a run that are in effect, keyed by the SHA-256 of each image (``Row.content``).

    The mapping is empty if the run has no corrections.

    Raises:
        RunError: ``corrections.csv`` is damaged.
    """
    path = run.path / FILE
    return History.of(read_steps(path)[0]).image_corrections() if path.exists() else {}


def read_untrained_corrections(run: Run) -> dict[str, Row]:
    """Return the corrections in effect that the run's head was not trained with.

    Keys are as in ``read_image_corrections``. If the head was trained with corrections, the first step in
    ``corrections.csv`` contains those corrections.

    Raises:
        RunError: ``corrections.csv`` or ``provenance.json`` is damaged.
    """
    path = run.path / FILE
    if not path.exists():
        return {}
    steps = read_steps(path)[0]
    trained = set(steps[0]) if steps and trained_with_corrections(run) else set()
    corrections = History.of(steps).image_corrections()
    return {content: row for content, row in corrections.items() if row not in trained}
