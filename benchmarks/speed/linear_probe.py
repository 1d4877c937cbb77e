"""Compare sslkit's linear probe with scikit-learn's logistic regression on synthetic features.

    python benchmarks/speed/linear_probe.py [--images 50000] [--width 512] [--classes 10] [--rounds 3] [--no-record]

Features are drawn from overlapping Gaussian distributions, one per class. A tenth of the images is held out, and there
is one test image for every ten images. Both libraries fit the same penalties, choose a penalty on the held-out images,
fit again on all images, and compute the accuracy on the same test images. Writes
``benchmarks/records/linear-probe.json``.
"""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import (
    measure_interleaved,
    name_with_device,
    option_parser,
    print_table,
    ratio,
    write_record,
)
from sslkit.contracts.evaluator import Features
from sslkit.evaluation.evaluators.linear import Linear


class SyntheticSubject:
    """Evaluation subject with synthetic Gaussian features instead of the features of a run."""

    seed = 0
    other_data = ""
    untrained = False
    mask_names: tuple[str, ...] = ()

    def __init__(self, images: int, width: int, classes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        centres = torch.randn(classes, width, generator=generator) * 0.16
        mixing = torch.randn(width, width, generator=generator) / width**0.5

        def draw(count: int) -> Features:
            labels = torch.randint(0, classes, (count,), generator=generator)
            noise = torch.randn(count, width, generator=generator)
            return Features((centres[labels] + noise) @ mixing, labels)

        self.class_names = tuple(map(str, range(classes)))
        held_out = images // 10
        self.splits = {
            "train": draw(images - held_out),
            "validation": draw(held_out),
            "test": draw(max(held_out, 1000)),
        }

    def features(self, split: str) -> Features:
        """Return the features of a split."""
        return self.splits[split]


def probe_with_scikit_learn(subject: SyntheticSubject, penalties: tuple[float, ...]) -> float:
    """Return the test accuracy of scikit-learn's ``LogisticRegression`` with the best penalty."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    def arrays(*splits: str) -> tuple[Any, Any]:
        parts = [subject.features(name) for name in splits]
        labels: list[Tensor] = [part.labels for part in parts if part.labels is not None]
        return torch.cat([part.features for part in parts]).numpy(), torch.cat(labels).numpy()

    scaler = StandardScaler().fit(arrays("train", "validation")[0])

    def score(penalty: float, fitted_on: tuple[str, ...], scored_on: str) -> float:
        x, y = arrays(*fitted_on)
        model = LogisticRegression(C=1 / (penalty * len(x)), max_iter=1000).fit(scaler.transform(x), y)
        test_x, test_y = arrays(scored_on)
        return float(model.score(scaler.transform(test_x), test_y))

    best = max(penalties, key=lambda penalty: (score(penalty, ("train",), "validation"), penalty))
    return score(best, ("train", "validation"), "test")


def main() -> None:
    """Compare both libraries, print a table and write the record."""
    parser = option_parser(__doc__, rounds=3)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    subject: Any = SyntheticSubject(options.images, options.width, options.classes)
    evaluator = Linear(Linear.Options.model_validate({}))
    penalties = evaluator.options.penalties
    accuracy: dict[str, float] = {}

    def measure(library: str) -> float:
        started = time.perf_counter()
        if library == "sslkit":
            accuracy[library] = evaluator.evaluate(subject).metrics["top1"]
        else:
            accuracy[library] = probe_with_scikit_learn(subject, penalties)
        return time.perf_counter() - started

    libraries = ("sslkit", "scikit-learn")
    seconds = measure_interleaved({name: partial(measure, name) for name in libraries}, options.rounds)
    rows = [(name, f"{median(seconds[name]):.1f}", f"{accuracy[name]:.4f}") for name in libraries]
    print_table(f"{options.images} x {options.width}, {len(penalties)} penalties", ("library", "s", "top-1"), rows)
    if not options.no_record:
        record = {
            "n": options.rounds,
            "seed": 0,
            "settings": vars(options),
            "seconds": seconds,
            "top1": accuracy,
            "scikit_learn_over_sslkit": ratio(seconds["scikit-learn"], seconds["sslkit"]),
        }
        write_record(name_with_device("linear-probe"), record, ("scikit-learn", "numpy", "scipy"))


if __name__ == "__main__":
    main()
