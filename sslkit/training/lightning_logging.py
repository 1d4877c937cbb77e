"""Filter for Lightning's log messages and warnings."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

LOGGERS = ("pytorch_lightning", "lightning_fabric")
"""Names of Lightning's loggers."""


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Hide Lightning's messages below errors: they advise against what sslkit does on purpose."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            # The parameters that a step uses change when a loss starts in a later epoch.
            warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
