"""Recipes of the repository, and settings with which they train on digits."""

from __future__ import annotations

from pathlib import Path

from sslkit.recipe.load import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
SHIPPED = sorted(
    path.relative_to(RECIPES).with_suffix("").as_posix()
    for path in RECIPES.rglob("*.toml")
    if "references" not in path.parts  # published results, not recipes
)
FROZEN = {"cpu/groups-alexnet", "gpu/groups", "pretrained", "ruc", "self-label"}
"""Recipes with a frozen backbone."""
FROM_RUN = {"cpu/groups-alexnet": "cpu/features-alexnet", "gpu/groups": "gpu/features"}
"""Recipe whose run provides the initial weights of a recipe, keyed by the name of the latter."""
VIT = "backbone={use='timm:vit_tiny_patch16_224', arguments={patch_size=4, embed_dim=12, depth=1, num_heads=2%s}}"
"""Small vision transformer for views of 16 pixels."""
ONE_SIZE = [VIT % "", "views.local_crops=0"]
SMALL_PREDICTOR = ["method.predictor_dim=8", "method.predictor_depth=1", "method.predictor_heads=2"]
SMALL_DECODER = ["method.decoder_dim=8", "method.decoder_depth=1", "method.decoder_heads=2"]
SMALL_LOSS = {
    "dinov2": [VIT % ", dynamic_img_size=true"],
    "directclr": ["loss.loss_dim=2"],
    "gpu/self-label": ["evaluation.classifier=0"],
    "i-jepa": [*ONE_SIZE, *SMALL_PREDICTOR],
    "ibot": [VIT % ", dynamic_img_size=true"],
    "mae": [*ONE_SIZE, *SMALL_DECODER],
    "msn": [VIT % ", dynamic_img_size=true"],
    "pmsn": [VIT % ", dynamic_img_size=true"],
    "simmim": ONE_SIZE,
    "w-mse": ["loss.w_size=4", "head.embedding_dim=2", "loss.eps=0.1"],  # four images may have a singular covariance
}
"""Settings of losses, methods and data that do not fit to small backbones and batches, or that need a run to
continue."""
NARROW = ["head.hidden_dim=64", "head.embedding_dim=64"]
NARROW_PREDICTOR = [*NARROW, "loss.predictor_dim=64"]
NARROW_DINO = [*NARROW, "head.classifiers=[64]"]
NARROW_HEAD = {
    **dict.fromkeys(["adapt", "barlow-twins", "emp-ssl", "fastsiam", "frossl", "moco", "simsiam", "tico"], NARROW),
    **dict.fromkeys(["byol", "moco-v3", "nnclr"], NARROW_PREDICTOR),
    **dict.fromkeys(["dino", "ibot", "msn", "pmsn"], NARROW_DINO),
    "dinov2": [setting.replace("head", f"head.{name}") for name in ("images", "patches") for setting in NARROW_DINO],
    "lejepa": [*NARROW, "loss.sigreg_num_vectors=64"],
    "vicreg": NARROW,
}
"""Settings for narrow layers of recipes whose head or loss has wide layers."""
NOT_CAPTURED = {"mmcr"}
"""Recipes that are never captured as a CUDA graph: their loss declares a sync."""
GREY = {"saturation": 0, "hue": 0, "grayscale_p": 0}
RGB = "data={use='digit-scenes', channels=3, train=1000, test=8, side=32}"
EFFECTS = {"local_crops": 1, "local_size": 8, "blur_p": 0.5, "solarise_p": 0.2}


def on_digits(name: str) -> list[str]:
    """Return settings for grey images of 8 pixels, with all effects that the recipe's views have."""
    recipe = load_recipe(RECIPES / f"{name}.toml").resolved()
    if recipe["data"]["use"] == "sslkit:digits":
        return []
    data = RGB if name == "colourisation" else "data={use='digits'}"
    own = [f"views.{option}={value}" for option, value in (GREY | EFFECTS).items() if option in recipe["views"]]
    return [data, *own]


def in_one_epoch(name: str) -> list[str]:
    """Return settings for one epoch on digits; all losses of a recipe are active in it."""
    return [*on_digits(name), "train.epochs=1"]
