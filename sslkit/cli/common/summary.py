"""Print the outcome of a command on a run, and suggest the next commands."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping, Sequence

from sslkit.cli.common.console import print_line, print_text, stdout_console
from sslkit.cli.common.progress import format_metrics
from sslkit.files import read_regular_file
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.run import Run
from sslkit.runs.weights_metadata import read_head_metadata


def print_interrupted_run(run: Run) -> None:
    """Print how far a run got and how to resume it."""
    status = run.status
    _print_commands(
        f"interrupted after step {status.step} of {status.steps}; continue with:", [f"resume {_quote(run)}"]
    )


def print_finished_run(run: Run) -> None:
    """Print a run's latest metrics, and suggest next commands that fit its data and heads."""
    latest = {row.metric: row.value for row in read_metrics(run.metrics)}
    print_line(f"finished: {run.path}")
    print_text(stdout_console(), format_metrics(latest))
    _print_commands("next steps:", _next_commands(run, latest))


def _next_commands(run: Run, latest: Mapping[str, float]) -> list[str]:
    # A kNN accuracy is only measured with labels, even if the classes have no names.
    record = read_provenance(run)
    can_evaluate = "test" in record.get("splits", ()) and (bool(record["class_names"]) or "monitor/knn" in latest)
    has_classifiers = bool(read_head_metadata(run.heads).get("classifiers"))
    evaluation = [f"eval {_quote(run)} --{'cluster' if has_classifiers else 'linear --knn'}"] * can_evaluate
    classes = [f"explore {_quote(run)}", *_predict_commands(run)] * has_classifiers
    return [*evaluation, *classes, f"report {_quote(run)}"]


def print_class_commands(text: str, run: Run, *, train: bool, explore: bool = False) -> None:
    """Suggest commands to run next with the classes of a run.

    Args:
        text: line above the commands.
        run: the run.
        train: whether to suggest training with the corrections of the run.
        explore: whether to suggest ``sslkit explore``.
    """
    commands = [*[f"explore {_quote(run)}"] * explore, *[f"train --corrections {_quote(run)}"] * train]
    _print_commands(text, [*commands, *(_predict_commands(run) or [f"report {_quote(run)}"])])


def _predict_commands(run: Run) -> list[str]:
    """Return the command that writes the classes of the run's images; nothing if the images are not in a folder."""
    try:
        data = tomllib.loads(read_regular_file(run.recipe))["data"]
        folder = data["root"] if data["use"].rpartition(":")[2] == "image-folder" else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # only a suggestion; other commands report it
        return []
    return [f"predict {_quote(run)} {shlex.quote(folder)} --out classes.csv"] if isinstance(folder, str) else []


def _quote(run: Run) -> str:
    return shlex.quote(str(run.path))


def _print_commands(text: str, commands: Sequence[str]) -> None:
    # Not wrapped, so that users can copy each command.
    lines = [text, *(f"  sslkit {command}" for command in commands)]
    print_line("\n".join(lines))
