"""Check in a separate process that every component can be imported, because an import may hang or crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from sslkit.components.catalog import PLUGINS_VARIABLE, THIS_PROCESS, Catalog
from sslkit.diagnosis.checks import CheckResult

if TYPE_CHECKING:
    from sslkit.components.catalog import Entry

ImportStatus = Literal["ok", "info", "error"]

TIMEOUT = 120.0
"""Time in seconds after which the importing process is stopped."""

SCRIPT = """
import json, os, sys
# Results use a copy of stdout; prints of plugins go to stderr.
results = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from sslkit.components.catalog import Catalog
from sslkit.components.importer import load_component
from sslkit.errors import ComponentError, MissingExtraError
entries = {entry.kind.singular + " " + entry.qualified: entry for entry in Catalog.scan().entries}
for name in json.loads(sys.argv[1]):
    try:
        load_component(entries[name])
        result = ["ok", ""]
    except MissingExtraError as error:
        result = ["info", str(error)]
    except ComponentError as error:
        result = ["error", str(error)]
    print(json.dumps(result), file=results, flush=True)
results.flush()
# Skip the plugins' exit handlers.
os._exit(0)
"""


def check_plugins() -> Iterator[CheckResult]:
    """Report components that cannot be imported, and problems with installed distributions.

    Such problems are malformed metadata, distributions that the variable ``SSLKIT_PLUGINS`` hides, and names in this
    variable for which no component is installed.
    """
    catalog = Catalog.scan()
    for name, reason in catalog.unreadable:
        yield CheckResult("plugins", "error", f"{name}: {reason}", f"reinstall or uninstall it (pip uninstall {name})")
    for name in catalog.missing:
        text = f"{PLUGINS_VARIABLE} names {name}, which offers no component here"
        yield CheckResult("plugins", "warning", text, f"install it, or remove it from {PLUGINS_VARIABLE}")
    if catalog.hidden:
        hidden = ", ".join(sorted({entry.distribution for entry in catalog.hidden}))
        text, advice = f"{PLUGINS_VARIABLE} hides {hidden}", f"unset {PLUGINS_VARIABLE} to use all plugins"
        yield CheckResult("plugins", "warning", text, advice)
    entries = [entry for entry in catalog.entries if entry.distribution != THIS_PROCESS]
    failed = 0
    for entry, status, reason in try_imports(entries):
        failed += status != "ok"
        if status == "info":
            yield CheckResult("plugins", "info", reason)
        elif status == "error":
            yield CheckResult("plugins", "error", reason, f"for details run `sslkit plugins check {entry.qualified}`")
    distributions = {entry.distribution: f"{entry.distribution} {entry.version}" for entry in entries}
    text = f"{len(entries) - failed} components of {', '.join(distributions.values())} can be imported"
    yield CheckResult("plugins", "ok", text)


def try_imports(entries: Sequence[Entry], seconds: float = TIMEOUT) -> Iterator[tuple[Entry, ImportStatus, str]]:
    """Import components in a separate process, which is killed if it runs longer than ``seconds``.

    If the process hangs or crashes, the component that it was importing is reported as an error, and a new process
    imports the remaining components.

    Yields:
        A tuple for each component: the component, the status of its import, and the reason if the import fails. The
        status is ``info`` if the component needs an extra that is not installed.
    """
    remaining = list(entries)
    while remaining:
        results, exit_reason = _import(remaining, seconds)
        for entry, (status, reason) in zip(remaining, results, strict=False):
            yield entry, status, reason
        remaining = remaining[len(results) :]
        if remaining:
            yield remaining[0], "error", f"{remaining[0]}: importing it {exit_reason}"
            remaining = remaining[1:]


def _import(entries: Sequence[Entry], seconds: float) -> tuple[list[tuple[ImportStatus, str]], str]:
    """Import components in a new process, which is killed if it runs longer than ``seconds``.

    Return the results that the process reported before it ended, and a description of how it ended.
    """
    names = json.dumps([f"{entry.kind.singular} {entry.qualified}" for entry in entries])
    command = [sys.executable, "-c", SCRIPT, names]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, env=environment)
        lines, exit_reason = done.stdout, f"ends the process with exit code {done.returncode}"
    except subprocess.TimeoutExpired as error:
        lines, exit_reason = error.stdout or b"", f"takes longer than {seconds:g} s"
    return [json.loads(line) for line in lines.splitlines()], exit_reason
