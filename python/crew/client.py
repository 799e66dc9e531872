"""Calls to one daemon: one kept connection a thread, and what is done when a connection ends.

A call is sent again only when it cannot have been accepted, or when doing it twice is doing it once.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Dict, Iterator, List, Optional, Tuple, Union

from .connection import Connection, Gone, Late, default_socket, left
from .errors import CrewError, Disconnected, NoAnswer, TooLarge, from_reply
from .frame import Reply, encode, refused_for, to_json

ANSWER = 30.0  # seconds within which a call that does not wait is answered
GRACE = 5.0  # seconds more than the time given, for the answer to a call that waits
RECONNECT = 5.0  # seconds for which a daemon that was there may be away
QUICK_ENDS = 3  # connections that may end within a second of a call, one after the other
KEPT = 2  # connections that a thread keeps

SocketPath = Union[str, "os.PathLike[str]", None]


class Client:
    """The way to the daemon at a socket. For any number of threads, and for the children of a fork."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._mine = threading.local()

    # ---- connections ---------------------------------------------------------------------------

    def _kept(self) -> List[Connection]:
        kept: Optional[List[Connection]] = getattr(self._mine, "kept", None)
        if kept is None:
            kept = self._mine.kept = []
        return kept

    def take(self, deadline: Optional[float] = None, patience: float = 0.0) -> Connection:
        """A connection for the caller alone, until give()."""
        kept = self._kept()
        while kept:
            connection = kept.pop()
            if connection.usable():
                return connection
            connection.close()
        try:
            return Connection(self.path, deadline, patience)
        except Late:
            raise NoAnswer(f"the daemon at {self.path} takes no connection") from None

    def give(self, connection: Connection) -> None:
        """Takes back a connection on which nothing is under way."""
        kept = self._kept()
        if len(kept) < KEPT and not connection.closed:
            kept.append(connection)
        else:
            connection.close()

    # ---- calls ---------------------------------------------------------------------------------

    def call(self, method: str, parameters: Dict[str, Any], *, waits: bool = False,
             timeout: Optional[float] = None, again: bool = False) -> Dict[str, Any]:
        """One call to io.crewd.`method` and the parameters of its reply; an error reply is raised.

        waits: the daemon may take its time: `timeout` seconds (None: any), which it is told.
        again: doing it twice is doing it once, so that it may be sent again.
        """
        connection = None
        try:
            connection, reply = self.exchange(method, parameters, waits=waits, timeout=timeout, again=again)
        finally:
            if connection is not None:
                self.give(connection)
        if reply.error is not None:
            raise from_reply(reply.error, reply.parameters)
        return reply.parameters

    def exchange(self, method: str, parameters: Dict[str, Any], *, waits: bool = False,
                 timeout: Optional[float] = None, again: bool = False) -> Tuple[Connection, Reply]:
        """As call(), but the connection stays the caller's, and an error reply is not raised."""
        text = to_json(parameters)
        end = None if timeout is None else time.monotonic() + max(0.0, timeout)
        patience, quick = 0.0, 0
        while True:
            began = time.monotonic()
            data = encode("io.crewd." + method, _with_timeout(text, left(end) if waits else None))
            deadline = _answer_by(waits, end)
            connection = self.take(deadline, patience)
            try:
                return connection, _converse(connection, data, deadline)
            except Gone as e:
                quick = quick + 1 if time.monotonic() - began < 1.0 else 0
                if quick > QUICK_ENDS or not (again or not e.accepted):
                    raise _disconnected(data) from None
                patience = RECONNECT

    def stream(self, method: str, parameters: Dict[str, Any]) -> Iterator[Dict[str, Any]]:
        """A call with `more`: the parameters of each reply. Leaving it early ends the call."""
        data = encode("io.crewd." + method, to_json(parameters), more=True)
        connection = self.take(time.monotonic() + ANSWER)
        try:
            connection.send(data, time.monotonic() + ANSWER)
            while True:
                reply = connection.receive()
                if reply.error is not None:
                    raise from_reply(reply.error, reply.parameters)
                yield reply.parameters
                if not reply.continues:
                    break
        except Gone:
            raise _disconnected(data) from None
        except Late:
            raise NoAnswer("the daemon does not take what it is sent") from None
        finally:
            connection.close()


def given(**parameters: Any) -> Dict[str, Any]:
    """Those that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}


def _with_timeout(text: str, seconds: Optional[float]) -> str:
    """The parameters, and how long the daemon may take."""
    if seconds is None:
        return text
    return f'{text[:-1]}{"," if len(text) > 2 else ""}"timeout":{seconds:.6f}}}'


def _answer_by(waits: bool, end: Optional[float]) -> Optional[float]:
    if not waits:
        return time.monotonic() + ANSWER
    return None if end is None else max(end, time.monotonic()) + GRACE


def _converse(connection: Connection, data: bytes, deadline: Optional[float]) -> Reply:
    """One call, one reply. A connection that is left in the middle is of no use to anybody."""
    done = False
    try:
        connection.send(data, deadline)
        reply = connection.receive(deadline)
        done = True
        return reply
    except Late:
        raise NoAnswer("the daemon is there, and does not answer") from None
    finally:
        if not done:
            connection.close()


def _disconnected(data: bytes) -> CrewError:
    why = refused_for(data)
    if why is not None:
        return TooLarge(f"crewd does not take this: {why}")
    return Disconnected("the daemon went away before it answered; it may have done what it was asked")


# ---- one client a socket -----------------------------------------------------------------------

_clients: Dict[str, Client] = {}
_default: Optional[str] = None


def set_default_socket(path: SocketPath) -> None:
    """The socket of all that is not told another one; None: the one that crewctl takes."""
    global _default
    _default = None if path is None else os.fspath(path)


def client_of(path: SocketPath) -> Client:
    """The client for a socket; None: the default one, as it is now."""
    name = os.fspath(path) if path is not None else _default or default_socket()
    return _clients.setdefault(name, Client(name))
