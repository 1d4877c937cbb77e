"""Tables of results: CSV that spreadsheets can open without harm, and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from torch import Tensor

from sslkit.errors import InputError

FORMULA = tuple("=+-@\t\r\n")
"""What a cell that a spreadsheet computes may begin with."""


def encodable(text: str) -> str:
    """Text that UTF-8 can hold: bytes of a file name that are no text become ``\\\\udc..``."""
    return text.encode("utf-8", "backslashreplace").decode()


def file_cell(path: str) -> str:
    """A relative path that no spreadsheet takes for a formula; still the path of the same file."""
    return f"./{encodable(path)}" if path.startswith(FORMULA) else encodable(path)


def text_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: one that could be has an apostrophe in front."""
    return f"'{encodable(text)}" if text.startswith(FORMULA) else encodable(text)


def write_rows(file: BinaryIO, rows: Iterable[Sequence[Any]]) -> None:
    """Add rows of CSV (RFC 4180, UTF-8, lines end in a line feed); all text is in quotes."""
    text = io.StringIO(newline="")
    # Where quotes are left to need, Python's writer leaves a carriage return without them.
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    file.write(text.getvalue().encode())


class ParquetFile:
    """A Parquet file of ``file`` (text) and ``features`` (a list of D float32 each), written chunk by chunk."""

    def __init__(self, file: BinaryIO, width: int, metadata: dict[str, str]) -> None:
        import pyarrow
        import pyarrow.parquet

        features = pyarrow.list_(pyarrow.float32(), width)
        self.schema = pyarrow.schema([("file", pyarrow.string()), ("features", features)], metadata)
        self.writer = pyarrow.parquet.ParquetWriter(file, self.schema)

    def add(self, paths: Sequence[str], features: Tensor) -> None:
        """Add rows: paths, and their features ``[n, D]`` float32."""
        import pyarrow

        if not paths:
            return
        flat = pyarrow.array(features.flatten().numpy())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, features.shape[1])
        names = pyarrow.array([encodable(path) for path in paths], pyarrow.string())
        self.writer.write_table(pyarrow.Table.from_arrays([names, column], schema=self.schema))

    def close(self) -> None:
        """Write the end."""
        self.writer.close()


def require_parquet() -> None:
    """Refuse early what could not be written.

    Raises:
        InputError: pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401 - only whether it is there
    except ModuleNotFoundError:
        raise InputError("Parquet needs pyarrow, which is not installed: pip install 'sslkit[parquet]'") from None
