from __future__ import annotations

import os
import signal
from collections.abc import Sequence

import pytest

from sslkit.training.events import Progress, Reporter


class StopAt(Reporter):
    """Sends this process a signal in the middle of given steps."""

    def __init__(self, steps: Sequence[int], number: signal.Signals = signal.SIGTERM) -> None:
        self.steps = steps
        self.number = number

    def step(self, progress: Progress) -> None:
        if progress.step in self.steps:
            os.kill(os.getpid(), self.number)


@pytest.fixture(scope="session")
def stop_at() -> type[StopAt]:
    return StopAt
