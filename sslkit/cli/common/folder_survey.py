"""Print the survey of an image folder, as text or JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sslkit.cli.common.console import print_line, print_table

if TYPE_CHECKING:
    from sslkit.data.datasets.folder.survey import FolderSurvey

MAX_LISTED = 5
"""Maximum number of files or groups of each kind to list. All others are only counted."""


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
