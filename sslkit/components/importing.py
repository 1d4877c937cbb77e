"""The loader: imports one component, and says exactly what is wrong when it cannot."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from sslkit.components.catalog import LOCAL, Entry, local_entries
from sslkit.contracts import API, OLDEST_API
from sslkit.contracts.component import Component
from sslkit.contracts.options import Options
from sslkit.errors import BrokenComponentError, IncompatibleComponentError, UnknownComponentError

EXTRA = re.compile(r'extra == "([^"]+)"')
"""In a requirement's marker."""


def load(entry: Entry) -> type[Component]:
    """Import the class behind an entry point and check that it is what its kind promises.

    Raises:
        BrokenComponentError: the module or the name in it does not exist, a dependency is missing, or the import fails.
        IncompatibleComponentError: not a class of the kind's base, or written for another contract version.
        UnknownComponentError: a variant was asked for of what is no family.
    """
    found = _import(entry)
    base_module, _, base_name = entry.kind.base.partition(":")
    base = getattr(import_module(base_module), base_name)
    if not (isinstance(found, type) and issubclass(found, base)):
        what = f"class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
        raise IncompatibleComponentError(
            f"{entry}: it is {what}, which is not a subclass of sslkit.{base_name}; "
            f"tell the author of {entry.distribution}, or use another {entry.kind.singular}"
        )
    _check_api(entry, getattr(found, "api", None))
    missing = [name for name in dir(found) if getattr(getattr(found, name, None), "__isabstractmethod__", False)]
    if missing:
        lacks = ", ".join(missing)
        raise IncompatibleComponentError(f"{entry}: it lacks {lacks}, which every {entry.kind.singular} must have")
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise IncompatibleComponentError(f"{entry}: its Options must be a subclass of sslkit.Options")
    taken = sorted(options.model_fields.keys() & (entry.kind.reserved | {"use"}))
    if taken:
        raise IncompatibleComponentError(
            f"{entry}: its option {taken[0]!r} has a name that recipes need for every {entry.kind.singular}; "
            f"tell the author of {entry.distribution} to call it otherwise"
        )
    component: type[Component] = found
    if entry.variant and not component.variant_option:
        raise UnknownComponentError(
            f"no installed {entry.kind.singular} is called '{entry.name}:{entry.variant}': "
            f"{entry.name!r} of {entry.distribution} has no variants, and no distribution is called {entry.name!r}"
        )
    return component


def variant(entry: Entry, component: type[Component]) -> dict[str, str]:
    """The option that the variant in ``use = "name:variant"`` stands for; empty where there is none."""
    return {component.variant_option: entry.variant} if entry.variant else {}


def _import(entry: Entry) -> Any:
    if entry.distribution == LOCAL:
        return local_entries[entry.kind.group, entry.name][1]
    module, _, attribute = entry.target.partition(":")
    way_out = (
        f"upgrade {entry.distribution} (pip install -U {entry.distribution}), "
        f"uninstall it (pip uninstall {entry.distribution}), or use another {entry.kind.singular}"
    )
    try:
        found: Any = import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (module == missing or module.startswith(missing + ".")):
            raise BrokenComponentError(
                f"{entry}: stale entry point, there is no module {missing!r}; {way_out}"
            ) from error
        raise BrokenComponentError(
            f"{entry}: it needs the module {missing!r}, which is not installed; "
            f"install that (pip install {_source(missing.partition('.')[0], entry.distribution)}), or {way_out}"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # A plugin may call sys.exit or raise anything at import; whatever it is, it concerns this component alone.
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise BrokenComponentError(f"{entry}: importing {module} fails with {cause}; {way_out}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise BrokenComponentError(f"{entry}: stale entry point, {module} has no {attribute!r}; {way_out}")
        found = getattr(found, part)
    return found


def _source(package: str, distribution: str) -> str:
    """What to install for a package: the distribution's extra that names it, else the package itself."""
    with suppress(PackageNotFoundError, InvalidRequirement):
        for requirement in map(Requirement, requires(distribution) or ()):
            extra = EXTRA.search(str(requirement.marker))
            if extra and canonicalize_name(requirement.name) == canonicalize_name(package):
                return f"'{distribution}[{extra[1]}]'"
    return package


def _check_api(entry: Entry, api: object) -> None:
    if not isinstance(api, int) or isinstance(api, bool):
        raise IncompatibleComponentError(
            f"{entry}: it does not say which contract version it was written for; its class needs a line `api = {API}`"
        )
    if api > API:
        raise IncompatibleComponentError(
            f"{entry}: it needs contract version {api}, this sslkit knows up to {API}; "
            f"upgrade sslkit (pip install -U sslkit) or install an older {entry.distribution}"
        )
    if api < OLDEST_API:
        raise IncompatibleComponentError(
            f"{entry}: it was written for contract version {api}, this sslkit accepts {OLDEST_API} to {API}; "
            f"upgrade {entry.distribution} (pip install -U {entry.distribution})"
        )
