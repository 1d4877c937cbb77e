"""Whether fast views cost accuracy: the quick start with sslkit's views and with torchvision's own transforms.

    python benchmarks/views_accuracy.py [SEED ...] [--epochs 50] [--no-record]      # seeds 0 to 2 unless told otherwise

The same recipe and epochs, only ``[views]`` differs: torchvision's ``RandomAffine``, ``ColorJitter`` and
``GaussianBlur``, image by image, with the quick start's strengths.  Figures are those of held-out digits.  Writes
``benchmarks/records/views_accuracy.json``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from common import ROOT, command_line, print_table, write_record
from torch import Tensor
from torchvision.transforms import v2

import sslkit


class TorchvisionViews(sslkit.Views):
    """Two views of each image, made one by one by torchvision with a seed each."""

    api = 1

    def __init__(self, options: Any, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.groups = (sslkit.ViewGroup(2, context.image_size, is_global=True),)
        self.transform = v2.Compose(
            [
                v2.ToDtype(torch.float32, scale=True),
                v2.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), (-10, 10, -10, 10), v2.InterpolationMode.BILINEAR),
                v2.ColorJitter(brightness=0.5, contrast=0.5),
                v2.RandomApply([v2.GaussianBlur(7, (0.1, 1.0))], p=0.5),
                v2.Normalize(context.mean, context.std),
            ]
        )

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


def main() -> None:
    """Train with both, seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--no-record", action="store_true")
    asked = parser.parse_args()
    sslkit.register("torchvision-views", TorchvisionViews)
    figures: dict[str, list[dict[str, float]]] = {"sslkit": [], "torchvision": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in asked.seeds:
            for side, views in (("sslkit", []), ("torchvision", ["views={use='torchvision-views'}"])):
                settings = [f"run.seed={seed}", f"train.epochs={asked.epochs}", "monitor.every_epochs=0", *views]
                settings += [f"loss.classes.start_epoch={asked.epochs // 2}"]
                run = sslkit.train(ROOT / "recipes" / "quickstart.toml", settings=settings, runs=Path(folder))
                found = run.evaluate(["sslkit:cluster", "sslkit:knn"])
                figures[side].append({"acc": found["cluster"]["acc"], "knn": found["knn"]["top1"]})
                print(side, seed, figures[side][-1], flush=True)
    summary = {
        side: {
            name: {"mean": mean(own := [row[name] for row in rows]), "std": stdev(own) if len(own) > 1 else None}
            for name in ("acc", "knn")
        }
        for side, rows in figures.items()
    }
    print_table(
        f"held-out digits after {asked.epochs} epochs, {len(asked.seeds)} seeds",
        ("views", "ACC", "kNN"),
        [
            (side, *(f"{each['mean']:.3f} ± {each['std'] or 0:.3f}" for each in by_name.values()))
            for side, by_name in summary.items()
        ],
    )
    if not asked.no_record:
        record = {
            "n": len(asked.seeds),
            "seeds": asked.seeds,
            "epochs": asked.epochs,
            "figures": figures,
            "summary": summary,
        }
        write_record("views_accuracy", command_line(), record, ("torchvision",))


if __name__ == "__main__":
    main()
