"""Sentences about the best method."""

from __future__ import annotations

from sslkit.method_comparison.accuracies import Accuracies, Summary
from sslkit.method_comparison.result import MethodResult, RunResult, sort_methods
from sslkit.method_comparison.verdict import differs, verdict


def method(name: str, *accuracies: float, random: float = 0.4) -> MethodResult:
    runs = [
        RunResult(seed, "", "finished", accuracies=Accuracies({"linear_top1": value}, {"linear_top1": random}, None, 0))
        for seed, value in enumerate(accuracies)
    ]
    return MethodResult(name, f"{name}.toml", None, {}, {}, tuple(runs))


def test_the_best_method_and_those_that_are_not_significantly_worse() -> None:
    methods = sort_methods([method("low", 0.3), method("close", 0.697), method("best", 0.7), method("failed")])
    assert [each.name for each in methods] == ["best", "close", "low", "failed"]
    assert verdict(methods, 10_000) == (
        "highest linear probe: best, 0.700 (random weights 0.400)",
        "close (0.697) is not significantly worse (95 % level)",
        "not better than random weights: low",
        "one seed: the variation between training runs is unknown; measure it with more seeds, such as --seeds 0,1,2",
    )
    seeds = verdict([method("best", 0.7, 0.72), method("low", 0.5, 0.5)], 10_000)
    assert seeds == ("highest linear probe: best, 0.710 ± 0.014 (random weights 0.400 ± 0.000)",)
    assert verdict([method("failed")], 10_000) == ("no method has a result",)


def test_a_difference_counts_sampling_of_test_images_and_variation_between_seeds() -> None:
    better, worse = Summary(0.6, None, 1), Summary(0.5, None, 1)
    # the standard error of both with 400 images is 0.035, with 100 images 0.07
    assert differs(better, worse, 400)
    assert not differs(better, worse, 100)
    assert not differs(Summary(0.6, 0.1, 2), Summary(0.5, 0.1, 2), 10**9)
