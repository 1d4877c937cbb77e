"""The history of a run: ``metrics.csv``, one row for each figure, only ever appended to while training goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from sslkit.errors import RunError
from sslkit.files import open_regular_file, read_regular_file, write_atomic

HEADER = "step,epoch,metric,value\n"


class Row(NamedTuple):
    """One figure.

    Attributes:
        step: optimizer steps taken when it was measured.
        epoch: epochs completed then, with the fraction of the one under way.
        metric: its name; ``loss`` and what else is logged every few steps, ``monitor/...`` what is measured at the
            end of an epoch, ``time/...`` what differs from one repetition to the next.
        value: its value.
    """

    step: int
    epoch: float
    metric: str
    value: float


class History:
    """Appends to a run's ``metrics.csv``.

    Args:
        path: the file.
        tell: is told, in words, when it has to begin anew because somebody removed it.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = lambda text: None) -> None:
        self.path = path
        self.tell = tell

    def begin(self) -> None:
        """Begin an empty history."""
        write_atomic(self.path, HEADER)

    def go_on(self, size: int, step: int) -> str:
        """Go on after a checkpoint: what was written since will be measured anew and is dropped.

        Args:
            size: what ``flush`` gave before the checkpoint was saved.
            step: the checkpoint's step.

        Returns:
            What has become of the file since then, in words; empty where it is as it should be.

        Raises:
            RunError: what is there instead cannot be read.
        """
        try:
            with open_regular_file(self.path) as file:
                data = file.read()
        except FileNotFoundError:
            self.begin()
            return f"{self.path.name} is gone, and with it the figures up to step {step}"
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror or error}; remove it") from error
        if data.startswith(HEADER.encode()) and data[:size].endswith(b"\n") and len(data) >= size:
            write_atomic(self.path, data[:size])
            return ""
        kept = [row for row in _readable(data) if row.step <= step]
        write_atomic(self.path, HEADER + _lines(kept))
        return (
            f"{self.path.name} was changed since step {step} was saved: the {len(kept)} rows that can be read are kept"
        )

    def append(self, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Add a row for each figure."""
        with self._end() as file:
            file.write(_lines(Row(step, epoch, metric, value) for metric, value in figures.items()))

    def flush(self) -> int:
        """Bring what was appended to the disk; returns the file's size in bytes."""
        with self._end() as file:
            file.flush()
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size

    @contextmanager
    def _end(self) -> Iterator[TextIO]:
        """The file, to write at its end; with a header, also where it was removed or emptied."""
        with self.path.open("a", newline="") as file:
            if not file.tell():
                self.tell(f"{self.path.name} was removed while training: it begins anew")
                file.write(HEADER)
            yield file


def read_history(path: Path) -> Iterator[Row]:
    """The rows of a ``metrics.csv``; a last line that a crash cut short is left out.

    Raises:
        RunError: the file is damaged.
    """
    try:
        text = read_regular_file(path)
        complete = text[: text.rfind("\n") + 1]
        if complete and complete.splitlines()[0] != HEADER.strip():
            raise ValueError(f"its first line is not {HEADER.strip()}")
        for row in csv.DictReader(io.StringIO(complete)):
            yield _row(row)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error


def _row(fields: Mapping[str, str]) -> Row:
    return Row(int(fields["step"]), float(fields["epoch"]), fields["metric"], float(fields["value"]))


def _readable(data: bytes) -> Iterator[Row]:
    """The rows of a damaged file that are whole."""
    reader = csv.reader(data.decode(errors="replace").splitlines())
    while True:
        # The header is no row either; a field may be longer than csv takes.
        with suppress(ValueError, KeyError, csv.Error):
            try:
                fields = next(reader)
            except StopIteration:
                return
            yield _row(dict(zip(Row._fields, fields, strict=True)))


def _lines(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((row.step, repr(round(row.epoch, 6)), row.metric, repr(row.value)) for row in rows)
    return text.getvalue()
