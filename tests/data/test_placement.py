"""What counts as the memory that there is, where a container or a cluster's job may use less than the machine has."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from sslkit.data import placement as residence
from sslkit.data.cgroup import cgroup_memory
from sslkit.data.store import MappedStore, TensorStore


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_lowest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    own, root = tmp_path / "cgroup", tmp_path / "groups"
    assert cgroup_memory(own, root) == sys.maxsize, "a system without groups"
    put(own, "0::/slurm/job_1/step_0\n")
    assert cgroup_memory(own, root) == sys.maxsize
    put(root / "slurm/job_1/step_0/memory.max", "max\n")
    put(root / "slurm/job_1/memory.max", "64000\n")
    put(root / "slurm/memory.max", "99000\n")
    put(tmp_path / "memory.max", "5\n")  # not a group
    assert cgroup_memory(own, root) == 64000
    put(own, "5:cpu,cpuacct:/slurm\n4:memory:/slurm/job_1\n0::/\n")
    put(root / "memory/slurm/job_1/memory.limit_in_bytes", "32000\n")
    put(root / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    put(root / "slurm/memory.limit_in_bytes", "7\n")  # of another hierarchy
    assert cgroup_memory(own, root) == 32000
    put(own, "nonsense\n")
    assert cgroup_memory(own, root) == sys.maxsize


def test_a_mapped_file_stays_on_disk_where_the_job_may_not_hold_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros((100, 3, 2, 2), dtype=np.uint8))
    store = MappedStore(tmp_path / "pixels.npy")
    for limit, where in ((2400, "resident in memory"), (2399, "streamed from the cache on disk")):
        monkeypatch.setattr(residence, "cgroup_memory", lambda limit=limit: limit)
        assert where in residence.place(store, "cpu")[1]


def test_processes_of_one_machine_share_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "pixels.npy", np.zeros((100, 3, 2, 2), dtype=np.uint8))
    store = MappedStore(tmp_path / "pixels.npy")
    monkeypatch.setattr(residence, "cgroup_memory", lambda: 4800)
    placed, said = residence.place(store, "cpu", processes=2)
    assert isinstance(placed, TensorStore)
    assert said.endswith("resident in memory of each process")
    assert "streamed from the cache on disk" in residence.place(store, "cpu", processes=3)[1]
