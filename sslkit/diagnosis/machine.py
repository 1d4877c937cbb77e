"""Versions, devices and threads."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import torch
from packaging.requirements import Requirement

from sslkit.device.hardware import choose
from sslkit.diagnosis.findings import Finding

DRIVER = Path("/proc/driver/nvidia/version")
"""Where NVIDIA's driver for Linux shows itself."""

BUSY = 0.5
"""Processes per CPU that want to run, from which a machine counts as busy."""


def versions() -> Iterator[Finding]:
    """What is installed, and each requirement of sslkit that is not met."""
    from sslkit import __version__

    text = f"sslkit {__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}"
    yield Finding("versions", "good", text)
    found = []
    for line in metadata.requires("sslkit") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        advice = f"pip install '{requirement.name}{requirement.specifier}'"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding(requirement.name, "broken", "is not installed", advice)
            continue
        if requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} {version}")
        else:
            yield Finding(requirement.name, "broken", f"is {version}, sslkit needs {requirement.specifier}", advice)
    yield Finding("libraries", "good", ", ".join(found))


def device() -> Finding:
    """The device that ``auto`` takes."""
    chosen = choose("auto", "auto").device
    if chosen == "cuda":
        free, total = torch.cuda.mem_get_info()
        cards = torch.cuda.device_count()
        text = f"{torch.cuda.get_device_name()}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free"
        return Finding("device", "good", f"cuda: {text}" + (f", the first of {cards}" if cards > 1 else ""))
    if chosen != "cpu":
        return Finding("device", "good", chosen)
    if DRIVER.exists():
        built = torch.version.cuda
        why = f"this torch, built for CUDA {built}, cannot use it" if built else "this torch is built without CUDA"
        advice = "install the build that fits your driver: https://pytorch.org/get-started"
        return Finding("device", "note", f"cpu: there is an NVIDIA card, but {why}", advice)
    return Finding(
        "device", "note", "cpu: there is no accelerator", "small images and networks only; `sslkit init` minds that"
    )


def arithmetic() -> Finding:
    """Whether networks compute in bfloat16."""
    hardware = choose("auto", "auto")
    return Finding("precision", "good", f"{hardware.precision}: {hardware.reason}")


def threads() -> Finding:
    """Whether torch uses the CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on every platform
    allowed = len(affinity(0)) if affinity else os.cpu_count() or 1
    used, limit = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    text = f"{used} for {allowed} CPUs"
    if used < allowed and limit:
        return Finding("threads", "note", f"{text}, as OMP_NUM_THREADS says", f"unset it, or set it to {allowed}")
    if used > allowed:
        return Finding("threads", "note", f"{text}: they wait for each other", f"set OMP_NUM_THREADS={allowed}")
    return Finding("threads", "good", text)


def load() -> Finding:
    """Whether other work wants the CPUs."""
    cpus = os.cpu_count() or 1
    wanting = os.getloadavg()[0]
    text = f"{wanting:.1f} processes wanted the {cpus} CPUs in the last minute"
    if wanting > BUSY * cpus:
        return Finding("load", "note", text, "training is slower while other work goes on")
    return Finding("load", "good", text)
