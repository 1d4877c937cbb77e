"""The collapse detector with metrics of healthy and collapsed runs."""

from __future__ import annotations

import math

import pytest

from sslkit.training.monitor.collapse_detector import CollapseDetector

HEALTHY = {"feature_std": 0.4, "view_contrast": 0.6, "view_entropy": 2.0}


def restored(detector: CollapseDetector) -> CollapseDetector:
    """Return a new detector with the state of another."""
    copy = CollapseDetector()
    copy.load_state_dict(detector.state_dict())
    return copy


def test_a_loss_that_stays_at_ln_k_is_reported_once_with_remedies() -> None:
    detector, ln_k = CollapseDetector(), math.log(3000)
    assert detector.update(HEALTHY, ln_k * 1.004, 3000, step=500) == []
    assert detector.update(HEALTHY, ln_k * 1.002, 3000, step=500) == []  # near ln K, but still changing
    early = restored(detector)
    assert early.update(HEALTHY, ln_k * 1.0015, 3000, step=199) == [], "too early to tell"
    (warning,) = detector.update(HEALTHY, ln_k * 1.0015, 3000, step=200)
    assert "stays at ln K = 8.006" in warning
    assert "a smaller or later queue" in warning
    assert restored(detector).update(HEALTHY, ln_k * 1.0015, 3000, step=500) == []


@pytest.mark.parametrize("symptom", [{"feature_std": 0.0001}, {"feature_std": math.nan}])
def test_a_single_symptom_is_reported_only_if_it_persists(symptom: dict[str, float]) -> None:
    detector = CollapseDetector()
    assert detector.update(HEALTHY | symptom, None, 0, step=500) == []
    assert detector.suspicious
    assert detector.update(HEALTHY, None, 0, step=500) == []
    assert not detector.suspicious
    assert detector.update(HEALTHY | symptom, None, 0, step=500) == []
    resumed = restored(detector)
    (warning,) = resumed.update(HEALTHY | symptom, None, 0, step=500)
    assert warning.startswith("features of different images are the same")
    assert resumed.update(HEALTHY | symptom, None, 0, step=500) == []


@pytest.mark.parametrize("symptom", [{"feature_std": 0.0001}, {"feature_std": math.nan}])
def test_two_symptoms_are_reported_except_in_the_first_measurement(symptom: dict[str, float]) -> None:
    both = HEALTHY | symptom | {"view_entropy": 0.01}
    assert CollapseDetector().update(both, None, 10, step=500) == [], "healthy trainings may start like that"
    detector = CollapseDetector()
    assert detector.update(HEALTHY, None, 10, step=500) == []
    assert len(detector.update(both, None, 10, step=500)) == 2


@pytest.mark.parametrize("symptom", [{"feature_std": 0.0001}, {"feature_std": math.nan}])
def test_a_symptom_in_the_last_measurement_is_reported(symptom: dict[str, float]) -> None:
    assert len(CollapseDetector().update(HEALTHY | symptom, None, 0, step=500, last=True)) == 1


def test_lost_directions_are_judged_by_the_rank_of_the_untrained_network() -> None:
    metrics = HEALTHY | {"feature_std": 0.01, "effective_rank": 20.0}
    detector = CollapseDetector()
    detector.untrained_rank = 30.0
    assert [detector.update(metrics, None, 10, step=500) for _ in range(3)] == [[], [], []], "features may be similar"
    wide = CollapseDetector()
    wide.untrained_rank = 355.0
    healthy, collapsed = metrics | {"effective_rank": 100.0}, metrics | {"effective_rank": 75.0}
    assert [wide.update(healthy, None, 10, step=500) for _ in range(2)] == [[], []], "training loses some directions"
    assert "few directions" in [wide.update(collapsed, None, 10, step=500) for _ in range(2)][1][0]
    assert detector.update(metrics | {"effective_rank": 11.0}, None, 10, step=500) == []
    (warning,) = detector.update(metrics | {"effective_rank": 11.5}, None, 10, step=500)
    assert warning.startswith("features of different images differ in few directions (effective rank 11.5, before ")
    assert "training 30): lower the learning rate" in warning
