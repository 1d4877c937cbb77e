"""Classes of a run's images, and a user's corrections, which can be made, undone and redone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import RLock

from torch import Tensor

from sslkit.errors import InputError
from sslkit.evaluation.corrected_classes import MARKS, apply_corrections, find_leaders, merge_classes
from sslkit.explore.contents import Contents
from sslkit.explore.run_images import RunImages
from sslkit.features.kmeans import cluster_rows
from sslkit.runs.class_names import read_added_names, read_class_names, write_class_names
from sslkit.runs.correction_history import History
from sslkit.runs.corrections import Action, CorrectionsLog, Row
from sslkit.runs.run import Run


class Workbench:
    """The images of a run and the corrections of a user.

    Discovered classes have the numbers 0 to K - 1, and added classes larger numbers. Classes with the same name are
    one class, whose number is the smallest of theirs. The name of a class is first written to ``classes.toml`` and
    then logged in ``corrections.csv``. Names in ``classes.toml`` are therefore never older than the log.

    Args:
        run: the run.
        images: the run's images.

    Attributes:
        names: name of each class that has a name, keyed by number.
        current: int64 ``[N]``, class of each image, with corrections; ``OUTLIER`` or ``IGNORED`` for marked images.
        discovered: int64 ``[N]``, class of each image according to the network.
        confidence: float64 ``[N]``, probability of the discovered class.
        corrected: bool ``[N]``, whether the image has a correction.
        version: number that increases with each change.

    Raises:
        RunError: ``classes.toml`` or ``corrections.csv`` is damaged or cannot be written.
    """

    def __init__(self, run: Run, images: RunImages) -> None:
        self.run, self.images = run, images
        self.lock, self.contents = RLock(), Contents(images)
        saved = read_class_names(run, images.classes) or ()
        self.names = {number: name for number, name in enumerate(saved) if name}
        self.names |= {number: name for number, name in read_added_names(run, images.classes).items() if name}
        self.log = CorrectionsLog(run.path)
        self.history = History.of(self.log.steps)
        rows = self.history.image_corrections()
        self._indices = self.contents.find((content, row.bytes) for content, row in rows.items())
        self.missing = sum(not found for found in self._indices.values())
        self._grouped: tuple[str, ...] = ()
        self._previewed: tuple[tuple[int, int, int], list[list[int]]] | None = None
        self.version = 0
        self._update()

    def leader(self, number: int) -> int:
        """Return the smallest number of the classes with the same name as class ``number``; they count as one class."""
        return self._leaders.get(number, number)

    def class_numbers(self) -> list[int]:
        """Return the sorted numbers of all classes; for classes with the same name, only the smallest number."""
        added = {row.number for row in self.history.rows() if row.action in ("move", "name")}
        known = {*range(self.images.classes), *added, *self.names}
        return sorted({self.leader(number) for number in known})

    def members(self, number: int) -> Tensor:
        """Return the sorted indices of a class's images, int64 ``[M]``."""
        return (self.current == number).nonzero().flatten()

    def move(self, indices: Sequence[int], number: int | None, name: str = "") -> int:
        """Move images to the class ``number`` or, if ``number`` is None, to a new class.

        The new class gets the name ``name``, or no name if ``name`` is ``""``.

        Returns:
            The number of the class that now contains the images.

        Raises:
            InputError: there is no such image or class, or the name cannot be saved.
            RunError: the corrections cannot be written.
        """
        with self.lock:
            rows: list[Row] = []
            if number is None:
                number = self.history.next_class(self.images.classes)
                rows = self._name_rows([number], name) if name.strip() else []
            else:
                self._check_class(number)
            self._save([*rows, *self._image_rows(indices, "move", number)])
            return self.leader(number)

    def mark(self, indices: Sequence[int], number: int | None) -> None:
        """Mark images as ``OUTLIER`` or ``IGNORED``; if ``number`` is None, remove all corrections of these images.

        Raises:
            InputError: there is no such image or mark.
            RunError: the corrections cannot be written.
        """
        with self.lock:
            if number is not None and number not in MARKS:
                raise InputError(f"images cannot be marked with {number}")
            self._save(self._image_rows(indices, "restore" if number is None else MARKS[number]))

    def rename(self, number: int, name: str) -> None:
        """Name a class; ``""`` removes the name. If another class has the same name, the two classes are merged.

        Raises:
            InputError: there is no such class, or the name cannot be saved.
            RunError: the corrections cannot be written.
        """
        with self.lock:
            self._check_class(number)
            same = [other for other in self.names if self.leader(other) == self.leader(number)]
            self._save(self._name_rows(same or [number], name))

    def merge(self, numbers: Sequence[int], name: str) -> int:
        """Merge classes: all get the same name. Another class with this name is merged, too.

        Returns:
            The number of the merged class.

        Raises:
            InputError: there is no such class, fewer than two classes are given, or the name cannot be saved.
            RunError: the corrections cannot be written.
        """
        with self.lock:
            for number in numbers:
                self._check_class(number)
            if len(set(numbers)) < 2:
                raise InputError("choose at least two classes to merge")
            if not name.strip():
                raise InputError("choose a name for the merged class")
            merged = {self.leader(number) for number in numbers}
            members = [other for other in {*self.names, *numbers} if self.leader(other) in merged]
            self._save(self._name_rows(sorted(members), name))
            return self.leader(numbers[0])

    def preview_split(self, number: int, parts: int) -> list[list[int]]:
        """Divide a class into ``parts`` clusters by k-means on features, without changing the class.

        Returns:
            The image indices of each cluster, largest cluster first.

        Raises:
            InputError: there is no such class, or it has fewer images than clusters.
        """
        with self.lock:
            self._check_class(number)
            key, members = (self.version, number, parts), self.members(number)
        if self._previewed is not None and self._previewed[0] == key:
            return self._previewed[1]
        if not 2 <= parts <= len(members):
            raise InputError(f"a class of {len(members)} images cannot be split into {parts} parts")
        clusters = cluster_rows(self.images.features, members, parts, seed=0, restarts=3)
        found = [members[clusters == part].tolist() for part in range(parts)]
        self._previewed = key, sorted((part for part in found if part), key=len, reverse=True)
        return self._previewed[1]

    def split(self, number: int, parts: int, version: int) -> None:
        """Keep the largest part of ``preview_split`` in the class, and move each other part to an added class.

        Args:
            number: the class.
            parts: number of parts.
            version: value of the attribute ``version`` when the preview was made.

        Raises:
            InputError: the classes changed after the preview, there is no such class, or it has fewer images than
                ``parts``.
            RunError: the corrections cannot be written.
        """
        with self.lock:
            if version != self.version:
                raise InputError("the classes changed after the preview: preview the split again")
            added = self.history.next_class(self.images.classes)
            groups = self.preview_split(number, parts)[1:]
            self._save([row for at, part in enumerate(groups) for row in self._image_rows(part, "move", added + at)])

    def undo(self) -> None:
        """Undo the newest correction that is not undone yet; do nothing if there is none."""
        self._revert("undo")

    def redo(self) -> None:
        """Redo the correction that was undone last; do nothing if there is none."""
        self._revert("redo")

    def close(self) -> None:
        """Close the log, so that another process can correct the run."""
        self.log.close()

    def _revert(self, action: Action) -> None:
        with self.lock:
            numbers = self.history.done if action == "undo" else self.history.undone
            if numbers:
                rows = self.history.steps[numbers[-1]]
                names = {
                    row.number: row.before if action == "undo" else row.name for row in rows if row.action == "name"
                }
                self._save([Row(action, numbers[-1])], names)

    def _save(self, rows: Sequence[Row], names: dict[int, str] | None = None) -> None:
        if not rows:
            raise InputError("nothing is selected")
        changed = {row.number: row.name for row in rows if row.action == "name"} if names is None else names
        if changed:
            all_names = {number: name for number, name in (self.names | changed).items() if name}
            count = self.images.classes
            discovered = [all_names.get(number, "") for number in range(count)]
            added = {number: name for number, name in all_names.items() if number >= count}
            write_class_names(self.run, discovered, added)
            self.names = all_names
        self.log.append(tuple(rows))
        self.history.add(tuple(rows))
        self._update()

    def _update(self) -> None:
        """Recompute the classes of all images from the network's outputs, the class names and the corrections."""
        self._leaders = find_leaders(self.names)
        names = tuple(self.names.get(number, "") for number in range(self.images.classes))
        if names != self._grouped or not self.version:
            self.discovered, self.confidence = merge_classes(self.images.logits, self.images.temperature, self.names)
            self._grouped = names
        found = ((row, self._indices.get(content, [])) for content, row in self.history.image_corrections().items())
        self.current, self.corrected = apply_corrections(self.discovered, found, self._leaders)
        self.version += 1

    def _image_rows(self, indices: Iterable[int], action: Action, number: int = -1) -> list[Row]:
        wanted = list(dict.fromkeys(indices))
        if any(not 0 <= index < len(self.images) for index in wanted):
            raise InputError(f"images have the numbers 0 to {len(self.images) - 1}")
        same = self.contents.same(wanted)
        self._indices |= same
        return [
            Row(action, number, content, self.contents.size(copies[0]), self.images.name(copies[0]))
            for content, copies in same.items()
        ]

    def _name_rows(self, numbers: Iterable[int], name: str) -> list[Row]:
        name = name.strip()
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise InputError(f"the name is not valid UTF-8: {name!a}")
        return [Row("name", number, name=name, before=self.names.get(number, "")) for number in numbers]

    def _check_class(self, number: int) -> None:
        if number not in self.class_numbers():
            raise InputError(f"there is no class {number}")
