"""Checks of versions, device, precision, threads and CPU load."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement

from sslkit.device.hardware import choose_hardware
from sslkit.diagnosis.checks import CheckResult

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""File that NVIDIA's Linux driver creates."""

BUSY_LOAD = 0.5
"""Load average per CPU core above which other processes slow down training."""


def check_versions() -> Iterator[CheckResult]:
    """Report the installed versions, and each requirement of sslkit that is not met."""
    from sslkit import __version__

    text = f"sslkit {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    yield CheckResult("versions", "ok", text)
    installed = []
    for line in metadata.requires("sslkit") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        advice = f"pip install '{requirement.name}{requirement.specifier}'"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield CheckResult(requirement.name, "error", "is not installed", advice)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            installed.append(f"{requirement.name} {version}")
        else:
            yield CheckResult(requirement.name, "error", f"is {version}, sslkit needs {requirement.specifier}", advice)
    yield CheckResult("libraries", "ok", ", ".join(installed))


def check_device() -> CheckResult:
    """Report the device that ``device = "auto"`` selects."""
    device = choose_hardware("auto", "auto").device
    if device == "cuda":
        free, total = torch.cuda.mem_get_info()
        count = torch.cuda.device_count()
        text = f"cuda: {torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        return CheckResult("device", "ok", text + (f", the first of {count}" if count > 1 else ""))
    if device != "cpu":
        return CheckResult("device", "ok", device)
    if NVIDIA_DRIVER.exists():
        cuda = torch.version.cuda
        reason = f"torch is built for CUDA {cuda}, which cannot use it" if cuda else "torch is built without CUDA"
        advice = "install the torch build that fits your driver: https://pytorch.org/get-started"
        return CheckResult("device", "warning", f"cpu: there is an NVIDIA GPU, but {reason}", advice)
    return CheckResult(
        "device", "warning", "cpu: there is no GPU", "use small images and networks, as `sslkit init` does"
    )


def check_precision() -> CheckResult:
    """Report the precision that ``precision = "auto"`` selects, and why."""
    hardware = choose_hardware("auto", "auto")
    return CheckResult("precision", "ok", f"{hardware.precision}: {hardware.reason}")


def check_threads() -> CheckResult:
    """Check that torch uses as many threads as this process has CPU cores."""
    affinity = getattr(os, "sched_getaffinity", None)  # Some platforms lack this function.
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    threads, limit = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    text = f"{threads} for {cores} CPU cores"
    if threads < cores and limit:
        return CheckResult(
            "threads", "warning", f"{text}, because OMP_NUM_THREADS is {limit}", f"unset it, or set it to {cores}"
        )
    if threads > cores:
        return CheckResult("threads", "warning", f"{text}: they block each other", f"set OMP_NUM_THREADS={cores}")
    return CheckResult("threads", "ok", text)


def check_load() -> CheckResult:
    """Check that the CPU cores are not busy with other processes."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0]
    text = f"{load:.1f} busy processes for {cores} CPU cores in the last minute"
    if load > BUSY_LOAD * cores:
        return CheckResult("load", "warning", text, "other work slows down training: wait until it is done")
    return CheckResult("load", "ok", text)
