"""One connection to crewd: bytes, deadlines, and what is known when it ends."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
import weakref
from typing import List, Optional

from .errors import NoDaemon, NotPermitted, ProtocolError
from .frame import REPLY_MAX, Reply, decode

READ_SIZE = 65536
SYSTEM_SOCKET = "/run/crewd/control"


class Late(Exception):
    """The deadline has passed."""


class Gone(Exception):
    """The connection ended before there was an answer.

    accepted: whether the daemon may have read the whole of what was sent last.
    """

    def __init__(self, accepted: bool) -> None:
        super().__init__("the connection has ended")
        self.accepted = accepted


def default_socket() -> str:
    """The socket that crewctl would take. NoDaemon when there is none to be named."""
    directory = os.environ.get("XDG_RUNTIME_DIR")
    own = os.path.join(directory, "crewd/control") if directory else None
    if os.geteuid() == 0:
        return SYSTEM_SOCKET
    if (own and os.path.exists(own)) or not os.path.exists(SYSTEM_SOCKET):
        if own is None:
            raise NoDaemon("XDG_RUNTIME_DIR is not set; say which socket")
        return own
    return SYSTEM_SOCKET


def left(deadline: Optional[float]) -> Optional[float]:
    """Seconds until a deadline (time.monotonic); None: for ever."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _milliseconds(deadline: Optional[float]) -> Optional[float]:
    seconds = left(deadline)
    # Rounded up, so as not to come back a moment too early; long waits in parts.
    return None if seconds is None else min(int(seconds * 1000) + 1, 3_600_000)


_all: "weakref.WeakSet[Connection]" = weakref.WeakSet()


def _close_in_child() -> None:
    """A child that kept the parent's connections would keep them from ending when the parent closes them."""
    for connection in list(_all):
        connection.close()


os.register_at_fork(after_in_child=_close_in_child)


class Connection:
    """A stream socket to the daemon. For one thread at a time.

    patience: for how many seconds to try again while no daemon is there.
    """

    def __init__(self, path: str, deadline: Optional[float] = None, patience: float = 0.0) -> None:
        self.path = path
        self.pid = os.getpid()
        self._buffer = bytearray()
        self._searched = 0
        self._socket: Optional[socket.socket] = None
        self._connect(deadline, time.monotonic() + patience)
        _all.add(self)

    def _connect(self, deadline: Optional[float], patient_until: float) -> None:
        pause = 0.001
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            sock.setblocking(False)
            try:
                sock.connect(self.path)
                self._socket = sock
                return
            except BlockingIOError:
                sock.close()  # no room in its backlog: nothing tells when there is
                if deadline is not None and time.monotonic() >= deadline:
                    raise Late from None
            except PermissionError:
                sock.close()
                raise NotPermitted(f"not permitted to connect to {self.path}") from None
            except OSError as e:
                sock.close()
                if e.errno not in (errno.ENOENT, errno.ECONNREFUSED) or time.monotonic() >= patient_until:
                    raise NoDaemon(f"no daemon answers at {self.path}: {e.strerror or e}") from None
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    @property
    def closed(self) -> bool:
        return self._socket is None

    def close(self) -> None:
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()

    def __del__(self) -> None:
        self.close()

    def usable(self) -> bool:
        """Whether the next call may go here: it is this process's, it is open, and nothing came unasked."""
        if self._socket is None or self.pid != os.getpid() or self._buffer:
            return False
        return not self._wait(select.POLLIN, 0.0)

    def _wait(self, events: int, deadline: Optional[float]) -> bool:
        poll = select.poll()
        poll.register(self.fileno(), events)
        while True:
            if poll.poll(0 if deadline == 0.0 else _milliseconds(deadline)):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False

    def send(self, data: bytes, deadline: Optional[float] = None) -> None:
        """Hands over whole calls. Gone when that fails: a call whose NUL was not handed over was not accepted."""
        view = memoryview(data)
        while view:
            if self._socket is None:
                raise Gone(accepted=False)
            try:
                view = view[self._socket.send(view):]
            except BlockingIOError:
                if not self._wait(select.POLLOUT, deadline):
                    raise Late from None
            except (BrokenPipeError, ConnectionResetError):
                self.close()
                raise Gone(accepted=False) from None

    def _next(self) -> Optional[bytes]:
        """The next whole frame that is there, without its NUL."""
        end = self._buffer.find(b"\0", self._searched)
        if end < 0:
            self._searched = len(self._buffer)
            if self._searched > REPLY_MAX:
                self.close()
                raise ProtocolError(f"a reply has more than {REPLY_MAX} bytes")
            return None
        data = bytes(self._buffer[:end])
        del self._buffer[:end + 1]
        self._searched = 0
        return data

    def _fill(self) -> None:
        """Reads what is there, if anything is."""
        if self._socket is None:
            raise Gone(accepted=True)
        try:
            data = self._socket.recv(READ_SIZE)
        except BlockingIOError:
            return
        except ConnectionResetError:
            # The kernel says so when the daemon has closed without having read all: where one call was
            # under way and nothing was answered, its NUL was not read.
            accepted = bool(self._buffer)
            self.close()
            raise Gone(accepted) from None
        if not data:
            self.close()
            raise Gone(accepted=True)
        self._buffer += data

    def receive(self, deadline: Optional[float] = None) -> Reply:
        """The next reply. Late, Gone or ProtocolError; after the last two the connection is closed."""
        while True:
            data = self._next()
            if data is not None:
                return self._decode(data)
            if self._socket is not None and not self._wait(select.POLLIN, deadline):
                raise Late
            self._fill()

    def receive_there(self) -> List[Reply]:
        """Replies that are there, without waiting; as receive()."""
        self._fill()
        replies = []
        data = self._next()
        while data is not None:
            replies.append(self._decode(data))
            data = self._next()
        return replies

    def _decode(self, data: bytes) -> Reply:
        try:
            return decode(data)
        except ProtocolError:
            self.close()
            raise
