"""map, imap and imap_unordered: many tasks, of which a bounded number is under way.

One thread takes items from the iterable while there is room, a second one talks to the daemon: it sends what there
is in calls of io.crewd.Pool.Map, several side by side, and reads their replies. Whoever asks for the next result
makes room for the next item.
"""

from __future__ import annotations

import os
import select
import threading
import time
import weakref
from collections import deque
from typing import Any, Callable, Deque, Dict, Iterable, Iterator, List, Optional, Tuple

from .client import ANSWER, QUICK_ENDS, RECONNECT, Client
from .connection import Connection, Gone, Late
from .errors import CrewError, Disconnected, NoAnswer, NoDaemon, ProtocolError, TimedOut, TooLarge, from_reply
from .frame import CALL_MAX, Reply, encode, field, to_json
from .results import Outcome
from .tasks import value_of

WINDOW = 1024  # items that may be under way, or wait to be asked for
LANES = 8  # calls side by side
CHUNK_ITEMS = 256  # of one call ...
CHUNK_BYTES = 512 * 1024  # ... and their bytes, unless one alone has more
ROOM = CALL_MAX - 4096  # bytes of one task
HELD_BYTES = 8 * 1024 * 1024  # bytes of results that nobody has asked for; no more are read above it

Task = Tuple[int, str]  # index, JSON


