"""The recipes of the repository, and what makes those for colour pictures train on digits."""

from __future__ import annotations

from pathlib import Path

from sslkit.recipe.load import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.toml"))
GREY = {"saturation": 0, "hue": 0, "grayscale_p": 0}
EFFECTS = {"local_crops": 1, "local_size": 8, "blur_p": 0.5, "solarise_p": 0.2}


def on_digits(name: str) -> list[str]:
    """Settings for a recipe: grey images of 8 pixels, with every effect that its views have."""
    recipe = load_recipe(RECIPES / f"{name}.toml").resolved()
    if recipe["data"]["use"] == "sslkit:digits":
        return []
    own = [f"views.{option}={value}" for option, value in (GREY | EFFECTS).items() if option in recipe["views"]]
    return ["data={use='digits'}", *own]


def in_one_epoch(name: str) -> list[str]:
    """Settings for a recipe: all of its losses in a single epoch on digits."""
    late = [loss.name for loss in load_recipe(RECIPES / f"{name}.toml").losses if loss.wiring.start_epoch]
    once = ["train.epochs=1", "optimizer.warmup_epochs=0"]
    return [*on_digits(name), *once, *(f"loss.{loss}.start_epoch=0" for loss in late)]
