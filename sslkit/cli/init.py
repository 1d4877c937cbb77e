"""``sslkit init``: looks at a folder of images, and proposes a recipe for it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sslkit.cli.common.console import JsonOption, messages, output, print_json, print_table

if TYPE_CHECKING:
    from sslkit.data.datasets.folder.survey import Survey

SHOWN = 5
"""Files or groups that are listed of each sort; the rest is counted."""


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of images, at any depth.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Recipe to write.")] = Path("recipe.toml"),
    classes: Annotated[
        int | None, typer.Option("--classes", metavar="N", min=2, help="How many classes there are, if you know.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Open every image; else at most 20 000, spread evenly over the folder.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the recipe where it is there already.")] = False,
    json: JsonOption = False,
) -> None:
    """Look at a folder of images, tell what is in it, and propose a recipe for it."""
    from sslkit.errors import InputError

    if not force and out.exists():
        raise InputError(f"{out} is there already: name another with --out, or replace it with --force")
    if not out.parent.is_dir():
        raise InputError(f"there is no folder {out.parent} to write {out.name} to")

    from sslkit.data.datasets.folder.survey import survey
    from sslkit.device.hardware import choose_hardware
    from sslkit.files import write_atomic
    from sslkit.proposal.rules import FEW, Facts
    from sslkit.proposal.write_recipe import propose

    messages().print(f"looking at the images in {folder}", markup=False, soft_wrap=True)
    found = survey(folder, every=every)
    facts = Facts.of(found, choose_hardware("auto", "auto"), classes or 0)
    recipe = propose(folder, facts)
    write_atomic(out, recipe)
    if json:
        print_json({"recipe": str(out), **describe(found)})
        return
    show(found)
    if facts.images < FEW:
        output().print(f"{facts.images} images are few: below {FEW}, classes are rarely worth much", markup=False)
    output().print(f"\nwrote {out}, with a reason for each choice; go on with:", markup=False, soft_wrap=True)
    output().print(f"  sslkit train {shlex.quote(str(out))}", markup=False, soft_wrap=True)


def describe(found: Survey) -> dict[str, Any]:
    """The findings as JSON."""
    from sslkit.data.datasets.folder.duplicates import across

    return {
        "images": {split: len(files) for split, files in found.tree.files.items()},
        "looked": found.looked,
        "read": dict(found.labels.reasons),
        "classes": list(found.labels.class_names),
        "sizes": [{"size": list(size), "images": count} for size, count in found.sizes.items()],
        "converted": dict(found.converted),
        "colour": found.colour,
        "background": found.background,
        "broken": [{"file": path, "reason": reason} for path, reason in found.broken.items()],
        "ignored": dict(found.tree.ignored),
        "unread": list(found.tree.unread),
        "copies": [list(group) for group in found.copies],
        "look_alikes": [list(group) for group in found.look_alikes],
        "across_splits": across(found.copies, found.tree) + across(found.look_alikes, found.tree),
    }


def show(found: Survey) -> None:
    """The findings as a table, and the files that need a look."""
    from sslkit.data.datasets.folder.duplicates import across

    tree = found.tree
    total = len(tree.all_files)
    smallest, median, largest = found.shorter_sides
    common = max(found.sizes, key=lambda size: found.sizes[size])
    rows = [(f"{split} images", f"{len(files)}, {found.labels.reasons[split]}") for split, files in tree.files.items()]
    if found.looked < total:
        rows.append(("opened", f"{found.looked} of them, spread evenly; --all opens every one"))
    if smallest == largest and len(found.sizes) == 1:
        rows.append(("size", f"{common[1]}x{common[0]}"))
    else:
        sides = f"shorter side {smallest} to {largest}, median {median}"
        rows.append(("sizes", f"{len(found.sizes)}, most often {common[1]}x{common[0]}; {sides}"))
    rows.append(("colour", f"in {found.colour:.0%} of the images" if found.colour else "none, all are grey"))
    if found.converted:
        rows.append(("kinds", ", ".join(f"{count} {what}" for what, count in found.converted.items())))
    level = found.background
    rows.append(("background", "differs" if level is None else f"the same in nearly all, level {level} of 255"))
    rows.append(("broken files", str(len(found.broken))))
    for name, groups in (("copies", found.copies), ("look-alikes", found.look_alikes)):
        extra = sum(len(group) - 1 for group in groups)
        what = f"{extra}, of {len(groups)} pictures" if extra else "none"
        between = across(groups, tree)
        rows.append((name, f"{what}; {between} of these in training and evaluation" if between else what))
    if tree.ignored:
        rows.append(("no images", ", ".join(f"{count} {_name(kind)}" for kind, count in tree.ignored.items())))
    if tree.unread:
        rows.append(("not read", _some(list(tree.unread))))
    print_table("", ("found", ""), rows)
    _list("broken", [f"{_name(path)}: {reason}" for path, reason in found.broken.items()])
    _list("copies", [_some(list(group)) for group in found.copies])
    _list("look-alikes", [_some(list(group)) for group in found.look_alikes])


def _list(title: str, lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        output().print(f"{title}: {line}", markup=False, soft_wrap=True)
    if len(lines) > SHOWN:
        output().print(f"{title}: and {len(lines) - SHOWN} more; --json lists all", markup=False)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(_name, names[:SHOWN])) + more


def _name(name: str) -> str:
    from sslkit.data.datasets.folder.scan import shown

    return shown(name)
