"""From what a program writes to what a pool's tasks are, and from an ended task to a value."""

from __future__ import annotations

import base64
import os
from typing import Any, Dict, Iterable, List, Mapping, Optional

from .errors import ProtocolError, from_task

KINDS = ("exec", "lines", "jsonrpc", "module")


def _word(value: Any) -> str:
    """One argument of a command, or a line: text, a path or a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"arguments of this pool are strings, paths and numbers, not {type(value).__name__}: {value!r}")


def _words(what: Any) -> List[str]:
    """None: none; a list or tuple: each of them; else one."""
    if what is None:
        return []
    return [_word(v) for v in what] if isinstance(what, (list, tuple)) else [_word(what)]


def _text(value: Any) -> str:
    """Standard input of a task. UnicodeDecodeError, a ValueError, for bytes that are not UTF-8."""
    if isinstance(value, str):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode()
    raise TypeError(f"input is a string or bytes, not {type(value).__name__}")


def task_of(kind: str, what: Any, args: Iterable[Any] = (), kwds: Optional[Mapping[str, Any]] = None,
            input: Any = None) -> Dict[str, Any]:  # pylint: disable=redefined-builtin
    """The members of one task (io.crewd.Pool.Apply).

    exec, lines: `what` and then `args` are its arguments; `what` may be one, a list of them, or None.
    jsonrpc: `what` is the method, `args` or `kwds` its params.
    module: `what` and then `args` are any values, or `kwds` are; as above, `what` may be a list of them, or None.
    TypeError for what does not go together.
    """
    if kind == "jsonrpc":
        return _jsonrpc(what, list(args), dict(kwds or {}), input)
    if kind == "module":
        return _module(what, list(args), dict(kwds or {}), input)
    if kwds:
        raise TypeError(f"the pool's tasks are {kind}: they take no keyword arguments")
    words = _words(what) + [_word(v) for v in args]
    if kind == "lines" and (len(words) != 1 or "\n" in words[0] or input is not None):
        raise TypeError("the pool's tasks are lines: a task is one string without a newline")
    return {"args": words} if input is None else {"args": words, "input": _text(input)}


def _jsonrpc(method: Any, args: List[Any], kwds: Dict[str, Any], given_input: Any) -> Dict[str, Any]:
    if not isinstance(method, str) or not method:
        raise TypeError(f"the pool's tasks are jsonrpc: the name of a method comes first, not {method!r}")
    if args and kwds:
        raise TypeError("JSON-RPC takes arguments by position or by name, not both in one call")
    if given_input is not None:
        raise TypeError("the pool's tasks are jsonrpc: they have no input")
    return {"method": method, "params": kwds or args}


def _module(what: Any, args: List[Any], kwds: Dict[str, Any], given_input: Any) -> Dict[str, Any]:
    values = [] if what is None else list(what) if isinstance(what, (list, tuple)) else [what]
    values += args
    if values and kwds:
        raise TypeError("a module takes arguments by position or by name, not both in one task")
    if given_input is not None:
        raise TypeError("the pool's tasks are of a module: they have no input")
    return {"params": kwds} if kwds else {"args": values}


def value_of(kind: str, task: Dict[str, Any]) -> Any:
    """The result of an ended task; else its exception is raised.

    jsonrpc: any value. exec, lines: str, or bytes where it is not UTF-8. module: any of these.
    """
    state = task.get("state")
    if state != "succeeded":
        if state not in ("failed", "cancelled"):
            raise ProtocolError(f"a task that has ended is {state}")
        raise from_task(task)
    result = task.get("result")
    if kind != "jsonrpc" and isinstance(result, dict) and isinstance(result.get("base64"), str):
        return base64.b64decode(result["base64"])
    return "" if result is None and kind in ("exec", "lines") else result
