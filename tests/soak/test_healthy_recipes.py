"""Healthy runs of all recipes cause no collapse warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from equal_runs import metric_rows
from PIL import Image
from recording_reporter import RecordingReporter
from shipped_recipes import RECIPES, SHIPPED
from sklearn.datasets import load_digits

from sslkit.contracts.duration import count_epochs
from sslkit.recipe.load import load_recipe
from sslkit.training.train import train

STAGES = {"cpu/groups-alexnet", "gpu/groups", "gpu/self-label"}
"""Recipes that continue the run of another recipe."""


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in STAGES])
def test_the_recipe_causes_no_collapse_warning(name: str, tmp_path: Path, record: Callable[..., None]) -> None:
    """Train for five epochs on scikit-learn's digits as colour images, with the smallest views that the stem allows."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = tmp_path / "digits" / ("test" if number % 5 == 0 else "train") / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype("uint8")).resize((16, 16)).convert("RGB").save(path)
    recipe_file = RECIPES / f"{name}.toml"
    recipe = load_recipe(recipe_file).resolved()
    lr = recipe["optimizer"]["lr"] * 64 / recipe["train"]["batch_size"]  # scaled with the batch size
    settings = ["train.epochs=5", "train.batch_size=64", f"optimizer.lr={lr}"]
    warmup = float(count_epochs(recipe["optimizer"]["warmup_epochs"], recipe["train"]["epochs"]))
    settings.append(f"optimizer.warmup_epochs={min(5, warmup)}")
    if not name.startswith("quickstart"):
        size = 32 if 'stem = "imagenet"' in recipe_file.read_text() else 12
        settings += ["data.use=image-folder", f"data.root={tmp_path / 'digits'}", f"views.size={size}"]
    if load_recipe(recipe_file).evaluation.classifier == "parent":
        settings.append("evaluation.classifier=0")
    if name == "w-mse":
        settings += ["loss.w_size=64", "head.embedding_dim=32"]
    reporter = RecordingReporter()
    run = train(load_recipe(recipe_file, settings), tmp_path / "runs", reporter)
    warnings = [note for note in reporter.notes if note.startswith("warning: collapse")]
    ranks = [row.value for row in metric_rows(run) if row.metric == "monitor/effective_rank"]
    result = {"epochs": 5, "false_alarms": warnings, "rank_untrained": ranks[0], "lowest_rank": min(ranks)}
    record(f"healthy, {name}.toml", result)
    assert warnings == []
