"""A resume refuses a changed recipe, changed data, precision or number of processes, unless the user allows it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from recording_reporter import RecordingReporter

from sslkit.contracts.dataset import Split
from sslkit.data.datasets.digits import Digits
from sslkit.data.store import TensorStore
from sslkit.errors import RunError
from sslkit.recipe.load import load_recipe
from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run
from sslkit.training.checkpoint.checkpoint_files import load_checkpoint
from sslkit.training.train import resume, train

SETTINGS = ["backbone.width=4", "train.batch_size=700", "monitor.every_epochs=0"]


@pytest.fixture
def run(tiny: Path, tmp_path: Path, stop_at) -> Run:
    return train(load_recipe(tiny, [*SETTINGS, "train.epochs=1"]), tmp_path / "runs", stop_at([1]))


def edit_recipe(run: Run, old: str, new: str) -> None:
    text = run.recipe.read_text()
    assert old in text
    run.recipe.write_text(text.replace(old, new))


def test_an_unchanged_run_of_an_image_folder_is_resumed(tiny: Path, tmp_path: Path, stop_at) -> None:
    for index in range(32):
        Image.new("RGB", (8, 8), (8 * index, 0, 0)).save(tmp_path / f"{index}.png")
    data = f"data={{use='image-folder', root='{tmp_path}', labels='none', size=8}}"
    run = train(load_recipe(tiny, [*SETTINGS, data, "train.batch_size=16"]), tmp_path / "runs", stop_at([1]))
    resume(run)
    assert (run.status.state, run.status.step) == ("finished", 4)


def test_a_changed_recipe_is_refused_unless_allowed(run: Run) -> None:
    edit_recipe(run, "lr = 0.001", "lr = 0.02")
    edit_recipe(run, "epochs = 1\n", "epochs = 2\n")
    with pytest.raises(RunError) as error:
        resume(run)
    assert str(error.value) == (
        f"{run.name} cannot be resumed, because this has changed since it was stopped:\n"
        "  recipe: train.epochs was 1, is 2\n"
        "  recipe: optimizer.lr was 0.001, is 0.02\n"
        f"Change it back, or accept other results with `sslkit resume {run.path} --allow recipe`."
    )
    assert run.status.state == "interrupted"
    with pytest.raises(RunError, match=r"recipe: train.epochs was 1, is 2"):
        resume(run, allow=["data"])
    resume(run, allow=["recipe"])
    assert (run.status.state, run.status.step) == ("finished", 4)


def test_changed_options_of_the_optimizer_reach_every_parameter(run: Run) -> None:
    before = load_checkpoint(run.last_checkpoint)["optimizer_states"][0]["param_groups"]
    optimizer = ["weight_decay=0.25", "lr=0.02", "betas=[0.8, 0.95]", 'schedule="constant"']
    settings = [f"optimizer.{setting}" for setting in optimizer]
    run.recipe.write_text(load_recipe(run.recipe, [*settings, "train.epochs=2"]).to_toml())
    resume(run, allow=["recipe"])
    groups = load_checkpoint(run.last_checkpoint)["optimizer_states"][0]["param_groups"]
    assert [(group["name"], group["weight_decay"], tuple(group["betas"]), group["initial_lr"]) for group in groups] == [
        ("weights", 0.25, (0.8, 0.95), 0.02),
        ("bias-and-norm", 0.0, (0.8, 0.95), 0.02),
    ]
    assert [group["params"] for group in groups] == [group["params"] for group in before]
    assert [row.value for row in read_metrics(run.metrics) if row.metric == "lr"] == [0.02, 0.02]


def test_another_network_or_optimizer_is_always_refused(run: Run) -> None:
    text = run.recipe.read_text()
    start, end = text.index("[optimizer]"), text.index("[monitor]")
    others = {
        r"network, which differs in backbone\.\S+, backbone\.\S+, backbone\.\S+ and \d+ more": text.replace(
            "width = 4", "width = 6"
        ),
        r"network, which differs in loss_modules\.0\.queue\.[^:]+": text.replace("queue_size = 0", "queue_size = 1400"),
        "optimizer": text[:start] + '[optimizer]\nuse = "sslkit:lars"\n' + text[end:],
    }
    for what, other in others.items():
        run.recipe.write_text(other)
        with pytest.raises(
            RunError, match=f"cannot be resumed with another {what}: train the changed recipe as a new run"
        ):
            resume(run, allow=["recipe"])


def change_data(monkeypatch: pytest.MonkeyPatch, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    original = Digits.load

    def load(self: Digits, split: str) -> Split:
        loaded = original(self, split)
        assert loaded.labels is not None
        images = change(loaded.images.gather(torch.arange(len(loaded.images))))
        return Split(TensorStore(images), loaded.labels[: len(images)])

    monkeypatch.setattr(Digits, "load", load)


def invert_one_image(images: torch.Tensor) -> torch.Tensor:
    images[1] = 255 - images[1]
    return images


def read_provenance(run: Run) -> dict[str, Any]:
    provenance: dict[str, Any] = json.loads(run.provenance.read_text())
    return provenance


def change_provenance(run: Run, **changes: Any) -> None:
    run.provenance.write_text(json.dumps(read_provenance(run) | changes))


OTHER_CHECKSUM = r"sha256 was \"[0-9a-f]{16}\", is \"[0-9a-f]{16}\"\n"


def test_changed_data_are_refused_unless_allowed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        change_data(patch, invert_one_image)
        with pytest.raises(RunError, match=r"  data: images_" + OTHER_CHECKSUM):
            resume(run)
    change_data(monkeypatch, lambda images: images[:1400])
    with pytest.raises(RunError, match=r"  data: training_images was 1438, is 1400\n"):
        resume(run)
    reporter = RecordingReporter()
    resume(run, reporter, allow=["data"])
    assert run.status.state == "finished"
    (warning,) = [note for note in reporter.notes if "data have changed" in note]
    assert "may be validation or test images now" in warning


def test_an_allowed_change_is_recorded_and_allowed_once(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at
) -> None:
    run = train(load_recipe(tiny, [*SETTINGS, "train.epochs=2"]), tmp_path / "runs", stop_at([1]))
    before = read_provenance(run)
    assert "resumed" not in before
    with monkeypatch.context() as patch:
        change_data(patch, invert_one_image)
        resume(run, stop_at([2]), allow=["data"])
        between = read_provenance(run)
        (event,) = between["resumed"]
        assert event["step"] == 1
        was, now = before["images_sha256"], between["images_sha256"]
        assert event["changed"] == [f'data: images_sha256 was "{was}", is "{now}"']
        assert now != was
        resume(run, stop_at([3]))
        assert read_provenance(run) == between, "nothing has changed since"
    with pytest.raises(RunError, match=r"  data: images_" + OTHER_CHECKSUM):
        resume(run)
    resume(run, allow=["data"])
    assert [event["step"] for event in read_provenance(run)["resumed"]] == [1, 3]
    # The resolved recipe has lists instead of tables, so key paths of components differ.
    assert {name: value for name, value in read_provenance(run).items() if name not in ("resumed", "components")} == {
        name: value for name, value in before.items() if name != "components"
    }


def test_another_precision_is_refused_unless_allowed_or_changed_back(run: Run) -> None:
    current = read_provenance(run)["hardware"]["precision"]
    other_precision = {"float32": "bfloat16", "bfloat16": "float32"}[current]
    change_provenance(run, hardware=read_provenance(run)["hardware"] | {"precision": other_precision})
    with pytest.raises(RunError) as error:
        resume(run)
    assert str(error.value) == (
        f"{run.name} cannot be resumed, because this has changed since it was stopped:\n"
        f'  precision: it was "{other_precision}", is "{current}"; '
        f'train.precision = "{other_precision}" in {run.recipe} changes it back\n'
        f"Change it back, or accept other results with `sslkit resume {run.path} --allow precision`."
    )
    edit_recipe(run, 'precision = "auto"', f'precision = "{other_precision}"')
    other = Run(shutil.copytree(run.path, run.path.with_name("other"), symlinks=True))
    resume(run)
    assert (run.status.state, read_provenance(run)["hardware"]["precision"]) == ("finished", other_precision)
    edit_recipe(other, f'precision = "{other_precision}"', f'precision = "{current}"')
    resume(other, allow=["precision"])
    (event,) = read_provenance(other)["resumed"]
    assert event["changed"][0].startswith(f'precision: it was "{other_precision}", is "{current}"')
    assert read_provenance(other)["hardware"]["precision"] == current


def test_other_versions_and_hardware_are_reported_and_recorded(run: Run) -> None:
    record = read_provenance(run)
    now = record["versions"]["torch"]
    record["versions"]["torch"] = "2.0"
    record["components"]["loss"]["version"] = record["components"]["head"]["version"] = "0.0.9"
    record["hardware"] |= {"threads": 64, "name": "Z80"}
    change_provenance(run, **record)
    reporter = RecordingReporter()
    resume(run, reporter)
    after = read_provenance(run)
    name = after["hardware"]["name"]
    changed = [
        'sslkit-selfcls was "0.0.9", is "0.1.0"',
        f'torch was "2.0", is "{now}"',
        f'hardware.name was "Z80", is "{name}"',
        f"hardware.threads was 64, is {torch.get_num_threads()}",
    ]
    assert [line for line in reporter.notes if "was" in line] == [
        f"warning: {line}: results may differ slightly" for line in changed
    ]
    assert after["resumed"][0]["changed"] == changed
    assert after["versions"]["torch"] == now
