"""Collapses that are provoked are told within two epochs, and healthy trainings are left in peace; no label is read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from sslkit.errors import TrainingError
from sslkit.recipe.check import load_recipe
from sslkit.runs.metrics_file import read_history
from sslkit.training.events import Reporter
from sslkit.training.monitor.collapse_detector import CollapseDetector
from sslkit.training.monitor.collapse_metrics import effective_rank, spread
from sslkit.training.train import train
from sslkit.views.affine import Affine
from sslkit_lightly.swav_head import SwavHead
from sslkit_selfcls.head import SelfClassifierHead

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = ["train.batch_size=128", "backbone.width=8", "optimizer.lr=2e-3"]
SELFCLS = [*SMALL, "head.hidden_dims=[64]"]
SWAV = [*SMALL, 'head={use="swav", prototypes=[60], hidden_dim=64}', "loss.use=swav"]


class Notes(Reporter):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        if text.startswith("warning: collapse"):
            self.notes.append(text)


@pytest.fixture
def told(tiny: Path, tmp_path: Path) -> Callable[..., str]:
    def told(*settings: str) -> str:
        notes = Notes()
        train(load_recipe(tiny, settings), tmp_path / "runs", notes)
        return "\n".join(notes.notes)

    return told


@pytest.mark.parametrize("settings", [SELFCLS, SWAV], ids=["selfcls", "swav"])
def test_a_healthy_training_is_left_in_peace(told: Callable[..., str], settings: list[str], tmp_path: Path) -> None:
    assert told(*settings) == ""
    (metrics,) = (tmp_path / "runs" / "tiny").glob("*/metrics.csv")
    last = {row.metric: row.value for row in read_history(metrics)}
    assert 0.2 < last["monitor/spread"] < 1
    assert 15 < last["monitor/rank"] < 32
    assert last["monitor/view_contrast"] > 0.1


def show_nothing(patch: pytest.MonkeyPatch) -> None:
    honest = Affine.apply
    patch.setattr(Affine, "apply", lambda *args: tuple(map(torch.zeros_like, honest(*args))))


def begin_in_one_class(patch: pytest.MonkeyPatch) -> None:
    honest = SelfClassifierHead.__init__

    def one_class(self: SelfClassifierHead, *args: Any) -> None:
        honest(self, *args)
        with torch.no_grad():
            self.mlp[-1].bias[0] = 50.0
            self.directions[0].zero_()[:, 0] = -1.0
            self.directions[0][0, 0] = 1.0

    patch.setattr(SelfClassifierHead, "__init__", one_class)


def begin_alike(patch: pytest.MonkeyPatch) -> None:
    honest = SwavHead.__init__

    def alike(self: SwavHead, *args: Any) -> None:
        honest(self, *args)
        with torch.no_grad():
            self.projection.bias.fill_(1e3)

    patch.setattr(SwavHead, "__init__", alike)


QUEUED = ['head={use="swav", prototypes=[60], hidden_dim="linear"}', 'loss={use="swav", queue_size=1280}']
PROVOKED: dict[str, tuple[list[str], Callable[[pytest.MonkeyPatch], None] | None, str]] = {
    "learning rate times 100": (
        [*SELFCLS, "optimizer.lr=0.2"],
        None,
        "features of different images differ in few directions",
    ),
    "learning rate times 100, lars": (
        [*SWAV, 'optimizer={use="lars", lr=60.0, trust_coefficient=0.02}'],
        None,
        "features of different images differ in few directions",
    ),
    "temperature 0.001": ([*SELFCLS, "loss.row_temperature=0.001"], None, "is far above ln K = 2.303"),
    "temperature 0.001, swav": ([*SWAV, "loss.temperature=0.001"], None, "is far above ln K = 4.094"),
    "views that show nothing": (
        SELFCLS,
        show_nothing,
        "views of different images are all alike (contrast 0): there is",
    ),
    "all images in one class": (SELFCLS, begin_in_one_class, "nearly all images are in one of 10 classes"),
    "a queue before embeddings differ": ([*SWAV, *QUEUED], begin_alike, "nearly all images are in one of 60 classes"),
}
LONG = ["train.epochs=5", "monitor.every_epochs=5"]
"""A sign in the second epoch of two would be told because none follows; and signs do not wait for monitors."""


def within_two_epochs(notes: str) -> bool:
    first = re.match(r"warning: collapse at step (\d+): ", notes)
    return first is not None and int(first[1]) <= 22


@pytest.mark.parametrize("name", PROVOKED)
def test_a_provoked_collapse_is_told(told: Callable[..., str], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, provoke, sign = PROVOKED[name]
    if provoke is not None:
        provoke(monkeypatch)
    found = told(*settings, *LONG)
    assert within_two_epochs(found), found
    assert sign in found


@pytest.mark.soak
@pytest.mark.parametrize("name", PROVOKED)
def test_a_provoked_collapse_of_many_seeds(
    told: Callable[..., str], name: str, monkeypatch: pytest.MonkeyPatch, record: Callable[..., None]
) -> None:
    settings, provoke, _ = PROVOKED[name]
    if provoke is not None:
        provoke(monkeypatch)
    late = [seed for seed in range(10) if not within_two_epochs(told(*settings, *LONG, f"run.seed={seed}"))]
    record(f"provoked, {name}", {"provoked": 10, "told_within_two_epochs": 10 - len(late), "missed_seeds": late})
    assert late == []


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(path.relative_to(RECIPES).as_posix() for path in RECIPES.rglob("*.toml")))
def test_no_recipe_of_ours_raises_an_alarm(name: str, tmp_path: Path, record: Callable[..., None]) -> None:
    """Five epochs of each recipe, on scikit-learn's digits as colour pictures, in views as small as its stem bears."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = tmp_path / "digits" / ("test" if number % 5 == 0 else "train") / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype("uint8")).resize((16, 16)).convert("RGB").save(path)
    recipe = load_recipe(RECIPES / name).resolved()
    lr = recipe["optimizer"]["lr"] * 64 / recipe["train"]["batch_size"]  # a smaller batch wants smaller steps
    settings = ["train.epochs=5", "train.batch_size=64", f"optimizer.lr={lr}"]
    settings.append(f"optimizer.warmup_epochs={min(5, recipe['optimizer']['warmup_epochs'])}")
    if "start_epoch" in (RECIPES / name).read_text():
        settings.append("loss.classes.start_epoch=2")
    if not name.startswith("quickstart"):
        size = 32 if 'stem = "imagenet"' in (RECIPES / name).read_text() else 12
        settings += ["data.use=image-folder", f"data.root={tmp_path / 'digits'}", f"views.size={size}"]
    notes = Notes()
    run = train(load_recipe(RECIPES / name, settings), tmp_path / "runs", notes)
    ranks = [row.value for row in read_history(run.metrics) if row.metric == "monitor/rank"]
    found = {"epochs": 5, "false_alarms": notes.notes, "rank_untrained": ranks[0], "lowest_rank": min(ranks)}
    record(f"healthy, {name}", found)
    assert notes.notes == []


