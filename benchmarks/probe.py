"""How much sooner the solved linear probe is there than the one that is trained as a published report trained it.

    python benchmarks/probe.py RUN           # a finished run whose data have labels

Each side is a whole evaluation of its own, features included, with nothing kept from before.  The report's protocol is
measured for one and for three epochs; its 100 are extrapolated from the difference.  Writes
``benchmarks/records/probe.json``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from common import print_table, write_record

from sslkit.evaluation import feature_cache
from sslkit.evaluation.evaluate import build_evaluators
from sslkit.evaluation.subject import RunSubject
from sslkit.hardware import choose
from sslkit.runs import Run

EPOCHS = 100
"""Of the report."""


def seconds(run: Run, evaluator: str, options: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """How long one evaluation takes, and its figures."""
    built = build_evaluators({evaluator: options})[evaluator]
    began = time.perf_counter()
    subject = RunSubject(run, choose("auto", "auto").device)
    found = dict(built.evaluate(subject).figures)
    return time.perf_counter() - began, found


def main() -> None:
    """Measure both protocols and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    asked = parser.parse_args()
    run = Run(asked.run)
    feature_cache.LIMIT = 0  # nothing is kept, and what was kept is not found
    feature_cache.FORMAT = -1
    solved, figures = seconds(run, "linear", {})
    one, _ = seconds(run, "linear-report", {"epochs": 1})
    three, trained = seconds(run, "linear-report", {"epochs": 3})
    report = one + (three - one) / 2 * (EPOCHS - 1)
    rows = [("solved", f"{solved:.0f} s"), ("trained for 100 epochs, extrapolated", f"{report:.0f} s")]
    print_table(f"{run.name}: {report / solved:.0f} times sooner", ("probe", "takes"), rows)
    record = {
        "n": 1,
        "run": run.name,
        "solved_seconds": solved,
        "solved": figures,
        "report_seconds": {"epochs_1": one, "epochs_3": three, "epochs_100_extrapolated": report},
        "report_after_3_epochs": trained,
        "ratio": report / solved,
    }
    write_record("probe", "python benchmarks/probe.py RUN", record)


if __name__ == "__main__":
    main()
