"""Make the README's pictures.

    python docs/make_pictures.py digits RUN            # a finished run of the quick start
    python docs/make_pictures.py terminal TEXT         # output of `sslkit train recipes/quickstart.toml`
    python docs/make_pictures.py photographs CSV DIR   # output of `sslkit predict latest DIR --out CSV`

TEXT is a text file with ANSI colours, captured by `tmux capture-pane -ep` in a terminal of 100 columns. DIR has the
photographs of the Debian package tuxpaint-stamps-default (GPL-2): all PNG files of the folders animals/birds,
animals/fish, animals/insects, animals/mammals, food/fruit, food/vegetables, plants/flowers, town/roadsigns and
vehicles, except those in folders named cartoon. The run is that of the recipe of `sslkit init DIR --classes 7`.
"""

from __future__ import annotations

import csv
import io
import sys
from collections import defaultdict
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.text import Text

from sslkit.evaluation.run_subject import RunSubject
from sslkit.runs.run import Run

IMAGES = Path(__file__).parent / "images"
COLUMNS = 24
"""Number of images in each row of the class picture."""

SIDE = 32
"""Side of each digit in the class picture, in pixels."""


PHOTO_COLUMNS = 15
"""Maximum number of photographs in each row."""

PHOTO_SIDE = 56
"""Longer side of each photograph, in pixels."""


def draw_photographs(table: Path, folder: Path, path: Path) -> None:
    """Write a PNG file with one row of photographs per discovered class.

    The photographs of a row are evenly spaced between the most and the least confident of the class.
    """
    classes = defaultdict[int, list[dict[str, str]]](list)
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            classes[int(row["class"])].append(row)
    cell = PHOTO_SIDE + 6
    sheet = Image.new("RGB", (PHOTO_COLUMNS * cell, len(classes) * cell), "white")
    for line, members in enumerate(classes[number] for number in sorted(classes)):
        members.sort(key=lambda row: float(row["confidence"]), reverse=True)
        count = min(PHOTO_COLUMNS, len(members))
        for column, index in enumerate(torch.linspace(0, len(members) - 1, count).round().long().tolist()):
            photograph = Image.open(folder / members[index]["file"]).convert("RGBA")
            white = Image.new("RGBA", photograph.size, "white")
            white.alpha_composite(photograph)
            white.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
            corner = (column * cell + (cell - white.width) // 2, line * cell + (cell - white.height) // 2)
            sheet.paste(white.convert("RGB"), corner)
    sheet.quantize(256).save(path, optimize=True)


def draw_classes(run: Run, path: Path) -> None:
    """Write a PNG file with one row of test images per discovered class.

    The images of a row are evenly spaced between the most and the least confident image of the class.
    """
    subject = RunSubject(run, "cpu")
    images = subject.split("test").images
    logits = subject.features("test").logits
    assert logits is not None
    confidence, assigned = (logits / subject.temperature).softmax(dim=1).max(dim=1)
    count = logits.shape[1]
    sheet = Image.new("L", (COLUMNS * (SIDE + 2), count * (SIDE + 6)), 255)
    for row in range(count):
        members = (assigned == row).nonzero().flatten()
        members = members[confidence[members].argsort(descending=True)]
        chosen = members[torch.linspace(0, len(members) - 1, COLUMNS).round().long()]
        for column, pixels in enumerate(images.gather(chosen)):
            tile = Image.fromarray(255 - pixels[0].numpy()).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
            sheet.paste(tile, (column * (SIDE + 2), row * (SIDE + 6)))
    sheet.save(path)


def draw_terminal(text: Path, path: Path) -> None:
    """Convert captured terminal output to an SVG file."""
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(Text.from_ansi(text.read_text().rstrip()))
    console.save_svg(str(path), title="sslkit train recipes/quickstart.toml")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["digits", run]:
            draw_classes(Run(Path(run)), IMAGES / "quickstart-classes.png")
        case ["terminal", text]:
            draw_terminal(Path(text), IMAGES / "quickstart-terminal.svg")
        case ["photographs", table, folder]:
            draw_photographs(Path(table), Path(folder), IMAGES / "photographs-classes.png")
        case _:
            sys.exit(__doc__)
