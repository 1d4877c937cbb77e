"""Compare the accuracy after training with sslkit's views and with torchvision's transforms.

    python benchmarks/accuracy/views_accuracy.py affine|crops [SEED ...] [--epochs E] [--images DIR] [--parallel N]
                                                 [--no-record]

``affine`` trains the quick start on digits. ``crops`` trains ``recipes/cpu/selfcls-alexnet.toml`` on CIFAR-10; with
``--images DIR``, it reads the images from folders ``DIR/train/<class>`` and ``DIR/test/<class>``. The two variants
differ only in the views: torchvision's transforms use the settings of the recipe, and make one view at a time. Metrics
are measured on held-out images. Each training run is a separate process, and N processes run at the same time. The
default seeds are 0 to 2.

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
from benchmarks.common import (
    ROOT,
    command_line,
    name_with_device,
    option_parser,
    print_table,
    run_in_child,
    write_record,
)

RECIPES = {"affine": ("quickstart.toml", 50), "crops": ("cpu/selfcls-alexnet.toml", 4)}
"""Recipe and default number of epochs, keyed by the name of the operations."""

LIBRARIES = ("sslkit", "torchvision")


def affine() -> list[Any]:
    """Return torchvision's transforms with the settings of ``recipes/quickstart.toml``."""
    return [
        v2.RandomAffine(15, (0.1, 0.1), (0.8, 1.2), (-10, 10, -10, 10), v2.InterpolationMode.BILINEAR),
        v2.ColorJitter(brightness=0.5, contrast=0.5),
        v2.RandomApply([v2.GaussianBlur(7, (0.1, 1.0))], p=0.5),
    ]


def crops() -> list[Any]:
    """Return torchvision's transforms with the settings of ``recipes/cpu/selfcls-alexnet.toml``."""
    return [
        v2.RandomResizedCrop(24, (0.3, 1.0), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.2, 0.1)], p=0.8),
        v2.RandomGrayscale(0.2),
    ]


class TorchvisionViews(sslkit.Views):
    """View policy that makes two views of each image with torchvision, one at a time, each with its own seed."""

    api = 2

    class Options(sslkit.Options):
        operations: Literal["affine", "crops"]
        """Name of the transforms: ``affine`` or ``crops``."""

    def __init__(self, options: Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        size, own = (24, crops()) if options.operations == "crops" else (context.image_size, affine())
        self.groups = (sslkit.ViewGroup(2, size, is_global=True),)
        scaled, normalised = v2.ToDtype(torch.float32, scale=True), v2.Normalize(context.mean, context.std)
        self.transform = v2.Compose([scaled, *own, normalised])

    def draw(self, n: int, generator: torch.Generator) -> tuple[dict[str, Tensor], ...]:
        """Draw a random seed for each view."""
        return ({"seed": torch.randint(0, 2**31, (n, 2), generator=generator)},)

    def apply(self, images: Tensor, parameters: tuple[dict[str, Tensor], ...]) -> tuple[Tensor, ...]:
        """Return the views of a batch, made with the seeds in ``parameters``."""
        with torch.random.fork_rng(devices=[]):
            views_of_images = [
                [self._one(image, int(seed)) for seed in seeds]
                for image, seeds in zip(images, parameters[0]["seed"], strict=True)
            ]
        return (torch.stack([torch.stack(views) for views in zip(*views_of_images, strict=True)]),)

    def _one(self, image: Tensor, seed: int) -> Tensor:
        torch.manual_seed(seed)
        view: Tensor = self.transform(image)
        return view


def train(options: argparse.Namespace) -> dict[str, float]:
    """Train once with the views of one library, and return the metrics on the held-out images."""
    recipe, _ = RECIPES[options.operations]
    settings = [
        f"run.seed={options.seeds[0]}",
        f"train.epochs={options.epochs}",
        f"loss.classes.start_epoch={options.epochs // 2}",
        "monitor.every_epochs=0",
    ]
    if options.images is not None:
        settings += ["data.use=image-folder", f"data.root={options.images}"]
    if options.child == "torchvision":
        sslkit.register("torchvision-views", TorchvisionViews)
        settings += [f"views={{use='torchvision-views', operations='{options.operations}'}}"]
    with tempfile.TemporaryDirectory() as folder:
        run = sslkit.train(ROOT / "recipes" / recipe, settings=settings, runs=Path(folder))
        results = run.evaluate(["sslkit:cluster", "sslkit:knn"]).evaluators
    return {"acc": results["cluster"].metrics["acc"], "knn": results["knn"].metrics["top1"]}


def main() -> None:
    """Train with both libraries and every seed. With ``--child``, train only once, in this process."""
    parser = option_parser(__doc__)
    parser.add_argument("operations", choices=RECIPES)
    parser.add_argument("seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--images")
    parser.add_argument("--parallel", type=int, default=1, help="number of training processes at the same time")
    parser.add_argument(
        "--child", choices=LIBRARIES, help="train with this library and the first seed, in this process"
    )
    options = parser.parse_args()
    options.epochs = options.epochs or RECIPES[options.operations][1]
    if options.child:
        print(json.dumps(train(options)))
        return
    settings = ["--epochs", options.epochs, *([] if options.images is None else ["--images", options.images])]

    def train_in_child(job: tuple[str, int]) -> dict[str, float]:
        library, seed = job
        metrics: dict[str, float] = run_in_child(__file__, options.operations, seed, "--child", library, *settings)
        print(library, seed, metrics, flush=True)
        return metrics

    jobs = [(library, seed) for library in LIBRARIES for seed in options.seeds]
    metrics: dict[str, list[dict[str, float]]] = {library: [] for library in LIBRARIES}
    with ThreadPoolExecutor(options.parallel) as pool:
        for (library, _), result in zip(jobs, pool.map(train_in_child, jobs), strict=True):
            metrics[library].append(result)
    summary = {
        library: {name: mean_and_deviation([row[name] for row in rows]) for name in ("acc", "knn")}
        for library, rows in metrics.items()
    }
    print_table(
        f"held-out images after {options.epochs} epochs, {len(options.seeds)} seeds",
        ("views", "ACC", "kNN"),
        [(library, *map(format_summary, by_metric.values())) for library, by_metric in summary.items()],
    )
    if not options.no_record:
        record = {
            "n": len(options.seeds),
            "seeds": options.seeds,
            "epochs": options.epochs,
            "metrics": metrics,
            "summary": summary,
        }
        command = command_line().replace(options.images or "DIR", "DIR")
        name = name_with_device(f"views-accuracy-{options.operations}")
        write_record(name, record, ("torchvision",), command=command)


def mean_and_deviation(values: list[float]) -> dict[str, float | None]:
    """Return mean and standard deviation; the standard deviation of a single value is None."""
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None}


def format_summary(summary: dict[str, float | None]) -> str:
    """Format a mean and its standard deviation as text for the table."""
    deviation = "" if summary["std"] is None else f" ± {summary['std']:.3f}"
    return f"{summary['mean']:.3f}{deviation}"


if __name__ == "__main__":
    main()
