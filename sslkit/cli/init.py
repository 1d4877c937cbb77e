"""``sslkit init``: survey a folder of images and propose a recipe."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslkit.cli.common.console import print_json, print_table, stderr_console, stdout_console
from sslkit.cli.common.options import JsonOption

if TYPE_CHECKING:
    from sslkit.data.datasets.folder.survey import FolderSurvey

MAX_LISTED = 5
"""Files or groups of each kind to list; the others are counted."""


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of images, searched recursively.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Recipe to write.")] = Path("recipe.toml"),
    classes: Annotated[
        int | None, typer.Option("--classes", metavar="N", min=2, help="Number of classes, if you know it.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Open every image, not only 20 000 spread evenly over the folder.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing recipe.")] = False,
    json: JsonOption = False,
) -> None:
    """Survey a folder of images and propose a recipe for it."""
    from sslkit.errors import InputError

    if not force and out.exists():
        raise InputError(f"{out} exists already: choose another file with --out, or overwrite it with --force")
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} does not exist: create it, or choose another file with --out")

    from sslkit.data.datasets.folder.survey import survey_folder
    from sslkit.device.hardware import choose_device
    from sslkit.files import write_atomic
    from sslkit.proposal.folder_facts import FolderFacts
    from sslkit.proposal.rules import FEW_IMAGES
    from sslkit.proposal.write_recipe import propose_recipe

    stderr_console().print(f"reading the images in {folder}", markup=False, soft_wrap=True)
    survey = survey_folder(folder, every=every)
    facts = FolderFacts.from_survey(survey, has_gpu=choose_device("auto") != "cpu", classes=classes or 0)
    write_atomic(out, propose_recipe(folder, facts))
    if json:
        print_json({"recipe": str(out), **survey_json(survey)})
        return
    print_survey(survey)
    if facts.images < FEW_IMAGES:
        _print(
            f"note: {facts.images} images are few. Below {FEW_IMAGES}, classes learned from scratch are rarely useful."
        )
    _print(f"\nwrote {out}, with a reason for each choice; next step:")
    _print(f"  sslkit train {shlex.quote(str(out))}")


def survey_json(survey: FolderSurvey) -> dict[str, Any]:
    """Return the survey as a tree for JSON."""
    from sslkit.data.datasets.folder.duplicates import count_across_splits

    return {
        "images": {split: len(files) for split, files in survey.scan.files.items()},
        "opened": survey.opened,
        "label_sources": dict(survey.labels.reasons),
        "classes": list(survey.labels.class_names),
        "sizes": [{"size": list(size), "images": count} for size, count in survey.sizes.items()],
        "converted": dict(survey.converted),
        "colour_share": survey.colour_share,
        "background_level": survey.background_level,
        "broken": [{"file": path, "reason": reason} for path, reason in survey.broken.items()],
        "ignored": dict(survey.scan.ignored),
        "unread_folders": list(survey.scan.unread_folders),
        "exact_duplicates": [list(group) for group in survey.exact_duplicates],
        "near_duplicates": [list(group) for group in survey.near_duplicates],
        "across_splits": count_across_splits(survey.exact_duplicates, survey.scan)
        + count_across_splits(survey.near_duplicates, survey.scan),
    }


def print_survey(survey: FolderSurvey) -> None:
    """Print the survey as a table, and list broken files and duplicates."""
    from sslkit.data.datasets.folder.duplicates import count_across_splits

    scan = survey.scan
    total = len(scan.all_files)
    smallest, median, largest = survey.shorter_sides
    common = max(survey.sizes, key=lambda size: survey.sizes[size])
    rows = [(f"{split} images", f"{len(files)}, {survey.labels.reasons[split]}") for split, files in scan.files.items()]
    if survey.opened < total:
        rows.append(("opened", f"{survey.opened} images, spread evenly; --all opens every image"))
    if smallest == largest and len(survey.sizes) == 1:
        rows.append(("size", f"{common[1]}x{common[0]}"))
    else:
        sides = f"shorter side {smallest} to {largest}, median {median}"
        rows.append(("sizes", f"{len(survey.sizes)}, most common {common[1]}x{common[0]}; {sides}"))
    rows.append(
        ("colour", f"in {survey.colour_share:.0%} of the images" if survey.colour_share else "none, all are grey")
    )
    if survey.converted:
        rows.append(("formats", ", ".join(f"{count} {form}" for form, count in survey.converted.items())))
    level = survey.background_level
    rows.append(("background", "varies" if level is None else f"level {level} of 255 in nearly all images"))
    rows.append(("broken files", str(len(survey.broken))))
    for name, groups in (("duplicates", survey.exact_duplicates), ("near-duplicates", survey.near_duplicates)):
        extra = sum(len(group) - 1 for group in groups)
        counts = f"{extra} files, of {len(groups)} images" if extra else "none"
        between = count_across_splits(groups, scan)
        rows.append((name, f"{counts}; {between} images are in training and evaluation" if between else counts))
    if scan.ignored:
        rows.append(("other files", ", ".join(f"{count} {_printable(kind)}" for kind, count in scan.ignored.items())))
    if scan.unread_folders:
        rows.append(("not read", _join(list(scan.unread_folders))))
    print_table("", ("property", "value"), rows)
    _print_list("broken", [f"{_printable(path)}: {reason}" for path, reason in survey.broken.items()])
    _print_list("duplicates", [_join(list(group)) for group in survey.exact_duplicates])
    _print_list("near-duplicates", [_join(list(group)) for group in survey.near_duplicates])


def _print_list(title: str, lines: list[str]) -> None:
    for line in lines[:MAX_LISTED]:
        _print(f"{title}: {line}")
    if len(lines) > MAX_LISTED:
        _print(f"{title}: and {len(lines) - MAX_LISTED} more; --json lists all")


def _join(names: list[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(map(_printable, names[:MAX_LISTED])) + more


def _printable(name: str) -> str:
    from sslkit.data.datasets.folder.scan import printable

    return printable(name)


def _print(text: str) -> None:
    stdout_console().print(text, markup=False, soft_wrap=True)
