"""The last words of a training: what became of it, and what to type next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from sslkit.cli.common.console import output, say
from sslkit.cli.common.progress import summary
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.provenance_file import read_provenance
from sslkit.runs.weights_metadata import read_head_metadata
from sslkit.runs.run import Run


def tell_interrupted(run: Run) -> None:
    """How far it came, and how to go on."""
    status = run.status
    _tell(f"interrupted after step {status.step} of {status.steps}; go on with:", [f"resume {_quoted(run)}"])


def tell_finished(run: Run) -> None:
    """The newest figures, and what the run can be asked."""
    newest = {row.metric: row.value for row in read_metrics(run.metrics)}
    output().print(f"finished: {run.path}", markup=False, soft_wrap=True)
    say(output(), summary(newest))
    _tell("go on with:", _next(run))


def _next(run: Run) -> list[str]:
    """What suits what it has: labels in the data, classifiers in the head."""
    labelled = bool(read_provenance(run)["class_names"])
    classifiers = bool(read_head_metadata(run.heads).get("classifiers"))
    asked = {
        (True, True): [f"eval {_quoted(run)} --cluster"],
        (True, False): [f"eval {_quoted(run)} --linear --knn"],
        (False, True): [f"label {_quoted(run)}"],
        (False, False): [],
    }
    return [*asked[labelled, classifiers], f"report {_quoted(run)}"]


def _quoted(run: Run) -> str:
    return shlex.quote(str(run.path))


def _tell(text: str, commands: Sequence[str]) -> None:
    # A command that is folded can neither be read nor copied.
    lines = [text, *(f"  sslkit {command}" for command in commands)]
    output().print("\n".join(lines), markup=False, soft_wrap=True)
