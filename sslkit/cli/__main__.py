"""Where the ``sslkit`` command, and ``python -m sslkit.cli``, begin: before anything slow is imported."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sslkit.device.allocator import RETAIN_FREED_MEMORY


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly from the first moment on."""
    try:
        _prepare_streams()
        # Before anything loads OpenMP: threads that wait must sleep, not spin.  Spinning made the quick start ten times
        # slower as soon as another process wanted a core, and gained nothing on a quiet machine.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        # Likewise before torch: with several processes it warns, in each, of what is on purpose.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
        # This process is sslkit's own, so its allocator may be tuned for training.
        os.environ.setdefault(RETAIN_FREED_MEMORY, "1")
        from sslkit.cli.main import app

        app()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def _prepare_streams() -> None:
    """Streams that are closed swallow what is written, and file names that are no text are written escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  (open as long as the process)
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
