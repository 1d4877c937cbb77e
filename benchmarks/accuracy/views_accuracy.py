"""Whether fast views cost accuracy: the same training with sslkit's views and with torchvision's own transforms.

    python benchmarks/accuracy/views_accuracy.py affine|crops [SEED ...] [--epochs E] [--images DIR] [--at-once N] [--no-record]

Seeds are 0 to 2 unless told otherwise.  ``affine`` is the quick start, on digits; ``crops`` is ``recipes/cpu/``'s
AlexNet, on CIFAR-10 or, with ``--images``, on a folder ``train/<class>``, ``test/<class>`` of such images.  Only
``[views]`` differs: torchvision's transforms take the recipe's strengths and make one view after the other.  Figures
are those of held-out images.  Each training is a process of its own, N of them at once.

Writes ``benchmarks/records/views-accuracy-OPERATIONS.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.transforms import v2

import sslkit
from benchmarks.common import ROOT, by_device, command_line, in_process, print_table, write_record

RECIPES = {"affine": ("quickstart.toml", 50), "crops": ("cpu/selfcls-alexnet.toml", 4)}
"""By operations: the recipe, and for how many epochs unless told otherwise."""
SIDES = ("sslkit", "torchvision")


def affine() -> list[Any]:
    """As ``recipes/quickstart.toml`` has it."""
    return [
        v2.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), (-10, 10, -10, 10), v2.InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=0.5, contrast=0.5),
        v2.RandomApply([v2.GaussianBlur(7, (0.1, 1.0))], p=0.5),
    ]


def crops() -> list[Any]:
    """As ``recipes/cpu/selfcls-alexnet.toml`` has it."""
    return [
        v2.RandomResizedCrop(24, (0.3, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
        v2.RandomGrayscale(0.2),
    ]


class TorchvisionViews(sslkit.Views):
    """Two views of each image, made one by one by torchvision with a seed each."""

    api = 1

    class Options(sslkit.Options):
        operations: Literal["affine", "crops"]
        """Which transforms."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        size, own = (24, crops()) if options.operations == "crops" else (context.image_size, affine())
        self.groups = (sslkit.ViewGroup(2, size, is_global=True),)
        scaled, normalised = v2.ToDtype(torch.float32, scale=True), v2.Normalize(context.mean, context.std)
        self.transform = v2.Compose([scaled, *own, normalised])

    def draw(self, n: int, generator: torch.Generator) -> tuple[dict[str, Tensor], ...]:
        """A seed for each view."""
        return ({"seed": torch.randint(0, 2**31, (n, 2), generator=generator)},)

    def apply(self, images: Tensor, parameters: tuple[dict[str, Tensor], ...]) -> tuple[Tensor, ...]:
        """The views."""
        with torch.random.fork_rng(devices=[]):
            made = [
                [self._one(image, int(seed)) for seed in seeds]
                for image, seeds in zip(images, parameters[0]["seed"], strict=True)
            ]
        return (torch.stack([torch.stack(views) for views in zip(*made, strict=True)]),)

    def _one(self, image: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        view: Tensor = self.transform(image)
        return view


def _deviation(value: float | None) -> str:
    return "" if value is None else f" ± {value:.3f}"


def trained(asked: argparse.Namespace) -> dict[str, float]:
    """One training with one side's views, and what held-out images say of it."""
    recipe, _ = RECIPES[asked.operations]
    settings = [
        f"run.seed={asked.seeds[0]}",
        f"train.epochs={asked.epochs}",
        f"loss.classes.start_epoch={asked.epochs // 2}",
        "monitor.every_epochs=0",
    ]
    if asked.images is not None:
        settings += ["data.use=image-folder", f"data.root={asked.images}"]
    if asked.side == "torchvision":
        sslkit.register("torchvision-views", TorchvisionViews)
        settings += [f"views={{use='torchvision-views', operations='{asked.operations}'}}"]
    with tempfile.TemporaryDirectory() as folder:
        run = sslkit.train(ROOT / "recipes" / recipe, settings=settings, runs=Path(folder))
        found = run.evaluate(["sslkit:cluster", "sslkit:knn"]).evaluators
    return {"acc": found["cluster"].metrics["acc"], "knn": found["knn"].metrics["top1"]}


def main() -> None:
    """Train with both, seed by seed; with ``--side``, once, in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("operations", choices=RECIPES)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images")
    parser.add_argument("--at-once", type=int, default=1, help="trainings beside each other")
    parser.add_argument("--side", choices=SIDES, help="that one alone, with the first seed, in this process")
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    asked.epochs = epochs = asked.epochs or RECIPES[asked.operations][1]
    if asked.side:
        print(json.dumps(trained(asked)))
        return
    own = ["--epochs", epochs, *([] if asked.images is None else ["--images", asked.images])]

    def one(job: tuple[int, str]) -> dict[str, float]:
        seed, side = job
        found: dict[str, float] = in_process(__file__, asked.operations, seed, "--side", side, *own)
        print(side, seed, found, flush=True)
        return found

    with ThreadPoolExecutor(asked.at_once) as pool:
        rows = list(pool.map(one, [(seed, side) for side in SIDES for seed in asked.seeds]))
    figures = {side: rows[place * len(asked.seeds) :][: len(asked.seeds)] for place, side in enumerate(SIDES)}
    summary = {
        side: {
            name: {"mean": mean(own := [row[name] for row in rows]), "std": stdev(own) if len(own) > 1 else None}
            for name in ("acc", "knn")
        }
        for side, rows in figures.items()
    }
    print_table(
        f"held-out images after {epochs} epochs, {len(asked.seeds)} seeds",
        ("views", "ACC", "kNN"),
        [
            (side, *(f"{each['mean']:.3f}" + _deviation(each["std"]) for each in by_name.values()))
            for side, by_name in summary.items()
        ],
    )
    if not asked.no_record:
        record = {
            "n": len(asked.seeds),
            "seeds": asked.seeds,
            "epochs": epochs,
            "figures": figures,
            "summary": summary,
        }
        command = command_line().replace(asked.images or "DIR", "DIR")
        write_record(by_device(f"views-accuracy-{asked.operations}"), command, record, ("torchvision",))


if __name__ == "__main__":
    main()
