"""``sslkit explore``: see all images of a run in the browser, and correct its classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sslkit.cli.common.console import print_line, print_message
from sslkit.cli.common.finished_run import find_finished
from sslkit.cli.common.options import DeviceOption, FinishedRunArgument, RunsOption

if TYPE_CHECKING:
    from sslkit.explore.session import Session


def command(
    run: FinishedRunArgument = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Do not open the browser.")] = False,
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="Port of the local server (default: a free port)."),
    ] = 0,
    device: DeviceOption = "auto",
    runs: RunsOption = None,
) -> None:
    """See all images of a run in the browser, correct its classes and name them. Ctrl-C stops the local server.

    Each correction is saved immediately, in classes.toml and corrections.csv of the run. Needs sslkit\\[explore].
    """
    import os
    import threading
    import webbrowser

    from sslkit.components.optional_packages import import_optional
    from sslkit.device.allocator import RETAIN_FREED_MEMORY
    from sslkit.errors import RunError
    from sslkit.runs.find import runs_folder

    for package in ("starlette", "uvicorn"):
        import_optional(package, "sslkit explore", "explore")
    chosen = find_finished(run, runs_folder(runs))
    if not chosen.heads.exists():
        raise RunError(f"{chosen.heads} does not exist: {chosen.describe_state()}")
    os.environ[RETAIN_FREED_MEMORY] = "0"  # the server waits most of the time, and should not keep memory

    from sslkit.explore.server.serve import serve

    def on_start(address: str) -> None:
        print_line(address)
        print_message("The page is only available on this computer. Press Ctrl-C to stop.")
        if not no_open:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()

    _print_end(serve(chosen, device, port, on_start))


def _print_end(session: Session) -> None:
    """Print how many images are corrected in the run that was shown, and suggest the next commands."""
    from sslkit.cli.common.summary import print_class_commands

    corrected, trained = session.corrected(), session.training.result
    if corrected is None:  # stopped before the images were loaded
        return
    run = session.run if trained is None else trained.run
    count = "1 image is" if corrected == 1 else f"{corrected} images are"
    print_line(f"{count} corrected in {session.run.path}")
    print_class_commands("next steps:", run, train=corrected > 0 and trained is None)
