"""Output of training and evaluation on wide and narrow terminals, without colour, and in a pipe.

The files in ``golden`` contain the final screen, with ``#`` for numbers and times that differ between machines.
``SSLKIT_GOLDEN=write`` writes them again.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyte
import pytest
from rich.console import Console

from sslkit.api import Run
from sslkit.cli import evaluate
from sslkit.cli.common import console as console_module
from sslkit.cli.common import summary
from sslkit.cli.common.progress import console_reporter
from sslkit.recipe.load import load_recipe
from sslkit.runs.evaluation_result import EvaluationResult
from sslkit.training.events import EpochEnded, Event, Note, Reporter
from sslkit.training.train import train

GOLDEN = Path(__file__).parent / "golden"

FIXED_PATH = Path("runs/tiny/20260101-000000-abcd")

COLOUR = re.compile(r"\x1b\[[\d;]*\b(3[0-8]|4[0-8]|9\d)\b[\d;]*m")


class EventRecorder(Reporter):
    """Reporter that stores all events, to send them again."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


@dataclass
class Trained:
    events: list[Event]
    run: Run
    result: EvaluationResult


@pytest.fixture(scope="module")
def trained(tiny_recipe_text: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.toml").write_text(tiny_recipe_text)
    before = Path.cwd()
    os.chdir(folder)  # relative paths have the same length everywhere
    recorder = EventRecorder()
    run = train(load_recipe(Path("tiny.toml"), ["train.precision=float32"]), Path("runs"), recorder)
    result = Run(run.path).evaluate(["cluster", "knn"], baselines=["random"])
    # Values that differ between machines would change where lines are wrapped.
    result = replace(result, run=str(FIXED_PATH))
    cluster, knn = result.evaluators["cluster"], result.evaluators["knn"]
    for part in (cluster, cluster.baselines["random_weights"]):
        part.metrics["classes_used"] = 9
    for part in (knn, knn.baselines["random_weights"]):
        part.protocol["neighbours_chosen"] = 5
    events = [_fixed(event, run.path) for event in recorder.events]
    rows = run.metrics.read_text()
    run.metrics.write_text(re.sub(r"classes_used,[0-9.]+", "classes_used,9.0", rows))
    run.path.rename(FIXED_PATH)
    yield Trained(events, Run(FIXED_PATH), result)
    os.chdir(before)


def _fixed(event: Event, path: Path) -> Event:
    if isinstance(event, Note):
        return Note(event.text.replace(str(path), str(FIXED_PATH)))
    if isinstance(event, EpochEnded) and "monitor/classes_used" in event.metrics:
        return replace(event, metrics={**event.metrics, "monitor/classes_used": 9.0})
    return event


@dataclass
class Screen:
    """Standard output and standard error together, as a terminal or a pipe receives them."""

    out: io.StringIO
    width: int
    terminal: bool

    def text(self) -> str:
        """Return the final text, with ``#`` for numbers that differ between machines."""
        text = self.out.getvalue()
        if self.terminal:
            screen = pyte.Screen(self.width, 200)
            pyte.Stream(screen).feed(text.replace("\n", "\r\n"))
            text = "\n".join(screen.display)
        text = re.sub(r" {3,}\d+(?= images/s)", " #", re.sub(r"(waiting|for data) +\d+%", r"\1 #%", text))
        text = re.sub(r"\d+(?= images/s)", "#", text)
        text = re.sub(r"\d:\d\d:\d\d|-:--:--", "#:##:##", re.sub(r"left \d+ s", "left # s", text))
        text = re.sub(r"\d+\.\d{3}\b", "#.###", text)
        return re.sub(r" +$", "", text, flags=re.MULTILINE).rstrip() + "\n"


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Screen]:
    """Return a function that redirects both streams of the commands to a terminal or a pipe."""

    def make(width: int, *, terminal: bool = True, colour: bool = True) -> Screen:
        monkeypatch.delenv("NO_COLOR", raising=False)
        if not colour:
            monkeypatch.setenv("NO_COLOR", "1")
        screen = Screen(io.StringIO(), width, terminal)

        def console() -> Console:
            kind = "truecolor" if terminal else None
            return Console(
                file=screen.out,
                force_terminal=terminal,
                width=width,
                color_system=kind,
                highlight=False,
                legacy_windows=False,
            )

        for module in (console_module, evaluate, summary):
            for name in ("stdout_console", "stderr_console"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, console)
        return screen

    return make


def show_training(trained: Trained) -> None:
    reporter = console_reporter(console_module.stderr_console())
    for event in trained.events:
        reporter.on_event(event)
    summary.print_finished_run(trained.run)


def show_evaluation(trained: Trained, *, protocol_details: bool = False) -> None:
    result = replace(trained.result, notes=["an image was [left] out"])
    evaluate.print_evaluation(result, protocol_details=protocol_details)


def show_protocols(trained: Trained) -> None:
    show_evaluation(trained, protocol_details=True)


SHOW = {"train": show_training, "eval": show_evaluation, "eval-protocols": show_protocols}


@pytest.mark.parametrize("command", SHOW)
@pytest.mark.parametrize("name", ["80", "40", "piped"])
def test_output_is_that_of_the_golden_file(
    name: str, command: str, trained: Trained, screen: Callable[..., Screen]
) -> None:
    seen = screen(80 if name == "piped" else int(name), terminal=name != "piped")
    SHOW[command](trained)
    golden = GOLDEN / f"{command}-{name}.txt"
    if os.environ.get("SSLKIT_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(seen.text())
    assert seen.text() == golden.read_text()
    if name == "piped":
        assert "\x1b" not in seen.out.getvalue()
        assert "\r" not in seen.out.getvalue()


@pytest.mark.parametrize("command", SHOW)
def test_output_without_colour_has_the_same_text(command: str, trained: Trained, screen: Callable[..., Screen]) -> None:
    coloured = screen(80)
    SHOW[command](trained)
    plain = screen(80, colour=False)
    SHOW[command](trained)
    assert plain.text() == coloured.text() == (GOLDEN / f"{command}-80.txt").read_text()
    assert not COLOUR.search(plain.out.getvalue())
    assert COLOUR.search(coloured.out.getvalue()) or command != "train"


def test_only_lines_with_paths_are_wider_than_the_terminal(trained: Trained, screen: Callable[..., Screen]) -> None:
    for width in (40, 57, 79, 80, 120):
        seen = screen(width)
        show_protocols(trained)
        lines = re.sub(r"\x1b\[[\d;]*m", "", seen.out.getvalue()).splitlines()
        assert max(len(line) for line in lines if "/" not in line) <= width
