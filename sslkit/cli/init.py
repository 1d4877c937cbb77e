"""``sslkit init``: survey a folder of images and propose a recipe."""

from __future__ import annotations

import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sslkit.cli.common.console import (
    print_json,
    print_line,
    print_message,
    print_table,
    reserve_stdout,
)
from sslkit.cli.common.options import JsonOption

if TYPE_CHECKING:
    from sslkit.data.datasets.folder.survey import FolderSurvey
    from sslkit.proposal.folder_facts import FolderFacts

LabelMode = Literal["folders", "none"]

MAX_LISTED = 5
"""Maximum number of files or groups of each kind to list. All others are only counted."""


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of images, searched recursively.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Recipe to write.")] = Path("recipe.toml"),
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            metavar="N|auto",
            help="Number of classes, if you know it. auto: compare numbers of classes on pretrained features.",
        ),
    ] = None,
    labels: Annotated[
        LabelMode | None,
        typer.Option("--labels", metavar="folders|none", help="Whether the sub-folders are classes, for evaluation."),
    ] = None,
    hold_out: Annotated[
        float,
        typer.Option(
            "--hold-out", metavar="FRACTION", help="Fraction of each class folder to use as test images, such as 0.2."
        ),
    ] = 0,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            metavar="N",
            help="Training time in minutes. sslkit measures a few steps, then chooses the epochs.",
        ),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option("--from-scratch", help="Train the whole network, without pretrained weights."),
    ] = False,
    every: Annotated[
        bool,
        typer.Option("--all", help="Open every image. The default is 20 000 images, spread evenly over the folder."),
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

    if not 0 <= hold_out < 1:
        raise InputError(f"--hold-out {hold_out:g} must be at least 0 and less than 1")
    if hold_out and labels != "folders":
        raise InputError("--hold-out needs class folders: add --labels folders")

    if minutes is not None and not 0 < minutes < float("inf"):
        raise InputError(f"--minutes {minutes:g} must be greater than 0")

    known = _read_classes(classes)

    from sslkit.cli.common.pretrained_proposal import (
        parse_recipe,
        print_from_scratch_note,
        print_sweep,
        print_weights,
        sweep_class_counts,
    )
    from sslkit.cli.common.training_length import measure_length, print_length
    from sslkit.data.datasets.folder.labels import may_be_classes
    from sslkit.data.datasets.folder.survey import survey_folder
    from sslkit.device.hardware import choose_device
    from sslkit.files import write_atomic
    from sslkit.proposal import pretrained_rules, rules
    from sslkit.proposal.class_count_sweep import AFFORDABLE_SECONDS, write_class_count
    from sslkit.proposal.folder_facts import FolderFacts
    from sslkit.proposal.pretrained_weights import find_pretrained_weights
    from sslkit.proposal.time_estimate import estimate_time
    from sslkit.proposal.write_recipe import propose_recipe

    print_message(f"reading the images in {folder}")
    mode = labels or "auto"
    survey = survey_folder(folder, every=every, labels=mode, hold_out_fraction=hold_out)
    device = choose_device("auto")
    facts = FolderFacts.from_survey(survey, has_gpu=device != "cpu", classes=known, labels=mode, hold_out=hold_out)
    if classes == "auto":
        facts = replace(facts, classes=0)
    found = find_pretrained_weights()
    weights = None if from_scratch else pretrained_rules.use_pretrained(facts, found)
    if classes == "auto" and weights is None:
        raise InputError(f"--classes auto needs pretrained features, but {_why_from_scratch(facts, from_scratch)}")
    text, result, sweep, problem = propose_recipe(folder, facts, weights), dict[str, Any](), None, ""
    limits = rules.EPOCHS
    if weights is not None:
        limits = (pretrained_rules.epochs(facts).value,) * 2
        print_message("measuring the time of a few images and steps")
        with reserve_stdout(json):
            recipe = parse_recipe(text)
            files = [folder / file.path for file in survey.scan.files["train"]]
            estimate = estimate_time(recipe, files, device)
            if classes == "auto" or (not facts.classes and estimate.feature_seconds <= AFFORDABLE_SECONDS):
                try:
                    sweep = sweep_class_counts(recipe, device)
                except InputError as error:
                    if classes == "auto":
                        raise
                    problem = str(error)
        text = propose_recipe(folder, facts, weights, sweep=sweep)
        result |= {"weights": {"backbone": weights.backbone, "source": weights.source}, **asdict(estimate)}
    if minutes is not None:
        with reserve_stdout(json):
            epochs, times = measure_length(text, minutes, limits[1])
        text = propose_recipe(folder, facts, weights, epochs=epochs, sweep=sweep)
        result |= {"epochs": epochs.value, "estimated_seconds": round(times.seconds(epochs.value), 1)}
    write_atomic(out, text)
    if sweep is not None:
        class_count_file = write_class_count(sweep, out)
        result |= {"class_count": sweep.as_json(), "class_count_file": str(class_count_file)}
    if json:
        print_json({"recipe": str(out), **result, **survey_json(survey)})
        return
    print_survey(survey)
    if sweep is not None:
        print_sweep(sweep, class_count_file)
    elif problem:
        print_line(f"note: the number of classes is a guess: {problem}")
    if weights is not None:
        print_weights(facts, weights, estimate, computed=sweep is not None)
    else:
        print_from_scratch_note(facts, asked=from_scratch, at_hand=found is not None)
    if minutes is not None:
        print_length(times, epochs, limits[0])
    if weights is None and facts.images < rules.FEW_IMAGES:
        print_line(
            f"note: {facts.images} images are few. With fewer than {rules.FEW_IMAGES}, "
            "classes learned from scratch are rarely useful."
        )
    if mode == "auto" and may_be_classes(survey.scan):
        print_line(
            "note: the sub-folders may be classes. If they are, use them for evaluation and hold out test images with\n"
            f"  sslkit init {shlex.quote(str(folder))} --labels folders --hold-out 0.2 --force"
        )
    print_line(f"\nwrote {out}, with a reason for each choice; next step:")
    print_line(f"  sslkit train {shlex.quote(str(out))}")


def _read_classes(text: str | None) -> int:
    """Return the number of classes in ``--classes``; 0 if it is not a number."""
    from sslkit.errors import InputError

    if text is None or text == "auto":
        return 0
    if not text.isdecimal() or int(text) < 2:
        raise InputError(f"--classes {text} must be a number of at least 2, or auto")
    return int(text)


def _why_from_scratch(facts: FolderFacts, from_scratch: bool) -> str:
    from sslkit.proposal.pretrained_weights import install_command

    if from_scratch:
        return "--from-scratch uses none: leave out one of the two options"
    if facts.shows_symbols:
        return "pretrained features do not suit plain symbols such as these: give the number with --classes N"
    command = install_command()
    return "this machine has no pretrained weights" + (f": install them with {command}" if command else "")


def survey_json(survey: FolderSurvey) -> dict[str, Any]:
    """Return the survey as dictionaries and lists that JSON can store."""
    from sslkit.data.datasets.folder.duplicate_groups import across_classes, across_splits

    exact, near = survey.exact_duplicates, survey.near_duplicates
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
        "unread_images": survey.scan.unread_images,
        "values": [asdict(extent) for extent in survey.extents],
        "exact_duplicates": [list(group) for group in exact],
        "near_duplicates": [list(group) for group in near],
        "across_splits": len(across_splits(exact, survey.scan)) + len(across_splits(near, survey.scan)),
        "across_classes": [list(group) for group in across_classes(exact, survey.scan, survey.labels)],
    }


