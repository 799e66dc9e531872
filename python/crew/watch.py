"""Callbacks: a thread that hears from the daemon which tasks have ended.

It listens while there is something to wait for, and a moment longer.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable, Dict, List, Optional

from .client import ANSWER, Client
from .connection import Connection, Gone, Late
from .errors import CrewError, Disconnected, NoAnswer, from_reply
from .frame import Reply, encode
from .results import AsyncResult

LINGER = 1.0  # seconds without anything to wait for, after which it stops listening
ENDED = ("succeeded", "failed", "cancelled")


class Watcher:
    """Of one daemon, for all its pools."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # Held while a task is handed in: what the daemon tells of its end is not looked at before its ID is known.
        self._lock = threading.Lock()
        self._pending: Dict[str, AsyncResult] = {}
        self._connection: Optional[Connection] = None
        self._idle_since = 0.0

    def submit(self, hand_in: Callable[[], AsyncResult]) -> AsyncResult:
        """Hands in a task and waits for its end in the background."""
        with self._lock:
            if self._connection is None:
                self._listen()
            result = hand_in()
            result.watched()
            self._pending[result.id] = result
            self._idle_since = time.monotonic()
            return result

    def _listen(self) -> None:
        connection = Connection(self._client.path, time.monotonic() + ANSWER)
        try:
            connection.send(encode("io.crewd.Manager.Subscribe", "{}", more=True))
            _checked(connection.receive(time.monotonic() + ANSWER))  # from here on nothing is missed
            self._connection = connection
            self._idle_since = time.monotonic()
            threading.Thread(target=self._run, args=(connection,), name="crew-callbacks", daemon=True).start()
        except Late:
            raise NoAnswer("the daemon is there, and does not answer") from None
        except Gone:
            raise Disconnected("the daemon went away; nothing was handed in") from None
        finally:
            if self._connection is None:
                connection.close()

    def _run(self, connection: Connection) -> None:
        error: CrewError = Disconnected("the daemon went away; the task may have been done")
        try:
            while self._hear(connection):
                pass
        except Gone:
            pass
        except CrewError as e:
            error = e
        finally:
            connection.close()
        left: List[AsyncResult] = []
        with self._lock:
            if self._connection is connection:
                left, self._pending = list(self._pending.values()), {}
                self._connection = None
        for result in left:
            # The next manager knows no better; but the stream may have ended while the daemon has not.
            result.settle(None if isinstance(error, Disconnected) else error)

    def _hear(self, connection: Connection) -> bool:
        """One event. False: there was nothing to wait for, and has not been for a while."""
        try:
            reply = _checked(connection.receive(time.monotonic() + LINGER))
            for result in self._ended(reply.parameters):
                result.settle()
        except Late:
            pass
        with self._lock:
            if self._pending:
                self._idle_since = time.monotonic()
            elif time.monotonic() - self._idle_since >= LINGER:
                self._connection = None  # who comes now begins anew
        return self._connection is connection

    def _ended(self, event: Dict[str, Any]) -> List[AsyncResult]:
        if event.get("event") == "task" and event.get("state") in ENDED:
            with self._lock:
                result = self._pending.pop(str(event.get("id")), None)
            return [] if result is None else [result]
        if event.get("event") == "lost":
            return self._look_at_all()
        return []

    def _look_at_all(self) -> List[AsyncResult]:
        """This side was too slow, and events were left out."""
        with self._lock:
            pending = list(self._pending.values())
        ended = [r for r in pending if r.fetch(0.0) is not None]
        with self._lock:
            for r in ended:
                self._pending.pop(r.id, None)
        return ended


def _checked(reply: Reply) -> Reply:
    if reply.error is not None:
        raise from_reply(reply.error, reply.parameters)
    return reply


_watchers: Dict[str, Watcher] = {}
os.register_at_fork(after_in_child=_watchers.clear)


def watcher_of(client: Client) -> Watcher:
    """The watcher of a daemon, in this process."""
    return _watchers.setdefault(client.path, Watcher(client))
