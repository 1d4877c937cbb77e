from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from sslkit.cli.main import app
from sslkit.components.catalog import Catalog
from sslkit.diagnosis import machine, plugins, storage
from sslkit.diagnosis.checks import CheckResult


def test_plugins_that_hang_or_crash_do_not_stop_the_check(install, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = {
        "a-dies": "import os; print('noise'); os._exit(7)",
        "b-hangs": "import time; time.sleep(1000)",
        "c-broken": "from os import nothing_of_the_kind",
        "d-missing": "import nowhere_to_be_found",
    }
    for name, source in sources.items():
        module = f"diagnosed_{name[0]}"
        install(f"dist-{name}", f"[sslkit.losses]\n{name} = {module}:Loss\n", **{module: source})
    entries = [entry for entry in Catalog.scan().entries if entry.name in sources]
    real = subprocess.run

    def run(command: list[str], timeout: float, **options):
        return real(command, timeout=1.5 if "b-hangs" in json.loads(command[-1])[0] else 100, **options)

    monkeypatch.setattr(subprocess, "run", run)
    results = {entry.name: (status, reason) for entry, status, reason in plugins.try_imports(entries)}
    assert {status for status, _ in results.values()} == {"error"}
    reasons = {name: reason for name, (_, reason) in results.items()}
    assert list(reasons) == list(sources)
    component = "loss 'a-dies' of dist-a-dies 1.0 (entry point sslkit.losses: a-dies = diagnosed_a:Loss)"
    assert reasons["a-dies"] == f"{component}: importing it ends the process with exit code 7"
    assert "importing diagnosed_c fails with ImportError: cannot import name" in reasons["c-broken"]
    assert reasons["b-hangs"].endswith("importing it takes longer than 120 s")
    assert "it needs the module 'nowhere_to_be_found', which is not installed" in reasons["d-missing"]


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the command with the given import errors of plugins."""
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 9, 9))

    def run(*arguments: str, broken: dict[str, tuple[str, str]] | None = None):
        def try_imports(entries):
            return [(entry, *(broken or {}).get(entry.name, ("ok", ""))) for entry in entries]

        monkeypatch.setattr(plugins, "try_imports", try_imports)
        return CliRunner().invoke(app, ["doctor", "--runs", str(tmp_path / "runs"), *arguments])

    return run


def test_the_exit_code_is_0_without_errors_and_1_with_errors(
    doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = doctor("--json")
    assert done.exit_code == 0, done.output
    results = {result["name"]: result for result in json.loads(done.stdout)}
    assert list(results) == [
        "versions", "libraries", "device", "precision", "threads", "load", "runs", "cache", "cached data", "plugins",
    ]  # fmt: skip
    assert "error" not in [result["status"] for result in results.values()]
    assert f"torch {torch.__version__.partition('+')[0]}" in results["libraries"]["text"]
    assert results["runs"]["text"].startswith(f"{tmp_path / 'runs'}, ")
    assert not (tmp_path / "runs").exists()

    done = doctor(broken={"selfcls": ("error", "loss 'selfcls' is [not] well")})
    assert done.exit_code == 1
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert "error    plugins: loss 'selfcls' is [not] well" in lines
    assert "         for details run `sslkit plugins check sslkit-selfcls:selfcls`" in lines

    monkeypatch.setenv("SSLKIT_PLUGINS", "sslkit-selfcls,nobody")
    done = doctor()
    assert done.exit_code == 0
    assert "warning  plugins: SSLKIT_PLUGINS names nobody, which offers no component here" in done.stdout
    assert "warning  plugins: SSLKIT_PLUGINS hides sslkit-backbones, sslkit-discovery, sslkit-lightly" in done.stdout


def test_a_missing_extra_is_information(doctor, install) -> None:
    site = install("plug", "[sslkit.losses]\nneedy = diagnosed_needy:Loss\n", diagnosed_needy="import nowhere_to_find")
    with (site / "plug-1.0.dist-info" / "METADATA").open("a") as metadata:
        metadata.write("Requires-Dist: nowhere-to-find; extra == 'fancy'\n")
    entries = [entry for entry in Catalog.scan().entries if entry.name == "needy"]
    ((_, status, reason),) = plugins.try_imports(entries)
    assert status == "info"
    assert "it needs the module 'nowhere_to_find', which is not installed" in reason
    assert "pip install 'plug[fancy]'" in reason
    done = doctor(broken={"needy": (status, reason)})
    assert done.exit_code == 0, done.output
    assert f"info     plugins: {reason}\n" in done.stdout
    checked = CliRunner().invoke(app, ["plugins", "check", "needy"])
    assert checked.exit_code == 3, "it could not be checked"
    assert "pip install 'plug[fancy]'" in " ".join(checked.stdout.split())


def test_a_folder_that_is_not_writable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "file" / "cache"))
    runs, cache = storage.check_folders(tmp_path / "not" / "yet")
    assert (runs.status, cache.status) == ("ok", "error")
    assert cache.text == f"{tmp_path / 'file' / 'cache'} is not writable: Not a directory"
    assert cache.advice == "choose another folder with SSLKIT_CACHE"
    monkeypatch.setattr(storage, "MIN_FREE_BYTES", 1e18)
    assert [result.status for result in storage.check_folders(tmp_path)] == ["warning", "error"]


def test_a_cache_without_read_permission_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real_stat = Path.stat

    def stat(path: Path, **options: bool) -> os.stat_result:
        if tmp_path / "locked" in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return real_stat(path, **options)

    monkeypatch.setenv("SSLKIT_CACHE", str(tmp_path / "locked" / "cache"))
    monkeypatch.setattr(Path, "stat", stat)
    _, cache = storage.check_folders(tmp_path / "runs")
    assert (cache.status, "Permission denied" in cache.text) == ("error", True)
    assert storage.check_cache_size().status == "warning"


def test_an_unmet_requirement_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = ["torch>=99", "nobody-made-this>=1", "numpy>=1", "never>=1; extra == 'dev'"]
    monkeypatch.setattr(machine.metadata, "requires", lambda name: requirements)
    version = machine.metadata.version("torch")
    assert [result for result in machine.check_versions() if result.status == "error"] == [
        CheckResult("torch", "error", f"is {version}, sslkit needs >=99", "pip install 'torch>=99'"),
        CheckResult("nobody-made-this", "error", "is not installed", "pip install 'nobody-made-this>=1'"),
    ]


def test_an_unused_gpu_few_threads_and_a_high_load_are_warnings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(machine, "NVIDIA_DRIVER", tmp_path)
    monkeypatch.setattr(torch.version, "cuda", None)
    device = machine.check_device()
    assert (device.status, device.text) == (
        "warning",
        "cpu: there is an NVIDIA GPU, but torch is built without CUDA",
    )
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert machine.check_threads() == CheckResult(
        "threads", "warning", "2 for 8 CPU cores, because OMP_NUM_THREADS is 2", "unset it, or set it to 8"
    )
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    assert machine.check_threads().advice == "set OMP_NUM_THREADS=8"
    monkeypatch.setattr(os, "getloadavg", lambda: (9.0, 0, 0))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert machine.check_load().status == "warning"
