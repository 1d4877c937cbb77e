"""Compare a training step on the features of a frozen backbone with the same step in plain PyTorch.

Both steps draw 1024 images and a neighbour of each, read their 1280 features from memory, apply a head with ten
classifiers of ten classes, compute the Self-Classifier loss, and take a step of AdamW in float32. The plain step has no
Lightning, logging, guard against non-finite values, checkpoints or monitors. Its loss is sslkit's.

    python benchmarks/speed/frozen_step.py [--images 50000] [--batch 1024] [--rounds 5] [--steps 40] [--no-record]

Memory is that of a process that only trains with sslkit: the peak with as many images as in a batch, which is mostly
imported libraries, and the peak with all images. Writes ``benchmarks/records/frozen-step.json``.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

import sslkit
from benchmarks.common import (
    measure_interleaved,
    name_with_device,
    option_parser,
    print_table,
    ratio,
    run_in_child,
    seconds_of,
    write_record,
)
from benchmarks.noise import noise_recipe, train_steps
from sslkit.assembly.assemble import assemble
from sslkit.recipe.recipe import Recipe

WIDTH = 1280
"""Length of a feature, as in EfficientNet-Lite0."""

RECIPE = """
[train]
epochs = 1
batch_size = 256
[data]
use = "noise"
[views]
use = "plain"
[positives]
use = "neighbours"
[backbone]
use = "projected-pixels"
weights = "fixed"
train = "none"
[head]
use = "selfcls-mlp"
hidden_dims = [512]
embedding_dim = 128
dropout = 0.2
classifiers = [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]
[loss]
use = "selfcls"
[optimizer]
use = "adamw"
"""


class ProjectedPixels(sslkit.Backbone):
    """Backbone whose features are a fixed random projection of the pixels."""

    api = 2

    def __init__(self, options: sslkit.Options, context: sslkit.Context) -> None:
        super().__init__(options, context)
        self.feature_dim = WIDTH
        self.layer = torch.nn.Linear(context.channels * context.view_size**2, WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``[B, 1280]``."""
        features: Tensor = self.layer(images.flatten(1))
        return features

    def feature_maps(self, images: Tensor) -> dict[int, Tensor]:
        """Return the images themselves."""
        return {1: images}

    @classmethod
    def weight_sources(cls, options: sslkit.Options) -> dict[str, sslkit.Preprocessing]:
        """Return one source, the initial weights."""
        return {"fixed": sslkit.Preprocessing(8, (0.5,) * 3, (0.5,) * 3)}

    def load_weights_from(self, source: str) -> str:
        """Keep the initial weights."""
        return "the initial weights"


def plain_steps(recipe: Recipe, steps: int) -> float:
    """Return the seconds of ``steps`` steps in plain PyTorch, after three steps of warm-up."""
    assembly = assemble(recipe)
    features, neighbours = assembly.loader.images.rows[:, 0], assembly.positives["neighbours"]
    head, loss = assembly.method.heads["selfcls-mlp"], assembly.method.losses["selfcls"]
    optimizer = torch.optim.AdamW(head.parameters(), lr=1e-3, fused=True)
    size = assembly.context.batch_size

    def step(number: int) -> None:
        index = torch.randint(len(features), (size,))
        other = neighbours[index, torch.randint(neighbours.shape[1], (size,))].long()
        output = head(torch.cat([features[index], features[other]]))
        student = sslkit.BranchOutputs((), output.embedding.chunk(2), tuple(each.chunk(2) for each in output.logits))
        student = sslkit.BranchOutputs(features[:2].split(1), student.embeddings, student.logits, head.classify)
        total = loss(sslkit.ViewOutputs({"student": student}, 2, index, number, 0)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    for number in range(3):
        step(number)
    return seconds_of(lambda: [step(number) for number in range(steps)])


def sslkit_steps(recipe: Recipe, steps: int) -> float:
    """Return the seconds of ``steps`` steps of sslkit with Lightning and callbacks, after three steps of warm-up."""
    times: list[float] = []
    train_steps(recipe, steps + 3, lambda: times.append(time.perf_counter()))
    return times[-1] - times[2]


def measure_memory(one_batch: Recipe, recipe: Recipe) -> dict[str, int]:
    """Train a few steps with both recipes, and return the peak memory of each in bytes."""
    peaks = []
    for each in (one_batch, recipe):
        sslkit_steps(each, 3)
        peaks.append(peak_memory())
    return {"peak_of_one_batch": peaks[0], "peak": peaks[1]}


def peak_memory() -> int:
    """Return the largest memory in use of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measure both steps in alternating rounds, print a table and write the record."""
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=40, help="steps of each variant in a round")
    parser.add_argument("--memory", action="store_true", help="only print the memory of sslkit's training as JSON")
    options = parser.parse_args()
    sslkit.register("projected-pixels", ProjectedPixels)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "frozen.toml"
        file.write_text(RECIPE)
        one_batch, recipe = (
            noise_recipe(
                "train.precision=float32", recipe=file, optimizer=None, images=images, size=8, batch=options.batch
            )
            for images in (options.batch, options.images)
        )
    if options.memory:
        print(json.dumps(measure_memory(one_batch, recipe)))
        return
    memory = run_in_child(__file__, "--memory", "--images", options.images, "--batch", options.batch)
    features = options.images * WIDTH * 4
    measures = {
        "plain": lambda: plain_steps(recipe, options.steps),
        "sslkit": lambda: sslkit_steps(recipe, options.steps),
    }
    seconds = measure_interleaved(measures, options.rounds)
    speed = ratio(seconds["plain"], seconds["sslkit"])
    row = (
        *(f"{1000 * min(seconds[name]) / options.steps:.1f}" for name in measures),
        f"{speed['median']:.1%}",
        f"{min(speed['rounds']):.1%} to {max(speed['rounds']):.1%}",
        *(f"{size / 1e9:.2f}" for size in (features, memory["peak_of_one_batch"], memory["peak"])),
    )
    title = f"a step on {options.images} features, batch {options.batch}"
    columns = (
        "plain, ms",
        "sslkit, ms",
        "plain / sslkit",
        "rounds",
        "features, GB",
        "memory of one batch, GB",
        "peak memory, GB",
    )
    print_table(title, columns, [row])
    if not options.no_record:
        settings = {name: value for name, value in vars(options).items() if name != "memory"}
        record = {"n": options.rounds, "settings": settings, "seconds": seconds, "speed": speed}
        record |= {"memory_bytes": memory | {"features": features}}
        write_record(name_with_device("frozen-step"), record)


if __name__ == "__main__":
    main()
