"""Import of optional packages."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from sslkit.errors import InputError

PACKAGES = {"google": "protobuf"}
"""Package name of each module whose name differs from that of its package."""


def import_optional(module: str, purpose: str, extra: str) -> ModuleType:
    """Import a package that an extra of sslkit installs.

    Args:
        module: name of the module.
        purpose: feature that needs the module; the subject of the error message.
        extra: name of the extra.

    Raises:
        InputError: the package is not installed or cannot be imported, for example because a dependency of the package
            is missing.
    """
    try:
        return import_module(module)
    except ImportError as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
        if missing == module:
            reason = "which is not installed"
        elif missing:
            package = PACKAGES.get(missing.partition(".")[0], missing)
            reason = f"which is installed, but {package!r}, which it needs, is not"
        else:
            reason = f"which is installed, but cannot be imported: {' '.join(str(error).split())}"
        raise InputError(f"{purpose} needs {module}, {reason}; run pip install 'sslkit[{extra}]'") from error
