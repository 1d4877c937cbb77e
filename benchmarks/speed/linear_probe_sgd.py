"""Whether the solved linear probe finds what scikit-learn finds, and how much sooner it is there than the one that is
trained as a published report trained it.

    python benchmarks/speed/linear_probe_sgd.py RUN           # a finished run whose data have labels

Each side is a whole evaluation of its own, features included, with nothing kept from before.  The report's protocol is
measured for one and for three epochs; its 100 are extrapolated from the difference.  scikit-learn's
``LogisticRegression`` is given the same features, scaled alike, and the penalty that the probe chose.  Writes
``benchmarks/records/linear-probe-sgd.json``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression

from benchmarks.common import by_device, print_table, write_record
from sslkit.contracts.evaluator import Evaluation
from sslkit.device.hardware import choose_hardware
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.labels import require_labels, join_features
from sslkit.evaluation.logistic_regression import StandardScaler
from sslkit.evaluation.run_subject import RunSubject
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.trained import feature_cache

EPOCHS = 100
"""Of the report."""


def seconds(run: Run, evaluator: str, options: dict[str, Any]) -> tuple[float, Evaluation]:
    """How long one evaluation takes, and what it finds."""
    built = build_evaluators({evaluator: options})[evaluator]
    began = time.perf_counter()
    subject = RunSubject(run, choose_hardware("auto", "auto").device)
    found = built.evaluate(subject)
    return time.perf_counter() - began, found


def by_scikit_learn(run: Run, penalty: float) -> dict[str, float]:
    """Its top-1 on the same features, and how long one fit takes."""
    subject = RunSubject(run, choose_hardware("auto", "auto").device)
    train, validation, test = (subject.features(name) for name in ("train", "validation", "test"))
    known = join_features(train, validation)
    scaling = StandardScaler.fit(known.features)
    began = time.perf_counter()
    theirs = LogisticRegression(C=1 / (penalty * len(known.features)), max_iter=10000, tol=1e-6)
    theirs.fit(scaling(known.features).numpy(), require_labels(known, "train").numpy())
    took = time.perf_counter() - began
    return {"top1": theirs.score(scaling(test.features).numpy(), require_labels(test, "test").numpy()), "seconds": took}


def main() -> None:
    """Measure both protocols and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    asked = parser.parse_args()
    run = Run(asked.run)
    feature_cache.MAX_CACHE_BYTES = 0  # nothing is kept, and what was kept is not found
    feature_cache.CACHE_FORMAT = -1
    solved, found = seconds(run, "linear", {})
    (penalty,) = found.protocol["penalty_chosen"]["1"]
    theirs = by_scikit_learn(run, penalty)
    difference = found.metrics["top1"] - theirs["top1"]
    one, _ = seconds(run, "linear-sgd", {"epochs": 1})
    three, trained = seconds(run, "linear-sgd", {"epochs": 3})
    report = one + (three - one) / 2 * (EPOCHS - 1)
    rows = [
        ("solved", f"{solved:.0f} s, {100 * difference:+.2f} points over scikit-learn"),
        ("trained for 100 epochs, extrapolated", f"{report:.0f} s"),
    ]
    print_table(f"{run.name}: {report / solved:.0f} times sooner", ("probe", "takes"), rows)
    record = {
        "n": 1,
        "backbone": load_recipe(run.recipe).resolved()["backbone"],
        "images": found.protocol["train_images"],
        "solved_seconds": solved,
        "solved": dict(found.metrics),
        "scikit_learn": theirs,
        "points_over_scikit_learn": 100 * difference,
        "report_seconds": {"epochs_1": one, "epochs_3": three, "epochs_100_extrapolated": report},
        "report_after_3_epochs": dict(trained.metrics),
        "ratio": report / solved,
    }
    write_record(by_device("linear-probe-sgd"), "python benchmarks/speed/linear_probe_sgd.py RUN", record)


if __name__ == "__main__":
    main()
