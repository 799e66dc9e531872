"""A worker of a pool with tasks = "lines" or "jsonrpc": serve() and a function."""

from __future__ import annotations

import inspect
import json
import os
import select
import sys
import time
import traceback
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple, Union

from .errors import TaskError
from .frame import to_json
from .notify import ready, watchdog, watchdog_interval

RESULT_MAX = 1024 * 1024  # bytes of one answer
KINDS = ("lines", "jsonrpc")
PARSE_ERROR, INVALID_REQUEST, NO_SUCH_METHOD, INVALID_PARAMS, INTERNAL_ERROR, FAILED = (
    -32700, -32600, -32601, -32602, -32603, -32000)

Function = Callable[..., Any]
Handler = Union[Function, Mapping[str, Function], List[Function], Tuple[Function, ...], object]


def serve(handler: Handler, kind: Optional[str] = None) -> None:
    """Does tasks until standard input ends, which is when the pool is closed or the worker to be replaced.

    kind: "lines" or "jsonrpc"; the environment's CREW_TASKS, where it is set, goes before it.

    jsonrpc: `handler` is a dictionary of functions by method, a function or a list of functions (whose names are the
    methods), or an object, whose public methods they are. The result is any value that JSON has. An exception becomes
    an error with code -32000, the exception as message and {"type", "traceback"} as data; `crew.TaskError` says its
    own code and data.
    lines: `handler` is a function of one string. What it returns (None: nothing; bytes as they are; else its str())
    is the line that answers. There is no way to tell an error: an exception ends the worker, and its task fails with
    WorkerDied.

    Meanwhile standard output is standard error, and standard input is empty: whatever the handler, its libraries or
    their children print goes to the worker's log and does not disturb. READY=1 is sent at the beginning, and
    WATCHDOG=1 while there is nothing to do, to whom it may concern.
    """
    chosen = os.environ.get("CREW_TASKS") or kind
    if chosen not in KINDS:
        raise ValueError(f"serve() does tasks of the kinds lines and jsonrpc, not {chosen}; "
                         'say which: serve(handler, kind="jsonrpc")')
    answer = _lines(handler) if chosen == "lines" else _jsonrpc(methods_of(handler))
    with _Pipes() as pipes:
        ready()
        for line in pipes.lines():
            text = answer(line)
            if text is not None and not pipes.write(text + b"\n"):
                break


# ---- standard input and output -----------------------------------------------------------------


