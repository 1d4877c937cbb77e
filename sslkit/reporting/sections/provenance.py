"""Provenance of a run: command, versions, components and hardware."""

from __future__ import annotations

import shlex
from typing import Any

from sslkit.reporting.evaluation_tables import flatten, format_value


def provenance_rows(provenance: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the name and the value of every entry of ``provenance.json``.

    The file may be untrusted, so values of unexpected types raise no error.
    """
    rest = dict(provenance)
    rows = []
    if isinstance(command := rest.pop("command", None), list):
        rows.append(("command", shlex.join(map(str, command))))
    if isinstance(versions := rest.pop("versions", None), dict):
        rows.append(("versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    if isinstance(components := rest.pop("components", None), dict):
        rows += [
            (f"component {path}", f"{item.get('name')} of {item.get('distribution')} {item.get('version')}")
            for path, item in components.items()
            if isinstance(item, dict)
        ]
    return rows + [(key, format_value(value)) for key, value in flatten(rest)]
