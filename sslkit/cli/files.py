"""``sslkit predict`` and ``sslkit embed``: what a run makes of image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sslkit.cli.common.console import JsonOption, RunsOption, messages, only_json, output, print_json

if TYPE_CHECKING:
    from sslkit.inference.predict import Written

RunArgument = Annotated[str, typer.Argument(help="The run: its folder, NAME/ID, NAME or ID, or latest.")]

ImagesArgument = Annotated[Path, typer.Argument(help="A folder of images, searched at any depth, or one image.")]

OutOption = Annotated[Path, typer.Option("--out", metavar="FILE", help="The table; must not be there yet.")]

DeviceOption = Annotated[Literal["auto", "cpu", "cuda", "mps"], typer.Option("--device", help="Where to compute.")]


def predict(
    run: RunArgument,
    images: ImagesArgument,
    *,
    out: OutOption,
    device: DeviceOption = "auto",
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Write the discovered class of each image, with name and confidence, as CSV.  Interrupted, it goes on."""
    from sslkit.device.hardware import choose_hardware
    from sslkit.inference.predict import predict
    from sslkit.runs.find import find_run, runs_folder

    with only_json(json), _bar(quiet=json) as advance:
        found = find_run(run, runs_folder(runs))
        written = predict(found, images, out, choose_hardware(device, "auto").device, advance)
    _show(written, as_json=json)


def embed(
    run: RunArgument,
    images: ImagesArgument,
    *,
    out: OutOption,
    device: DeviceOption = "auto",
    runs: RunsOption = None,
    json: JsonOption = False,
) -> None:
    """Write the feature of each image as Parquet.  Interrupted, it goes on."""
    from sslkit.device.hardware import choose_hardware
    from sslkit.inference.predict import embed
    from sslkit.runs.find import find_run, runs_folder

    with only_json(json), _bar(quiet=json) as advance:
        found = find_run(run, runs_folder(runs))
        written = embed(found, images, out, choose_hardware(device, "auto").device, advance)
    _show(written, as_json=json)


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, that is gone when the work is done; nothing anywhere else."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = messages()
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _show(written: Written, *, as_json: bool) -> None:
    from sslkit.data.datasets.folder.scan import shown

    if as_json:
        broken_file = None if written.broken_file is None else str(written.broken_file)
        found = {"file": str(written.file), "images": written.images, "broken": written.broken}
        print_json(found | {"broken_file": broken_file, "notes": list(written.notes)})
        return
    say = messages()
    for note in written.notes:
        say.print(f"note: {note}", markup=False, soft_wrap=True)
    if written.broken:
        say.print(
            f"{written.broken} of {written.images + written.broken} files cannot be read and are left out; "
            f"all are listed in {written.broken_file}:",
            markup=False,
            soft_wrap=True,
        )
        for path, reason in written.examples:
            say.print(f"  {shown(path)}: {shown(reason)}", markup=False, soft_wrap=True)
        if written.broken > len(written.examples):
            say.print(f"  and {written.broken - len(written.examples)} more", markup=False)
    output().print(f"{written.file}: {written.images} images", markup=False, soft_wrap=True)
