"""Print the result of ``sslkit train --dry-run``."""

from __future__ import annotations

from typing import Any

from sslkit.cli.common.console import print_json, print_table


def print_dry_run(result: dict[str, Any], *, as_json: bool) -> None:
    """Print the result of ``dry_run``, as JSON or as text: shapes, parameter counts, loss and memory of one step."""
    if as_json:
        print_json(result)
        return
    rows = [
        ("processes", str(result["processes"])),
        ("images", f"{result['data']['images']} of {_format_shape(result['data']['shape'])}"),
        *((f"views, group {index}", _format_shape(shape)) for index, shape in enumerate(result["views"])),
        ("features", _format_shape(result["outputs"]["features"])),
        *(
            (f"classifiers of {name}", ", ".join(map(str, sizes)) or "none")
            for name, sizes in result["outputs"]["classifiers"].items()
        ),
        *((f"parameters of {name}", f"{count:,}") for name, count in result["modules"].items()),
        ("loss of the first batch", f"{result['loss']:.4f}"),
        ("peak memory", f"{result['memory_bytes'] / 1e6:.0f} MB"),
        ("steps per epoch", str(result["steps_per_epoch"])),
        ("steps", str(result["steps"])),
    ]
    print_table("dry run: nothing is trained", ("property", "value"), rows)


def _format_shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape))
