"""``sslkit init``: survey a folder of images and propose a recipe."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sslkit.cli.common.console import (
    print_json,
    print_line,
    print_message,
    reserve_stdout,
)
from sslkit.cli.common.options import JsonOption

if TYPE_CHECKING:
    from sslkit.proposal.folder_facts import FolderFacts

LabelMode = Literal["folders", "none"]


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
            help="Training time in minutes. sslkit times a few steps to choose the number of epochs.",
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

    from sslkit.cli.common.folder_survey import print_survey, survey_json
    from sslkit.cli.common.pretrained_proposal import print_from_scratch_note, print_sweep, print_weights
    from sslkit.cli.common.recipe_proposal import propose
    from sslkit.cli.common.training_length import print_length
    from sslkit.data.datasets.folder.labels import may_be_classes
    from sslkit.data.datasets.folder.survey import survey_folder
    from sslkit.device.hardware import choose_device
    from sslkit.files import write_atomic
    from sslkit.proposal import rules
    from sslkit.proposal.class_count_sweep import write_class_count
    from sslkit.proposal.folder_facts import FolderFacts
    from sslkit.proposal.pretrained_rules import use_pretrained
    from sslkit.proposal.pretrained_weights import find_pretrained_weights

    print_message(f"reading the images in {folder}")
    mode = labels or "auto"
    survey = survey_folder(folder, every=every, labels=mode, hold_out_fraction=hold_out)
    device = choose_device("auto")
    facts = FolderFacts.from_survey(survey, has_gpu=device != "cpu", classes=known, labels=mode, hold_out=hold_out)
    if classes == "auto":
        facts = replace(facts, classes=0)
    found = find_pretrained_weights()
    weights = None if from_scratch else use_pretrained(facts, found)
    if classes == "auto" and weights is None:
        raise InputError(f"--classes auto needs pretrained features, but {_why_from_scratch(facts, from_scratch)}")
    with reserve_stdout(json):
        files = [folder / file.path for file in survey.scan.files["train"]]
        proposal = propose(folder, facts, weights, files, device, must_count=classes == "auto", minutes=minutes)
    write_atomic(out, proposal.recipe)
    class_count_file = None if proposal.sweep is None else write_class_count(proposal.sweep, out)
    if json:
        counted = {} if class_count_file is None else {"class_count_file": str(class_count_file)}
        print_json({"recipe": str(out), **proposal.as_json(), **counted, **survey_json(survey)})
        return
    print_survey(survey)
    if proposal.sweep is not None and class_count_file is not None:
        print_sweep(proposal.sweep, class_count_file)
    elif proposal.not_counted:
        print_line(f"note: the number of classes is a guess: {proposal.not_counted}")
    if weights is not None and proposal.estimate is not None:
        print_weights(facts, weights, proposal.estimate, computed=proposal.sweep is not None)
    else:
        print_from_scratch_note(facts, asked=from_scratch, at_hand=found is not None)
    if proposal.length is not None:
        print_length(*proposal.length, proposal.usual_epochs)
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
    """Return the number in ``--classes``; 0 if the option is ``auto`` or missing."""
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