class Lane:
    """One call at a time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tasks: List[Task] = []  # of the call that is under way
        self.missing: Dict[int, int] = {}  # not answered: index in the call -> index

    def begin(self, pool: str, tasks: List[Task]) -> None:
        self.tasks = tasks
        self.missing = {n: index for n, (index, _) in enumerate(tasks)}
        text = f'{{"pool":{to_json(pool)},"tasks":[{",".join(t for _, t in tasks)}]}}'
        self.connection.send(encode("io.crewd.Pool.Map", text, more=True), time.monotonic() + ANSWER)

    def take(self, reply: Reply) -> Tuple[int, Dict[str, Any]]:
        """Index and task that a reply tells."""
        place, task = field(reply.parameters, "index", int), field(reply.parameters, "task", dict)
        if place not in self.missing or reply.continues != (len(self.missing) > 1):
            raise ProtocolError("the daemon has answered what it was not asked, or a second time")
        return self.missing.pop(place), task


class Run:
    """What the threads share. `lock` guards all of it but the lanes, which are the second thread's."""

    def __init__(self, client: Client, pool: str, kind: str, to_task: Callable[[Any], Dict[str, Any]],
                 items: Iterable[Any], ordered: bool, window: int, finite: bool) -> None:
        self.client, self.pool, self.kind, self.to_task = client, pool, kind, to_task
        self.ordered, self.window, self.finite = ordered, max(1, window), finite
        self.pid = os.getpid()
        self.lock = threading.Condition()
        self.inbox: Deque[Task] = deque()
        self.done: Dict[int, Tuple[Outcome, int]] = {}  # with its bytes, by index or by order of arrival
        self.held = self.arrived = self.pulled = self.given = 0
        self.total: Optional[int] = None  # None: the iterable has more
        self.failed: Optional[BaseException] = None  # by the iterable
        self.stopped = False
        self.fatal: Optional[BaseException] = None
        self.wake_read, self.wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        iterator = iter(items)
        for target, args in ((self._feed, (iterator,)), (self._talk, ())):
            threading.Thread(target=target, args=args, name="crew-map", daemon=True).start()

    # ---- results -------------------------------------------------------------------------------

    def deliver(self, index: int, outcome: Outcome, size: int = 0) -> None:
        with self.lock:
            self.done[index if self.ordered else self.arrived] = (outcome, size)
            self.arrived += 1
            self.held += size
            self.lock.notify_all()

    def next(self, deadline: Optional[float]) -> Optional[Outcome]:
        """The next result; None: there are no more. Late when there is none in time."""
        with self.lock:
            while self.given not in self.done:
                if self.stopped or (self.total is not None and self.given >= self.total):
                    return self._last()
                seconds = None if deadline is None else deadline - time.monotonic()
                if seconds is not None and seconds <= 0:
                    raise Late
                self.lock.wait(seconds)
            outcome, size = self.done.pop(self.given)
            self.given += 1
            self.held -= size
            self.lock.notify_all()
            return outcome

    def _last(self) -> Optional[Outcome]:
        failed, self.failed = self.failed, None
        return None if failed is None else Outcome(error=failed)

    def stop(self) -> None:
        """Nobody asks any more: the daemon takes back what no worker has."""
        if self.pid != os.getpid():
            return  # a child has a copy of the lock, perhaps locked for ever
        with self.lock:
            self.stopped = True
            self.inbox.clear()
            self.lock.notify_all()
        self._wake()

    # ---- the first thread: items ---------------------------------------------------------------

    def _wake(self) -> None:
        with self.lock:  # or the descriptor might be somebody else's by now
            try:
                os.write(self.wake_write, b"x")
            except OSError:
                pass  # it is awake, or has ended

    def _is_refused(self) -> bool:
        """Nothing more is taken. Where there is a place for each result, the error is put into those that are left."""
        return self.stopped or (self.fatal is not None and not self.finite)

    def _has_room(self) -> bool:
        with self.lock:
            while not self._is_refused() and self.pulled - self.given >= self.window:
                self.lock.wait()
            return not self._is_refused()

    def _feed(self, iterator: Iterator[Any]) -> None:
        try:
            while self._has_room():
                self._put(next(iterator))
        except StopIteration:
            pass
        except BaseException as e:  # pylint: disable=broad-except
            self.failed = e
        with self.lock:
            self.total = self.pulled
            self.lock.notify_all()
        self._wake()

    def _put(self, item: Any) -> None:
        index, self.pulled = self.pulled, self.pulled + 1
        try:
            text = to_json(self.to_task(item))
            size = len(text.encode())
            if size > ROOM:
                raise TooLarge(f"a task has {size} bytes; at most {ROOM} are taken")
        except Exception as e:  # pylint: disable=broad-except
            self.deliver(index, Outcome(error=e))
            return
        with self.lock:
            fatal = self.fatal
            if fatal is None:
                self.inbox.append((index, text))
        if fatal is not None:
            self.deliver(index, Outcome(error=fatal))
        self._wake()

    # ---- the second thread: the daemon ---------------------------------------------------------

    def _talk(self) -> None:
        talk = Talk(self)
        try:
            talk.until_done()
        except BaseException as e:  # pylint: disable=broad-except
            talk.give_up(e)
            if not isinstance(e, CrewError):
                raise
        finally:
            talk.close()

    def chunk(self) -> List[Task]:
        """What is sent with the next call; nothing: there is nothing, for now."""
        tasks: List[Task] = []
        size = 0
        with self.lock:
            while self.inbox and len(tasks) < CHUNK_ITEMS:
                length = len(self.inbox[0][1])
                if tasks and size + 4 * length > CHUNK_BYTES:  # a character has up to four bytes
                    break
                tasks.append(self.inbox.popleft())
                size += 4 * length
        return tasks

    def put_back(self, tasks: List[Task]) -> None:
        with self.lock:
            self.inbox.extendleft(reversed(tasks))

    def is_over(self, busy: bool) -> bool:
        with self.lock:
            return self.stopped or (self.total is not None and not self.inbox and not busy)

    def wait_for_reader(self) -> None:
        """While there is enough for whoever asks, no more is read."""
        with self.lock:
            while self.held > HELD_BYTES and self.given in self.done and not self.stopped:
                self.lock.wait()

    def refuse_all(self, error: BaseException) -> List[Task]:
        """No more are taken. Returns those that wait."""
        with self.lock:
            self.fatal = error
            tasks = list(self.inbox)
            self.inbox.clear()
            self.lock.notify_all()
        return tasks


