"""Save and read a run's evaluations, ``evaluations/*.json``."""

from __future__ import annotations

import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from sslkit.errors import RunError
from sslkit.files import to_json, write_atomic
from sslkit.runs.evaluation_result import EvaluationResult
from sslkit.runs.json_records import read_json, validation_error
from sslkit.runs.run import TIME_FORMAT, Run

_FILE_TIME_FORMAT = f"{TIME_FORMAT}-%f"


def save_evaluation(run: Run, result: EvaluationResult) -> Path:
    """Save an evaluation and return its path. The file name sorts after the names of all earlier evaluations."""
    run.evaluations.mkdir(exist_ok=True)
    # The clock may be coarse, or was set back.
    next_times = [_next_time(path.stem) for path in run.evaluations.glob("*.json")]
    time = max([datetime.now(UTC).replace(tzinfo=None), *next_times])
    path = run.evaluations / f"{time.strftime(_FILE_TIME_FORMAT)}-{secrets.token_hex(2)}.json"
    write_atomic(path, to_json(result.to_json()))
    return path


def _next_time(stem: str) -> datetime:
    """Return the earliest time that a new evaluation may have, so that its file name sorts after the name ``stem``.

    This is the time in ``stem`` plus one microsecond, or ``datetime.min`` if ``stem`` contains no time.
    """
    with suppress(ValueError, OverflowError):
        return datetime.strptime(stem[:22], _FILE_TIME_FORMAT) + timedelta(microseconds=1)
    return datetime.min


def read_evaluations(run: Run) -> tuple[list[EvaluationResult], dict[Path, str]]:
    """Return a run's saved evaluations, oldest first, and a mapping from each damaged file's path to the reason."""
    results: list[EvaluationResult] = []
    damaged: dict[Path, str] = {}
    for path in sorted(run.evaluations.glob("*.json")):
        try:
            results.append(EvaluationResult.from_json(read_json(path)))
        except RunError as error:
            damaged[path] = str(error).replace(str(path), "it", 1)
        except ValidationError as error:
            damaged[path] = str(validation_error(path, error)).replace(str(path), "it", 1)
        except ValueError as error:
            damaged[path] = str(error)
    return results, damaged
