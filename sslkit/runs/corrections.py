"""Corrections of discovered classes, stored in ``corrections.csv`` of a run folder.

The file is a log. A **step** is one change by a user, such as moving five images; it has one row for each image or
class. A step is written in one piece and flushed to disk before ``append`` returns, so a killed process loses no
saved step. Rows are never changed: undoing a step appends a row ``undo``. An incomplete step at the end of the file,
from a process that was killed while writing, is ignored, and is removed before the next step is written.

Images are identified by their content, so corrections stay valid when files are moved or renamed.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Literal, get_args

from sslkit.errors import RunError
from sslkit.files import open_regular_file, write_atomic
from sslkit.locks import try_lock

FILE = "corrections.csv"

Action = Literal["move", "outlier", "ignore", "restore", "name", "undo", "redo"]
"""Action of a row. ``move``, ``outlier`` and ``ignore`` replace earlier corrections of the image; ``restore`` removes
them. ``name`` names a class. ``undo`` and ``redo`` refer to an earlier step."""


@dataclass(frozen=True)
class Row:
    """A row of the log, without the number of its step and the number of rows of the step.

    Attributes:
        action: the action.
        number: the class for ``move`` and ``name``; the step for ``undo`` and ``redo``; -1 otherwise.
        content: SHA-256 of the image's file, or of its pixels if the image is not a file; empty if there is no image.
        bytes: size of the file or of the pixels.
        file: path of the file relative to the folder of the images, or split and index of the image; for human readers.
        name: new name of the class.
        before: name of the class before the step.
    """

    action: Action
    number: int = -1
    content: str = ""
    bytes: int = -1
    file: str = ""
    name: str = ""
    before: str = ""


Step = tuple[Row, ...]

COLUMNS = ("step", "rows", *(field.name for field in fields(Row)))

TEXTS = ("file", "name", "before")
"""Columns whose text is escaped as in JSON, so that each row is one line."""


class CorrectionsLog:
    """The corrections of a run, open for reading and appending. Only one process can open the log of a run.

    Args:
        folder: the run folder.

    Attributes:
        steps: all saved steps, oldest first.

    Raises:
        RunError: the file is damaged, cannot be written, or another process has opened it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        try:
            if not self.path.exists():
                write_atomic(self.path, _line(COLUMNS))
            open_regular_file(self.path).close()
            self._file = self.path.open("a")
            locked = try_lock(self._file)
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror or error}") from error
        if not locked:
            self._file.close()
            raise RunError(f"another `sslkit explore` has opened {folder}: close it first")
        try:
            self.steps, self._length = read_steps(self.path)
        except RunError:
            self._file.close()
            raise

    def append(self, step: Step) -> None:
        """Save a step.

        Raises:
            RunError: the step cannot be written; the file does not change.
        """
        descriptor, number = self._file.fileno(), len(self.steps)
        data = "".join(_line((str(number), str(len(step)), *_cells(row))) for row in step).encode()
        try:
            os.ftruncate(descriptor, self._length)  # removes an incomplete step
            try:
                written = os.write(descriptor, data)
                while written < len(data):
                    written += os.write(descriptor, data[written:])
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, self._length)
                raise
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self._length += len(data)
        self.steps.append(step)

    def close(self) -> None:
        """Close the file, so that another process can open the log."""
        self._file.close()


def read_steps(path: Path) -> tuple[list[Step], int]:
    """Return the completely written steps of a log of corrections, and their length in the file in bytes.

    Raises:
        RunError: the file cannot be read or is damaged; the message gives the line.
    """
    try:
        with open_regular_file(path) as file:
            data = file.read()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}") from error
    *lines, _ = data.split(b"\n")
    if not lines or lines[0] != _line(COLUMNS).strip().encode():
        raise RunError(f"{path}:1: the first line must name the columns {','.join(COLUMNS)}")
    steps: list[Step] = []
    rows: list[Row] = []
    position = length = len(lines[0]) + 1
    for index, line in enumerate(lines[1:], start=2):
        try:
            number, count, row = _parse(line)
            if number != len(steps) or not len(rows) < count:
                raise ValueError(f"step {number} of {count} rows is out of order")
        except (ValueError, csv.Error) as error:
            raise RunError(f"{path}:{index}: the row is damaged ({error}): restore it, or delete the file") from error
        rows.append(row)
        position += len(line) + 1
        if len(rows) == count:
            steps.append(tuple(rows))
            rows, length = [], position
    return steps, length


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _cells(row: Row) -> list[str]:
    return [
        _escape(value) if name in TEXTS else str(value) for name, value in zip(COLUMNS[2:], astuple(row), strict=True)
    ]


def _escape(text: str) -> str:
    # Invalid bytes of a file name become \udc.., which JSON reads back.
    cell = json.dumps(text, ensure_ascii=False)[1:-1].encode("utf-8", "backslashreplace").decode()
    return f"\\u{ord(cell[0]):04x}{cell[1:]}" if cell[:1] in tuple("=+-@") else cell  # a spreadsheet's formula


def _parse(line: bytes) -> tuple[int, int, Row]:
    (cells,) = csv.reader([line.decode()], strict=True)
    if len(cells) != len(COLUMNS):
        raise ValueError(f"{len(cells)} cells instead of {len(COLUMNS)}")
    step, count, action, number, content, size, *texts = cells
    file, name, before = (_unescape(text) for text in texts)
    if action not in get_args(Action):
        raise ValueError(f"unknown action {action!r}")
    return int(step), int(count), Row(action, int(number), content, int(size), file, name, before)  # type: ignore[arg-type]  # checked above


def _unescape(cell: str) -> str:
    text = json.loads(f'"{cell}"')
    if not isinstance(text, str):
        raise ValueError(f"{cell!r} is not text")
    return text