def test_a_collapse_stops_the_run_where_asked(told: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    begin_in_one_class(monkeypatch)
    with pytest.raises(TrainingError, match=r"collapsed at step 22: nearly all images .* monitor.collapse = \"stop\""):
        told(*SELFCLS, "monitor.collapse=stop")
    assert told(*SELFCLS, "monitor.collapse=off", "train.epochs=1") == ""


def test_what_has_nothing_to_learn_from_is_told_at_once_with_the_remedy(
    told: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_nothing(monkeypatch)
    assert told(*SELFCLS) == (
        "warning: collapse at step 11: views of different images are all alike (contrast 0): there is nothing to learn "
        "from; look at the views' options, crops too small or jitter too strong"
    )


def test_a_loss_that_stays_at_ln_k_is_told_once_with_what_helps() -> None:
    watch, fine = CollapseDetector(), {"spread": 0.4, "view_contrast": 0.6, "view_entropy": 2.0}
    ln_k = math.log(3000)
    assert watch.judge(fine, ln_k * 1.004, 3000, steps=500) == []
    assert watch.judge(fine, ln_k * 1.002, 3000, steps=500) == []  # near, but moving
    early = CollapseDetector()
    early.load_state_dict(watch.state_dict())
    assert early.judge(fine, ln_k * 1.0015, 3000, steps=199) == [], "it may still begin"
    (sign,) = watch.judge(fine, ln_k * 1.0015, 3000, steps=200)
    assert "stays at ln K = 8.006" in sign
    assert "a smaller or later queue" in sign
    other = CollapseDetector()
    other.load_state_dict(watch.state_dict())
    assert other.judge(fine, ln_k * 1.0015, 3000, steps=500) == []


@pytest.mark.parametrize("wrong", [{"spread": 0.0001}, {"spread": math.nan}])
def test_a_start_that_recovers_is_no_collapse(wrong: dict[str, float]) -> None:
    fine = {"spread": 0.4, "view_contrast": 0.6, "view_entropy": 2.0}
    watch = CollapseDetector()
    assert watch.judge(fine | wrong, None, 0, steps=500) == []
    assert watch.suspects
    assert watch.judge(fine, None, 0, steps=500) == []
    assert not watch.suspects
    assert watch.judge(fine | wrong, None, 0, steps=500) == []
    resumed = CollapseDetector()
    resumed.load_state_dict(watch.state_dict())
    assert CollapseDetector().judge(fine | wrong | {"view_entropy": 0.01}, None, 10, steps=500) == [], (
        "a start may look like that"
    )
    watch = CollapseDetector()
    assert watch.judge(fine, None, 10, steps=500) == []
    assert len(watch.judge(fine | wrong | {"view_entropy": 0.01}, None, 10, steps=500)) == 2, (
        "later two signs are enough"
    )
    assert len(CollapseDetector().judge(fine | wrong, None, 0, steps=500, last=True)) == 1, (
        "no measurement follows that could show more"
    )
    (sign,) = resumed.judge(fine | wrong, None, 0, steps=500)
    assert sign.startswith("features of different images point the same way")
    assert resumed.judge(fine | wrong, None, 0, steps=500) == []


def test_features_that_lose_directions_are_told_beside_what_the_untrained_network_had() -> None:
    watch, fine = CollapseDetector(), {"spread": 0.01, "view_contrast": 0.6, "view_entropy": 2.0, "rank": 20.0}
    watch.untrained = 30.0
    assert [watch.judge(fine, None, 10, steps=500) for _ in range(3)] == [[], [], []], "they may share a direction"
    many = CollapseDetector()
    many.untrained = 355.0
    assert [many.judge(fine | {"rank": 100.0}, None, 10, steps=500) for _ in range(2)] == [[], []], "training lost some"
    assert "few directions" in [many.judge(fine | {"rank": 75.0}, None, 10, steps=500) for _ in range(2)][1][0]
    assert watch.judge(fine | {"rank": 11.0}, None, 10, steps=500) == []
    assert watch.judge(fine | {"rank": 11.5}, None, 10, steps=500) == [
        "features of different images differ in few directions (effective rank 11.5, before training 30): lower the "
        "learning rate, lengthen the warm-up, or check the loss's temperature"
    ]


def test_rank_and_spread_are_what_their_papers_say() -> None:
    torch.manual_seed(0)
    assert effective_rank(torch.eye(8)) == pytest.approx(8, rel=1e-3)
    assert effective_rank(torch.randn(50, 1) * torch.randn(1, 8)) == pytest.approx(1, rel=1e-3)
    assert spread(torch.randn(5000, 16)) == pytest.approx(1, rel=0.02)
    assert spread(torch.ones(10, 16)) == pytest.approx(0, abs=1e-6)
    assert math.isnan(effective_rank(torch.full((4, 4), math.nan)))
