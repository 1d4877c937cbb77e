"""Image files whose class a user corrected in ``sslkit explore``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sslkit.data.datasets.folder.content_hash import file_hash
from sslkit.data.threads import map_in_threads
from sslkit.evaluation.corrected_classes import find_leaders
from sslkit.runs.class_names import read_added_names, read_class_names
from sslkit.runs.correction_history import read_image_corrections
from sslkit.runs.corrections import Row
from sslkit.runs.run import Run

CORRECTION = {"move": "moved", "outlier": "outlier", "ignore": "ignored"}
"""Text in the column ``correction``, for each action in ``corrections.csv``."""


class CorrectedFiles:
    """Corrections of a run, looked up by the content of an image file, so that renamed files are recognised.

    Args:
        run: the run.
        classes: number of discovered classes.

    Attributes:
        names: name of each named class, keyed by number; includes classes that the user added.
        leaders: smallest class number with the same name, keyed by the number of each named class.

    Raises:
        RunError: ``corrections.csv`` or ``classes.toml`` is damaged.
    """

    def __init__(self, run: Run, classes: int) -> None:
        self._rows = read_image_corrections(run)
        self._sizes = {row.bytes for row in self._rows.values()}
        names = dict(enumerate(read_class_names(run, classes) or ()))
        names |= read_added_names(run, classes)
        self.names: Mapping[int, str] = {number: name for number, name in names.items() if name}
        self.leaders: Mapping[int, int] = find_leaders(self.names)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def find(self, root: Path, files: Sequence[str]) -> list[Row | None]:
        """Return the correction of each file, or None for a file that was not corrected.

        A file is read and hashed only if its size is that of a corrected file.
        """

        def find_one(file: str) -> Row | None:
            path = root / file
            try:
                if path.stat().st_size not in self._sizes:
                    return None
            except OSError:
                return None
            return self._rows.get(file_hash(path))

        return list(map_in_threads(find_one, files)) if self._rows else [None] * len(files)
