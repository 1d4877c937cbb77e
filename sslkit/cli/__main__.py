"""Entry point of the ``sslkit`` command and of ``python -m sslkit.cli``.

A command imports slow modules, such as torch, only when it needs them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sslkit.cli.common.skip_matplotlib import skip_matplotlib
from sslkit.device.allocator import RETAIN_FREED_MEMORY

CLOSED_PIPE = 141
"""Exit code if the reader of a pipe exits before the command, as in ``sslkit ... | head``; shells report the same code
for SIGPIPE."""


def main() -> None:
    """Run the command line. Ctrl-C and a closed pipe end the program without a traceback."""
    try:
        _prepare_streams()
        # Must be set before OpenMP loads. On a busy machine, spinning threads make training ten times slower.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        # Must be set before torch loads. Otherwise torch warns in each process about intended settings.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        # The allocator may be tuned for training, because this process is sslkit's own.
        os.environ.setdefault(RETAIN_FREED_MEMORY, "1")
        skip_matplotlib()
        from sslkit.cli.main import app

        app()
    except SystemExit as stop:
        # If the pipe closes while rich and click print the help, they exit with code 1.
        if isinstance(stop.__context__, BrokenPipeError):
            sys.exit(CLOSED_PIPE)
        raise
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _prepare_streams() -> None:
    """Send the output of closed streams to the null device, and escape characters that a stream cannot encode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - stays open until the process exits
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
