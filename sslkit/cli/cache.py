"""``sslkit cache``: what is kept between commands, and how to be rid of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from sslkit.cli.common.console import JsonOption, output, print_json, print_table

app = typer.Typer(help="What is kept between commands.", no_args_is_help=True)

KEPT = {
    "features": "features of evaluated runs, computed again when they are needed",
    "image-folder": "decoded images of your folders, decoded again when they are needed",
    "datasets": "downloads",
}


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """Show how much is kept, and where."""
    from sslkit.data.cache import cache_folder

    root = cache_folder()
    found = {what: _size(root / what) for what in KEPT}
    if json:
        print_json([{"what": what, "path": str(root / what), "bytes": size} for what, size in found.items()])
        return
    rows = [(what, f"{size / 1e6:.1f} MB", KEPT[what]) for what, size in found.items()]
    print_table("", ("what", "takes", "is"), rows)
    output().print(str(root), markup=False, soft_wrap=True, style="dim")


@app.command()
def clear(
    what: Annotated[Literal["features", "image-folder", "datasets"], typer.Argument(help="What to delete.")],
) -> None:
    """Delete one kind of what is kept; nothing that is running should need it."""
    from sslkit.data.cache import cache_folder

    folder = cache_folder() / what
    freed = _size(folder)
    if folder.is_dir():
        shutil.rmtree(folder)
    output().print(f"deleted {freed / 1e6:.1f} MB: {folder}", markup=False, soft_wrap=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
