"""What a worker says of itself, through the socket in NOTIFY_SOCKET; the same as sd_notify(3).

Where nobody listens (a worker that was started by hand), nothing happens, and False is returned.
"""

from __future__ import annotations

import os
import socket
from typing import Optional


def notify(message: str) -> bool:
    """Sends "NAME=VALUE" lines. Returns whether there was somebody to send them to; OSError if he is gone."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as s:
        s.sendto(message.encode(), "\0" + path[1:] if path.startswith("@") else path)
    return True


def ready() -> bool:
    """This worker is ready: for pools with ready = "notify"."""
    return notify("READY=1")


def stopping() -> bool:
    """This worker is about to end."""
    return notify("STOPPING=1")


def status(text: str) -> bool:
    """One line about what it is doing."""
    return notify("STATUS=" + text.replace("\n", " "))


def watchdog() -> bool:
    """This worker is alive: for pools with `watchdog`, to be said well within watchdog_interval()."""
    return notify("WATCHDOG=1")


def watchdog_interval() -> Optional[float]:
    """Seconds within which watchdog() has to be called again; None: it need not."""
    text = os.environ.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdigit() and int(text) > 0 else None
