"""Write tables: CSV that is safe to open in a spreadsheet, and Parquet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from torch import Tensor

from sslkit.components.optional_packages import import_optional

FORMULA_STARTS = tuple("=+-@\t\r\n")
"""First characters of cells that a spreadsheet may evaluate as a formula."""


def encodable(text: str) -> str:
    """Return text that UTF-8 can encode; invalid bytes of a file name become ``\\\\udc..``."""
    return text.encode("utf-8", "backslashreplace").decode()


def file_cell(path: str) -> str:
    """Return a relative path for a cell; ``./`` in front keeps it from being a formula."""
    return f"./{encodable(path)}" if path.startswith(FORMULA_STARTS) else encodable(path)


def text_cell(text: str) -> str:
    """Return text for a cell; an apostrophe in front keeps it from being a formula."""
    return f"'{encodable(text)}" if text.startswith(FORMULA_STARTS) else encodable(text)


def write_rows(file: BinaryIO, rows: Iterable[Sequence[Any]]) -> None:
    """Append rows as CSV (RFC 4180, UTF-8, line feeds); all text is quoted."""
    text = io.StringIO(newline="")
    # Quote all text: with minimal quoting, Python's writer leaves carriage returns unquoted.
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    file.write(text.getvalue().encode())


class ParquetFile:
    """Writer of a Parquet file with the columns ``file`` (text) and ``features`` (lists of D float32).

    Args:
        file: the open file.
        feature_dim: D.
        metadata: metadata of the table.
    """

    def __init__(self, file: BinaryIO, feature_dim: int, metadata: dict[str, str]) -> None:
        import pyarrow
        import pyarrow.parquet

        features = pyarrow.list_(pyarrow.float32(), feature_dim)
        self.schema = pyarrow.schema([("file", pyarrow.string()), ("features", features)], metadata)
        self.writer = pyarrow.parquet.ParquetWriter(file, self.schema)

    def append(self, paths: Sequence[str], features: Tensor) -> None:
        """Append a row for each path with its features ``[n, D]`` float32."""
        import pyarrow

        if not paths:
            return
        flat = pyarrow.array(features.flatten().numpy())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, features.shape[1])
        names = pyarrow.array([encodable(path) for path in paths], pyarrow.string())
        self.writer.write_table(pyarrow.Table.from_arrays([names, column], schema=self.schema))

    def close(self) -> None:
        """Write the footer."""
        self.writer.close()


def require_parquet() -> None:
    """Check that Parquet can be written, before any work is done.

    Raises:
        InputError: pyarrow is not installed, or cannot be imported.
    """
    import_optional("pyarrow", "Parquet", "parquet")
