"""Results that come later, as multiprocessing.pool.AsyncResult."""

from __future__ import annotations

import os
import threading
import traceback
from typing import Any, Callable, Optional

from .client import Client
from .errors import CrewError, Disconnected, Lost, NoAnswer, NoSuchTask, TaskFailed, TimedOut
from .frame import field
from .tasks import value_of

Callback = Optional[Callable[[Any], Any]]


class Outcome:
    """A value or an exception."""

    def __init__(self, value: Any = None, error: Optional[BaseException] = None) -> None:
        self.value = value
        self.error = error

    def get(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class Later:
    """What all results have: they are known, or will be. Times are seconds; None waits for ever."""

    def __init__(self, callback: Callback = None, error_callback: Callback = None) -> None:
        self._outcome: Optional[Outcome] = None
        self._callback = callback
        self._error_callback = error_callback
        self._pid = os.getpid()

    def _await(self, timeout: Optional[float]) -> Optional[Outcome]:
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it has ended. The daemon is asked."""
        return self._outcome is not None or self._await(0.0) is not None

    def wait(self, timeout: Optional[float] = None) -> None:
        """Waits until it has ended, or the time is over."""
        if self._outcome is None:
            self._await(timeout)

    def get(self, timeout: Optional[float] = None) -> Any:
        """The result; its exception is raised. TimedOut (also multiprocessing's and Python's) when it takes longer."""
        outcome = self._outcome or self._await(timeout)
        if outcome is None:
            raise TimedOut(f"no result within {timeout} s")
        return outcome.get()

    def successful(self) -> bool:
        """Whether it has ended well. ValueError when it has not ended."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._outcome is not None and self._outcome.error is None

    def _call_back(self) -> None:
        outcome = self._outcome
        assert outcome is not None
        call = self._callback if outcome.error is None else self._error_callback
        if call is None:
            return
        try:
            call(outcome.value if outcome.error is None else outcome.error)
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()  # of the program's own; it concerns no other result


class AsyncResult(Later):
    """The result of one task, which has an `id` in the daemon (`crewctl result ID`, `crewctl cancel ID`).

    It is kept there for the pool's `result-ttl` (5 minutes unless configured) after the task has ended, and here once
    it was fetched.
    """

    def __init__(self, client: Client, kind: str, ident: str, callback: Callback = None,
                 error_callback: Callback = None) -> None:
        super().__init__(callback, error_callback)
        self.id = ident
        self._client = client
        self._kind = kind
        self._settled: Optional[threading.Event] = None

    def __repr__(self) -> str:
        return f"<crew.AsyncResult {self.id}>"

    def watched(self) -> None:
        """Someone else fetches it, and calls back; get() waits for that."""
        self._settled = threading.Event()

    def _await(self, timeout: Optional[float]) -> Optional[Outcome]:
        if self._settled is not None and self._pid == os.getpid():
            self._settled.wait(timeout)
            return self._outcome
        return self.fetch(timeout)

    def fetch(self, timeout: Optional[float]) -> Optional[Outcome]:
        """Asks the daemon. None: it has not ended within the time."""
        try:
            reply = self._client.call("Pool.Result", {"id": self.id}, waits=True, timeout=timeout, again=True)
            outcome = Outcome(value_of(self._kind, field(reply, "task", dict)))
        except (TaskFailed, Lost) as e:
            outcome = Outcome(error=e)
        except NoAnswer:
            raise
        except TimedOut:
            return None
        except NoSuchTask as e:
            outcome = self._outcome or Outcome(error=e)  # another thread has fetched it
        except CrewError as e:
            if e.parameters.get("task") is None:
                raise
            outcome = Outcome(error=e)
        self._outcome = outcome
        return outcome

    def settle(self, error: Optional[BaseException] = None) -> None:
        """For who watches: it has ended, or `error` is all that will be known. Fetches it and calls back."""
        try:
            if error is not None or self.fetch(None) is None:
                self._outcome = Outcome(error=error or Disconnected("the daemon went away"))
        except CrewError as e:
            self._outcome = Outcome(error=e)
        if self._settled is not None:
            self._settled.set()
        self._call_back()

    def cancel(self) -> None:
        """Takes the task back, or ends the worker that has it; get() then raises Cancelled. NoSuchTask if too late."""
        self._client.call("Pool.Cancel", {"id": self.id})


class LocalResult(Later):
    """The result of something that a thread of this process does: map_async()."""

    def __init__(self, work: Callable[[], Any], callback: Callback, error_callback: Callback) -> None:
        super().__init__(callback, error_callback)
        self._event = threading.Event()
        threading.Thread(target=self._run, args=(work,), name="crew-map", daemon=True).start()

    def _run(self, work: Callable[[], Any]) -> None:
        try:
            self._outcome = Outcome(work())
        except Exception as e:  # pylint: disable=broad-except
            self._outcome = Outcome(error=e)
        self._event.set()
        self._call_back()

    def _await(self, timeout: Optional[float]) -> Optional[Outcome]:
        if self._pid != os.getpid():
            raise RuntimeError("this result belongs to the process that asked for it")
        self._event.wait(timeout)
        return self._outcome
