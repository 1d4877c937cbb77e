from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from recording_reporter import RecordingReporter
from tape_graphs import TapeGraphs

from sslkit.contracts.loss import LossOutput, ViewOutputs
from sslkit.contracts.method import MethodOutput
from sslkit.recipe.recipe import Recipe
from sslkit.runs.run import Run
from sslkit.training import learner
from sslkit.training.events import StepEnded
from sslkit.training.step.captured_step import CapturedStep, device_rates
from sslkit.training.step.inputs import StepInputs
from sslkit.training.train import train
from sslkit_selfcls.loss import SelfClassifierLoss


def signal_after_steps(steps: Sequence[int], number: signal.Signals = signal.SIGTERM) -> RecordingReporter:
    def send(event: StepEnded) -> None:
        if event.progress.step in steps:
            os.kill(os.getpid(), number)

    return RecordingReporter(StepEnded, send)


@pytest.fixture(scope="session")
def tiny_recipe_text(tiny_recipe_text: str) -> str:
    """Return the tiny recipe with a smaller backbone, which trains in half of the time."""
    return tiny_recipe_text.replace('use = "convnet"\n', 'use = "convnet"\nwidth = 4\n')


@pytest.fixture(scope="session")
def stop_at() -> Callable[..., RecordingReporter]:
    """Return a function that makes a reporter that sends this process a signal after given steps."""
    return signal_after_steps


@pytest.fixture
def diverge_in_step_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """Multiply the Self-Classifier loss by a scheduled value, which is NaN in step 8."""
    forward = SelfClassifierLoss.forward

    def forward_with_factor(self: SelfClassifierLoss, views: ViewOutputs) -> LossOutput:
        output = forward(self, views)
        return LossOutput(output.total * views.scheduled["factor"], output.terms, output.per_classifier)

    monkeypatch.setattr(SelfClassifierLoss, "forward", forward_with_factor)
    monkeypatch.setattr(SelfClassifierLoss, "scheduled", lambda self, step: {"factor": math.nan if step == 7 else 1.0})


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> TapeGraphs:
    """Capture all steps of this test, with the returned graphs."""
    graphs = TapeGraphs()
    monkeypatch.setattr(learner, "choose_graphs", lambda *arguments: graphs)
    return graphs


@pytest.fixture
def without_graphs(monkeypatch: pytest.MonkeyPatch, graphs: TapeGraphs) -> Callable[[Recipe, Path], Run]:
    """Return a function that trains with the inputs of captured steps, but without graphs."""

    def step(self: CapturedStep, inputs: StepInputs, position: int) -> MethodOutput:
        with device_rates(self.step.optimizer, inputs.scheduled):
            return self.step(inputs, position)

    def train_eagerly(recipe: Recipe, folder: Path) -> Run:
        with monkeypatch.context() as patch:
            patch.setattr(CapturedStep, "__call__", step)
            return train(recipe, folder)

    return train_eagerly
