"""Losses that receive the outputs of the initial network: once, from the weights that the run starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from equal_runs import assert_equal_runs

import sslkit
from sslkit.assembly.assemble import assemble
from sslkit.errors import RecipeError
from sslkit.features.extraction import classify_features, extract_features
from sslkit.recipe.load import load_recipe
from sslkit.runs.run import Run
from sslkit.training.continuation import start_after
from sslkit.training.train import resume, train
from sslkit_selfcls.loss import SelfClassifierLoss


class PreparedLoss(SelfClassifierLoss):
    """Self-Classifier loss plus the cross-entropy with the classes that the run starts from."""

    needs_initial_outputs = True
    received: ClassVar[list[sslkit.BranchOutputs]] = []

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.register_buffer("classes", torch.full((context.training_images,), -1))

    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        self.received.append(outputs)
        self.classes.copy_(outputs.logits[0][0].argmax(1))

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        entropy = torch.nn.functional.cross_entropy(views.student.logits[0][0], self.classes[views.index])
        return sslkit.LossOutput(super().forward(views).total + entropy)


class RefusingLoss(PreparedLoss):
    def prepare(self, outputs: sslkit.BranchOutputs) -> None:
        raise sslkit.InputError("no image has a class")


@pytest.fixture(autouse=True)
def registered() -> None:
    PreparedLoss.received.clear()
    sslkit.register("prepared", PreparedLoss)
    sslkit.register("refusing", RefusingLoss)


@pytest.mark.parametrize("settings", [[], ["backbone.train='none'"]], ids=["trained", "frozen"])
def test_a_loss_receives_the_outputs_of_the_weights_that_the_run_starts_from(
    settings: list[str], tiny: Path, finished_run: Path
) -> None:
    recipe = load_recipe(tiny, ["loss.use=prepared", "backbone.width=32", *settings])
    assembly = assemble(recipe, start=start_after(Run(finished_run)))
    (outputs,) = PreparedLoss.received
    (features,), (embeddings,), ((logits,),) = outputs.features, outputs.embeddings, outputs.logits
    count = len(assembly.images)
    assert (len(features), embeddings.shape, logits.shape) == (count, (count, 128), (count, 10))
    assert not logits.requires_grad
    trained = sslkit.load_backbone(finished_run)
    index = torch.arange(0, count, 7)
    expected = extract_features(trained.backbone, assembly.images, trained.preprocessing, indices=index)
    torch.testing.assert_close(features[index], expected)
    (head,) = assembly.method.heads.values()
    torch.testing.assert_close(classify_features(head, features, 0), logits)
    assert torch.equal(assembly.method.losses["prepared"].get_buffer("classes"), logits.argmax(1))
    assert head.training, "eval mode is only for the initial outputs"


def test_a_resumed_run_loads_what_the_loss_has_prepared(
    tiny: Path, tmp_path: Path, finished_run: Path, stop_at
) -> None:
    recipe, parent = (
        load_recipe(tiny, ["loss.use=prepared", "backbone.width=32", 'train.checkpoint_every="3 steps"']),
        Run(finished_run),
    )
    uninterrupted = train(recipe, tmp_path / "uninterrupted", parent=parent)
    run = train(recipe, tmp_path / "interrupted", stop_at([7]), parent=parent)
    assert run.status.state == "interrupted"
    assert len(PreparedLoss.received) == 2
    assert_equal_runs(resume(run), uninterrupted)
    assert len(PreparedLoss.received) == 2


def test_a_loss_that_refuses_the_images_is_located(tiny: Path) -> None:
    with pytest.raises(RecipeError, match=r"loss\.use: no image has a class"):
        assemble(load_recipe(tiny, ["loss.use=refusing"]))
