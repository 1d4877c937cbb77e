"""``sslkit predict`` on many small files, beside the bare forward pass of the same network.

    python benchmarks/speed/predict.py [PAIRS]              # five pairs unless told otherwise

Writes 10 000 PNG files of 32 pixels, trains AlexNet on 512 others for an epoch, and times in turn the whole of
``predict`` (loading, reading, decoding, forward pass, table) and the forward pass of backbone and head alone, in
batches of the same size on images that lie prepared in memory.  Writes ``benchmarks/records/predict.json``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy
import torch
from PIL import Image

import sslkit
from benchmarks.common import ROOT, write_record
from sslkit.inference.forward import BATCH
from sslkit.inference.predict import predict
from sslkit.trained.network import TrainedNetwork

IMAGES = 10_000

TRAINED_ON = 512


def write_images(folder: Path, count: int) -> None:
    """Colour gradients with some noise: PNG packs them about as well as photographs of that size."""
    random = numpy.random.default_rng(0)
    folder.mkdir()
    for place in range(count):
        small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=numpy.uint8))
        pixels = numpy.asarray(small.resize((32, 32), Image.Resampling.BICUBIC)).astype(numpy.int16)
        noisy = (pixels + random.integers(-6, 7, pixels.shape)).clip(0, 255).astype(numpy.uint8)
        Image.fromarray(noisy).save(folder / f"{place:05}.png")


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure the pairs and write the record."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_images(folder / "images", IMAGES)
        write_images(folder / "some", TRAINED_ON)
        settings = ["train.epochs=1", f"data={{use='image-folder', root='{folder / 'some'}'}}"]
        run = sslkit.train(ROOT / "recipes" / "selfcls.toml", settings=settings, runs=folder / "runs")
        network = TrainedNetwork(run, "cpu")
        assert network.head is not None
        head = network.head
        prepared = torch.randn(IMAGES, 3, 32, 32)

        def bare() -> None:
            with torch.no_grad():
                for batch in prepared.split(BATCH):
                    head(network.backbone(batch))

        bare()
        for pair in range(pairs):
            out = folder / f"{pair}.csv"
            own = IMAGES / seconds(lambda out=out: predict(run, folder / "images", out))
            alone = IMAGES / seconds(bare)
            rows.append({"predict": own, "bare": alone, "ratio": own / alone})
            print({name: round(value, 3) for name, value in rows[-1].items()}, flush=True)
    found = {
        "protocol": f"{IMAGES} PNG files of 32 x 32 pixels, AlexNet with the small stem and the recipe's head, float32 "
        f"on the CPU, batches of {BATCH}; images a second of the whole of predict, and of the bare forward pass",
        "threads": torch.get_num_threads(),
        "pairs": rows,
        "median_ratio": median(row["ratio"] for row in rows),
        "n": pairs,
    }
    print(f"median ratio {found['median_ratio']:.3f}")
    write_record("predict", f"python benchmarks/speed/predict.py {pairs}", found)


if __name__ == "__main__":
    main()
