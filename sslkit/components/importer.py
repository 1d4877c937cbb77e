"""Import a single component. Errors state the cause and the remedy."""

from __future__ import annotations

import re
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from sslkit.components.catalog import THIS_PROCESS, Entry, registered_components
from sslkit.contracts import API, CHANGES, OLDEST_API
from sslkit.contracts.component import KNOWN_NEEDS, Component
from sslkit.contracts.options import Options
from sslkit.errors import BrokenComponentError, IncompatibleComponentError, MissingExtraError, UnknownComponentError

EXTRA = re.compile(r'extra == "([^"]+)"')
"""Name of the extra in the marker of a requirement."""


def load_component(entry: Entry) -> type[Component]:
    """Import the class of an entry point and check it against the contract of its kind.

    Raises:
        BrokenComponentError: the module or the class does not exist, a dependency is missing, or the import fails.
        IncompatibleComponentError: the imported object is not a subclass of its kind's base class, lacks a method, is
            written for another contract version, has unknown names in ``needs``, or has an option whose default is
            invalid.
        UnknownComponentError: ``use`` names a variant, but the component has no variants.
    """
    imported = _import(entry)
    base_module, _, base_name = entry.kind.base.partition(":")
    base = getattr(import_module(base_module), base_name)
    report = f"report this to the author of {entry.distribution}"
    if not (isinstance(imported, type) and issubclass(imported, base)):
        actual = f"class {imported.__name__}" if isinstance(imported, type) else f"of type {type(imported).__name__}"
        raise IncompatibleComponentError(
            f"{entry}: it is {actual}, which is not a subclass of sslkit.{base_name}; "
            f"{report}, or use another {entry.kind.singular}"
        )
    _check_api(entry, getattr(imported, "api", None))
    missing = [name for name in dir(imported) if getattr(getattr(imported, name, None), "__isabstractmethod__", False)]
    if missing:
        raise IncompatibleComponentError(
            f"{entry}: it does not implement {', '.join(missing)}, which every {entry.kind.singular} needs; {report}"
        )
    _check_needs(entry, imported)
    options = getattr(imported, "Options", None)
    if not (isinstance(options, type) and issubclass(options, Options)):
        raise IncompatibleComponentError(f"{entry}: its Options must be a subclass of sslkit.Options; {report}")
    _check_defaults(entry, options)
    conflicts = sorted(options.model_fields.keys() & (entry.kind.reserved | {"use"}))
    if conflicts:
        raise IncompatibleComponentError(
            f"{entry}: its option {conflicts[0]!r} has a name that sslkit reserves in the table of every "
            f"{entry.kind.singular}; {report}, who must rename it"
        )
    component: type[Component] = imported
    if entry.variant and not component.variant_option:
        raise UnknownComponentError(
            f"no installed {entry.kind.singular} is called '{entry.name}:{entry.variant}': "
            f"{entry.name!r} of {entry.distribution} has no variants, and no distribution is called {entry.name!r}"
        )
    return component


def variant_options(entry: Entry, component: type[Component]) -> dict[str, str]:
    """Return the option and value that ``use = "name:variant"`` sets, or an empty mapping without a variant."""
    return {component.variant_option: entry.variant} if entry.variant else {}


def _import(entry: Entry) -> Any:
    if entry.distribution == THIS_PROCESS:
        return registered_components[entry.kind.group, entry.name][1]
    module, _, attribute = entry.target.partition(":")
    remedy = (
        f"upgrade {entry.distribution} (pip install -U {entry.distribution}), "
        f"uninstall it (pip uninstall {entry.distribution}), or use another {entry.kind.singular}"
    )
    try:
        imported: Any = import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and (module == missing or module.startswith(missing + ".")):
            raise BrokenComponentError(
                f"{entry}: stale entry point, there is no module {missing!r}; {remedy}"
            ) from error
        package = missing.partition(".")[0]
        extra = _extra(package, entry.distribution)
        source = f"'{entry.distribution}[{extra}]'" if extra else package
        raise (MissingExtraError if extra else BrokenComponentError)(
            f"{entry}: it needs the module {missing!r}, which is not installed; "
            f"install it (pip install {source}), or {remedy}"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # At import, a plugin may call sys.exit or raise any exception. Other components must still work.
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise BrokenComponentError(f"{entry}: importing {module} fails with {cause}; {remedy}") from error
    for part in attribute.split("."):
        if not hasattr(imported, part):
            raise BrokenComponentError(f"{entry}: stale entry point, {module} has no {attribute!r}; {remedy}")
        imported = getattr(imported, part)
    return imported


def _extra(package: str, distribution: str) -> str:
    """Return the extra of ``distribution`` that installs ``package``, or ``""`` if no extra does."""
    with suppress(PackageNotFoundError, InvalidRequirement):
        for requirement in map(Requirement, requires(distribution) or ()):
            extra = EXTRA.search(str(requirement.marker))
            if extra and canonicalize_name(requirement.name) == canonicalize_name(package):
                return extra[1]
    return ""


def _check_needs(entry: Entry, imported: Any) -> None:
    known = KNOWN_NEEDS.get(entry.kind.singular)
    if known is None:
        return
    needs = imported.needs
    if not isinstance(needs, (set, frozenset)):
        raise IncompatibleComponentError(
            f"{entry}: its needs must be a frozenset of names, such as frozenset({{{known[0]!r}}}), not {needs!r}"
        )
    unknown = sorted(str(name) for name in needs if name not in known)
    if unknown:
        close = get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise IncompatibleComponentError(
            f"{entry}: its needs contain {unknown[0]!r}: {hint}the known names are {', '.join(known)}; "
            f"report this to the author of {entry.distribution}"
        )


def _check_defaults(entry: Entry, options: type[Options]) -> None:
    try:
        options()
    except ValidationError as error:
        for problem in error.errors(include_url=False):
            name = str(problem["loc"][0]) if problem["loc"] else ""
            if problem["type"] == "missing" or name not in options.model_fields:
                continue  # required, or the defaults do not fit together, which a recipe may repair
            default = options.model_fields[name].get_default(call_default_factory=True)
            message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
            raise IncompatibleComponentError(
                f"{entry}: its option {name!r} refuses its own default {default!r}: {message}; "
                f"report this to the author of {entry.distribution}"
            ) from error


def _check_api(entry: Entry, api: object) -> None:
    if not isinstance(api, int) or isinstance(api, bool):
        raise IncompatibleComponentError(
            f"{entry}: it does not declare its contract version; add a line `api = {API}` to the class"
        )
    if api > API:
        raise IncompatibleComponentError(
            f"{entry}: it needs contract version {api}, this sslkit accepts {_accepted()}; "
            f"upgrade sslkit (pip install -U sslkit) or install an older {entry.distribution}"
        )
    if api < OLDEST_API:
        changes = "; ".join(change for version, change in CHANGES.items() if version > api)
        raise IncompatibleComponentError(
            f"{entry}: it was written for contract version {api}, this sslkit accepts {_accepted()}; "
            f"upgrade {entry.distribution} (pip install -U {entry.distribution}). For its author: {changes}"
        )


def _accepted() -> str:
    return str(API) if API == OLDEST_API else f"{OLDEST_API} to {API}"
