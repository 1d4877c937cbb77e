"""Compare the solved linear probe with scikit-learn (accuracy) and with a probe trained by SGD (time).

    python benchmarks/speed/linear_probe_sgd.py RUN [--no-record]     # a finished run whose data have labels

Each time is the duration of a complete evaluation, which computes the features without the feature cache. The SGD probe
is ``linear-sgd``, which follows the protocol of the published report. It is measured for one and for three epochs, and
its time for 100 epochs is extrapolated from the difference. scikit-learn's ``LogisticRegression`` uses the same scaled
features, and the penalty that the solved probe chose. Each probe is measured once. Writes
``benchmarks/records/linear-probe-sgd.json``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression

from benchmarks.common import name_with_device, option_parser, print_table, write_record
from sslkit.contracts.evaluator import Evaluation
from sslkit.device.hardware import choose_device
from sslkit.evaluation.build_evaluators import build_evaluators
from sslkit.evaluation.labels import join_features, require_labels
from sslkit.evaluation.logistic_regression import StandardScaler
from sslkit.evaluation.run_subject import RunSubject
from sslkit.features import cache as feature_cache
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run

EPOCHS = 100
"""Number of epochs of the probe in the report."""


def evaluate(run: Run, evaluator: str, options: dict[str, Any]) -> tuple[float, Evaluation]:
    """Evaluate a run with one evaluator; return the duration in seconds and the result."""
    built = build_evaluators({evaluator: options})[evaluator]
    started = time.perf_counter()
    evaluation = built.evaluate(RunSubject(run, choose_device("auto")))
    return time.perf_counter() - started, evaluation


def fit_scikit_learn(run: Run, penalty: float) -> dict[str, float]:
    """Return the top-1 accuracy of scikit-learn on the same features, and the duration of the fit in seconds."""
    subject = RunSubject(run, choose_device("auto"))
    train, validation, test = (subject.features(name) for name in ("train", "validation", "test"))
    labelled = join_features(train, validation)
    scaler = StandardScaler.fit(labelled.features)
    started = time.perf_counter()
    model = LogisticRegression(C=1 / (penalty * len(labelled.features)), max_iter=10000, tol=1e-6)
    model.fit(scaler(labelled.features).numpy(), require_labels(labelled, "train").numpy())
    seconds = time.perf_counter() - started
    top1 = model.score(scaler(test.features).numpy(), require_labels(test, "test").numpy())
    return {"top1": top1, "seconds": seconds}


def main() -> None:
    """Measure all three probes, print a table and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("run", type=Path)
    options = parser.parse_args()
    run = Run(options.run)
    feature_cache.MAX_CACHE_BYTES = 0  # the cache writes no entry
    feature_cache.CACHE_FORMAT = -1  # the cache reads no entry
    solved_seconds, solved = evaluate(run, "linear", {})
    (penalty,) = solved.protocol["penalty_chosen"]["1"]
    scikit_learn = fit_scikit_learn(run, penalty)
    points = 100 * (solved.metrics["top1"] - scikit_learn["top1"])
    one_epoch, _ = evaluate(run, "linear-sgd", {"epochs": 1})
    three_epochs, trained = evaluate(run, "linear-sgd", {"epochs": 3})
    all_epochs = one_epoch + (three_epochs - one_epoch) / 2 * (EPOCHS - 1)
    rows = [
        ("solved", f"{solved_seconds:.0f} s, {points:+.2f} points over scikit-learn"),
        (f"SGD, {EPOCHS} epochs, extrapolated", f"{all_epochs:.0f} s"),
    ]
    print_table(f"{run.name}: {all_epochs / solved_seconds:.0f} × as fast", ("probe", "time"), rows)
    if not options.no_record:
        record = {
            "n": 1,
            "backbone": load_recipe(run.recipe).resolved()["backbone"],
            "images": solved.protocol["train_images"],
            "solved_seconds": solved_seconds,
            "solved": dict(solved.metrics),
            "scikit_learn": scikit_learn,
            "points_over_scikit_learn": points,
            "sgd_seconds": {"epochs_1": one_epoch, "epochs_3": three_epochs, "epochs_100_extrapolated": all_epochs},
            "sgd_after_3_epochs": dict(trained.metrics),
            "ratio": all_epochs / solved_seconds,
        }
        command = "python benchmarks/speed/linear_probe_sgd.py RUN"
        write_record(name_with_device("linear-probe-sgd"), record, command=command)


if __name__ == "__main__":
    main()
