"""Components that are registered in this process alone: for notebooks and scripts, without packaging."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sslkit.components.catalog import LOCAL, Entry, local_entries
from sslkit.components.kinds import KINDS
from sslkit.errors import InputError

if TYPE_CHECKING:
    from sslkit.contracts.component import Component


def register(name: str, component: type[Component]) -> None:
    """Let recipes of this process name a component, as if a distribution offered it.

    Registering a name again replaces what it was.  A run records that its component was registered; to resume or
    evaluate it elsewhere, register the component there too, or package it (``sslkit plugins new``).

    Args:
        name: what recipes will call it.
        component: a subclass of the base of one kind, such as ``sslkit.Loss``.

    Raises:
        InputError: the class is of no kind, or the name is empty or holds a colon.
    """
    if not name or ":" in name:
        raise InputError(f"a component cannot be called {name!r}: give it a name without a colon")
    for kind in KINDS:
        module, _, base = kind.base.partition(":")
        if isinstance(component, type) and issubclass(component, getattr(import_module(module), base)):
            target = f"{component.__module__}:{component.__qualname__}"
            local_entries[kind.group, name] = (Entry(kind, name, LOCAL, "", target), component)
            return
    bases = ", ".join(f"sslkit.{kind.base.partition(':')[2]}" for kind in KINDS)
    raise InputError(f"{component!r} is no component: subclass one of {bases}")
