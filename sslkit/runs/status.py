"""Status of a run: its state and progress, stored in ``status.json``."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from sslkit.errors import RunError
from sslkit.files import read_regular_file, to_json, write_atomic
from sslkit.runs.run_format import RUN_FORMAT, require_run_format

FILE = "status.json"

State = Literal["running", "interrupted", "failed", "finished"]
_Count = Annotated[int, Field(ge=0, strict=True)]
_Printable = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=300)]


@dataclass(frozen=True)
class Status:
    """State and progress of a run.

    Attributes:
        state: ``running``, ``interrupted``, ``failed`` or ``finished``.
        step: optimizer steps taken.
        steps: optimizer steps of the whole training.
        epoch: epochs completed.
        epochs: epochs of the whole training.
        updated: time of writing, ISO 8601 in UTC.
        process: ``host:pid`` of the process that wrote it.
    """

    state: State
    step: _Count = 0
    steps: _Count = 0
    epoch: _Count = 0
    epochs: _Count = 0
    updated: _Printable = ""
    process: _Printable = ""


_ADAPTER = TypeAdapter(Status)


def read_status(folder: Path) -> Status:
    """Return the status in a run folder, as it was written.

    Raises:
        RunError: the file cannot be read or is invalid, or another version of sslkit wrote it.
    """
    try:
        record = json.loads(read_regular_file(folder / FILE))
        if isinstance(record, dict) and {"format", "process"} & record.keys():  # else it is not a run's status
            require_run_format(record, folder)
        return _ADAPTER.validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    raise RunError(f"{folder} is not a run folder: its {FILE} cannot be read ({reason})")


def write_status(folder: Path, state: State, step: int, steps: int, epoch: int, epochs: int) -> None:
    """Write the status of a run that this process trains."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    status = Status(state, step, steps, epoch, epochs, now, f"{socket.gethostname()}:{os.getpid()}")
    write_atomic(folder / FILE, to_json({"format": RUN_FORMAT, **asdict(status)}))