class _Pipes:
    """The daemon's ends of the worker, out of reach of everybody else in this process."""

    def __enter__(self) -> "_Pipes":
        self._in, self._out = os.dup(0), os.dup(1)  # both close-on-exec
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        _flush()  # what was printed before, too
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)  # it is a log now
        self._interval = watchdog_interval()
        self._pinged = float("-inf")
        return self

    def __exit__(self, *unused: object) -> None:
        _flush()
        os.dup2(self._in, 0)
        os.dup2(self._out, 1)
        os.close(self._in)
        os.close(self._out)

    def _ping(self) -> None:
        """Well within the interval, and no more often."""
        if self._interval is not None and time.monotonic() - self._pinged >= self._interval / 4:
            watchdog()
            self._pinged = time.monotonic()

    def _wait(self) -> None:
        if self._interval is None:
            return
        poll = select.poll()
        poll.register(self._in, select.POLLIN)
        while not poll.poll(self._interval * 1000 / 4):
            self._ping()

    def lines(self) -> Iterator[bytes]:
        """Without their newlines; the last one, if it has none, is no whole line."""
        rest = b""
        while True:
            self._ping()
            self._wait()
            data = os.read(self._in, 65536)
            if not data:
                return
            if b"\n" not in data:
                rest += data
                continue
            *whole, rest_new = (rest + data).split(b"\n")
            rest = rest_new
            for line in whole:
                self._ping()
                yield line

    def write(self, data: bytes) -> bool:
        """False: nobody reads any more."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._out, view):]
        except BrokenPipeError:
            return False
        return True


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


# ---- lines -------------------------------------------------------------------------------------


def _lines(handler: Handler) -> Callable[[bytes], Optional[bytes]]:
    if not callable(handler):
        raise TypeError(f"the handler of lines is a function of one string, not {type(handler).__name__}")

    def answer(line: bytes) -> bytes:
        value = handler(line.decode(errors="surrogateescape"))
        text = bytes(value) if isinstance(value, (bytes, bytearray)) else \
            b"" if value is None else str(value).encode(errors="surrogateescape")
        if b"\n" in text:
            raise ValueError(f"an answer is one line, and {text[:80]!r} has more")
        return text

    return answer


# ---- jsonrpc -----------------------------------------------------------------------------------


def methods_of(handler: Handler) -> Dict[str, Function]:
    """Functions by the names that callers use."""
    if isinstance(handler, Mapping):
        return dict(handler)
    if isinstance(handler, (list, tuple)):
        return {f.__name__: f for f in handler}
    if inspect.isroutine(handler):
        return {handler.__name__: handler}
    if inspect.ismodule(handler) or inspect.isclass(handler):
        raise TypeError(f"name the methods: serve({{'name': function}}), not all that {handler.__name__} has")
    names = [n for n in dir(handler) if not n.startswith("_")]
    return {n: getattr(handler, n) for n in names if callable(getattr(handler, n))}


def _error(code: int, message: str, data: Any = None) -> Dict[str, Any]:
    error = {"code": code, "message": message}
    return {"error": error if data is None else {**error, "data": data}}


def _failed(e: BaseException) -> Dict[str, Any]:
    if isinstance(e, TaskError) and e.code is not None:
        return _error(e.code, str(e), e.data)
    shown = traceback.TracebackException.from_exception(e)
    del shown.stack[:1]  # the call in this file
    message = "".join(shown.format_exception_only()).strip()
    return _error(FAILED, message[:8192], {"type": type(e).__name__, "traceback": "".join(shown.format())[-65536:]})


def _is_called_wrongly(function: Function, args: List[Any], kwds: Dict[str, Any]) -> Optional[str]:
    try:
        inspect.signature(function).bind(*args, **kwds)
    except TypeError as e:
        return str(e)
    except ValueError:
        pass  # a function of C's that does not tell
    return None


def _call(methods: Dict[str, Function], method: Any, params: Any) -> Dict[str, Any]:
    """`result` or `error`."""
    if not isinstance(method, str) or not isinstance(params, (list, dict)):
        return _error(INVALID_REQUEST, "method is a string, params an array or an object")
    function = methods.get(method)
    if function is None:
        return _error(NO_SUCH_METHOD, f"no such method: {method}")
    args, kwds = (params, {}) if isinstance(params, list) else ([], params)
    wrong = _is_called_wrongly(function, args, kwds)
    if wrong is not None:
        return _error(INVALID_PARAMS, f"{method}: {wrong}")
    try:
        return {"result": function(*args, **kwds)}
    except Exception as e:  # pylint: disable=broad-except
        return _failed(e)


def _respond(ident: Any, outcome: Dict[str, Any], method: str) -> bytes:
    head: Dict[str, Any] = {"jsonrpc": "2.0", "id": ident}
    try:
        text = to_json({**head, **outcome}).encode()
        if len(text) <= RESULT_MAX:
            return text
        why = f"{method}: the answer has {len(text)} bytes; at most {RESULT_MAX} are taken"
    except (TypeError, ValueError, RecursionError) as e:
        why = f"{method}: the result cannot be told in JSON: {e}"
    return to_json({**head, **_error(INTERNAL_ERROR, why)}).encode()


def _jsonrpc(methods: Dict[str, Function]) -> Callable[[bytes], Optional[bytes]]:
    def answer(line: bytes) -> Optional[bytes]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as e:
            return _respond(None, _error(PARSE_ERROR, f"this is no JSON: {e}"), "")
        if not isinstance(request, dict):
            return _respond(None, _error(INVALID_REQUEST, "a request is an object"), "")
        method = request.get("method")
        outcome = _call(methods, method, request.get("params", []))
        return _respond(request["id"], outcome, str(method)) if "id" in request else None

    return answer
