"""Python functions as workers: what is run is found again by name in a new interpreter, as multiprocessing's "spawn".

`python -m crew run SOURCE NAME ARGUMENTS` is what crewd starts. SOURCE is a module, or a path for what was a program's
`__main__`; NAME is a function or a subclass of crew.Process; ARGUMENTS are JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
import types
from typing import Any, Callable, Dict, Iterable, List, Mapping

from .frame import to_json

MAIN = "__crew_main__"  # what a program's __main__ is called in a worker: not what it looks for
ARGUMENTS_MAX = 65536  # bytes of JSON; the kernel takes 128 KiB in one argument

importing = False  # a program that starts workers as it is imported would go on for ever


def _found(module: Any, name: str) -> Any:
    for part in name.split("."):
        module = getattr(module, part, None)
    return module


def _source(target: Any) -> str:
    """Where a new interpreter finds it. ValueError, and why it would not."""
    name, qualname = target.__module__, target.__qualname__
    module = sys.modules.get(name)
    if module is None or _found(module, qualname) is not target:
        raise ValueError(f"{qualname} cannot be found by name in {name}: it has to be at the top of a module")
    if name not in ("__main__", MAIN):
        return str(name)
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name and name == "__main__":
        return str(spec.name[:-len(".__main__")] if spec.name.endswith(".__main__") else spec.name)
    path = getattr(module, "__file__", None)
    if not path or not os.path.exists(path):
        raise ValueError(f"{qualname} is in no file, so that a worker cannot import it: put it into a module")
    return os.path.abspath(path)


def command_of(target: Any, args: Iterable[Any], kwds: Mapping[str, Any]) -> List[str]:
    """The command that runs it. ValueError or TypeError for what cannot be named, or is no JSON."""
    source = _source(target)
    arguments = to_json([list(args), dict(kwds)])
    if len(arguments.encode()) > ARGUMENTS_MAX:
        raise ValueError(f"the arguments have more than {ARGUMENTS_MAX} bytes as JSON: hand them over by a queue")
    return [sys.executable, "-m", "crew", "run", source, target.__qualname__, arguments]


def environment() -> Dict[str, str]:
    """So that the worker finds what this program has found."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    paths = [os.path.abspath(p) for p in sys.path]  # '' is the working directory
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys([*paths, here]))}


def _load(source: str, name: str) -> Any:
    global importing
    importing = True
    try:
        if os.path.isabs(source):
            module: Any = types.ModuleType(MAIN)
            sys.modules[MAIN] = sys.modules["__main__"] = module
            module.__dict__.update(runpy.run_path(source, run_name=MAIN))
        else:
            module = importlib.import_module(source)
    finally:
        importing = False
    found = _found(module, name)
    if found is None:
        raise ImportError(f"there is no {name} in {source}")
    return found


def run(source: str, name: str, arguments: str) -> int:
    """Runs it; returns the exit status as multiprocessing has it: 0, 1 after an exception, or that of sys.exit()."""
    from .process import Process  # pylint: disable=import-outside-toplevel,cyclic-import
    try:
        args, kwds = json.loads(arguments)
        call: Callable[..., Any] = _load(source, name)
        if isinstance(call, type) and issubclass(call, Process):
            call(args=args, kwargs=kwds).run()
        else:
            call(*args, **kwds)
        return 0
    except SystemExit as e:
        if e.code is None or isinstance(e.code, int):
            return e.code or 0
        print(e.code, file=sys.stderr)
        return 1
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
        return 1