def print_survey(survey: FolderSurvey) -> None:
    """Print the survey as a table, and list broken files and duplicates."""
    from sslkit.data.datasets.folder.duplicate_groups import across_splits
    from sslkit.data.datasets.folder.labels import list_some
    from sslkit.data.datasets.folder.notes import describe_duplicates, format_range
    from sslkit.data.datasets.folder.scan import describe_ignored, printable
    from sslkit.data.value_range import suggest_range

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
    suggested = suggest_range(survey.extents)
    scaled = f"; the recipe scales {format_range(suggested)} to all levels" if suggested else ""
    for extent in survey.extents:
        counts = f"{extent.kind}s {extent} in {extent.images} images: {extent.levels} of 256 levels"
        rows.append(("values", counts + scaled))
    level = survey.background_level
    rows.append(("background", "varies" if level is None else f"level {level} of 255 in nearly all images"))
    rows.append(("broken files", str(len(survey.broken))))
    for name, groups in (("duplicates", survey.exact_duplicates), ("near-duplicates", survey.near_duplicates)):
        extra = sum(len(group) - 1 for group in groups)
        counts = f"{extra} files, of {len(groups)} images" if extra else "none"
        between = len(across_splits(groups, scan))
        rows.append((name, f"{counts}; {between} images are in more than one split" if between else counts))
    if scan.ignored:
        rows.append(("other files", describe_ignored(scan.ignored)))
    unread = [*map(printable, scan.unread_folders)]
    unread += [f"{scan.unread_images} images next to the split folders"] * (scan.unread_images > 0)
    if unread:
        rows.append(("not read", ", ".join(unread)))
    print_table("", ("property", "value"), rows)
    for note in describe_duplicates(survey.exact_duplicates, scan, survey.labels):
        print_line(note)
    _print_list("broken", [f"{printable(path)}: {reason}" for path, reason in survey.broken.items()])
    _print_list("duplicates", [list_some(group) for group in survey.exact_duplicates])
    _print_list("near-duplicates", [list_some(group) for group in survey.near_duplicates])


def _print_list(title: str, lines: list[str]) -> None:
    for line in lines[:MAX_LISTED]:
        print_line(f"{title}: {line}")
    if len(lines) > MAX_LISTED:
        print_line(f"{title}: and {len(lines) - MAX_LISTED} more; --json lists all")
