"""Messages: JSON objects, each ended by a NUL byte. Nothing here waits, or knows a socket."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from .errors import ProtocolError, TooLarge

CALL_MAX = 1024 * 1024  # bytes of one call, without its NUL
REPLY_MAX = 4 * 1024 * 1024  # bytes of one reply
NESTING_MAX = 64  # objects and arrays inside one another


class Reply(NamedTuple):
    """One reply: either an error's name and its parameters, or parameters alone."""

    parameters: Dict[str, Any]
    error: Optional[str]
    continues: bool
    size: int  # bytes that it had


def to_json(value: Any) -> str:
    """Compact JSON. TypeError or ValueError for what has no JSON (bytes, NaN, a lone surrogate)."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    text.encode()  # UnicodeEncodeError, a ValueError, for half a character
    return text


def encode(method: str, parameters: str, more: bool = False) -> bytes:
    """One call, with its NUL. `parameters` is the JSON of an object. TooLarge when it is."""
    flags = ',"more":true' if more else ""
    data = f'{{"method":"{method}"{flags},"parameters":{parameters}}}'.encode()
    if len(data) > CALL_MAX:
        raise TooLarge(f"this call has {len(data)} bytes; at most {CALL_MAX} are taken")
    return data + b"\0"


def decode(data: bytes) -> Reply:
    """One reply, without its NUL. ProtocolError when it is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise ProtocolError(f"what came from the socket is no JSON: {e}") from None
    if not isinstance(value, dict):
        raise ProtocolError("what came from the socket is no object")
    parameters = value.get("parameters")
    error = value.get("error")
    continues = value.get("continues")
    if not isinstance(parameters, (dict, type(None))) or not isinstance(error, (str, type(None))):
        raise ProtocolError("what came from the socket is no reply")
    if not isinstance(continues, (bool, type(None))):
        raise ProtocolError("what came from the socket is no reply")
    return Reply(parameters or {}, error, bool(continues), len(data))


def field(parameters: Dict[str, Any], name: str, kind: type) -> Any:
    """A member that a reply must have. ProtocolError when it lacks it."""
    value = parameters.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ProtocolError(f"the reply has no {name} that is {kind.__name__}")
    return value


class _Twice(Exception):
    """A key is there twice."""


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice(next(k for n, (k, _) in enumerate(pairs) if k in dict(pairs[:n])))
    return found


def _depth(value: Any) -> int:
    deepest, layer = 0, [value]
    while layer:
        nested: List[Any] = []
        for v in layer:
            if isinstance(v, dict):
                nested.extend(v.values())
            elif isinstance(v, list):
                nested.extend(v)
        deepest += any(isinstance(v, (dict, list)) for v in layer)
        layer = nested
    return deepest


def refused_for(data: bytes) -> Optional[str]:
    """Why crewd would close the connection instead of answering this call; None: it would not."""
    try:
        call = json.loads(data[:-1], object_pairs_hook=_once)
    except _Twice as e:
        return f"an object has the key {e} twice, once perhaps as a number"
    except RecursionError:
        return f"it is nested deeper than {NESTING_MAX}"
    if _depth(call) > NESTING_MAX:
        return f"it is nested deeper than {NESTING_MAX}, the call around it counted"
    return None
