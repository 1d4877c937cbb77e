"""How long commands take to start, and a training to its first step.

    python benchmarks/speed/startup.py [--rounds 5] [--no-record]

Each in a process of its own, in turns.  Beside the light commands: importing torch, importing torch and all of
Lightning, and the quick start up to the end of its first step, which imports less of Lightning and can so be faster.
Writes ``benchmarks/records/startup.json``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from statistics import median

from benchmarks.common import ROOT, by_device, command_line, print_table, take_turns, write_record

FIRST_STEP = """
import os, sys
import sslkit.cli.common.progress as progress
from sslkit.training.events import Reporter, StepEnded
class Leave(Reporter):
    def on_event(self, event):
        if isinstance(event, StepEnded):
            os._exit(0)
progress.console_reporter = lambda console: Leave()
from sslkit.cli.__main__ import main
main()
"""
"""The command line, left at the end of the first step."""


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train = ("train", str(ROOT / "recipes" / "quickstart.toml"), "--runs", folder)
        commands = {
            "sslkit --help": ("-m", "sslkit.cli", "--help"),
            "sslkit plugins list": ("-m", "sslkit.cli", "plugins", "list"),
            "import torch": ("-c", "import torch"),
            "import torch, pytorch_lightning": ("-c", "import torch, pytorch_lightning"),
            "sslkit train quickstart, to its first step": ("-c", FIRST_STEP, *train),
        }

        def seconds(name: str) -> float:
            began = time.perf_counter()
            subprocess.run([sys.executable, *commands[name]], check=True, capture_output=True, cwd=folder)
            return time.perf_counter() - began

        found = take_turns({name: lambda name=name: seconds(name) for name in commands}, asked.rounds)
    steps, imports = found["sslkit train quickstart, to its first step"], found["import torch, pytorch_lightning"]
    found["first step beyond torch and Lightning"] = [a - b for a, b in zip(steps, imports, strict=True)]
    rows = [(name, f"{min(each):.2f}", f"{median(each):.2f}") for name, each in found.items()]
    print_table("seconds", ("what", "best", "median"), rows)
    if not asked.no_record:
        write_record(by_device("startup"), command_line(), {"n": asked.rounds, "seconds": found})


if __name__ == "__main__":
    main()
