"""Two and three processes, started by torchrun or SLURM, train like one process on the global batch."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from processes.forked_cli import run_script
from safetensors.torch import load_file

from sslkit.runs.metrics_file import read_metrics
from sslkit.runs.run import Run

SMOOTH = """
import torch, sslkit
class Smooth(sslkit.Backbone):
    "Smooth, and without BatchNorm, so each image's features depend on that image alone."
    api = 2
    feature_dim = 24
    def __init__(self, options, context):
        super().__init__(options, context)
        self.first = torch.nn.Conv2d(context.channels, 12, 3, padding=1)
        self.second = torch.nn.Conv2d(12, 24, 3, stride=2)
    def forward(self, images):
        return self.feature_maps(images)[2].mean((2, 3))
    def feature_maps(self, images):
        return {2: 30 * self.second(self.first(images).tanh()).tanh()}
    @classmethod
    def weight_sources(cls, options):
        return {"own": sslkit.Preprocessing(8, (0.3,), (0.4,))}
    def load_weights_from(self, source):
        return "random weights"
"""

# Temperatures near 1, because low temperatures amplify float32 rounding errors. Not bfloat16, which rounds more.
COMMON = """
[run]
seed = 7
[train]
epochs = 2
batch_size = 252
device = "cpu"
precision = "float32"
[data]
use = "digits"
size = 8
[views]
use = "crops"
saturation = 0
hue = 0
grayscale_p = 0
local_crops = 1
local_size = 6
[optimizer]
use = "sgd"
lr = 0.001
[monitor]
log_every_steps = 1
every_epochs = 2
"""

BACKBONE = """
[backbone]
use = "smooth"
"""

RECIPES = {
    "selfcls": """
[head]
use = "selfcls-mlp"
hidden_dims = [16]
batch_norm = false
embedding_dim = 12
classifiers = [10, 4]
[loss]
use = "selfcls"
queue_size = 504
row_temperature = 1
column_temperature = 0.5
""",
    # Frozen prototypes, a queue that starts later, and a head without a loss in the first epoch.
    "swav": """
[[head]]
use = "swav"
prototypes = [16]
hidden_dim = "linear"
embedding_dim = 12
freeze_prototypes = "3 steps"
[[head]]
name = "late"
use = "selfcls-mlp"
hidden_dims = []
classifiers = [10]
[[loss]]
use = "swav"
queue_size = 504
queue_start = "2 steps"
temperature = 1
sinkhorn_epsilon = 0.5
[[loss]]
use = "selfcls"
head = "late"
start_epoch = 1
""",
    "simclr": """
[head]
use = "swav"
prototypes = [16]
hidden_dim = "linear"
[loss]
use = "simclr"
""",
    "teacher": """
[method]
use = "momentum-teacher"
momentum = 0.9
[head]
use = "dino"
classifiers = [16]
hidden_dim = 16
embedding_dim = 12
batch_norm = false
freeze_prototypes = "3 steps"
[loss]
use = "dino"
warmup = "5 steps"
""",
    # Stored views of images and of their neighbours.
    "frozen": """
[backbone]
use = "smooth"
weights = "own"
train = "none"
[positives]
use = "neighbours"
k = 5
[head]
use = "selfcls-mlp"
hidden_dims = [16]
batch_norm = false
embedding_dim = 12
classifiers = [10, 4]
[loss]
use = "selfcls"
row_temperature = 1
column_temperature = 0.5
""",
}

COLLECTIVES = {
    # Each Self-Classifier loss needs a maximum and a sum for each size of classifiers, and the gradient of the sum.
    "selfcls": {"all_reduce": 2 * 3 + 1, "all_gather": 2},
    "swav": {"all_reduce": 3 + 1, "all_gather": 1 + 2 * 2},  # Sinkhorn, and two queues
    "simclr": {"all_reduce": 3 + 1, "all_gather": 3},
    "teacher": {"all_reduce": 1 + 1},
    "frozen": {"all_reduce": 2 * 3 + 1},
}
"""Number of collective operations in the last step; one ``all_reduce`` of each step averages the gradients."""

CASES = [
    *(("torchrun-2", name) for name in RECIPES),
    ("torchrun-3", "swav"),
    ("slurm-2", "selfcls"),
]
"""Launcher with number of processes, and name of the recipe."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the runs of each recipe in multiple processes and in one process."""
    folder = tmp_path_factory.mktemp("trained")
    info = folder / "site" / "smooth-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: smooth\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[sslkit.backbones]\nsmooth = smooth_backbone:Smooth\n")
    (folder / "site" / "smooth_backbone.py").write_text(SMOOTH)
    for launch, name in CASES:
        text = COMMON + RECIPES[name] + ("" if "[backbone]" in RECIPES[name] else BACKBONE)
        (folder / launch).mkdir(exist_ok=True)
        (folder / launch / f"{name}.toml").write_text(text)
    script = Path(__file__).with_name("train_in_processes.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(folder / "site")}
    done = run_script([str(script), str(folder)], environment, folder)
    assert done.returncode == 0, done.stderr
    return folder


def only_run(folder: Path) -> Run:
    (path,) = (path for path in folder.iterdir() if path.is_dir())
    return Run(path)


@pytest.mark.parametrize(("launch", "name"), CASES)
def test_processes_train_like_one_on_the_global_batch(trained: Path, launch: str, name: str) -> None:
    folder = trained / launch
    one, several = (only_run(folder / which / name) for which in ("one", "several"))
    expected, actual = (torch.load(folder / f"{name}-{which}.pt") for which in ("one", "several"))
    assert expected.keys() == actual.keys()
    largest = max(float(gradient.abs().max()) for gradient in expected.values())
    for parameter, gradient in expected.items():
        torch.testing.assert_close(actual[parameter], gradient, rtol=0, atol=1e-6 * max(1, largest), msg=parameter)

    rows, others = (list(read_metrics(run.metrics)) for run in (one, several))
    assert [row[:3] for row in rows] == [row[:3] for row in others]
    assert {row.step for row in rows} == set(range(11))
    for row, other in zip(rows, others, strict=True):
        if row.metric.startswith("monitor/"):
            assert other.value == pytest.approx(row.value, abs=0.01), row
        elif not row.metric.startswith("time/"):
            assert other.value == pytest.approx(row.value, rel=1e-6, abs=1e-6), row

    for file in ("backbone", "heads"):
        expected, actual = load_file(getattr(one, file)), load_file(getattr(several, file))
        for parameter, value in expected.items():
            torch.testing.assert_close(actual[parameter], value, rtol=0, atol=1e-5, msg=parameter)
    record = json.loads(several.provenance.read_text())
    launcher, _, count = launch.partition("-")
    launcher_name = {"torchrun": "torchrun", "slurm": "SLURM"}[launcher]
    assert record["processes"] == {"count": int(count), "nodes": 1, "launcher": launcher_name}


@pytest.mark.parametrize(("launch", "name"), CASES)
def test_a_step_needs_few_collectives(trained: Path, launch: str, name: str) -> None:
    steps = json.loads((trained / launch / f"{name}-several.json").read_text())
    assert len(steps) == 10
    assert Counter(steps[-1]) == COLLECTIVES[name]
