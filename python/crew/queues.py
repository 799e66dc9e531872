"""Queues: channels between processes, with the rules of multiprocessing's JoinableQueue."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, Dict, Iterable, List, Optional, Type

from .client import ANSWER, Client, SocketPath, client_of, given
from .connection import Connection, Gone, Late, left
from .errors import Disconnected, Full, NoAnswer, ProtocolError, TooLarge, Unavailable, WrongKind, from_reply
from .frame import CALL_MAX, encode, field, to_json

MANY = 10_000  # items of one call
ROOM = CALL_MAX - 4096  # bytes of items in one call


class Queue:
    """The queue of that name, which crewd holds. An item is any value that JSON has.

    Making a Queue asks the daemon for nothing; `Queue.create` makes one there. It can be pickled and used by any
    thread and after a fork. Times are seconds; None waits for ever.

    NoSuchQueue, NoDaemon, Disconnected and NoAnswer may come of every call. After `Disconnected` (the daemon was
    killed, say) a put may have been done and a got item be lost: use `lease` where that matters.
    """

    def __init__(self, name: str, *, socket: SocketPath = None) -> None:
        self.name = name
        self._socket = None if socket is None else os.fspath(socket)
        self._closed = False

    def __repr__(self) -> str:
        return f"<crew.Queue {self.name!r}>"

    @property
    def _client(self) -> Client:
        return client_of(self._socket)

    def _call(self, method: str, *, again: bool = False, **parameters: Any) -> Dict[str, Any]:
        return self._client.call("Queue." + method, {"name": self.name, **parameters}, again=again)

    def _wait(self, method: str, block: bool, timeout: Optional[float], **parameters: Any) -> Dict[str, Any]:
        """A call that waits as `block` and `timeout` say."""
        parameters["name"] = self.name
        if not block:
            parameters["block"] = False
        try:
            return self._client.call("Queue." + method, parameters, waits=block, timeout=timeout)
        except WrongKind as e:
            raise self._kind_told(e) from None

    def _kind_told(self, e: WrongKind) -> WrongKind:
        if e.parameters.get("kind") != "shared":
            return e
        return WrongKind(
            f"{self.name} is of kind shared, memory that this client does not attach to: put_nowait() and get_nowait() "
            "work by way of the daemon; to wait, use crewctl or libcrew, or a queue of kind manager",
            error=e.error, parameters=e.parameters)

    def _open(self) -> None:
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")

    # ---- making and deleting -------------------------------------------------------------------

    @classmethod
    def create(cls, name: str, maxsize: int = 0, *, kind: Optional[str] = None, durable: Optional[bool] = None,
               max_bytes: Optional[int] = None, max_deliveries: Optional[int] = None, dead: Optional[str] = None,
               socket: SocketPath = None) -> "Queue":
        """Makes a queue in the daemon; Exists if there is one. The rest as io.crewd.Queue.Create has it.

        maxsize: the most items at a time; 0 or less: no limit but max_bytes (64 MiB of JSON unless said otherwise).
        """
        queue = cls(name, socket=socket)
        queue._call("Create", **given(maxsize=max(0, maxsize), kind=kind, durable=durable, maxBytes=max_bytes,
                                      maxDeliveries=max_deliveries, dead=dead))
        return queue

    def delete(self) -> None:
        """Deletes the queue in the daemon, with all that is in it."""
        self._call("Delete")

    # ---- items ---------------------------------------------------------------------------------

    def put(self, item: Any, block: bool = True, timeout: Optional[float] = None) -> None:
        """Puts an item at the end; waits while there is no room. Full (also a queue.Full) when it waited in vain.

        TypeError or ValueError for what is no JSON, TooLarge for more than a call may have (1 MiB).
        """
        self._open()
        self._wait("Put", block, timeout, item=item)

    def get(self, block: bool = True, timeout: Optional[float] = None) -> Any:
        """Takes the item at the front; waits while there is none. Empty (also a queue.Empty) when in vain."""
        self._open()
        return _item(self._wait("Get", block, timeout))

    def put_nowait(self, item: Any) -> None:
        """put(item, block=False)"""
        self.put(item, False)

    def get_nowait(self) -> Any:
        """get(block=False)"""
        return self.get(False)

    def put_many(self, items: Iterable[Any], block: bool = True, timeout: Optional[float] = None) -> int:
        """Puts items in their order, as many in a call as it takes; returns how many.

        If it is Full in the end, some of them may have been put: `put` of the exception tells how many.
        """
        self._open()
        end = None if timeout is None else time.monotonic() + timeout
        done = 0
        for chunk in _chunks(items):
            try:
                self._wait("PutMany", block, left(end), items=chunk)
            except (Full, Unavailable) as e:
                e.put += done
                raise
            done += len(chunk)
        return done

    def get_many(self, most: int, block: bool = True, timeout: Optional[float] = None) -> List[Any]:
        """Takes as many items as there are, 1 to `most` (at most 10,000, or 1 MiB); waits while there is none."""
        self._open()
        reply = self._wait("GetMany", block, timeout, max=most)
        items: List[Any] = field(reply, "items", list)
        return items

    def lease(self, block: bool = True, timeout: Optional[float] = None) -> "Lease":
        """Borrows the item at the front: `with q.lease() as item: ...`. Empty, as get().

        When the block ends well, the item is done (task_done() included); when it raises, or this process dies, the
        item is back at the front for others.
        """
        self._open()
        parameters: Dict[str, Any] = {"name": self.name, "lease": True}
        if not block:
            parameters["block"] = False
        # To be asked again does no harm: what was lent to a connection that has ended is back.
        connection, reply = self._client.exchange("Queue.Get", parameters, waits=block, timeout=timeout, again=True)
        if reply.error is None:
            try:
                return Lease(self._client, connection, reply.parameters)
            except BaseException:
                connection.close()
                raise
        self._client.give(connection)
        e = from_reply(reply.error, reply.parameters)
        raise self._kind_told(e) if isinstance(e, WrongKind) else e

    # ---- what there is -------------------------------------------------------------------------

    def qsize(self) -> int:
        """How many items can be got, at the moment of the answer."""
        size: int = field(self._call("Qsize", again=True), "qsize", int)
        return size

    def empty(self) -> bool:
        """Whether there is no item to be got."""
        answer: bool = field(self._call("IsEmpty", again=True), "empty", bool)
        return answer

    def full(self) -> bool:
        """Whether a put would have to wait."""
        answer: bool = field(self._call("IsFull", again=True), "full", bool)
        return answer

    def task_done(self) -> None:
        """One of the items that were got is done. TooManyDone, a ValueError, if more are than were put."""
        self._call("TaskDone")

    def join(self, timeout: Optional[float] = None) -> None:
        """Waits until every item that was put is done. TimedOut after that many seconds."""
        self._client.call("Queue.Join", {"name": self.name}, waits=True, timeout=timeout, again=True)

    # ---- as multiprocessing has it -------------------------------------------------------------

    def close(self) -> None:
        """This object is not put to, nor got from, any more (ValueError). The queue itself stays."""
        self._closed = True

    def join_thread(self) -> None:
        """Nothing to wait for: what was put is there when put() returns."""

    cancel_join_thread = join_thread


class Lease:
    """An item on loan, on a connection of its own: given back when that ends before done()."""

    def __init__(self, client: Client, connection: Connection, reply: Dict[str, Any]) -> None:
        self._client = client
        self._connection: Optional[Connection] = connection
        self.item = _item(reply)
        self._lease: str = field(reply, "lease", str)
        self.deliveries: int = field(reply, "deliveries", int)
        """How often the item has been lent, this time included."""

    def _leave(self) -> Optional[Connection]:
        connection, self._connection = self._connection, None
        return connection

    def done(self) -> None:
        """The item is done. NoSuchLease or Disconnected if the loan was over: others may have got the item."""
        connection = self._leave()
        if connection is None:
            raise ValueError("this lease is over")
        data = encode("io.crewd.Queue.Done", to_json({"lease": self._lease}))
        try:
            connection.send(data, time.monotonic() + ANSWER)
            reply = connection.receive(time.monotonic() + ANSWER)
        except Gone:
            raise Disconnected("the daemon went away: the item may be given to others") from None
        except Late:
            raise NoAnswer("the daemon is there, and does not answer") from None
        except BaseException:
            connection.close()
            raise
        self._client.give(connection)
        if reply.error is not None:
            raise from_reply(reply.error, reply.parameters)

    def give_back(self) -> None:
        """The item goes back to the front of its queue."""
        connection = self._leave()
        if connection is not None:
            connection.close()

    def __enter__(self) -> Any:
        return self.item

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        if kind is not None:
            self.give_back()
        elif self._connection is not None:
            self.done()


def _item(reply: Dict[str, Any]) -> Any:
    if "item" not in reply:
        raise ProtocolError("the reply has no item")
    return reply["item"]


def _chunks(items: Iterable[Any]) -> Iterable[List[Any]]:
    """Lists that fit into one call. Each item is looked at before the first of its list is put."""
    chunk: List[Any] = []
    size = 0
    for item in items:
        length = len(to_json(item).encode()) + 1
        if length > ROOM:
            raise TooLarge(f"an item has {length} bytes; at most {ROOM} are taken")
        if chunk and (len(chunk) == MANY or size + length > ROOM):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += length
    if chunk:
        yield chunk
