"""``sslkit cache``: list and delete cached data."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from sslkit.cli.common.console import print_json, print_line, print_table
from sslkit.cli.common.options import JsonOption

app = typer.Typer(help="List or delete cached data.", no_args_is_help=True)

KINDS = {
    "features": "features of evaluated runs; computed again when needed",
    "image-folder": "decoded images of your folders; decoded again when needed",
    "thumbnails": "thumbnails of `sslkit explore`; made again when needed",
    "datasets": "downloads; downloaded again when needed",
}
"""Contents of each sub-folder of the cache."""


@app.command("list")
def list_(json: JsonOption = False) -> None:
    """List each kind of cached data with its size, and print the path of the cache folder."""
    from sslkit.data.cache import cache_folder

    root = cache_folder()
    sizes = {kind: _size(root / kind) for kind in KINDS}
    if json:
        print_json([{"kind": kind, "path": str(root / kind), "bytes": size} for kind, size in sizes.items()])
        return
    rows = [(kind, f"{size / 1e6:.1f} MB", KINDS[kind]) for kind, size in sizes.items()]
    print_table("", ("kind", "size", "contents"), rows)
    print_line(str(root), style="dim")


@app.command()
def clear(
    kind: Annotated[
        Literal["features", "image-folder", "thumbnails", "datasets"],
        typer.Argument(help="Kind of cached data to delete."),
    ],
) -> None:
    """Delete one kind of cached data. Do not run this command while other sslkit commands are running."""
    from sslkit.data.cache import cache_folder

    folder = cache_folder() / kind
    size = _size(folder)
    if folder.is_dir():
        shutil.rmtree(folder)
    print_line(f"deleted {size / 1e6:.1f} MB: {folder}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
