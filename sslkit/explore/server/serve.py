"""Run the server of ``sslkit explore`` until Ctrl-C."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from sslkit.errors import InputError
from sslkit.explore.server.app import build_app
from sslkit.explore.session import Session
from sslkit.runs.run import Run

if TYPE_CHECKING:
    from sslkit.device.hardware import DeviceName

HOST = "127.0.0.1"


def serve(run: Run, device: DeviceName, port: int, on_start: Callable[[str], None]) -> Session:
    """Serve a run's images and classes on 127.0.0.1 until the process receives Ctrl-C or SIGTERM.

    Args:
        run: a finished run.
        device: device that computes features, or ``auto``.
        port: the port; 0 for a free port.
        on_start: called with the address of the page, which contains the secret token.

    Returns:
        The session, closed.

    Raises:
        InputError: the port is not free.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise InputError(f"port {port} is not free: {error.strerror}; choose another --port") from error
    port, token = listener.getsockname()[1], secrets.token_urlsafe(24)
    session = Session(run, device)
    config = uvicorn.Config(
        build_app(session, token, port),
        access_log=False,
        log_level="warning",
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=2,
    )
    session.start()
    listener.listen(128)
    on_start(f"http://{HOST}:{port}/{token}/")
    try:
        uvicorn.Server(config).run([listener])
    except KeyboardInterrupt:  # uvicorn raises Ctrl-C again after a clean shutdown
        pass
    finally:
        session.close()
        listener.close()
    return session
