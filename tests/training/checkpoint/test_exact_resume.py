"""With every recipe, a run that is stopped within an epoch and resumed is bit-identical to an uninterrupted run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from equal_runs import assert_equal_runs

from sslkit.recipe.load import load_recipe
from sslkit.training.train import resume, train

SETTINGS = ["backbone.width=4", "train.batch_size=350", "monitor.every_epochs=0"]
"""Two epochs of four steps."""

COMPONENTS = {
    "heads": "dropping = stateful:Dropping",
    "losses": "drawing = stateful:Drawing",
    "optimizers": "cycle = stateful:Cycle",
}

SOURCE = """
import random
import numpy
import torch
from torch import nn
import sslkit
class Dropping(sslkit.Head):
    api = 2
    embedding_dim = 16
    classifiers = (10,)
    def __init__(self, options, context):
        super().__init__(options, context)
        self.layers = nn.Sequential(nn.Linear(context.feature_dim, 16), nn.Dropout(0.5))
        self.classifier = nn.Linear(16, 10, bias=False)
    def embed(self, features):
        return nn.functional.normalize(self.layers(features), dim=1)
    def classify(self, embedding):
        return (self.classifier(embedding),)
class Cycle(sslkit.Optimizer):
    api = 2
    def build(self, groups):
        return torch.optim.AdamW([{"params": list(group.parameters)} for group in groups], lr=1e-3)
    def schedule(self, optimizer):
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=self.context.total_steps + 1)
class Drawing(sslkit.Loss):
    api = 2
    needs = frozenset({"logits"})
    def forward(self, views):
        weight = random.random() + random.gauss(0, 1) ** 2 + numpy.random.rand() + numpy.random.randn() ** 2
        logits = views.student.logits[0][0]
        return sslkit.LossOutput(weight * (logits - torch.rand_like(logits)).square().mean())
"""

TEACHER = "method={use='momentum-teacher', momentum=0.9}"
LINEAR_HEAD = "use='selfcls-mlp', hidden_dims=[]"

CASES: dict[str, list[str]] = {
    "sgd": ["optimizer={use='sgd', lr=0.1, nesterov=true, weight_decay=1e-3, warmup_epochs=1}"],
    "lars, a queue": [
        "optimizer={use='lars', lr=0.1, trust_coefficient=0.02, warmup_epochs=1.5}",
        "head={use='swav', prototypes=[16]}",
        "loss={use='swav', queue_size=700, queue_start='1 steps'}",
    ],
    "byol": [TEACHER, "head={use='projection', hidden_dim=16, embedding_dim=8}", "loss={use='byol'}"],
    "dino": [
        TEACHER,
        "head={use='dino', classifiers=[16], hidden_dim=16, embedding_dim=8, freeze_prototypes='6 steps'}",
        "loss={use='dino'}",
    ],
    "a loss that starts later": [
        f"head=[{{name='late', {LINEAR_HEAD}, classifiers=[10, 4]}}, {{name='early', {LINEAR_HEAD}, classifiers=[7]}}]",
        "loss=[{use='selfcls', name='late', head='late', start_epoch=1}, {use='selfcls', name='early', head='early'}]",
    ],
    "a schedule of more than the learning rate": ["optimizer={use='cycle'}"],
    "dropout and every random generator": ["head={use='dropping'}", "loss={use='drawing'}"],
}


@pytest.mark.parametrize("case", CASES)
def test_a_run_stopped_within_an_epoch_ends_in_the_same_bits(
    case: str, tiny: Path, tmp_path: Path, install: Any, stop_at
) -> None:
    install("plug", "".join(f"[sslkit.{kind}]\n{name}\n" for kind, name in COMPONENTS.items()), stateful=SOURCE)
    recipe = load_recipe(tiny, [*SETTINGS, *CASES[case]])
    uninterrupted = train(recipe, tmp_path / "uninterrupted")
    run = train(recipe, tmp_path / "runs", stop_at([5]))
    assert (run.status.state, run.status.step) == ("interrupted", 5)
    disturb_random_states()
    assert_equal_runs(resume(run), uninterrupted)
    assert run.status.state == "finished"


def disturb_random_states() -> None:
    """Seed the global random generators, as other code in the process may do."""
    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)
