"""Single workers, as multiprocessing.Process."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

from . import target as targets
from .client import Client, SocketPath, client_of, given
from .errors import NoSuchWorker, NotAlive, StillAlive, TimedOut, how_it_ended, signal_name
from .frame import field

_started: Dict[str, "Process"] = {}  # by this process, and not known to have ended
os.register_at_fork(after_in_child=_started.clear)


class Process:
    """A worker that crewd starts and watches; it outlives this program.

    command: program and arguments, found by PATH when it has no slash: `Process(["sleep", "5"], name="pr")`.
    target, args, kwargs: instead of a command, a function at the top of a module; args and kwargs are JSON.
    name: its name in crewd; run-N, the first that is free, if left out.
    env: added to the daemon's environment. cwd: an absolute path. restart: "never", "on-failure" or "always".

    A subclass may override run(), which is called in the worker, on an object that is made of `args` and `kwargs`
    alone: `class W(crew.Process)` and `W(args=("a", 1))`. Like a target, it has to be found in an importable module,
    or in the program's file behind `if __name__ == "__main__"`.

    Times are seconds. NoSuchWorker, NoDaemon, Disconnected and NoAnswer may come of every call; NotPermitted when
    crewd was started by root and has no `run-user`.
    """

    def __init__(self, command: Optional[Sequence[str]] = None, name: Optional[str] = None, *,
                 target: Optional[Callable[..., Any]] = None, args: Iterable[Any] = (),
                 kwargs: Optional[Mapping[str, Any]] = None, env: Optional[Mapping[str, str]] = None,
                 cwd: SocketPath = None, restart: str = "never", socket: SocketPath = None) -> None:
        if isinstance(command, (str, bytes)):
            raise TypeError("a command is a list: program and arguments; no shell reads it")
        if command is not None and target is not None:
            raise TypeError("either a command or a target, not both")
        self._command = None if command is None else [os.fspath(word) for word in command]
        self._name = name
        self._target, self._args, self._kwargs = target, tuple(args), dict(kwargs or {})
        self._env, self._cwd, self._restart = dict(env or {}), cwd, restart
        self._socket = None if socket is None else os.fspath(socket)
        self._known_pid: Optional[int] = None
        self._is_started = self._is_closed = False
        self._last_exitcode: Optional[int] = None

    @classmethod
    def attach(cls, name: str, *, socket: SocketPath = None) -> "Process":
        """A worker that is there already, of a pool or of `crewctl run`."""
        process = Process([], name, socket=socket)
        process._known_pid = process._row().get("pid")
        process._is_started = True
        process._restart = "unknown"
        return process

    def __repr__(self) -> str:
        return f"<crew.Process {self._name!r}>"

    # ---- the daemon ----------------------------------------------------------------------------

    @property
    def _client(self) -> Client:
        return client_of(self._socket)

    def _call(self, method: str, **more: Any) -> Dict[str, Any]:
        self._check()
        return self._client.call("Worker." + method, {"name": self._name}, again=True, **more)

    def _check(self) -> None:
        if self._is_closed:
            raise ValueError("process object is closed")
        if not self._is_started:
            raise ValueError("this process was not started: start() it first")

    def _row(self) -> Dict[str, Any]:
        """What the daemon tells of it (io.crewd.Worker, type Worker)."""
        rows = field(self._client.call("Worker.List", {"names": [self._name]}, again=True), "workers", list)
        if len(rows) != 1:
            raise NoSuchWorker(f"no such worker: {self._name}", parameters={"name": self._name})
        row: Dict[str, Any] = rows[0]
        if not row.get("alive"):
            self._last_exitcode = how_it_ended(row.get("exitcode"), row.get("signal"))
        return row

    # ---- life ----------------------------------------------------------------------------------

    def run(self) -> None:
        """What the worker does: calls the target. A subclass may do something else."""
        if self._target is not None:
            self._target(*self._args, **self._kwargs)

    def start(self) -> None:
        """Starts it; returns when there is a process. ValueError when it was started before."""
        if self._is_closed or self._is_started:
            raise ValueError("process object is closed" if self._is_closed else "cannot start a process twice")
        if targets.importing:
            raise RuntimeError('this program starts workers as it is imported, and so would they; put that behind '
                               'if __name__ == "__main__"')
        command, env = self._command, self._env
        if command is None:
            command = targets.command_of(self._target or type(self), self._args, self._kwargs)
            env = {**targets.environment(), **env}
        reply = self._client.call("Worker.Run", given(
            command=command, name=self._name, environment=[f"{k}={v}" for k, v in env.items()] or None,
            directory=None if self._cwd is None else os.path.abspath(self._cwd), restart=self._restart))
        self._name = field(reply, "name", str)
        self._known_pid = field(reply, "pid", int)
        self._is_started = True
        _started[self._name] = self

    def join(self, timeout: Optional[float] = None) -> None:
        """Waits until it has ended for good, or that many seconds; `exitcode` tells which."""
        try:
            reply = self._call("Join", waits=True, timeout=timeout)
        except TimedOut as e:
            if e.error is None:
                raise  # the daemon is there, and does not answer
            return
        self._last_exitcode = how_it_ended(reply.get("exitcode"), reply.get("signal"))
        _started.pop(str(self._name), None)

    def is_alive(self) -> bool:
        """Whether it has a process now."""
        if not self._is_started and not self._is_closed:
            return False
        try:
            alive: bool = field(self._call("IsAlive"), "alive", bool)
        except NoSuchWorker:
            return False
        return alive

    def terminate(self) -> None:
        """Sends its stop signal (TERM), and KILL after its stop-timeout; does not wait, and does nothing if it ended."""
        self._end("Terminate", {"wait": False})

    def kill(self) -> None:
        """Sends KILL to everything that it has started; returns when it is gone."""
        self._end("Kill", {})

    def _end(self, method: str, parameters: Dict[str, Any]) -> None:
        self._check()
        try:
            self._client.call("Worker." + method, {"name": self._name, **parameters}, waits=True, again=True)
        except NotAlive:
            pass

    def signal(self, signal: "int | str") -> None:
        """Sends a signal to its main process. NotAlive if it has none."""
        self._check()
        self._client.call("Worker.Signal", {"name": self._name, "signal": signal_name(signal)})

    def logs(self, lines: Optional[int] = None) -> List[str]:
        """What it printed: the last lines, of the last 64 KiB."""
        self._check()
        found: List[str] = field(self._client.call("Worker.Logs", given(name=self._name, lines=lines), again=True),
                                 "lines", list)
        return found

    def close(self) -> None:
        """Drops it from crewd's table. StillAlive (a ValueError) when it has not ended."""
        if self._is_closed:
            return
        if self._is_started:
            try:
                self._client.call("Worker.Forget", {"name": self._name}, again=True)
            except NoSuchWorker:
                pass  # forgotten already
            except StillAlive as e:
                raise StillAlive("Cannot close a process while it is still running. You should first call join() or "
                                 "terminate().", error=e.error, parameters=e.parameters) from None
            _started.pop(str(self._name), None)
        self._is_closed = True

    # ---- what it is ----------------------------------------------------------------------------

    @property
    def name(self) -> Optional[str]:
        """Its name in crewd; None before start() if it was given none."""
        return self._name

    @property
    def pid(self) -> Optional[int]:
        """Process ID; that of its last process once it has ended; None before start()."""
        if self._is_started and not self._is_closed and self._restart != "never":
            self._known_pid = self._row().get("pid") or self._known_pid
        return self._known_pid

    ident = pid

    @property
    def exitcode(self) -> Optional[int]:
        """None while it runs, or before; then its exit status, or minus the number of the signal that killed it."""
        if not self._is_started or self._is_closed:
            return self._last_exitcode
        try:
            return None if self._row().get("alive") else self._last_exitcode
        except NoSuchWorker:
            if self._last_exitcode is None:
                raise
            return self._last_exitcode


def active_children() -> List[Process]:
    """Those processes that this one has started and that are alive."""
    alive = []
    for name, process in list(_started.items()):
        if process.is_alive():
            alive.append(process)
        else:
            _started.pop(name, None)
    return alive
