"""The history of a run: ``metrics.csv``, one row for each figure, only ever appended to while training goes on."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sslkit.errors import RunError
from sslkit.files import read_regular, write_aside

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
    """Appends to a run's ``metrics.csv``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self) -> None:
        """Begin an empty history."""
        write_aside(self.path, HEADER)

    def go_on(self, size: int, step: int) -> str:
        """Go on after a checkpoint: what was written since will be measured anew and is dropped.

        Args:
            size: what ``flush`` gave before the checkpoint was saved.
            step: the checkpoint's step.

        Returns:
            What has become of the file since then, in words; empty where it is as it should be.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            self.begin()
            return f"{self.path.name} is gone, and with it the figures up to step {step}"
        if data[:size].endswith(b"\n") and len(data) >= size:
            write_aside(self.path, data[:size])
            return ""
        kept = [row for row in _readable(data) if row.step <= step]
        write_aside(self.path, HEADER + _lines(kept))
        return (
            f"{self.path.name} was changed since step {step} was saved: the {len(kept)} rows that can be read are kept"
        )

    def append(self, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Add a row for each figure."""
        with self.path.open("a", newline="") as file:
            file.write(_lines(Row(step, epoch, metric, value) for metric, value in figures.items()))

    def flush(self) -> int:
        """Bring what was appended to the disk; returns the file's size in bytes."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size


def read_history(path: Path) -> Iterator[Row]:
    """The rows of a ``metrics.csv``; a last line that a crash cut short is left out.

    Raises:
        RunError: the file is damaged.
    """
    try:
        text = read_regular(path)
        complete = text[: text.rfind("\n") + 1]
        for row in csv.DictReader(io.StringIO(complete)):
            yield _row(row)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error


def _row(fields: Mapping[str, str]) -> Row:
    return Row(int(fields["step"]), float(fields["epoch"]), fields["metric"], float(fields["value"]))


def _readable(data: bytes) -> Iterator[Row]:
    """The rows of a damaged file that are whole."""
    lines = data.decode(errors="replace").splitlines()
    for fields in csv.reader(lines[1:]):
        with suppress(ValueError, KeyError):
            yield _row(dict(zip(Row._fields, fields, strict=True)))


def _lines(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((row.step, repr(round(row.epoch, 6)), row.metric, repr(row.value)) for row in rows)
    return text.getvalue()
