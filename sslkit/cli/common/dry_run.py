"""Shows what ``sslkit train --dry-run`` found."""

from __future__ import annotations

from typing import Any

from sslkit.cli.common.console import print_json, print_table


def show(found: dict[str, Any], *, as_json: bool) -> None:
    """Print the result of a dry run."""
    if as_json:
        print_json(found)
        return
    rows = [
        ("processes", str(found["processes"])),
        ("images", f"{found['data']['images']} of {_shape(found['data']['shape'])}"),
        *((f"views, group {index}", _shape(shape)) for index, shape in enumerate(found["views"])),
        ("features", _shape(found["outputs"]["features"])),
        *(
            (f"classifiers of {name}", ", ".join(map(str, k)) or "none")
            for name, k in found["outputs"]["classifiers"].items()
        ),
        *((f"parameters of {name}", f"{count:,}") for name, count in found["modules"].items()),
        ("loss of the first batch", f"{found['loss']:.4f}"),
        ("peak memory", f"{found['memory_bytes'] / 1e6:.0f} MB"),
        ("steps per epoch", str(found["steps_per_epoch"])),
        ("steps", str(found["steps"])),
    ]
    print_table("dry run, nothing is trained", ("what", "is"), rows)


def _shape(shape: list[int]) -> str:
    return " x ".join(map(str, shape))
