"""Entry point of the ``sslkit`` command and of ``python -m sslkit.cli``; imports nothing slow at first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sslkit.cli.common.skip_matplotlib import skip_matplotlib
from sslkit.device.allocator import RETAIN_FREED_MEMORY

CLOSED_PIPE = 141
"""Exit code when the reader of a pipe ends first, as in ``sslkit ... | head``; that of a shell for SIGPIPE."""


def main() -> None:
    """Run the command line; Ctrl-C and a closed pipe end it quietly."""
    try:
        _prepare_streams()
        # Must be set before OpenMP loads. Spinning threads slow a training on a busy machine down ten times.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        # Must be set before torch loads, which otherwise warns in each process about intended settings.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        # The allocator may be tuned for training, because this process is sslkit's own.
        os.environ.setdefault(RETAIN_FREED_MEMORY, "1")
        skip_matplotlib()
        from sslkit.cli.main import app

        app()
    except SystemExit as stop:
        # rich and click, which print the help, exit with 1.
        if isinstance(stop.__context__, BrokenPipeError):
            sys.exit(CLOSED_PIPE)
        raise
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _prepare_streams() -> None:
    """Discard output to closed streams, and escape file names that are not valid text."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open as long as the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
