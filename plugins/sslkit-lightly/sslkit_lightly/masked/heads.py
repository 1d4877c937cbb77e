"""Check of the heads that a method with its own objective reads."""

from __future__ import annotations

from collections.abc import Mapping

import sslkit


def require_classifier_heads(heads: Mapping[str, sslkit.Head], most: int) -> None:
    """Check that there are at most ``most`` heads, and that all of them have classifiers.

    Raises:
        sslkit.InputError: there are more heads, or a head has no classifiers.
    """
    if len(heads) > most:
        count = "one head" if most == 1 else f"at most {most} heads"
        raise sslkit.InputError(f"this method reads {count}, but the recipe has {len(heads)} heads")
    for name, head in heads.items():
        if not head.classifiers:
            raise sslkit.InputError(f"the head {name!r} has no classifiers: use a head such as dino")
