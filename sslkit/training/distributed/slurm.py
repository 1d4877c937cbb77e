"""Requeue SLURM jobs that are preempted or reach their time limit, and find their run after the restart.

Lightning's own signal handler saves a checkpoint in the middle of a step. sslkit completes the step first, so that a
resumed run is bit-identical to an uninterrupted run.
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

TIMEOUT_SIGNAL = signal.SIGUSR1
"""Signal that ``#SBATCH --signal=SIGUSR1@90`` sends 90 seconds before the job's time limit."""


def job_id() -> str:
    """Return the id of this SLURM job, with the task id of an array job, or ``""`` outside batch jobs."""
    if not SLURMEnvironment.detect():
        return ""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def requeue() -> str:
    """Try to requeue this SLURM job; return a message that reports success or failure."""
    try:
        done = subprocess.run(["scontrol", "requeue", job_id()], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return f"warning: the job {job_id()} could not be requeued: {error}"
    if done.returncode:
        return f"warning: the job {job_id()} could not be requeued: {done.stderr.strip() or done.returncode}"
    return f"requeued the job {job_id()}"


def requeued_run(runs: Path, recipe: str) -> Run | None:
    """Return the run that this job started with ``recipe`` before it was requeued, or None if there is none."""
    if not job_id() or os.environ.get("SLURM_RESTART_COUNT", "0") in ("", "0"):
        return None
    for run in reversed(list(all_runs(runs))):
        try:
            record = json.loads(read_regular_file(run.provenance))
            if record.get("slurm_job") == job_id() and read_regular_file(run.recipe) == recipe:
                return run
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
    return None
