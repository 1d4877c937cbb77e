"""The linear probe with its sweep against scikit-learn's, on made-up features.

    python benchmarks/speed/linear_probe.py [--images 50000] [--width 512] [--classes 10] [--rounds 3] [--no-record]

Features are overlapping Gaussian classes, a tenth as many for the test, a tenth held out to choose the
penalty.  Both sides fit the same penalties, choose on the held-out images, fit again on all, and score the same
test images.  Writes ``benchmarks/records/linear-probe.json``.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks.common import by_device, command_line, print_table, ratio, take_turns, write_record
from sslkit.contracts.evaluator import Features
from sslkit.evaluation.linear import Linear


class Made:
    """What the evaluator asks of a run."""

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
        held = images // 10
        self.splits = {"train": draw(images - held), "validation": draw(held), "test": draw(max(held, 1000))}

    def features(self, split: str) -> Features:
        """A split."""
        return self.splits[split]


def scikit_learn(made: Made, penalties: tuple[float, ...]) -> float:
    """Accuracy of ``LogisticRegression`` with the best of the penalties."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    def arrays(*splits: str) -> tuple[Any, Any]:
        parts = [made.features(name) for name in splits]
        labels: list[Tensor] = [part.labels for part in parts if part.labels is not None]
        return torch.cat([part.features for part in parts]).numpy(), torch.cat(labels).numpy()

    scaler = StandardScaler().fit(arrays("train", "validation")[0])

    def score(penalty: float, known: tuple[str, ...], asked: str) -> float:
        x, y = arrays(*known)
        model = LogisticRegression(C=1 / (penalty * len(x)), max_iter=1000).fit(scaler.transform(x), y)
        other, wanted = arrays(asked)
        return float(model.score(scaler.transform(other), wanted))

    chosen = max(penalties, key=lambda penalty: (score(penalty, ("train",), "validation"), penalty))
    return score(chosen, ("train", "validation"), "test")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    made: Any = Made(asked.images, asked.width, asked.classes)
    evaluator = Linear(Linear.Options())
    accuracy: dict[str, float] = {}

    def timed(name: str) -> float:
        began = time.perf_counter()
        if name == "sslkit":
            accuracy[name] = evaluator.evaluate(made).metrics["top1"]
        else:
            accuracy[name] = scikit_learn(made, evaluator.options.penalties)
        return time.perf_counter() - began

    found = take_turns({name: lambda name=name: timed(name) for name in ("sslkit", "scikit-learn")}, asked.rounds)
    rows = [(name, f"{median(each):.1f}", f"{accuracy[name]:.4f}") for name, each in found.items()]
    print_table(
        f"{asked.images} x {asked.width}, sweep of {len(evaluator.options.penalties)}", ("side", "s", "top-1"), rows
    )
    if not asked.no_record:
        record = {
            "n": asked.rounds,
            "seed": 0,
            "settings": vars(asked),
            "seconds": found,
            "top1": accuracy,
            "scikit_learn_over_sslkit": ratio(found["scikit-learn"], found["sslkit"]),
        }
        write_record(by_device("linear-probe"), command_line(), record, ("scikit-learn", "numpy", "scipy"))


if __name__ == "__main__":
    main()
