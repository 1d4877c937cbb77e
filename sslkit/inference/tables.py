"""Write tables as Parquet, or as CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from torch import Tensor

FORMULA_STARTS = tuple("=+-@\t\r\n")
"""First characters of cells that a spreadsheet may evaluate as a formula."""


def encodable(text: str) -> str:
    """Return text that can be encoded as UTF-8: invalid bytes of a file name become escapes such as ``\\udcff``."""
    return text.encode("utf-8", "backslashreplace").decode()


def file_cell(path: str) -> str:
    """Return a relative path as a table cell; ``./`` is added if a spreadsheet could read the path as a formula."""
    return f"./{encodable(path)}" if path.startswith(FORMULA_STARTS) else encodable(path)


def text_cell(text: str) -> str:
    """Return text as a table cell; an apostrophe is added if a spreadsheet could read the text as a formula."""
    return f"'{encodable(text)}" if text.startswith(FORMULA_STARTS) else encodable(text)


def write_rows(file: BinaryIO, rows: Iterable[Sequence[Any]]) -> None:
    """Append rows to a CSV file (RFC 4180, UTF-8, line feeds). All text is quoted."""
    text = io.StringIO(newline="")
    # Quote all text, because Python's minimal quoting leaves carriage returns unquoted.
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    file.write(text.getvalue().encode())


class ParquetFile:
    """Writer of a Parquet file with the columns ``file`` (text), ``features`` (D float32) and ``outlier_score``.

    Args:
        file: the open file.
        feature_dim: length D of a feature.
        metadata: metadata of the table.
    """

    def __init__(self, file: BinaryIO, feature_dim: int, metadata: dict[str, str]) -> None:
        import pyarrow
        import pyarrow.parquet

        features = pyarrow.list_(pyarrow.float32(), feature_dim)
        columns = [("file", pyarrow.string()), ("features", features), ("outlier_score", pyarrow.float32())]
        self.schema = pyarrow.schema(columns, metadata)
        self.writer = pyarrow.parquet.ParquetWriter(file, self.schema)

    def append(self, paths: Sequence[str], features: Tensor, scores: Tensor) -> None:
        """Append a row for each of n paths, with its row of the float32 features ``[n, D]`` and its score."""
        import pyarrow

        if not paths:
            return
        flat = pyarrow.array(features.flatten().numpy())
        column = pyarrow.FixedSizeListArray.from_arrays(flat, features.shape[1])
        names = pyarrow.array([encodable(path) for path in paths], pyarrow.string())
        numbers = pyarrow.array(scores.numpy(), from_pandas=True)  # NaN becomes null
        self.writer.write_table(pyarrow.Table.from_arrays([names, column, numbers], schema=self.schema))

    def close(self) -> None:
        """Write the footer of the Parquet file."""
        self.writer.close()
