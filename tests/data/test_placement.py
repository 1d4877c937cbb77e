"""Placement of training images in memory, within the limits of containers and cluster jobs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from sslkit.data import placement
from sslkit.data.cgroup import cgroup_memory
from sslkit.data.store import MappedStore, SubsetStore, TensorStore


def write_file(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_lowest_limit_of_the_parent_cgroups_applies(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    assert cgroup_memory(own, root) == sys.maxsize, "no cgroups"
    write_file(own, "0::/slurm/job_1/step_0\n")
    assert cgroup_memory(own, root) == sys.maxsize
    write_file(root / "slurm/job_1/step_0/memory.max", "max\n")
    write_file(root / "slurm/job_1/memory.max", "64000\n")
    write_file(root / "slurm/memory.max", "99000\n")
    write_file(tmp_path / "memory.max", "5\n")  # not a cgroup
    assert cgroup_memory(own, root) == 64000
    write_file(own, "5:cpu,cpuacct:/slurm\n4:memory:/slurm/job_1\n0::/\n")
    write_file(root / "memory/slurm/job_1/memory.limit_in_bytes", "32000\n")
    write_file(root / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    write_file(root / "slurm/memory.limit_in_bytes", "7\n")  # version 2 has other file names
    assert cgroup_memory(own, root) == 32000
    write_file(own, "nonsense\n")
    assert cgroup_memory(own, root) == sys.maxsize


def test_a_mapped_file_stays_on_disk_if_it_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros((100, 3, 2, 2), dtype=np.uint8))
    store = MappedStore(tmp_path / "pixels.npy")
    for limit, where in ((2400, "resident in memory"), (2399, "streamed from the cache on disk")):
        monkeypatch.setattr(placement, "cgroup_memory", lambda limit=limit: limit)
        assert where in placement.place_images(store, "cpu")[1]


def test_processes_of_one_machine_share_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros((100, 3, 2, 2), dtype=np.uint8))
    store = MappedStore(tmp_path / "pixels.npy")
    monkeypatch.setattr(placement, "cgroup_memory", lambda: 4800)
    placed, note = placement.place_images(store, "cpu", processes=2)
    assert isinstance(placed, TensorStore)
    assert note.endswith("resident in memory of each process")
    assert "streamed from the cache on disk" in placement.place_images(store, "cpu", processes=3)[1]


def test_images_that_do_not_fit_stay_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "MEMORY_FRACTION", 0)
    images = np.zeros((9, 3, 4, 5), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    tensor = TensorStore(torch.from_numpy(images))
    notes = {}
    for name, store in (
        ("mapped", MappedStore(tmp_path / "images.npy")),
        ("tensor", tensor),
        ("third party", SubsetStore(tensor, torch.arange(4))),
    ):
        placed, note = placement.place_images(store, "cpu")
        assert placed is store
        notes[name] = (placement.should_prefetch(store, "cpu"), note.partition("MB), ")[2])
    assert notes == {
        "mapped": (True, "too large for cpu memory: streamed from the cache on disk, 2 batches ahead"),
        "tensor": (False, "resident in memory, more than half of it"),
        "third party": (False, "fetched by the data set itself on demand"),
    }
    assert placement.should_prefetch(tensor, "cuda")
