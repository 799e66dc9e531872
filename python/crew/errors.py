"""Everything that crew raises of its own.

Each is a `CrewError`, and also the exception that `multiprocessing`, `queue` or the language would have raised in
its place: `except queue.Full`, `except TimeoutError` and `except ValueError` go on working.
"""

from __future__ import annotations

import queue
import signal as signals
from multiprocessing import TimeoutError as MultiprocessingTimeout
from typing import Any, Dict, Optional, Tuple, Type


class CrewError(Exception):
    """What crewd has refused, or what is wrong on the way to it.

    error: its name in the protocol, such as "io.crewd.Pool.Closed"; None for what this side has found.
    parameters: what came with it.
    """

    def __init__(self, message: str = "", *, error: Optional[str] = None,
                 parameters: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.error = error
        self.parameters = parameters or {}


# ---- the way to the daemon ---------------------------------------------------------------------


class NoDaemon(CrewError, ConnectionError):
    """No daemon answers at the socket: nothing was asked of it."""


class Disconnected(CrewError, ConnectionError):
    """The daemon went away before it answered: nobody knows whether it has done what it was asked."""


class ProtocolError(CrewError):
    """What came from the socket is no reply."""


class TooLarge(CrewError, ValueError):
    """Larger than a call may be (1 MiB), or nested deeper (64). Nothing has been done."""


class InvalidParameter(CrewError, ValueError):
    """crewd does not take this value."""


class NotPermitted(CrewError, PermissionError):
    """Who may not control this crewd has asked it to do something."""


class Busy(CrewError):
    """Not now: try again later."""


class ShuttingDown(CrewError):
    """The daemon is about to end."""


class TimedOut(CrewError, MultiprocessingTimeout, TimeoutError):
    """The time given is over. What was waited for may still happen."""


class NoAnswer(TimedOut):
    """The daemon is there and has said nothing for too long: nobody knows whether it will do what it was asked."""


# ---- pools and tasks ---------------------------------------------------------------------------


class NoSuchPool(CrewError, LookupError):
    """There is no such pool, or it has no tasks."""


class NoSuchTask(CrewError, LookupError):
    """There is no such task: its result was fetched already, or kept too long (the pool's `result-ttl`)."""


class Closed(CrewError, ValueError):
    """The pool takes no tasks: it was closed or terminated, or has not been started."""


class StillRunning(CrewError, ValueError):
    """A pool that is open cannot be joined: close or terminate it first."""


class Lost(CrewError):
    """The task was accepted by a manager that is no more: nobody knows what became of it."""


class Cancelled(CrewError):
    """The task was taken back, or its pool terminated."""


class TaskFailed(CrewError):
    """A task came to a bad end. `task` is all that crewd tells of it (io.crewd.Pool, type Task)."""

    @property
    def task(self) -> Dict[str, Any]:
        task = self.parameters.get("task")
        return task if isinstance(task, dict) else {}

    def _failure(self, key: str) -> Any:
        failure = self.task.get("error")
        value = failure.get(key) if isinstance(failure, dict) else None
        return self.parameters.get(key) if value is None else value

    @property
    def worker(self) -> Optional[str]:
        """Name of the worker that had it."""
        return self.task.get("worker") or self.parameters.get("worker")

    @property
    def exitcode(self) -> Optional[int]:
        """As in multiprocessing: exit status, or minus the number of the signal that killed it; None: neither."""
        number = self._failure("signal")
        if number is not None:
            return -int(number)
        code = self._failure("exitcode")
        return self.task.get("exitcode") if code is None else code


class WorkerDied(TaskFailed):
    """The worker that had the task ended before it answered; `exitcode` tells how."""


class TaskTimedOut(TaskFailed, TimedOut):
    """The task was over its pool's `task-timeout`, and its worker was killed. It has ended: waiting is no use."""


class ResultTooBig(TaskFailed):
    """The result of the task is larger than a result may be (1 MiB)."""


class BadAnswer(TaskFailed):
    """What the worker has answered is no answer."""


class TaskError(TaskFailed):
    """An error of the task's own: its process ended with another status than 0, or its worker told an error.

    A handler of `crew.serve` may raise it, to tell its callers more than an exception does:

    code: an integer of the application's own (JSON-RPC keeps -32768 to -32000).
    data: any JSON value; for other exceptions {"type": ..., "traceback": ...}.
    """

    def __init__(self, message: str = "", *, code: Optional[int] = None, data: Any = None,
                 error: Optional[str] = None, parameters: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message, error=error, parameters=parameters)
        self.code = code
        self.data = data


class RemoteTraceback(Exception):
    """Where an exception was raised in the worker; the `__cause__` of a `TaskError`."""

    def __str__(self) -> str:
        return '\n"""\n' + super().__str__() + '"""'


# ---- queues ------------------------------------------------------------------------------------


class Full(CrewError, queue.Full):
    """No room: in a queue, or among the tasks that wait in a pool (`backlog`).

    put: how many items of a `put_many` were put.
    """

    put: int = 0


class Empty(CrewError, queue.Empty):
    """No item, and no waiting, or not for any longer."""


class NoSuchQueue(CrewError, LookupError):
    """There is no such queue, or there is none any more."""


class NoSuchLease(CrewError, LookupError):
    """The lease is over: the item went back to its queue, and others may have got it."""


class WrongKind(CrewError, TypeError):
    """A queue of this kind cannot do that, at least not by way of the daemon."""


class TooManyDone(CrewError, ValueError):
    """More items were said to be done than were put."""


class Unavailable(CrewError):
    """What keeps the queue's items does not answer; try again later.

    put: how many items of a `put_many` were put all the same.
    """

    put: int = 0


class Exists(CrewError, ValueError):
    """The name is taken."""


# ---- workers -----------------------------------------------------------------------------------


class NoSuchWorker(CrewError, LookupError):
    """There is no such worker."""


class StartFailed(CrewError):
    """It could not be started, or ended before it was ready."""


class NotAlive(CrewError):
    """It has no process."""


class StillAlive(CrewError, ValueError):
    """It has not ended yet."""


class TooMany(CrewError):
    """There is no room for another worker."""


# ---- from the protocol -------------------------------------------------------------------------

# Name in the protocol: class, and what it says; {x} is a parameter of that name.
_TABLE: Dict[str, Tuple[Type[CrewError], str]] = {
    "org.varlink.service.InvalidParameter": (InvalidParameter, "{parameter}: {why}"),
    "org.varlink.service.PermissionDenied": (NotPermitted, "not permitted to do this"),
    "io.crewd.Manager.Busy": (Busy, "{why}"),
    "io.crewd.Manager.ShuttingDown": (ShuttingDown, "crewd is about to end"),
    "io.crewd.Worker.NoSuchWorker": (NoSuchWorker, "no such worker: {name}"),
    "io.crewd.Worker.TimedOut": (TimedOut, "the time given is over: {name}"),
    "io.crewd.Worker.StartFailed": (StartFailed, "{name} did not start: {why}"),
    "io.crewd.Worker.NotAlive": (NotAlive, "{name} is not alive"),
    "io.crewd.Worker.Exists": (Exists, "there is a worker or a pool of the name {name}"),
    "io.crewd.Worker.StillAlive": (StillAlive, "{name} has not ended yet"),
    "io.crewd.Worker.NoRunUser": (NotPermitted, "crewd was started by root and has no run-user in its configuration"),
    "io.crewd.Worker.TooMany": (TooMany, "there is no room for another worker"),
    "io.crewd.Pool.NoSuchPool": (NoSuchPool, "no such pool: {name}"),
    "io.crewd.Pool.NoSuchTask": (NoSuchTask, "no such task: {id}"),
    "io.crewd.Pool.Full": (Full, "{pool} takes no more tasks for now: {why}"),
    "io.crewd.Pool.Closed": (Closed, "{pool} takes no tasks: {why}"),
    "io.crewd.Pool.StillRunning": (StillRunning, "{pool} is still running: close or terminate it first"),
    "io.crewd.Pool.TimedOut": (TimedOut, "the time given is over"),
    "io.crewd.Pool.WorkerDied": (WorkerDied, "{worker}: {why}"),
    "io.crewd.Pool.TooBig": (ResultTooBig, "{why}"),
    "io.crewd.Pool.BadAnswer": (BadAnswer, "{why}"),
    "io.crewd.Pool.Lost": (Lost, "task {id} was accepted by a manager that is no more"),
    "io.crewd.Queue.NoSuchQueue": (NoSuchQueue, "no such queue: {name}"),
    "io.crewd.Queue.NoSuchLease": (NoSuchLease, "the lease {lease} is over"),
    "io.crewd.Queue.Full": (Full, "{name} is full"),
    "io.crewd.Queue.Empty": (Empty, "{name} is empty"),
    "io.crewd.Queue.Exists": (Exists, "there is a queue of the name {name}"),
    "io.crewd.Queue.WrongKind": (WrongKind, "{name} is of kind {kind}: {why}"),
    "io.crewd.Queue.TimedOut": (TimedOut, "the time given is over: items of {name} are not done"),
    "io.crewd.Queue.TooManyDone": (TooManyDone, "more items of {name} were said to be done than were put"),
    "io.crewd.Queue.BackendUnavailable": (Unavailable, "{name}: {why}"),
}


class _Parameters(Dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def from_reply(error: str, parameters: Dict[str, Any]) -> CrewError:
    """The exception for an error reply."""
    if error == "io.crewd.Pool.TimedOut" and parameters.get("task"):
        return from_task(parameters["task"], error, parameters)
    kind, text = _TABLE.get(error, (CrewError, error))
    known = _Parameters({k: v for k, v in parameters.items() if v is not None})
    message = text.format_map(known)
    if "why" in known and "{why}" not in text:
        message += f" ({known['why']})"
    e = kind(message, error=error, parameters=parameters)
    if isinstance(e, (Full, Unavailable)):
        e.put = int(known.get("put", 0))
    return e


_FAILURES: Dict[Optional[str], Type[TaskFailed]] = {
    "io.crewd.Pool.WorkerDied": WorkerDied,
    "io.crewd.Pool.TimedOut": TaskTimedOut,
    "io.crewd.Pool.TooBig": ResultTooBig,
    "io.crewd.Pool.BadAnswer": BadAnswer,
}


def from_task(task: Dict[str, Any], error: Optional[str] = None,
              parameters: Optional[Dict[str, Any]] = None) -> CrewError:
    """The exception for a task that has ended without success."""
    parameters = {**(parameters or {}), "task": task}
    if task.get("state") == "cancelled":
        return Cancelled(f"task {task.get('id')} was cancelled", parameters=parameters)
    failure = task.get("error") or {}
    name = failure.get("name")
    message = str(failure.get("message", "it failed"))
    if name in _FAILURES:
        worker = task.get("worker")
        text = f"{worker}: {message}" if worker else message
        return _FAILURES[name](text, error=error or name, parameters=parameters)
    e = TaskError(message, code=failure.get("code"), data=failure.get("data"), parameters=parameters)
    if isinstance(e.data, dict) and isinstance(e.data.get("traceback"), str):
        e.__cause__ = RemoteTraceback(e.data["traceback"])
    return e


def how_it_ended(exitcode: Optional[int], signal: Optional[int]) -> Optional[int]:
    """multiprocessing's exit code: the status, or minus the number of the signal."""
    return exitcode if signal is None else -signal


def signal_name(signal: "int | str") -> str:
    """What the protocol calls a signal: its name, or its number in digits."""
    if isinstance(signal, signals.Signals):
        return signal.name
    return str(int(signal)) if isinstance(signal, int) else signal
