"""Measure the duration of fast commands, and the time until the first step of training.

    python benchmarks/speed/startup.py [--rounds 5] [--no-record]

Each measurement is a separate process; rounds are interleaved. For comparison, measures the import of torch alone, and
of torch with all of Lightning. The quick start imports only parts of Lightning, so its first step can be faster than
the import of all of Lightning. Writes ``benchmarks/records/startup.json``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from functools import partial
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

FIRST_STEP = """
import os, sys
import sslkit.cli.common.progress as progress
from sslkit.training.events import Reporter, StepEnded
class ExitAfterStep(Reporter):
    def on_event(self, event):
        if isinstance(event, StepEnded):
            os._exit(0)
progress.console_reporter = lambda console: ExitAfterStep()
from sslkit.cli.__main__ import main
main()
"""
"""Python program that runs an sslkit command and exits after the first training step."""

LIGHTNING = "import torch, pytorch_lightning"
TRAINING = "sslkit train quickstart, to its first step"


def main() -> None:
    """Measure all commands, print a table and write the record."""
    options = option_parser(__doc__, rounds=5).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        train = ("train", str(ROOT / "recipes" / "quickstart.toml"), "--runs", folder)
        commands = {
            "sslkit --help": ("-m", "sslkit.cli", "--help"),
            "sslkit plugins list": ("-m", "sslkit.cli", "plugins", "list"),
            "import torch": ("-c", "import torch"),
            LIGHTNING: ("-c", LIGHTNING),
            TRAINING: ("-c", FIRST_STEP, *train),
        }

        def run(name: str) -> None:
            subprocess.run([sys.executable, *commands[name]], check=True, capture_output=True, cwd=folder)

        measures = {name: partial(seconds_of, partial(run, name)) for name in commands}
        seconds = measure_interleaved(measures, options.rounds)
    seconds["first step beyond torch and Lightning"] = [
        training - imports for training, imports in zip(seconds[TRAINING], seconds[LIGHTNING], strict=True)
    ]
    rows = [(name, f"{min(each):.2f}", f"{median(each):.2f}") for name, each in seconds.items()]
    print_table("seconds", ("command", "best", "median"), rows)
    if not options.no_record:
        write_record(name_with_device("startup"), {"n": options.rounds, "seconds": seconds})


if __name__ == "__main__":
    main()
