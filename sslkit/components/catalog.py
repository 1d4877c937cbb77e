"""The catalog: every component that installed distributions offer, read from their metadata alone.

Nothing is imported here, so a broken plugin can neither slow this down nor stop it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import metadata

from sslkit.components.kinds import BY_GROUP, Kind
from sslkit.errors import AmbiguousComponentError, UnknownComponentError

THIS_PROCESS = "this-process"
"""Stands for the distribution of components that were registered without one."""

CORE = "sslkit"
"""The distribution that is always seen."""

PLUGINS_VARIABLE = "SSLKIT_PLUGINS"
"""Environment variable: comma list of the distributions to see; unset means all, empty the core alone."""


def normalised(distribution: str) -> str:
    """A distribution's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@dataclass(frozen=True)
class Entry:
    """One component as its distribution announces it.

    Attributes:
        kind: its kind.
        name: its name, unique within kind and distribution.
        distribution: name of the distribution that offers it.
        version: that distribution's version.
        target: ``module:Class``.
        variant: which of a family of components, where it was asked for as ``name:variant``.
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    target: str
    variant: str = ""

    @property
    def qualified(self) -> str:
        """``distribution:name``, which tells apart components of the same name."""
        return f"{self.distribution}:{self.name}"

    def __str__(self) -> str:
        return (
            f"{self.kind.singular} {self.name!r} of {self.distribution} {self.version} "
            f"(entry point {self.kind.group}: {self.name} = {self.target})"
        )


registered_components: dict[tuple[str, str], tuple[Entry, type]] = {}
"""What ``sslkit.register`` was given, by group and name."""


@dataclass(frozen=True)
class Catalog:
    """What is installed.

    Attributes:
        entries: the components that may be used, by kind, name and distribution.
        hidden: those that ``SSLKIT_PLUGINS`` hides.
        unreadable: distributions whose entry points cannot be read, with the reason.
        missing: distributions that ``SSLKIT_PLUGINS`` names but that offer nothing or are not installed.
    """

    entries: tuple[Entry, ...]
    hidden: tuple[Entry, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()

    @classmethod
    def scan(cls) -> Catalog:
        """Read the metadata of every installed distribution once."""
        entries: list[Entry] = []
        unreadable: list[tuple[str, str]] = []
        seen: set[str] = set()
        for distribution in metadata.distributions():
            text = distribution.read_text("entry_points.txt")
            if not text or "sslkit." not in text:
                continue
            name = distribution.metadata["Name"] or "(a distribution without a name)"
            if normalised(name) in seen:
                continue
            seen.add(normalised(name))
            try:
                entries.extend(_entries(distribution, name))
            except (ValueError, TypeError, AttributeError) as error:
                unreadable.append((name, f"its entry_points.txt is malformed: {error}"))
        entries += [entry for entry, _ in registered_components.values()]
        entries.sort(key=lambda entry: (list(BY_GROUP).index(entry.kind.group), entry.name, entry.distribution))
        return cls._limited(entries, unreadable)

    @classmethod
    def _limited(cls, entries: list[Entry], unreadable: list[tuple[str, str]]) -> Catalog:
        wanted = os.environ.get(PLUGINS_VARIABLE)
        if wanted is None:
            return cls(tuple(entries), unreadable=tuple(unreadable))
        names = {normalised(name.strip()): name.strip() for name in wanted.split(",") if name.strip()}
        visible = {CORE, THIS_PROCESS, *names}
        offered = {normalised(entry.distribution) for entry in entries}
        return cls(
            tuple(entry for entry in entries if normalised(entry.distribution) in visible),
            tuple(entry for entry in entries if normalised(entry.distribution) not in visible),
            tuple(unreadable),
            tuple(name for key, name in names.items() if key not in offered | {CORE}),
        )

    def of(self, kind: Kind) -> tuple[Entry, ...]:
        """The components of one kind."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def find(self, kind: Kind, name: str) -> Entry:
        """The component of that kind called ``name``, ``distribution:name`` or, of a family, ``name:variant``.

        Raises:
            UnknownComponentError: no distribution offers it, or ``SSLKIT_PLUGINS`` hides the one that does.
            AmbiguousComponentError: several distributions offer it.
        """
        matches = _matching(self.of(kind), name)
        if not matches and ":" in name:
            family, _, variant = name.partition(":")
            matches = [replace(entry, variant=variant) for entry in self.of(kind) if entry.name == family]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise AmbiguousComponentError(
                f"{len(matches)} distributions offer {kind.article} {kind.singular} called {name!r}: "
                + ", ".join(f"{entry.distribution} {entry.version}" for entry in matches)
                + f"; write {' or '.join(repr(entry.qualified) for entry in matches)}"
            )
        raise UnknownComponentError(f"no installed {kind.singular} is called {name!r}: {self._advice(kind, name)}")

    def named(self, name: str) -> tuple[Entry, ...]:
        """The components of any kind called ``name`` or ``distribution:name``, or all that a distribution offers.

        Raises:
            UnknownComponentError: there are none.
        """
        found = _matching(self.entries, name) or [
            entry for entry in self.entries if normalised(entry.distribution) == normalised(name)
        ]
        if not found:
            names = sorted({entry.name for entry in self.entries} | {entry.distribution for entry in self.entries})
            close = get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "`sslkit plugins list` shows what there is"
            raise UnknownComponentError(f"no installed component or distribution is called {name!r}: {hint}")
        return tuple(found)

    def _advice(self, kind: Kind, name: str) -> str:
        if name.startswith(f"{THIS_PROCESS}:"):
            short = name.partition(":")[2]
            return f"it was registered in another process; register it here too: sslkit.register({short!r}, ...)"
        hidden = _matching([entry for entry in self.hidden if entry.kind == kind], name)
        if hidden:
            return f"{hidden[0].distribution} offers it, but {PLUGINS_VARIABLE} hides that distribution; add it there"
        distribution, colon, _ = name.rpartition(":")
        installed = {normalised(entry.distribution) for entry in self.entries}
        if colon and distribution.startswith("sslkit-") and normalised(distribution) not in installed:
            return f"install it: pip install {distribution}"
        elsewhere = [entry for entry in self.entries if entry.name == name]
        if elsewhere:
            return f"{name!r} is {elsewhere[0].kind.article} {elsewhere[0].kind.singular}"
        names = sorted({entry.name for entry in self.of(kind)})
        close = get_close_matches(name, names + [entry.qualified for entry in self.of(kind)], n=1)
        if close:
            return f"did you mean {close[0]!r}?"
        return f"there are {', '.join(names)}" if names else f"no {kind.singular} is installed at all"


def _matching(entries: Iterable[Entry], name: str) -> list[Entry]:
    distribution, colon, short = name.rpartition(":")
    if not colon:
        return [entry for entry in entries if entry.name == name]
    return [
        entry for entry in entries if entry.name == short and normalised(entry.distribution) == normalised(distribution)
    ]


def _entries(distribution: metadata.Distribution, name: str) -> list[Entry]:
    version = distribution.metadata["Version"] or "(no version)"
    return [
        Entry(BY_GROUP[point.group], point.name, name, version, point.value)
        for point in distribution.entry_points
        if point.group in BY_GROUP
    ]
