"""Keeps Lightning's remarks on what sslkit does on purpose from the user."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("pytorch_lightning", "lightning_fabric")


@contextmanager
def quiet() -> Iterator[None]:
    """Let no more than Lightning's errors through."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            # Which parameters a step uses changes where a loss joins later.
            warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
