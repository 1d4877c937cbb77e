"""The benchmark of fine-tuning with few labels: results are written one by one, and a second call computes the rest."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy
import pytest
from PIL import Image

from benchmarks import common
from benchmarks.accuracy import finetune_fractions

PLAN = """\
fractions = [0.5]
draws = [3]
[finetune]
epochs = 1
min_steps = 1
lr_backbones = [0.05]
[pretrainings.first]
recipe = "tiny.toml"
settings = ["data.use=image-folder", "data.channels=1", "train.epochs=1", "train.batch_size=8"]
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    random = numpy.random.default_rng(0)
    for split, count in (("train", 8), ("test", 2)):
        for label in ("cat", "dog"):
            folder = tmp_path / "images" / split / label
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (8, 8), dtype=numpy.uint8)).save(folder / f"{number}.png")
    return tmp_path / "images"


def test_a_second_call_computes_only_missing_results(
    tiny: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, record = tmp_path / "plan.toml", tmp_path / "records" / "fractions" / "plan.json"
    plan.write_text(PLAN)
    for module in (common, finetune_fractions):
        monkeypatch.setattr(module, "RECORDS", tmp_path / "records")
    words = [finetune_fractions.__file__, plan, "--images", images, "--runs", tmp_path / "runs"]
    monkeypatch.setattr(sys, "argv", list(map(str, words)))

    def measure() -> list[dict[str, object]]:
        finetune_fractions.main()
        return list(json.loads(record.read_text())["results"])

    results = measure()
    assert [(row["network"], row["evaluator"]) for row in results] == [
        ("first", "linear"),
        ("first", "finetune"),
        ("random weights", "linear"),
        ("random weights", "finetune"),
    ]
    assert {(row["fraction"], row["draw"], row["labels"]) for row in results} == {(0.5, 3, 8)}
    content = json.loads(record.read_text())
    content["results"].pop(0)
    record.write_text(json.dumps(content))
    again = measure()
    assert again[:3] == results[1:]
    assert (again[3]["network"], again[3]["evaluator"], again[3]["top1"]) == ("first", "linear", results[0]["top1"])
    assert len(list((tmp_path / "runs").glob("plan-first/*"))) == 1
