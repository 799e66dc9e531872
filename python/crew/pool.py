"""Pools that do tasks, as multiprocessing.Pool."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Type

from .client import Client, SocketPath, client_of
from .errors import NoSuchPool
from .frame import field
from .mapping import WINDOW, MapIterator, Run
from .results import AsyncResult, Callback, LocalResult
from .tasks import KINDS, task_of, value_of
from .watch import watcher_of


class Pool:
    """The pool of that name in crewd's configuration. It has to have `tasks`.

    What a task is made of depends on the pool's kind of tasks:

    jsonrpc: a method and its arguments, any JSON: `apply("resize", ["a.png"])`, `apply("resize", kwds={"w": 7})`.
    exec: arguments for the pool's command: `apply("a.png")`, `apply(["a.png", "7"])`, and `input=`.
    lines: one string: `apply("hello")`.

    Its result is any JSON value (jsonrpc), or what the worker wrote: str, or bytes where that is not UTF-8.

    Making a Pool asks the daemon for nothing. It can be pickled and used by any thread and after a fork. Times are
    seconds; None waits for ever. The pool is the daemon's: leaving a `with` block leaves it as it is.

    NoSuchPool, NoDaemon, Disconnected and NoAnswer may come of every call; Closed (a ValueError) of those that hand
    in tasks; WorkerDied, TaskError and the other kinds of TaskFailed of those that tell results.
    """

    def __init__(self, name: str, *, socket: SocketPath = None) -> None:
        self.name = name
        self._socket = None if socket is None else os.fspath(socket)
        self._known_kind: Optional[str] = None

    def __repr__(self) -> str:
        return f"<crew.Pool {self.name!r}>"

    @property
    def _client(self) -> Client:
        return client_of(self._socket)

    def info(self) -> Dict[str, Any]:
        """What the daemon tells of it (io.crewd.Pool, type Pool): workers, queued, succeeded ..."""
        for pool in field(self._client.call("Pool.List", {}, again=True), "pools", list):
            if pool.get("name") == self.name:
                return dict(pool)
        raise NoSuchPool(f"no such pool: {self.name}", parameters={"name": self.name})

    def _kind(self) -> str:
        if self._known_kind is None:
            kind = self.info().get("tasks")
            if kind not in KINDS:
                why = "it has no tasks" if kind is None else f"its tasks are {kind}"
                raise NoSuchPool(f"no such pool: {self.name} ({why})", parameters={"name": self.name, "why": why})
            self._known_kind = kind
        return self._known_kind

    # ---- one task ------------------------------------------------------------------------------

    def apply(self, what: Any = None, args: Iterable[Any] = (), kwds: Optional[Mapping[str, Any]] = None, *,
              input: Any = None, timeout: Optional[float] = None) -> Any:  # pylint: disable=redefined-builtin
        """One task: waits for its end and returns its result.

        TimedOut after `timeout` seconds: the task is taken back if no worker has it yet. Full when too many wait.
        """
        kind = self._kind()
        task = task_of(kind, what, args, kwds, input)
        reply = self._client.call("Pool.Apply", {"pool": self.name, **task}, waits=True, timeout=timeout)
        return value_of(kind, field(reply, "task", dict))

    def apply_async(self, what: Any = None, args: Iterable[Any] = (), kwds: Optional[Mapping[str, Any]] = None,
                    callback: Callback = None, error_callback: Callback = None, *,
                    input: Any = None) -> AsyncResult:  # pylint: disable=redefined-builtin
        """One task, handed in: returns at once. Full when too many wait.

        callback, error_callback: called with the result, or the exception, by a thread of crew's, one after another.
        """
        kind, client = self._kind(), self._client
        task = {"pool": self.name, **task_of(kind, what, args, kwds, input)}

        def hand_in() -> AsyncResult:
            ident = field(client.call("Pool.ApplyAsync", task), "id", str)
            return AsyncResult(client, kind, ident, callback, error_callback)

        if callback is None and error_callback is None:
            return hand_in()
        return watcher_of(client).submit(hand_in)

    # ---- many ----------------------------------------------------------------------------------

    def _to_task(self, what: Any, star: bool) -> Callable[[Any], Dict[str, Any]]:
        kind = self._kind()
        if kind == "jsonrpc":
            task_of(kind, what)  # a method's name, or a TypeError here and not of each item
        if star:
            return lambda item: task_of(kind, what, item)
        return lambda item: task_of(kind, what, (item,))

    def _iterate(self, first: Any, second: Any, star: bool, ordered: bool, window: int,
                 finite: bool = False) -> MapIterator:
        what, items = (None, first) if second is None else (first, second)
        to_task = self._to_task(what, star)
        return MapIterator(Run(self._client, self.name, self._kind(), to_task, items, ordered, window, finite))

    def imap(self, what: Any, iterable: Optional[Iterable[Any]] = None, chunksize: int = 1, *,
             window: int = WINDOW) -> MapIterator:
        """A task for each item, their results in the same order, as they come; the iterable may have no end.

        Of jsonrpc pools `what` is the method; of others it may be left out, or is what stands before the item.
        An item whose task failed raises its exception when its turn comes; the next ones follow.

        window: how many items are taken from the iterable (by another thread) before their results are asked for.
        chunksize: as in multiprocessing, and of no effect: a worker gets as many as the pool's `prefetch` says.
        """
        del chunksize
        return self._iterate(what, iterable, False, True, window)

    def imap_unordered(self, what: Any, iterable: Optional[Iterable[Any]] = None, chunksize: int = 1, *,
                       window: int = WINDOW) -> MapIterator:
        """As imap(); results come as tasks end."""
        del chunksize
        return self._iterate(what, iterable, False, False, window)

    def map(self, what: Any, iterable: Optional[Iterable[Any]] = None, chunksize: Optional[int] = None, *,
            return_exceptions: bool = False) -> List[Any]:
        """A task for each item; waits for all and returns their results in the same order.

        If some failed, raises the exception of the first of them; with return_exceptions, each is in its place.
        """
        del chunksize
        return _collect(self._iterate(what, iterable, False, True, WINDOW, True), return_exceptions)

    def starmap(self, what: Any, iterable: Optional[Iterable[Iterable[Any]]] = None,
                chunksize: Optional[int] = None, *, return_exceptions: bool = False) -> List[Any]:
        """As map(), each item being the arguments of a task."""
        del chunksize
        return _collect(self._iterate(what, iterable, True, True, WINDOW, True), return_exceptions)

    def map_async(self, what: Any, iterable: Optional[Iterable[Any]] = None, chunksize: Optional[int] = None,
                  callback: Callback = None, error_callback: Callback = None) -> LocalResult:
        """map() by a thread of this process."""
        del chunksize
        self._kind()
        return LocalResult(lambda: self.map(what, iterable), callback, error_callback)

    def starmap_async(self, what: Any, iterable: Optional[Iterable[Iterable[Any]]] = None,
                      chunksize: Optional[int] = None, callback: Callback = None,
                      error_callback: Callback = None) -> LocalResult:
        """starmap() by a thread of this process."""
        del chunksize
        self._kind()
        return LocalResult(lambda: self.starmap(what, iterable), callback, error_callback)

    # ---- the pool itself -----------------------------------------------------------------------

    def close(self) -> None:
        """For everybody: the pool takes no more tasks; its workers end when those it has are done."""
        self._client.call("Pool.Close", {"name": self.name}, again=True)

    def terminate(self) -> None:
        """For everybody: ends its workers at once, and cancels their tasks and those that wait."""
        self._client.call("Pool.Terminate", {"name": self.name}, waits=True, again=True)

    def join(self, timeout: Optional[float] = None) -> None:
        """Waits until all is done and its workers have ended. StillRunning (a ValueError) unless it was closed."""
        self._client.call("Pool.Join", {"name": self.name}, waits=True, timeout=timeout, again=True)

    def start(self) -> None:
        """Opens it again after close() or terminate()."""
        self._client.call("Worker.Start", {"name": self.name}, waits=True, again=True)

    def scale(self, workers: int) -> None:
        """How many workers it has from now on, until a reload changes the pool."""
        self._client.call("Pool.Scale", {"name": self.name, "workers": workers}, again=True)

    def __enter__(self) -> "Pool":
        self._kind()
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        """The pool stays as it is: it is the daemon's, and others use it."""


def _collect(iterator: MapIterator, return_exceptions: bool) -> List[Any]:
    values: List[Any] = []
    first: Optional[BaseException] = None
    try:
        while True:
            outcome = iterator.outcome()
            if outcome is None:
                break
            first = first or outcome.error
            values.append(outcome.value if outcome.error is None else outcome.error)
    finally:
        iterator.close()
    if first is not None and not return_exceptions:
        raise first
    return values


