from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from processes.forked_cli import start_sslkit
from safetensors.torch import load_file


def test_train_then_runs_then_eval(cli, tiny: Path, tmp_path: Path) -> None:
    trained = cli("train", tiny, "--json")
    assert trained.returncode == 0, trained.stderr
    outcome = json.loads(trained.stdout)
    run = Path(outcome["run"])
    assert outcome == {"run": str(run), "state": "finished", "step": 10, "steps": 10}
    assert run.parent == tmp_path / "runs" / "tiny"
    lines = trained.stderr.splitlines()
    assert lines[0].startswith("device: cpu, ")
    assert "data: 1438 images of 1x8x8 (0 MB), resident in memory" in lines
    assert lines[-1].startswith("epoch 2/2  loss ")
    for word in (
        "(guess 2.303)",
        "acc 0.",
        "nmi 0.",
        "knn 0.",
        "classes used ",
        "images/s",
        "waiting for data 0%",
        "left 0 s",
    ):
        assert word in lines[-1]

    (listed,) = json.loads(cli("runs", "list", "--json").stdout)
    assert (listed["run"], listed["state"]) == (str(run), "finished")

    evaluated = cli("eval", "--cluster", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    result = json.loads(evaluated.stdout)
    assert result["run"] == str(run.resolve())
    cluster = result["evaluators"]["cluster"]
    assert set(cluster["metrics"]) >= {"acc", "acc_many_to_one", "nmi", "ami", "ari"}
    assert cluster["metrics"]["acc"] <= cluster["metrics"]["acc_many_to_one"] <= 1
    # k-means on pixels does not depend on the trained network.
    assert cluster["baselines"]["kmeans_pixels"]["metrics"]["acc"] == pytest.approx(0.8, abs=0.05)
    assert set(cluster["baselines"]) == {"kmeans_pixels", "kmeans_features"}
    assert cluster["protocol"]["split"] == "test"
    assert cluster["protocol"]["images"] == 359
    (saved,) = (run / "evaluations").glob("*.json")
    assert json.loads(saved.read_text()) == result

    shown = json.loads(cli("runs", "show", "tiny", "--json").stdout)
    assert shown["evaluations"] == [result]
    table = cli("eval", run, "--protocol-details")
    assert " cluster acc many to one  " in table.stdout
    assert "acc: one-to-one (Hungarian on K x C" in table.stdout


def test_new_run_continues_from_a_finished_one(cli, tiny: Path) -> None:
    first = json.loads(cli("train", tiny, "--json", "--set", "train.epochs=1").stdout)
    settings = ("--continue-from", "tiny", "--set", "train.epochs=1", "--set", "optimizer.lr=1e-12")
    done = cli("train", tiny, "--json", *settings)
    assert done.returncode == 0, done.stderr
    parent, child = Path(first["run"]), Path(json.loads(done.stdout)["run"])
    assert child != parent
    assert f"continues from tiny/{parent.name}: " in done.stderr
    record = json.loads((child / "provenance.json").read_text())["continued_from"]
    assert record == {"run": f"tiny/{parent.name}", "steps": 5, "epochs": 1}
    before, after = (load_file(run / "heads.safetensors") for run in (parent, child))
    assert all((after[name] - before[name]).abs().max() < 1e-6 for name in before if "running" not in name)
    dry = cli("train", tiny, "--json", *settings, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"continues from tiny/{child.name}: " in dry.stderr
    assert json.loads(dry.stdout)["steps"] == 5


def test_resume_completes_a_run_interrupted_by_ctrl_c(cli, tiny: Path, tmp_path: Path, environment) -> None:
    command = ["train", str(tiny), "--set", "train.epochs=400"]
    with (tmp_path / "out").open("w") as stdout, (tmp_path / "err").open("w") as stderr:
        process = start_sslkit(command, environment, tmp_path, stdout, stderr)
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("runs/tiny/*/checkpoints/last.ckpt")):
            assert time.monotonic() < deadline, "no checkpoint within two minutes"
            assert process.is_alive(), (tmp_path / "err").read_text()
            time.sleep(0.1)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGINT)
        process.join(60)
    out, err = ((tmp_path / name).read_text() for name in ("out", "err"))
    assert process.exitcode == 130, err
    (run,) = tmp_path.glob("runs/tiny/*")
    step = json.loads((run / "status.json").read_text())["step"]
    assert out.splitlines() == [
        f"interrupted after step {step} of 2000; continue with:",
        f"  sslkit resume {run.relative_to(tmp_path) if str(run) not in out else run}",
    ]
    assert "Traceback" not in err

    recipe = (run / "recipe.toml").read_text()
    epochs = step // 5 + 1
    (run / "recipe.toml").write_text(recipe.replace("epochs = 400", f"epochs = {epochs}"))
    done = cli("resume", "--allow", "recipe")
    assert done.returncode == 0, done.stderr
    assert f"training: {epochs} epochs, {5 * epochs} steps, from step {step}" in done.stderr
    again = cli("resume")
    assert again.returncode == 2
    assert again.stderr.startswith("error: there is nothing to resume")


