"""Read and write ``metrics.csv``, the metrics of a run. Each value is a row; rows are only appended."""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TextIO

from sslkit.errors import RunError
from sslkit.files import open_regular_file, read_regular_file, write_atomic

HEADER = "step,epoch,metric,value\n"
"""First line of the file."""


class MetricsRow(NamedTuple):
    """One value of one metric.

    Attributes:
        step: number of optimizer steps at the time of measurement.
        epoch: number of completed epochs, including the completed fraction of the current epoch.
        metric: name of the metric. ``loss``, its terms and ``lr`` are logged every few steps. ``monitor/...`` is
            measured after an epoch. ``time/...`` is not reproducible.
        value: value of the metric.
    """

    step: int
    epoch: float
    metric: str
    value: float


class MetricsFile:
    """Writer of a run's ``metrics.csv``.

    Args:
        path: path of the file.
        warn: function that receives a message if the file was deleted during training and is created again.
    """

    def __init__(self, path: Path, warn: Callable[[str], None] = lambda text: None) -> None:
        self.path = path
        self.warn = warn

    def create(self) -> None:
        """Write the file with its header line only."""
        write_atomic(self.path, HEADER)

    def resume_at(self, size: int, step: int) -> str:
        """Remove the rows that were written after a checkpoint, because the resumed run writes them again.

        Args:
            size: size in bytes that ``flush`` returned for the checkpoint.
            step: number of optimizer steps at the checkpoint.

        Returns:
            A warning if the file was deleted or changed after the checkpoint; otherwise an empty string.

        Raises:
            RunError: the file cannot be read.
        """
        try:
            with open_regular_file(self.path) as file:
                data = file.read()
        except FileNotFoundError:
            self.create()
            return f"{self.path.name} was deleted: the metrics up to step {step} are lost"
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror or error}; delete it") from error
        if data.startswith(HEADER.encode()) and data[:size].endswith(b"\n") and len(data) >= size:
            write_atomic(self.path, data[:size])
            return ""
        rows = [row for row in _valid_rows(data) if row.step <= step]
        write_atomic(self.path, HEADER + _format_rows(rows))
        return f"{self.path.name} was changed after step {step} was saved: {len(rows)} valid rows are kept"

    def append(self, step: int, epoch: float, metrics: Mapping[str, float]) -> None:
        """Append a row for each metric, measured at ``step`` and ``epoch``."""
        with self._open() as file:
            file.write(_format_rows(MetricsRow(step, epoch, metric, value) for metric, value in metrics.items()))

    def flush(self) -> int:
        """Flush the file to disk and return its size in bytes."""
        with self._open() as file:
            file.flush()
            os.fsync(file.fileno())
            return os.fstat(file.fileno()).st_size

    @contextmanager
    def _open(self) -> Iterator[TextIO]:
        """Open the file for appending; write the header if it is new or empty."""
        with self.path.open("a", newline="") as file:
            if not file.tell():
                self.warn(f"{self.path.name} was deleted during training: it is created again")
                file.write(HEADER)
            yield file


def read_metrics(path: Path) -> Iterator[MetricsRow]:
    """Yield the rows of a ``metrics.csv``.

    An incomplete last line, left by a crash, is ignored.

    Raises:
        RunError: the file is damaged.
    """
    try:
        text = read_regular_file(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error
    yield from _parse_rows(path, text[: text.rfind("\n") + 1], has_header=True)


class MetricsTail:
    """Reader of a growing ``metrics.csv`` that reads each row once.

    Args:
        path: the file.

    Attributes:
        rows: rows that were read and that the caller has not removed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: deque[MetricsRow] = deque()
        self._start, self._last_line = 0, b""

    def read(self) -> bool:
        """Append new rows to ``rows``.

        Returns:
            Whether the file was replaced; if so, ``rows`` contains all rows of the new file.

        Raises:
            RunError: the file is damaged.
        """
        try:
            with open_regular_file(self.path) as file:
                file.seek(self._start)
                data = file.read()
                restarted = not data.startswith(self._last_line)
                if restarted:
                    self.rows.clear()
                    self._start, self._last_line = 0, b""
                    file.seek(0)
                    data = file.read()
        except OSError as error:
            raise RunError(f"{self.path} cannot be read: {error.strerror or error}") from error
        lines = data[: data.rfind(b"\n") + 1]
        new = lines[len(self._last_line) :]
        if new:
            self.rows.extend(_parse_rows(self.path, new.decode(errors="replace"), has_header=not self._last_line))
            last = lines.rfind(b"\n", 0, -1) + 1
            self._start, self._last_line = self._start + last, lines[last:]
        return restarted


def _parse_rows(path: Path, lines: str, *, has_header: bool) -> Iterator[MetricsRow]:
    """Yield the rows in ``lines``, which contains only complete lines of the ``metrics.csv`` at ``path``.

    If ``has_header`` is true, the first line is the header.

    Raises:
        RunError: the lines are damaged.
    """
    try:
        if has_header and lines and lines.splitlines()[0] != HEADER.strip():
            raise ValueError(f"its first line is not {HEADER.strip()}")
        for fields in csv.DictReader(io.StringIO(lines), None if has_header else MetricsRow._fields):
            yield _parse_row(fields)
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error


def _parse_row(fields: Mapping[str, str]) -> MetricsRow:
    return MetricsRow(int(fields["step"]), float(fields["epoch"]), fields["metric"], float(fields["value"]))


def _valid_rows(data: bytes) -> Iterator[MetricsRow]:
    """Yield the valid rows of a damaged ``metrics.csv``, so that a resumed run can keep them."""
    for line in data.decode(errors="replace").splitlines():
        # This also skips the header, and fields that are too long for csv.
        with suppress(ValueError, csv.Error):
            (fields,) = csv.reader([line])
            yield _parse_row(dict(zip(MetricsRow._fields, fields, strict=True)))


def _format_rows(rows: Iterable[MetricsRow]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((row.step, repr(round(row.epoch, 6)), row.metric, repr(row.value)) for row in rows)
    return text.getvalue()
