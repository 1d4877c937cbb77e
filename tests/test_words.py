"""The project's prose uses standard terms. Former words of a private vocabulary are not allowed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]

REPLACED = {
    r"tells|told": "report, print, log, raise, return",
    r"go(es|ne|ing)? on|went on": "continue, resume",
    r"begins|began|begun": "start, started",
    r"look(s|ed) at": "read, use, evaluate",
    r"graphics processors?": "GPU",
    r"processors?(?!\(\))": "CPU, CPU cores",
    r"few places|fewplaces": "small feature maps",
    r"provocations?": "failure, invalid input",
    r"tall(y|ies)": "loss accumulator",
    r"strangers?": "third-party, untrusted",
    r"fractions of 1": "in [0, 1]",
    r"known to both": "reference images",
    r"somebody|someone|whoever": "name the user, the process or the caller",
    r"beside": "next to, compared with, in addition to",
    r"stands|stood": "is in, is stored",
    r"lies": "is in, is stored",
    r"bookkeeping": "metrics writer, checkpoint policy, status",
    r"the other library's": "the torchvision/timm model",
}
"""Replacement for each regular expression of whole words."""

PATTERNS = {
    re.compile(rf"(?<![A-Za-z])(?:{words})(?![A-Za-z])", re.IGNORECASE): instead for words, instead in REPLACED.items()
}

SUFFIXES = {".py", ".pyi", ".md", ".toml", ".template", ".html", ".js", ".css", ".yml"}


def test_words_of_a_private_vocabulary_are_absent() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    files = [
        ROOT / name
        for name in listed
        if Path(name).suffix in SUFFIXES and not name.startswith(("benchmarks/records", "sslkit/explore/page"))
    ]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]!r} -> {instead}"
        for path in files
        if path.exists() and path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for pattern, instead in PATTERNS.items()
        for match in pattern.finditer(line)
    ]
    assert len(files) > 300
    assert found == []
