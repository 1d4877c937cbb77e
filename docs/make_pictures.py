"""Make the README's pictures from a finished run of the quick start.

    python docs/make_pictures.py RUN TERMINAL

RUN is the run folder. TERMINAL is a text file with ANSI colours. It contains the output of
`sslkit train recipes/quickstart.toml` in a terminal of 100 columns, captured by `tmux capture-pane -ep`.
"""

from __future__ import annotations

import io
import sys
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
    draw_classes(Run(Path(sys.argv[1])), IMAGES / "quickstart-classes.png")
    draw_terminal(Path(sys.argv[2]), IMAGES / "quickstart-terminal.svg")
