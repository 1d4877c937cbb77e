"""Catalog of the components that installed distributions offer as entry points.

The catalog reads package metadata and imports no plugin, so a broken plugin cannot slow down or stop a command.
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
"""Name used as distribution of components that ``sslkit.register`` added."""

CORE = "sslkit"
"""Distribution that is always visible."""

PLUGINS_VARIABLE = "SSLKIT_PLUGINS"
"""Environment variable with a comma-separated list of visible distributions. If the variable is unset, all
distributions are visible; if it is empty, only ``sslkit`` is visible."""


def normalise_name(distribution: str) -> str:
    """Return the normalised name of a distribution, as defined in PEP 503."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@dataclass(frozen=True)
class Entry:
    """Entry point of a component.

    Attributes:
        kind: kind of the component.
        name: name of the component, unique within kind and distribution.
        distribution: name of the distribution that offers the component.
        version: version of that distribution.
        target: ``module:Class``.
        variant: variant of the component, from ``use = "name:variant"``, or ``""`` if there is none.
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    target: str
    variant: str = ""

    @property
    def qualified(self) -> str:
        """``distribution:name``, unique within the kind."""
        return f"{self.distribution}:{self.name}"

    def __str__(self) -> str:
        return (
            f"{self.kind.singular} {self.name!r} of {self.distribution} {self.version} "
            f"(entry point {self.kind.group}: {self.name} = {self.target})"
        )


registered_components: dict[tuple[str, str], tuple[Entry, type]] = {}
"""Components that ``sslkit.register`` added, keyed by entry-point group and name."""


@dataclass(frozen=True)
class Catalog:
    """The installed components.

    Attributes:
        entries: the visible components, sorted by kind, name and distribution.
        hidden: the components that ``SSLKIT_PLUGINS`` hides.
        unreadable: name and problem of each distribution with malformed entry points.
        missing: names in ``SSLKIT_PLUGINS`` for which no installed distribution offers components.
    """

    entries: tuple[Entry, ...]
    hidden: tuple[Entry, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    missing: tuple[str, ...] = ()

    @classmethod
    def scan(cls) -> Catalog:
        """Return the catalog of all installed distributions, read from their metadata."""
        entries: list[Entry] = []
        unreadable: list[tuple[str, str]] = []
        seen: set[str] = set()
        for distribution in metadata.distributions():
            text = distribution.read_text("entry_points.txt")
            if not text or "sslkit." not in text:
                continue
            name = distribution.metadata["Name"] or "(a distribution without a name)"
            if normalise_name(name) in seen:
                continue
            seen.add(normalise_name(name))
            try:
                entries.extend(_entries(distribution, name))
            except (ValueError, TypeError, AttributeError) as error:
                unreadable.append((name, f"its entry_points.txt is malformed: {error}"))
        entries += [entry for entry, _ in registered_components.values()]
        entries.sort(key=lambda entry: (list(BY_GROUP).index(entry.kind.group), entry.name, entry.distribution))
        return cls._filter(entries, unreadable)

    @classmethod
    def _filter(cls, entries: list[Entry], unreadable: list[tuple[str, str]]) -> Catalog:
        value = os.environ.get(PLUGINS_VARIABLE)
        if value is None:
            return cls(tuple(entries), unreadable=tuple(unreadable))
        names = {normalise_name(name.strip()): name.strip() for name in value.split(",") if name.strip()}
        visible = {CORE, THIS_PROCESS, *names}
        offered = {normalise_name(entry.distribution) for entry in entries}
        return cls(
            tuple(entry for entry in entries if normalise_name(entry.distribution) in visible),
            tuple(entry for entry in entries if normalise_name(entry.distribution) not in visible),
            tuple(unreadable),
            tuple(name for key, name in names.items() if key not in offered | {CORE}),
        )

    def of_kind(self, kind: Kind) -> tuple[Entry, ...]:
        """Return the components of a kind."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def find(self, kind: Kind, name: str) -> Entry:
        """Return the component with the given kind and name.

        Args:
            kind: kind of the component.
            name: ``name``, ``distribution:name``, or ``name:variant`` for a family of components.

        Raises:
            UnknownComponentError: no installed distribution offers the component, or ``SSLKIT_PLUGINS`` hides it.
            AmbiguousComponentError: more than one distribution offers such a component.
        """
        matches = _matching(self.of_kind(kind), name)
        if not matches and ":" in name:
            family, _, variant = name.partition(":")
            matches = [replace(entry, variant=variant) for entry in self.of_kind(kind) if entry.name == family]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise AmbiguousComponentError(
                f"{len(matches)} distributions offer {kind.article} {kind.singular} called {name!r}: "
                + ", ".join(f"{entry.distribution} {entry.version}" for entry in matches)
                + f"; write {' or '.join(repr(entry.qualified) for entry in matches)}"
            )
        raise UnknownComponentError(f"no installed {kind.singular} is called {name!r}: {self._advice(kind, name)}")

    def find_all(self, name: str) -> tuple[Entry, ...]:
        """Return the components of any kind with a given name, or all components of a distribution.

        Args:
            name: ``name``, ``distribution:name``, ``name:variant``, or the name of a distribution.

        Raises:
            UnknownComponentError: no component and no distribution has this name.
        """
        family, _, variant = name.partition(":")
        matches = (
            _matching(self.entries, name)
            or [entry for entry in self.entries if normalise_name(entry.distribution) == normalise_name(name)]
            or [replace(entry, variant=variant) for entry in self.entries if variant and entry.name == family]
        )
        if not matches:
            names = sorted({entry.name for entry in self.entries} | {entry.distribution for entry in self.entries})
            close = get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "list all with `sslkit plugins list`"
            raise UnknownComponentError(f"no installed component or distribution is called {name!r}: {hint}")
        return tuple(matches)

    def _advice(self, kind: Kind, name: str) -> str:
        if name.startswith(f"{THIS_PROCESS}:"):
            short = name.partition(":")[2]
            return f"it was registered in another process; register it here too: sslkit.register({short!r}, ...)"
        hidden = _matching([entry for entry in self.hidden if entry.kind == kind], name)
        if hidden:
            return f"{hidden[0].distribution} offers it, but {PLUGINS_VARIABLE} hides that distribution; add it there"
        distribution, colon, _ = name.rpartition(":")
        installed = {normalise_name(entry.distribution) for entry in self.entries}
        if colon and distribution.startswith("sslkit-") and normalise_name(distribution) not in installed:
            return f"install it: pip install {distribution}"
        elsewhere = [entry for entry in self.entries if entry.name == name]
        if elsewhere:
            return f"{name!r} is {elsewhere[0].kind.article} {elsewhere[0].kind.singular}"
        names = sorted({entry.name for entry in self.of_kind(kind)})
        close = get_close_matches(name, names + [entry.qualified for entry in self.of_kind(kind)], n=1)
        if close:
            return f"did you mean {close[0]!r}?"
        return f"available: {', '.join(names)}" if names else f"no {kind.singular} is installed"


def _matching(entries: Iterable[Entry], name: str) -> list[Entry]:
    distribution, colon, short = name.rpartition(":")
    if not colon:
        return [entry for entry in entries if entry.name == name]
    return [
        entry
        for entry in entries
        if entry.name == short and normalise_name(entry.distribution) == normalise_name(distribution)
    ]


def _entries(distribution: metadata.Distribution, name: str) -> list[Entry]:
    version = distribution.metadata["Version"] or "(no version)"
    return [
        Entry(BY_GROUP[point.group], point.name, name, version, point.value)
        for point in distribution.entry_points
        if point.group in BY_GROUP
    ]
