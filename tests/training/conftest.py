from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence

import pytest
from recording_reporter import RecordingReporter

from sslkit.training.events import StepEnded


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