class Talk:
    """The second thread's own."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.idle: List[Lane] = []
        self.busy: Dict[int, Lane] = {}  # by descriptor
        self.ends = 0  # connections that ended before they answered anything, one after the other
        self.patience = 0.0

    def close(self) -> None:
        for lane in [*self.idle, *self.busy.values()]:
            lane.connection.close()
        with self.run.lock:
            os.close(self.run.wake_write)
            self.run.wake_write = -1
        os.close(self.run.wake_read)

    def until_done(self) -> None:
        while not self.run.is_over(bool(self.busy)):
            self._send()
            poll = select.poll()
            poll.register(self.run.wake_read, select.POLLIN)
            for fd in self.busy:
                poll.register(fd, select.POLLIN)
            if self.run.is_over(bool(self.busy)):
                break
            for fd, _ in poll.poll():
                if fd == self.run.wake_read:
                    os.read(fd, 65536)
                elif fd in self.busy:
                    self.run.wait_for_reader()
                    self._read(self.busy[fd])

    def give_up(self, error: BaseException) -> None:
        """Nothing more comes: all that were asked for are answered by the error."""
        for index, _ in self.run.refuse_all(error):
            self.run.deliver(index, Outcome(error=error))
        for lane in list(self.busy.values()):
            self._unanswered(lane, error)

    def _unanswered(self, lane: Lane, error: BaseException) -> None:
        missing, lane.missing = lane.missing, {}
        for index in missing.values():
            self.run.deliver(index, Outcome(error=error))

    # ---- calls ---------------------------------------------------------------------------------

    def _lane(self) -> Optional[Lane]:
        while self.idle:
            lane = self.idle.pop()
            if lane.connection.usable():
                return lane
            lane.connection.close()
        if len(self.busy) >= LANES:
            return None
        try:
            return Lane(Connection(self.run.client.path, time.monotonic() + ANSWER, self.patience))
        except (Late, NoDaemon) as e:
            if self.busy:
                return None
            raise e if isinstance(e, NoDaemon) else NoAnswer("the daemon takes no connection") from None

    def _send(self) -> None:
        while self.run.inbox:
            lane = self._lane()
            tasks = self.run.chunk() if lane is not None else []
            if lane is None:
                return
            if not tasks:
                self.idle.append(lane)
                return
            self.busy[lane.connection.fileno()] = lane
            try:
                lane.begin(self.run.pool, tasks)
            except Gone:
                self._ended(lane, accepted=False)
            except Late:
                raise NoAnswer("the daemon does not take what it is sent") from None

    def _ended(self, lane: Lane, accepted: bool) -> None:
        """Its connection has. What cannot have been accepted is sent once more, the rest is not."""
        self._forget(lane)
        self.patience = RECONNECT
        self.ends += 1
        if not accepted and len(lane.missing) == len(lane.tasks) and self.ends <= QUICK_ENDS:
            self.run.put_back(lane.tasks)
            return
        self._unanswered(lane, Disconnected("the daemon went away before it answered; the task may have been done"))

    def _forget(self, lane: Lane) -> None:
        for fd in [fd for fd, other in self.busy.items() if other is lane]:
            del self.busy[fd]
        lane.connection.close()

    def _read(self, lane: Lane) -> None:
        try:
            replies = lane.connection.receive_there()
        except Gone as e:
            self._ended(lane, e.accepted)
            return
        for reply in replies:
            self._take(lane, reply)

    def _take(self, lane: Lane, reply: Reply) -> None:
        if reply.error is not None:
            error = from_reply(reply.error, reply.parameters)
            refused = self.run.refuse_all(error)
            self._unanswered(lane, error)
            self._forget(lane)
            for index, _ in refused:
                self.run.deliver(index, Outcome(error=error))
            return
        self.ends = 0
        index, task = lane.take(reply)
        try:
            outcome = Outcome(value_of(self.run.kind, task))
        except CrewError as e:
            outcome = Outcome(error=e)
        self.run.deliver(index, outcome, reply.size)
        if not lane.missing:
            del self.busy[lane.connection.fileno()]
            self.idle.append(lane)


class MapIterator:
    """What imap() and imap_unordered() return. An item whose task failed raises, and the next ones follow."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._finalizer = weakref.finalize(self, run.stop)
        self._finalizer.atexit = False

    def __iter__(self) -> "MapIterator":
        return self

    def outcome(self, timeout: Optional[float] = None) -> Optional[Outcome]:
        """The next result, or exception, without raising it; None: there are no more."""
        if self._run.pid != os.getpid():
            raise RuntimeError("this iterator belongs to the process that made it")
        try:
            return self._run.next(None if timeout is None else time.monotonic() + timeout)
        except Late:
            raise TimedOut(f"no result within {timeout} s") from None

    def next(self, timeout: Optional[float] = None) -> Any:
        """The next result. TimedOut after that many seconds; it may be asked for again."""
        outcome = self.outcome(timeout)
        if outcome is None:
            raise StopIteration
        return outcome.get()

    def __next__(self) -> Any:
        return self.next()

    def close(self) -> None:
        """No more results are wanted: tasks that no worker has yet are taken back."""
        self._finalizer()
