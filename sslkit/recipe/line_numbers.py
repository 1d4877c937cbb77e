"""Line numbers of the keys in a TOML text, which ``tomllib`` does not report."""

from __future__ import annotations

import tomllib

KeyPath = tuple[str | int, ...]
"""Keys from the root to a value. Elements of an array have integer keys, as in ``("loss", 0, "weight")``."""


def line_numbers(text: str) -> dict[KeyPath, int]:
    """Return the 1-based line of each key, table header and array-of-tables element.

    Args:
        text: valid TOML; parse it with ``tomllib`` first.
    """
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[KeyPath, int] = {}
        self.last_index: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._skip_blank():
            if self.text.startswith("[[", self.position):
                self.position += 2
                table = self._absolute(self._key())
                self.last_index[table] = self.last_index.get(table, -1) + 1
                self._record(table)
                table = (*table, self.last_index[table])
                self._record(table)
                self.position += 2
            elif self.text[self.position] == "[":
                self.position += 1
                table = self._absolute(self._key())
                self._record(table)
                self.position += 1
            else:
                self._pair(table)
        return self.lines

    def _absolute(self, key: KeyPath) -> KeyPath:
        """Return a header's key path, with the index of the current element after the name of each array of tables.

        For example, after the second ``[[loss]]``, the header ``[loss.options]`` has the key path ``loss.1.options``.
        """
        path: KeyPath = ()
        for depth, part in enumerate(key):
            path = (*path, part)
            if path in self.last_index and depth < len(key) - 1:
                path = (*path, self.last_index[path])
        return path

    def _record(self, path: KeyPath) -> None:
        line = self.text.count("\n", 0, self.position) + 1
        for end in range(1, len(path) + 1):
            self.lines.setdefault(path[:end], line)

    def _skip_blank(self) -> bool:
        """Skip white space and comments. Return False at the end of the text."""
        while self.position < len(self.text):
            if self.text[self.position] == "#":
                end = self.text.find("\n", self.position)
                self.position = len(self.text) if end < 0 else end
            elif self.text[self.position].isspace():
                self.position += 1
            else:
                return True
        return False

    def _key(self) -> KeyPath:
        parts: list[str] = []
        while True:
            self._skip_blank()
            start = self.position
            if self.text[self.position] in "\"'":
                self._string()
                parts.append(tomllib.loads(f"x = {self.text[start : self.position]}")["x"])
            else:
                while self.text[self.position] not in " \t.=]":
                    self.position += 1
                parts.append(self.text[start : self.position])
            self._skip_blank()
            if self.text[self.position] != ".":
                return tuple(parts)
            self.position += 1

    def _pair(self, table: KeyPath) -> None:
        self._skip_blank()
        start = self.position
        path = (*table, *self._key())
        end, self.position = self.position, start
        self._record(path)
        self.position = end + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        opening = self.text[self.position]
        if opening in "\"'":
            self._string()
        elif opening == "[":
            self._sequence("]", path, keyed=False)
        elif opening == "{":
            self._sequence("}", path, keyed=True)
        else:
            while self.position < len(self.text) and self.text[self.position] not in ",]}#\n":
                self.position += 1

    def _sequence(self, closing: str, path: KeyPath, *, keyed: bool) -> None:
        self.position += 1
        index = 0
        while True:
            self._skip_blank()
            if self.text[self.position] == closing:
                self.position += 1
                return
            if self.text[self.position] == ",":
                self.position += 1
            elif keyed:
                self._pair(path)
            else:
                self._record((*path, index))
                self._value((*path, index))
                index += 1

    def _string(self) -> None:
        quote = self.text[self.position]
        ending = quote * 3 if self.text.startswith(quote * 3, self.position) else quote
        self.position += len(ending)
        while not self.text.startswith(ending, self.position):
            self.position += 2 if quote == '"' and self.text[self.position] == "\\" else 1
        self.position += len(ending)
        # A multi-line string may end with up to two quotes of its own.
        while len(ending) == 3 and self.text.startswith(quote, self.position):
            self.position += 1
