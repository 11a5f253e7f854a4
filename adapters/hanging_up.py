"""Cutting a connection that somebody waits for."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def hang_up(descriptor: int) -> None:
    """Cut a connection: whoever waits for an answer on it, in whatever thread, hears that it is lost.

    One that is closed already (-1) stays so. TLS on it keeps its state, which whoever reads still needs.
    """
    with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
        line.shutdown(socket.SHUT_RDWR)
