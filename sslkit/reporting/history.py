"""The history of a run: ``metrics.csv``, one row for each figure, only ever appended to while training goes on."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sslkit.errors import RunError
from sslkit.files import write_aside

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

    def start(self, step: int) -> None:
        """Begin, or begin again after ``step``: rows of later steps will be measured anew and are dropped."""
        kept = [row for row in read_history(self.path) if row.step <= step] if self.path.exists() else []
        write_aside(self.path, HEADER + _lines(kept))

    def append(self, step: int, epoch: float, figures: Mapping[str, float]) -> None:
        """Add a row for each figure."""
        with self.path.open("a", newline="") as file:
            file.write(_lines(Row(step, epoch, metric, value) for metric, value in figures.items()))


def read_history(path: Path) -> Iterator[Row]:
    """The rows of a ``metrics.csv``; a last line that a crash cut short is left out.

    Raises:
        RunError: the file is damaged.
    """
    try:
        text = path.read_text()
        complete = text[: text.rfind("\n") + 1]
        for row in csv.DictReader(io.StringIO(complete)):
            yield Row(int(row["step"]), float(row["epoch"]), row["metric"], float(row["value"]))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error


def _lines(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((row.step, repr(round(row.epoch, 6)), row.metric, repr(row.value)) for row in rows)
    return text.getvalue()
