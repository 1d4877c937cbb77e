"""An interrupted ``predict`` or ``embed`` continues, and its output is bit-identical."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from csv_tables import read_rows
from PIL import Image
from processes.forked_cli import run_script
from safetensors.torch import load_file, save_file

from sslkit.api import Run
from sslkit.data.datasets.folder.scan import ImageFile
from sslkit.errors import InputError
from sslkit.inference import predict as predict_module
from sslkit.inference import resumable_job
from sslkit.inference.forward import Chunk
from sslkit.inference.predict import embed, predict
from sslkit.inference.resumable_job import ResumableJob
from sslkit.runs.weights_header import read_metadata
from sslkit.trained.network import TrainedNetwork


@pytest.mark.parametrize("command", [predict, embed], ids=["predict", "embed"])
def test_call_interrupted_anywhere_continues_to_the_same_bits(
    command: Any, run: Run, digits: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy := tmp_path / "some").mkdir()
    for path in sorted(digits.rglob("*.png")):
        shutil.copy(path, copy / path.name)
    (copy / "020.png").write_bytes(b"no image")
    uninterrupted = tmp_path / "uninterrupted"
    assert command(run, copy, uninterrupted).images == 59
    out = tmp_path / "out"
    progress: list[int] = []
    for stop in (8, 40, 60):

        def interrupt(done: int, total: int, stop: int = stop) -> None:
            progress.append(done)
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            command(run, copy, out, on_progress=interrupt)
        assert not out.exists()
    # Saved chunks of 16 files are not computed again.
    assert progress == [0, 8, *range(0, 41, 8), *range(32, 60, 8), 60]
    (tmp_path / "out.unfinished" / ".000003.safetensors.1.part").write_text("killed here")
    result = command(run, copy, out)
    assert "continued after 48 of 60 files" in result.notes
    assert out.read_bytes() == uninterrupted.read_bytes()
    (broken,) = read_rows(tmp_path / "out.broken.csv")
    assert broken["file"] == "020.png"
    assert "not an image" in broken["reason"]
    assert not list(tmp_path.glob("*.unfinished"))

    out.unlink()
    (tmp_path / "out.broken.csv").unlink()

    class DiskFull:
        def __init__(self, *arguments: Any) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, suppress(OSError):
        patch.setattr(predict_module, "ParquetFile", DiskFull)
        patch.setattr(predict_module, "predict_group", DiskFull)
        command(run, copy, out)
    assert not out.exists()
    assert (tmp_path / "out.broken.csv").exists(), "it is written first"
    assert "continued after 60 of 60 files" in command(run, copy, out).notes
    assert out.read_bytes() == uninterrupted.read_bytes()

    out.unlink()
    (tmp_path / "out.broken.csv").unlink()
    with pytest.raises(KeyboardInterrupt):
        command(run, copy, out, on_progress=interrupt_at_32)
    (copy / "000.png").unlink()
    result = command(run, copy, out)
    assert result.images == 58
    assert f"{out}.unfinished was for other images or another network: everything was computed again" in result.notes


def interrupt_at_32(done: int, total: int) -> None:
    if done == 32:
        raise KeyboardInterrupt


def test_results_of_other_weights_images_or_versions_are_computed_again(
    run: Run, digits: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(digits, tmp_path / "copy"))
    out = tmp_path / "classes.csv"

    def change_weights() -> None:
        metadata = read_metadata(run.backbone) | {"step": 11}
        save_file(load_file(run.backbone), run.backbone, {"sslkit": json.dumps(metadata)})

    def change_image() -> None:
        Image.new("L", (8, 8)).save(copy / "train" / "0" / "000.png")

    def change_component_version() -> None:
        identity = {"components": ["sslkit-backbones:convnet 9.9"]}
        monkeypatch.setattr(TrainedNetwork, "identity", property(lambda self: identity))

    def change_sslkit_version() -> None:
        monkeypatch.setattr(predict_module, "__version__", "9.9")

    for change in (change_weights, change_image, change_component_version, change_sslkit_version):
        with pytest.raises(KeyboardInterrupt):
            predict(run, copy, out, on_progress=interrupt_at_32)
        change()
        assert any("computed again" in note for note in predict(run, copy, out).notes)
        out.unlink()
    with pytest.raises(KeyboardInterrupt):
        predict(run, copy, out, on_progress=interrupt_at_32)
    assert any("computed again" in note for note in embed(run, copy, out).notes), "logits are not features"


KILLED_CALL = """
import os, signal, sys
from pathlib import Path
from sslkit.inference import forward, resumable_job
from sslkit.inference.predict import predict
from sslkit.runs.run import Run
import torch
torch.set_num_threads(1)
forward.CHUNK_SIZE = resumable_job.CHUNK_SIZE = 16
forward.BATCH_SIZE = 8
run, images, out = map(Path, sys.argv[1:])
predict(Run(run), images, out, on_progress=lambda done, total: done == 40 and os.kill(os.getpid(), signal.SIGKILL))
"""


def test_killed_process_loses_at_most_one_chunk(run: Run, digits: Path, tmp_path: Path, small_chunks: None) -> None:
    out = tmp_path / "classes.csv"
    (tmp_path / "killed.py").write_text(KILLED_CALL)
    arguments = [str(path) for path in (tmp_path / "killed.py", run.path, digits, out)]
    killed = run_script(arguments, os.environ, tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists()
    assert "continued after 32 of 60 files" in predict(run, digits, out).notes
    predict(run, digits, tmp_path / "uninterrupted.csv")
    assert out.read_bytes() == (tmp_path / "uninterrupted.csv").read_bytes()


def test_work_on_saved_chunks_grows_linearly_with_their_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable_job, "CHUNK_SIZE", 1)
    files = [ImageFile(f"{index}.png", (1, 1, 1)) for index in range(60)]
    opened: list[str] = []
    path_of = ResumableJob._path

    def record(job: ResumableJob, index: int) -> Path:
        opened.append(str(index))
        return path_of(job, index)

    monkeypatch.setattr(ResumableJob, "_path", record)
    for first, last in ((0, 30), (30, 60)):
        job = ResumableJob(tmp_path / "out", {}, files)
        with job.locked():
            assert job.files_done == first
            for index in range(first, last):
                broken = {f"{index}.png": "empty file"} if index == 40 else {}
                job.save_chunk(
                    Chunk(torch.full((1 - len(broken), 2), float(index)), torch.zeros(1 - len(broken)), broken)
                )
            assert job.files_done == last
    with job.locked():
        assert [broken for broken in job.load_broken() if broken] == [{"40.png": "empty file"}]
        assert [paths for paths, _ in job.load_chunks()][39:42] == [["39.png"], [], ["41.png"]]
    assert len(opened) < 6 * len(files)


def test_locked_and_damaged_jobs_are_refused(run: Run, digits: Path, tmp_path: Path) -> None:
    out, folder = tmp_path / "classes.csv", tmp_path / "classes.csv.unfinished"
    folder.mkdir()
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match=r"another process is working on .*classes\.csv\.unfinished: wait"):
            predict(run, digits, out)

    def interrupt_at_the_end(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict(run, digits, out, on_progress=interrupt_at_the_end)
    (folder / "000000.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"000000\.safetensors is damaged \(.*\): delete .*\.unfinished"):
        predict(run, digits, out)


def test_folder_that_cannot_be_deleted_is_not_an_error(
    run: Run, digits: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulate a network drive, where a folder cannot be deleted while one of its files is open."""
    original = Path.rmdir
    attempts: list[Path] = []

    def fail_first(folder: Path) -> None:
        attempts.append(folder)
        if len(attempts) == 1:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(folder))
        original(folder)

    monkeypatch.setattr(Path, "rmdir", fail_first)
    predict(run, digits, tmp_path / "others.csv")
    assert attempts == [tmp_path / "others.csv.unfinished"]
    assert not list(attempts[0].iterdir())
    predict(run, digits, tmp_path / "classes.csv")
    assert not (tmp_path / "classes.csv.unfinished").exists()


def test_file_system_without_locks_is_refused(
    run: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(file: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(resumable_job, "try_lock", fail)
    with pytest.raises(InputError, match="is on a file system that cannot lock files"):
        predict(run, digits, tmp_path / "classes.csv")
