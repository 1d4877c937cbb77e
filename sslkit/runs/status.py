"""Read and write the status of a run, stored in ``status.json``."""

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
from sslkit.runs.json_records import RUN_FORMAT, require_run_format

FILE = "status.json"

State = Literal["running", "interrupted", "failed", "finished"]
_Count = Annotated[int, Field(ge=0, strict=True)]
_Printable = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]*$", max_length=300)]


@dataclass(frozen=True)
class Status:
    """State and progress of a run.

    Attributes:
        state: ``running``, ``interrupted``, ``failed`` or ``finished``.
        step: number of optimizer steps taken.
        steps: number of optimizer steps of the complete training run.
        epoch: number of completed epochs.
        epochs: number of epochs of the complete training run.
        updated: time at which the status was written, in ISO 8601 format and UTC.
        process: ``host:pid`` of the process that wrote the status.
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
    """Return the status that is stored in a run folder.

    Raises:
        RunError: the file cannot be read, is invalid, or has a different format version.
    """
    try:
        record = json.loads(read_regular_file(folder / FILE))
        if isinstance(record, dict) and {"format", "process"} & record.keys():  # otherwise the file is not a status
            require_run_format(record, folder)
        return _ADAPTER.validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        reason = ": ".join([*map(str, first["loc"]), first["msg"]])
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    raise RunError(f"{folder} is not a run folder: its {FILE} cannot be read ({reason})")


def write_status(folder: Path, state: State, step: int, steps: int, epoch: int, epochs: int) -> None:
    """Write the status of a run that this process trains. ``Status`` describes the arguments."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    status = Status(state, step, steps, epoch, epochs, now, f"{socket.gethostname()}:{os.getpid()}")
    write_atomic(folder / FILE, to_json({"format": RUN_FORMAT, **asdict(status)}))
