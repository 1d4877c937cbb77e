"""Whether every component can be imported: in other processes, so that one which hangs or dies harms nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sslkit.components.catalog import LOCAL, VARIABLE, Catalog
from sslkit.diagnosis.findings import Finding

if TYPE_CHECKING:
    from sslkit.components.catalog import Entry

SECONDS = 120.0
"""Time that importing may take, torch and all."""

SCRIPT = """
import json, os, sys
# What plugins print must not mix with what is told here.
told = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from sslkit.components.catalog import Catalog
from sslkit.components.importing import load
from sslkit.errors import ComponentError
entries = {entry.kind.singular + " " + entry.qualified: entry for entry in Catalog.scan().entries}
for name in json.loads(sys.argv[1]):
    try:
        load(entries[name])
        reason = ""
    except ComponentError as error:
        reason = str(error)
    print(json.dumps(reason), file=told, flush=True)
told.flush()
# What runs at exit is the plugins' own.
os._exit(0)
"""


def plugins() -> Iterator[Finding]:
    """What can be read of the installed distributions, and each component that cannot be imported."""
    catalog = Catalog.scan()
    for name, reason in catalog.unreadable:
        yield Finding("plugins", "broken", f"{name}: {reason}", f"reinstall or uninstall it (pip uninstall {name})")
    for name in catalog.missing:
        yield Finding("plugins", "note", f"{VARIABLE} names {name}, which offers no component here", "install it")
    if catalog.hidden:
        hidden = sorted({entry.distribution for entry in catalog.hidden})
        yield Finding("plugins", "note", f"{VARIABLE} hides {', '.join(hidden)}", f"unset {VARIABLE} to see them")
    entries = [entry for entry in catalog.entries if entry.distribution != LOCAL]
    broken = 0
    for entry, reason in try_imports(entries):
        if reason:
            broken += 1
            yield Finding("plugins", "broken", reason, f"`sslkit plugins check {entry.qualified}` tells more")
    distributions = {entry.distribution: f"{entry.distribution} {entry.version}" for entry in entries}
    text = f"{len(entries) - broken} components of {', '.join(distributions.values())} can be imported"
    yield Finding("plugins", "good", text)


def try_imports(entries: Sequence[Entry], seconds: float = SECONDS) -> Iterator[tuple[Entry, str]]:
    """Each component with the reason why it cannot be imported, empty where it can.

    All are imported by one process; where that hangs or dies, another goes on with those behind the culprit.
    """
    waiting = list(entries)
    while waiting:
        reasons, end = _import(waiting, seconds)
        yield from zip(waiting, reasons, strict=False)
        waiting = waiting[len(reasons) :]
        if waiting:
            yield waiting[0], f"{waiting[0]}: importing it {end}"
            waiting = waiting[1:]


def _import(entries: Sequence[Entry], seconds: float) -> tuple[list[str], str]:
    """The reasons that were told, and what became of the process."""
    names = json.dumps([f"{entry.kind.singular} {entry.qualified}" for entry in entries])
    command = [sys.executable, "-c", SCRIPT, names]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=environment)
        told, end = done.stdout, f"ends the process with code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        told, end = error.stdout or b"", f"takes longer than {seconds:g} s"
    return [json.loads(line) for line in told.splitlines()], end