def test_invalid_input_exits_with_2_and_no_traceback(cli, tiny: Path, tmp_path: Path) -> None:
    for arguments, message in [
        (["train", "nowhere.toml"], "nowhere.toml: there is no such file"),
        (["train", tiny, "--set", "train.epochs"], "must be path=value"),
        (
            ["train", tiny, "--set", "data.use=cifar10", "--set", "data.root=/nowhere", "--set", "data.download=false"],
            "cifar10",
        ),
        (
            ["train", tiny, "--set", "train.device=cuda"],
            'device "cuda" is not available; use cpu or "auto"',
        ),
        (["train", tiny, "--set", "views.use=crops"], "views"),
        (["eval"], "there are no runs in"),
        (["resume", "other"], "there is no run 'other' in"),
        (["train"], "Missing argument"),
        (["runs", "lst"], "No such command"),
    ]:
        done = cli(*arguments)
        assert done.returncode == 2, (arguments, done)
        assert message in done.stderr, (arguments, done)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


def test_dry_run_prints_shapes_and_writes_nothing(cli, tiny: Path, tmp_path: Path) -> None:
    done = cli("train", tiny, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["data"] == {"images": 1438, "shape": [1, 8, 8]}
    assert found["views"] == [[2, 256, 1, 8, 8]]
    assert found["outputs"]["features"][0] == 512
    assert found["outputs"]["classifiers"] == {"selfcls-mlp": [10]}
    assert (found["steps_per_epoch"], found["steps"]) == (5, 10)
    assert found["loss"] == pytest.approx(2.3, abs=0.1)
    assert found["modules"]["backbone"] > 10_000
    assert found["memory_bytes"] > 10_000_000
    assert "steps per epoch" in cli("train", tiny, "--dry-run").stdout
    assert not (tmp_path / "runs").exists()


def test_unusual_image_folder_trains_and_lists_each_broken_file_once(cli, tiny: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    root = tmp_path / "pictures" / "deep"
    root.mkdir(parents=True)
    for number in range(97):
        mode = ("L", "RGB", "RGBA", "CMYK", "P", "1")[number % 6]
        width, height = (20, 31, 48)[number % 3], (24, 33)[number % 2]
        pixels = Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)
        pixels.save(root / f"image {number}{'.tif' if mode == 'CMYK' else '.png'}")
    whole = (root / "image 1.png").read_bytes()
    broken = {"empty.png": b"", "cut.png": whole[: len(whole) // 2], "no\nimage.jpg": b"hello, world"}
    for name, content in broken.items():
        (root / name).write_bytes(content)
    (root / "notes.txt").write_text("not an image")

    settings = ["data.use=image-folder", f"data.root={root.parent}", "train.batch_size=32", "train.epochs=1"]
    arguments = [part for setting in settings for part in ("--set", setting)]
    done = cli("train", tiny, "--json", *arguments, SSLKIT_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "3 of 100 images cannot be read and are skipped, broken_limit = 0.05 allows it:" in done.stderr
    for name in ("empty.png", "cut.png", r"no\nimage.jpg"):
        assert done.stderr.count(name) == 1
    assert "other files are ignored: 1 .txt" in done.stderr
    record = json.loads((Path(json.loads(done.stdout)["run"]) / "provenance.json").read_text())
    assert sorted(item["file"] for item in record["data"]["broken"]) == sorted(f"deep/{name}" for name in broken)
    assert record["training_images"] == 97

    refused = cli("eval")
    assert refused.returncode == 2
    assert "the data set 'image-folder' has no test images" in refused.stderr


def test_two_processes_print_everything_once(cli, tiny: Path, tmp_path: Path) -> None:
    done = cli("train", tiny, "--set", "train.devices=2", "--json")
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["state"], outcome["step"]) == ("finished", 10)
    lines = done.stderr.splitlines()
    assert len(lines) == len(set(lines)), lines
    assert "processes: 2, each 128 images of a batch of 256" in lines
    assert [line[:9] for line in lines[-2:]] == ["epoch 1/2", "epoch 2/2"]
    assert len(list((tmp_path / "runs" / "tiny").iterdir())) == 1
