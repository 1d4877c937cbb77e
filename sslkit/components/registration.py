"""Register components in the current process, for notebooks and scripts outside a package."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sslkit.components.catalog import THIS_PROCESS, Entry, registered_components
from sslkit.components.kinds import KINDS
from sslkit.errors import InputError

if TYPE_CHECKING:
    from sslkit.contracts.component import Component


def register(name: str, component: type[Component]) -> None:
    """Register a component under a name that recipes in this process can use.

    Registering a name again replaces the component. To resume or evaluate a run in another process, register the
    component there as well, or create a package with ``sslkit plugins new``.

    Example::

        sslkit.register("my-loss", MyLoss)
        sslkit.train("recipe.toml")  # with [loss] use = "my-loss"

    Args:
        name: name of the component in recipes.
        component: a subclass of a component base class, such as ``sslkit.Loss``.

    Raises:
        InputError: ``component`` is not a subclass of such a class, or the name is empty or contains a colon.
    """
    if not name or ":" in name:
        raise InputError(f"a component cannot be called {name!r}: choose a name without a colon")
    for kind in KINDS:
        module, _, base = kind.base.partition(":")
        if isinstance(component, type) and issubclass(component, getattr(import_module(module), base)):
            target = f"{component.__module__}:{component.__qualname__}"
            registered_components[kind.group, name] = (Entry(kind, name, THIS_PROCESS, "", target), component)
            return
    bases = ", ".join(f"sslkit.{kind.base.partition(':')[2]}" for kind in KINDS)
    raise InputError(f"{component!r} is not a component: subclass one of {bases}")
