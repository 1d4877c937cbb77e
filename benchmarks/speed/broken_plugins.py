"""Measure how broken plugins slow down commands that do not use them.

    python benchmarks/speed/broken_plugins.py [--rounds 15] [--no-record]

Installs every plugin of ``PLUGINS`` into a folder. Runs fast commands with and without this folder on the Python path,
in interleaved rounds. Writes ``benchmarks/records/broken-plugins.json``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.common import (
    ROOT,
    measure_interleaved,
    name_with_device,
    option_parser,
    print_table,
    seconds_of,
    write_record,
)

COMMANDS = (("--help",), ("plugins", "list"), ("recipes", "check", str(ROOT / "recipes" / "quickstart.toml")))

LOSS = """
import sslkit
class Example(sslkit.Loss):
    api = {api}
    needs = frozenset({{"embeddings"}})
    def forward(self, views):
        return sslkit.LossOutput(views.student.embeddings[0].square().mean())
"""

PLUGINS = {
    "import-error": "from os import no_such_name",
    "slow-import": "import time; time.sleep(10)\n" + LOSS.format(api=2),
    "wrong-contract-version": LOSS.format(api=99),
    "missing-module": None,
    "endless-import": "import threading; threading.Event().wait()",
    "prints-on-import": "print('noise')\n" + LOSS.format(api=2),
    "huge-metadata": LOSS.format(api=2),
}
"""Source code of each plugin, keyed by component name; None: the entry point names a module that does not exist."""

HUGE = 5_000_000
"""Length of the description in the metadata of the plugin ``huge-metadata``, in characters."""


def install(site: Path) -> None:
    """Write all plugins into a folder in the same form in which pip installs them."""
    for name, source in PLUGINS.items():
        module = f"example_{name.replace('-', '_')}"
        if source is not None:
            (site / f"{module}.py").write_text(source)
        info = site / f"{module}-0.7.dist-info"
        info.mkdir()
        description = "word " * (HUGE // 5) if name == "huge-metadata" else ""
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 0.7\n\n{description}\n")
        (info / "entry_points.txt").write_text(f"[sslkit.losses]\n{name} = {module}:Example\n")


def run_command(command: tuple[str, ...], site: Path | None) -> None:
    """Run an sslkit command, with the folder of plugins on the Python path if a folder is given."""
    environment = os.environ | ({"PYTHONPATH": str(site)} if site else {})
    subprocess.run([sys.executable, "-m", "sslkit.cli", *command], env=environment, check=True, capture_output=True)


def main() -> None:
    """Measure all commands, print a table and write the record."""
    options = option_parser(__doc__, rounds=15).parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        install(site)
        for command in COMMANDS:
            run_command(command, site)
            measures = {
                "without": partial(seconds_of, partial(run_command, command, None)),
                "with": partial(seconds_of, partial(run_command, command, site)),
            }
            seconds = measure_interleaved(measures, options.rounds)
            row = {
                "command": " ".join(["sslkit", *(Path(word).name for word in command)]),
                "seconds": median(seconds["without"]),
                "seconds_with_broken_plugins": median(seconds["with"]),
                "median_difference": median(b - a for a, b in zip(seconds["without"], seconds["with"], strict=True)),
            }
            rows.append(row)
    print_table(
        f"seconds, medians of {options.rounds} rounds",
        ("command", "without broken plugins", "with", "difference"),
        [(str(command), *(f"{value:.3f}" for value in values)) for command, *values in (row.values() for row in rows)],
    )
    if not options.no_record:
        record = {"plugins": list(PLUGINS), "n": options.rounds, "rows": rows}
        write_record(name_with_device("broken-plugins"), record)


if __name__ == "__main__":
    main()
