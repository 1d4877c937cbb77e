"""Compare the speed of ``sslkit predict`` on many small files with the forward pass of the same network alone.

    python benchmarks/speed/predict.py [--rounds 5] [--images 10000] [--no-record]

Trains AlexNet for one epoch on 512 images and writes PNG files of 32 x 32 pixels. Measures complete calls of
``predict``: loading the network, reading and decoding files, forward pass, and writing the table. Compares them with
the forward pass of backbone and head alone, with the same batch size, on images in memory. Writes
``benchmarks/records/predict.json``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

import numpy
import torch
from PIL import Image

import sslkit
from benchmarks.common import ROOT, measure_interleaved, option_parser, ratio, seconds_of, write_record
from sslkit.inference.forward import BATCH_SIZE
from sslkit.inference.predict import predict
from sslkit.trained.network import TrainedNetwork

TRAINING_IMAGES = 512


def write_images(folder: Path, count: int) -> None:
    """Write PNG files of colour gradients with noise, about as large as PNG files of small photographs."""
    random = numpy.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        small = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=numpy.uint8))
        pixels = numpy.asarray(small.resize((32, 32), Image.Resampling.BICUBIC)).astype(numpy.int16)
        noisy = (pixels + random.integers(-6, 7, pixels.shape)).clip(0, 255).astype(numpy.uint8)
        Image.fromarray(noisy).save(folder / f"{number:05}.png")


def main() -> None:
    """Measure ``predict`` and the forward pass in interleaved rounds, and write the record."""
    parser = option_parser(__doc__, rounds=5)
    parser.add_argument("--images", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_images(folder / "images", options.images)
        write_images(folder / "training", TRAINING_IMAGES)
        settings = ["train.epochs=1", f"data={{use='image-folder', root='{folder / 'training'}'}}"]
        run = sslkit.train(ROOT / "recipes" / "selfcls.toml", settings=settings, runs=folder / "runs")
        network = TrainedNetwork(run, "cpu")
        assert network.head is not None
        head = network.head
        prepared = torch.randn(options.images, 3, 32, 32)

        def run_predict() -> None:
            table = folder / "predictions.csv"
            table.unlink(missing_ok=True)
            predict(run, folder / "images", table)

        def run_forward() -> None:
            with torch.no_grad():
                for batch in prepared.split(BATCH_SIZE):
                    head(network.backbone(batch))

        run_forward()
        measures = {
            "predict": lambda: options.images / seconds_of(run_predict),
            "forward": lambda: options.images / seconds_of(run_forward),
        }
        speeds = measure_interleaved(measures, options.rounds)
    against = ratio(speeds["predict"], speeds["forward"])
    protocol = (
        f"{options.images} PNG files of 32 x 32 pixels, AlexNet with the small stem and the recipe's head, float32 on "
        f"the CPU, batches of {BATCH_SIZE}; images per second of predict as a whole and of the bare forward pass"
    )
    print(
        f"predict {median(speeds['predict']):.0f} images/s, {against['median']:.3f} times the speed of a forward pass"
    )
    if not options.no_record:
        record = {
            "n": options.rounds,
            "protocol": protocol,
            "threads": torch.get_num_threads(),
            "images_per_second": speeds,
            "predict_over_forward": against,
        }
        write_record("predict", record)


if __name__ == "__main__":
    main()
