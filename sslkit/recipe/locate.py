"""Finds the line of every key in a TOML text, which ``tomllib`` does not tell.

The text must be valid TOML: ``tomllib`` has parsed it before.
"""

from __future__ import annotations

import tomllib

KeyPath = tuple[str | int, ...]


def locate(text: str) -> dict[KeyPath, int]:
    """The 1-based line of each key, table header and array-of-tables element of a valid TOML text."""
    return _Scanner(text).scan()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.counts: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        prefix: KeyPath = ()
        while self._skip_blank():
            if self.text.startswith("[[", self.at):
                self.at += 2
                prefix = self._absolute(self._key())
                self.counts[prefix] = self.counts.get(prefix, -1) + 1
                self._note(prefix)
                prefix = (*prefix, self.counts[prefix])
                self._note(prefix)
                self.at += 2
            elif self.text[self.at] == "[":
                self.at += 1
                prefix = self._absolute(self._key())
                self._note(prefix)
                self.at += 1
            else:
                self._pair(prefix)
        return self.lines

    def _absolute(self, key: KeyPath) -> KeyPath:
        """A header's key, with the index of the current element after each array of tables it goes through."""
        path: KeyPath = ()
        for position, part in enumerate(key):
            path = (*path, part)
            if path in self.counts and position < len(key) - 1:
                path = (*path, self.counts[path])
        return path

    def _note(self, path: KeyPath) -> None:
        line = self.text.count("\n", 0, self.at) + 1
        for end in range(1, len(path) + 1):
            self.lines.setdefault(path[:end], line)

    def _skip_blank(self) -> bool:
        """Go to the next thing that is neither white space nor comment; False at the end."""
        while self.at < len(self.text):
            if self.text[self.at] == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text[self.at].isspace():
                self.at += 1
            else:
                return True
        return False

    def _key(self) -> KeyPath:
        parts: list[str] = []
        while True:
            self._skip_blank()
            start = self.at
            if self.text[self.at] in "\"'":
                self._string()
                parts.append(tomllib.loads(f"x = {self.text[start : self.at]}")["x"])
            else:
                while self.text[self.at] not in " \t.=]":
                    self.at += 1
                parts.append(self.text[start : self.at])
            self._skip_blank()
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def _pair(self, prefix: KeyPath) -> None:
        self._skip_blank()
        start = self.at
        path = (*prefix, *self._key())
        end, self.at = self.at, start
        self._note(path)
        self.at = end + 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        self._skip_blank()
        opening = self.text[self.at]
        if opening in "\"'":
            self._string()
        elif opening == "[":
            self._sequence("]", path, keyed=False)
        elif opening == "{":
            self._sequence("}", path, keyed=True)
        else:
            while self.at < len(self.text) and self.text[self.at] not in ",]}#\n":
                self.at += 1

    def _sequence(self, closing: str, path: KeyPath, *, keyed: bool) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip_blank()
            if self.text[self.at] == closing:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif keyed:
                self._pair(path)
            else:
                self._note((*path, index))
                self._value((*path, index))
                index += 1

    def _string(self) -> None:
        quote = self.text[self.at]
        ending = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(ending)
        while not self.text.startswith(ending, self.at):
            self.at += 2 if quote == '"' and self.text[self.at] == "\\" else 1
        self.at += len(ending)
        # A multi-line string may end in up to two quotes of its own.
        while len(ending) == 3 and self.text.startswith(quote, self.at):
            self.at += 1
