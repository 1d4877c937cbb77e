"""SLURM: a job that is pre-empted or runs out of time is put back into the queue, and goes on with its run there.

Lightning's own handler saves in the middle of whatever step the signal meets; here the step is finished first, so that
the resumed run has the bits of one that was never interrupted.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from sslkit.files import read_regular_file
from sslkit.runs.find import all_runs
from sslkit.runs.run import Run

SIGNAL = signal.SIGUSR1
"""What ``#SBATCH --signal=SIGUSR1@90`` sends 90 seconds before the job's time is over."""


def job() -> str:
    """This job's id, with the task's place in an array; empty outside of SLURM and in its interactive shells."""
    if not SLURMEnvironment.detect():
        return ""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def requeue() -> str:
    """Put this job back into the queue; returns what became of that, in words."""
    try:
        done = subprocess.run(["scontrol", "requeue", job()], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return f"warning: the job {job()} could not be requeued: {error}"
    if done.returncode:
        return f"warning: the job {job()} could not be requeued: {done.stderr.strip() or done.returncode}"
    return f"requeued the job {job()}"


def begun(runs: Path, recipe: str) -> Run | None:
    """The run that this job began with the same recipe before it was requeued; None where there is none."""
    if not job() or os.environ.get("SLURM_RESTART_COUNT", "0") in ("", "0"):
        return None
    for run in reversed(list(all_runs(runs))):
        try:
            record = json.loads(read_regular_file(run.provenance))
            if record.get("slurm_job") == job() and read_regular_file(run.recipe) == recipe:
                return run
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
    return None
