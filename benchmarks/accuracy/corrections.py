"""Correct 20 images in ``sslkit explore``, train again, and compare the accuracies on test images.

    python benchmarks/accuracy/corrections.py NAME RUN [RUN ...] [--images 20] [--no-record]

Each RUN is a finished run on images in folders ``train/<class>`` and ``test/<class>``. The program sends the requests
of the page of ``sslkit explore``, and knows the labels of the training images. It names each class after its most
frequent label. Then it moves images with a different label to the class with the name of their label, least confident
first, as a user can sort them, and trains again. ``sslkit predict`` then writes the name of each test image to a CSV
file. The run itself does not change, because the program corrects a copy. Writes ``benchmarks/records/NAME.json``.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
import time
import tomllib
from pathlib import Path
from statistics import mean
from typing import Any

import sslkit
from benchmarks.common import name_with_device, option_parser, run_sslkit, write_record
from benchmarks.explore_server import Server, running
from sslkit.runs.find import find_finished_run


def correct(server: Server, count: int) -> int:
    """Name the classes, move ``count`` training images, and return the number of training images in a wrong class."""
    classes = [card for card in server.get("api/classes")["classes"] if card["size"]]
    training = set(server.get("api/images", split="train")["images"])
    for card in classes:
        server.post("name", number=card["number"], name=most_frequent_label(server, card["number"], training))
    state = server.get("api/classes")
    number = {card["name"]: card["number"] for card in state["classes"]}
    least_confident = server.get("api/images", split="train", descending=False)["images"]
    wrong = []
    for start in range(0, len(least_confident), 500):
        for one in server.get("api/details", images=",".join(map(str, least_confident[start : start + 500]))):
            if one["label"] in number and one["class"] != number[one["label"]]:
                wrong.append((one["index"], number[one["label"]]))
    for index, target in wrong[:count]:
        server.post("move", images=[index], number=target)
    return len(wrong)


def most_frequent_label(server: Server, number: int, training: set[int]) -> str:
    """Return the most frequent label of a class's training images."""
    members = [index for index in server.get("api/images", number=number)["images"] if index in training]
    labels = []
    for start in range(0, len(members), 500):
        labels += server.get("api/details", images=",".join(map(str, members[start : start + 500])))
    names = [one["label"] for one in labels]
    return max(sorted(set(names)), key=names.count)


def named_accuracy(run: sslkit.Run, images: Path, folder: Path) -> float:
    """Return the share of test images for which ``sslkit predict`` writes the name of their folder."""
    table = folder / f"{run.path.name}.csv"
    run_sslkit("predict", str(run.path), str(images / "test"), "--out", str(table))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return mean(row["name"] == Path(row["file"]).parent.name for row in rows)


def measure(original: sslkit.Run, count: int) -> dict[str, Any]:
    """Correct a copy of a run, train it again, and return its row of the record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy = folder / "runs" / original.path.parent.name / original.path.name
        shutil.copytree(original.path, copy, ignore=shutil.ignore_patterns("corrections.csv", "classes.toml"))
        run = sslkit.Run(copy)
        images = Path(tomllib.loads(run.recipe.read_text())["data"]["root"])
        with running(run) as server:
            wrong = correct(server, count)
            started = time.perf_counter()
            server.post("train")
            while (training := server.get("api/training"))["state"] == "running":
                time.sleep(0.05)
            seconds = time.perf_counter() - started
        result = training["result"]
        assert result is not None, training["error"]
        new = sslkit.Run(folder / "runs" / result["run"])
        return {
            "run": original.name,
            "training_images_in_a_wrong_class": wrong,
            "moved": result["moved"],
            "acc_before": result["before"],
            "acc_after": result["after"],
            "agreement_with_the_moves": result["followed"],
            "other_images_that_changed_class": result["changed"],
            "named_acc_before": named_accuracy(run, images, folder),
            "named_acc_after": named_accuracy(new, images, folder),
            "seconds_to_train_again": round(seconds, 1),
        }


def main() -> None:
    """Measure each run, print the rows and write the record."""
    parser = option_parser(__doc__)
    parser.add_argument("name")
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--images", type=int, default=20, help="number of images to move")
    options = parser.parse_args()
    rows = []
    for spec in options.runs:
        run, _ = find_finished_run(spec, Path("runs"))
        rows.append(measure(run, options.images))
        print(json.dumps(rows[-1], indent=1))
    if not options.no_record:
        record = {
            "protocol": "acc: one-to-one accuracy on the test images, of which none was corrected; named_acc: share of "
            "test images for which `sslkit predict` writes the name of their label",
            "n": len(rows),
            "runs": rows,
        }
        command = f"python benchmarks/accuracy/corrections.py {options.name} {' '.join(row['run'] for row in rows)}"
        write_record(name_with_device(options.name), record, ["timm"], command=command)


if __name__ == "__main__":
    main()
