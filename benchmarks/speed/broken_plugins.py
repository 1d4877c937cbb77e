"""What broken plugins cost the commands that do not ask for them.

    python benchmarks/speed/broken_plugins.py [N]           # N rounds, 15 unless told otherwise

Installs every broken and ill-behaved plugin of ``tests/cli/test_isolation.py`` into a folder, runs light commands with
and without that folder on the path, alternating, and writes medians of seconds into
``benchmarks/records/broken-plugins.json``.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.common import ROOT, by_device, write_record

sys.path.insert(0, str(ROOT / "tests" / "cli"))
from test_isolation import LIVELY, SOURCES

COMMANDS = (("--help",), ("plugins", "list"), ("recipes", "check", str(ROOT / "recipes" / "quickstart.toml")))


def install(site: Path) -> int:
    """Put each plugin into the folder, as pip would; returns how many."""
    sources = {name: source for name, (source, _) in SOURCES.items()} | LIVELY
    for name, source in sources.items():
        module = f"p_{name.replace('-', '_')}"
        (site / f"{module}.py").write_text(source)
        info = site / f"dist_{module}-0.7.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: dist-{name}\nVersion: 0.7\n")
        (info / "entry_points.txt").write_text(f"[sslkit.losses]\n{name} = {module}:Good\n")
    return len(sources)


def seconds(command: tuple[str, ...], site: Path | None) -> float:
    """How long one command takes."""
    environment = os.environ | ({"PYTHONPATH": str(site)} if site else {})
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "sslkit.cli", *command], env=environment, check=True, capture_output=True)
    return time.perf_counter() - begun


def main() -> None:
    """Measure and write the record."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        count = install(site)
        for command in COMMANDS:
            seconds(command, site)
            pairs = [(seconds(command, None), seconds(command, site)) for _ in range(rounds)]
            row = {
                "command": " ".join(["sslkit", *(Path(word).name for word in command)]),
                "seconds": round(median(without for without, _ in pairs), 3),
                "seconds_with_broken_plugins": round(median(broken for _, broken in pairs), 3),
                "median_difference": round(median(broken - without for without, broken in pairs), 3),
            }
            rows.append(row)
            print(row, flush=True)
    write_record(
        by_device("broken-plugins"),
        f"python benchmarks/speed/broken_plugins.py {rounds}",
        {"plugins": count, "n": rounds, "rows": rows},
    )


if __name__ == "__main__":
    main()
