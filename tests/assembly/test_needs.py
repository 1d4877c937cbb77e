"""A recipe must provide the backbone, views, heads and losses that its method and losses declare."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import sslkit
from sslkit.assembly.assemble import assemble
from sslkit.assembly.check_needs import check_needs
from sslkit.components.catalog import registered_components
from sslkit.errors import RecipeError
from sslkit.recipe.load import load_recipe
from sslkit.runs.metrics_file import read_metrics
from sslkit.training.train import train

RECIPE = """
[train]
epochs = 1
batch_size = 256
[data]
use = "digits"
size = 16
[views]
use = "affine"
padding = "zeros"
[backbone]
use = "convnet"
width = 2
[optimizer]
use = "adamw"
lr = 1e-3
[monitor]
every_epochs = 0
"""


class Turns(sslkit.Method):
    """Predicts by how many quarter turns each view is rotated."""

    api = 2
    own_objective = True
    needs = frozenset({"images"})

    def __init__(self, options: sslkit.NoOptions, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        self.classifier = nn.Linear(context.feature_dim, 4)

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        turned = torch.cat([batch.views[0][0].rot90(turns, (2, 3)) for turns in range(4)])
        target = torch.arange(4).repeat_interleave(len(batch.index))
        return sslkit.MethodOutput(nn.functional.cross_entropy(self.classifier(self.backbone(turned)), target))


class TokenTurns(Turns):
    """Turns that also reads tokens of views of one size."""

    needs = frozenset({"tokens", "fixed_size"})


class HeadTurns(Turns):
    """Turns that also reads logits."""

    needs = frozenset({"images", "logits"})


class GlobalTurns(Turns):
    """Turns that works with exactly two global views."""

    min_views = max_views = 2
    global_views_only = True

    def __init__(self, options: sslkit.NoOptions, context: sslkit.Context, parts: sslkit.Parts) -> None:
        super().__init__(options, context, parts)
        assert context.view_count == 2

    def forward(self, batch: sslkit.Batch) -> sslkit.MethodOutput:
        assert sum(map(len, batch.views)) == 2
        return super().forward(batch)


class TwoViews(sslkit.Loss):
    """Distance of exactly two views."""

    api = 2
    min_views = max_views = 2

    def forward(self, views: sslkit.ViewOutputs) -> sslkit.LossOutput:
        first, second = views.student.features
        return sslkit.LossOutput((first - second).square().mean())


class TwoGlobalViews(TwoViews):
    """Distance of exactly two global views; local views are ignored."""

    global_views_only = True

    def __init__(self, options: sslkit.NoOptions, context: sslkit.Context) -> None:
        super().__init__(options, context)
        assert context.view_count == 2


@pytest.fixture(autouse=True)
def components() -> Iterator[None]:
    before = dict(registered_components)
    for component in (Turns, TokenTurns, HeadTurns, GlobalTurns):
        sslkit.register(component.__name__.lower(), component)
    sslkit.register("two", TwoViews)
    sslkit.register("two-global", TwoGlobalViews)
    yield
    registered_components.clear()
    registered_components.update(before)


def problems(tmp_path: Path, text: str, *settings: str) -> list[str]:
    """Return the problems that check and train report, without the folder; an empty list if there are none."""
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE + text)
    found = []
    for check in (check_needs, assemble):
        try:
            check(load_recipe(path, settings))
            found.append([])
        except RecipeError as error:
            found.append([line.strip().replace(f"{tmp_path}/", "") for line in str(error).splitlines()[1:]])
    assert found[0] == found[1]  # sslkit recipes check and sslkit train
    return found[0]


def test_a_method_with_its_own_objective_trains_without_losses(tmp_path: Path) -> None:
    assert problems(tmp_path, '[method]\nuse = "turns"\n') == []
    run = train(load_recipe(tmp_path / "mine.toml", ["train.epochs=4", "monitor.log_every_steps=1"]), tmp_path / "runs")
    losses = [row.value for row in read_metrics(run.metrics) if row.metric == "loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[method]\nuse = "turns"\n[loss]\nuse = "two"\n', "loss: the method 'turns' has its own objective"),
        (
            '[method]\nuse = "turns"\n[head]\nuse = "projection"\n',
            "head: the method 'turns' does not train",
        ),
        ('[method]\nuse = "headturns"\n', "head: the method 'headturns' needs a head (add [head]"),
        ('[method]\nuse = "joint-embedding"\n', "loss: the section is missing (add [loss]"),
        ("", "loss: the section is missing (add [loss]"),
    ],
)
def test_losses_and_heads_must_fit_the_method(tmp_path: Path, text: str, message: str) -> None:
    (problem,) = problems(tmp_path, text)
    assert message in problem


def test_a_method_that_reads_images_refuses_a_frozen_backbone(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[method]\nuse = "turns"\n', "backbone.train=none")
    assert "the method 'turns' reads images" in problem
    assert problem.endswith('(set train = "all")')


def test_a_method_names_the_ability_that_the_backbone_lacks(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[method]\nuse = "tokenturns"\n')
    line = RECIPE.splitlines().index('use = "convnet"') + 1
    assert problem.startswith(f"mine.toml:{line}: backbone.use: the backbone 'convnet' does not provide tokens, which")
    assert "the method 'tokenturns' reads" in problem


def test_a_method_of_fixed_size_refuses_smaller_local_views(tmp_path: Path) -> None:
    settings = ["views={use='crops', saturation=0, hue=0, grayscale_p=0, local_crops=2, local_size=8}"]
    settings += ["backbone={use='timm:test_vit', arguments={dynamic_img_size=true, patch_size=4}}"]
    (problem,) = problems(tmp_path, '[method]\nuse = "tokenturns"\n', *settings)
    assert problem.endswith("needs views of one size, but there are 2 sizes (remove the local views)")


def test_a_head_without_classifiers_does_not_provide_logits(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[method]\nuse = "headturns"\n[head]\nuse = "projection"\n')
    assert "the method 'headturns' needs logits, but no head has classifiers" in problem


@pytest.mark.parametrize(
    ("loss", "views", "message"),
    [
        ("two", 1, "the loss 'two' needs exactly 2 views of each image, but there are 1"),
        ("two", 3, "the loss 'two' needs exactly 2 views of each image, but there are 3"),
        ("two-global", 3, "the loss 'two-global' needs exactly 2 global views of each image, but there are 3"),
        ("simclr", 1, "the loss 'simclr' needs at least 2 views of each image, but there are 1"),
    ],
)
def test_a_loss_names_the_number_of_views_that_it_needs(tmp_path: Path, loss: str, views: int, message: str) -> None:
    text = f'[head]\nuse = "projection"\n[loss]\nuse = "{loss}"\n'
    (problem,) = problems(tmp_path, text, f"views.views={views}")
    assert problem.endswith(f"{message} (change the number of views in [views])")


def test_a_method_names_the_number_of_views_that_it_needs(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, '[method]\nuse = "globalturns"\n', "views.views=3")
    line = RECIPE.count("\n") + 2
    assert problem == (
        f"mine.toml:{line}: method.use: the method 'globalturns' needs exactly 2 global views of each image, "
        "but there are 3 (change the number of views in [views])"
    )


def test_a_method_of_global_views_ignores_local_views(tmp_path: Path) -> None:
    crops = "views={use='crops', saturation=0, hue=0, grayscale_p=0, local_crops=3, local_size=8}"
    assert problems(tmp_path, '[method]\nuse = "globalturns"\n', crops) == []
    method = assemble(load_recipe(tmp_path / "mine.toml", [crops])).method
    views = (torch.randn(2, 4, 1, 16, 16), torch.randn(3, 4, 1, 8, 8))
    assert method(sslkit.Batch(views, 2, torch.arange(4), 0, 0)).loss.isfinite()


def test_a_loss_of_global_views_ignores_local_views(tmp_path: Path) -> None:
    crops = "views={use='crops', saturation=0, hue=0, grayscale_p=0, local_crops=3, local_size=8}"
    assert problems(tmp_path, '[loss]\nuse = "two-global"\n', crops) == []
    loss = assemble(load_recipe(tmp_path / "mine.toml", [crops])).method.losses["two-global"]
    views = tuple(torch.full((4, 2), float(value)) for value in (1, 3, 7, 7, 7))
    outputs = sslkit.ViewOutputs({"student": sslkit.BranchOutputs(views)}, 2, torch.arange(4))
    total: Tensor = loss(outputs).total
    assert total.item() == 4
