"""crewd for Python: worker processes, pools of tasks and queues that a daemon keeps, used as multiprocessing's.

    import crew

    pool = crew.Pool("resize")
    print(pool.map("resize", ["a.png", "b.png"]))

    q = crew.Queue("orders")
    q.put({"id": 7}, timeout=1.0)

    p = crew.Process(["sleep", "5"])
    p.start()
    p.join()

In a worker: `crew.serve({"resize": resize})`, and `crew.ready()` for those that do no tasks. All of it needs Python
3.9 and nothing else.

Everything takes `socket=PATH`; without it, the socket is that of set_default_socket(), else the one crewctl takes.
"""

from .client import set_default_socket
from .errors import (BadAnswer, Busy, Cancelled, Closed, CrewError, Disconnected, Empty, Exists, Full, InvalidParameter,
                     Lost, NoAnswer, NoDaemon, NoSuchLease, NoSuchPool, NoSuchQueue, NoSuchTask, NoSuchWorker, NotAlive,
                     NotPermitted, ProtocolError, RemoteTraceback, ResultTooBig, ShuttingDown, StartFailed, StillAlive,
                     StillRunning, TaskError, TaskFailed, TaskTimedOut, TimedOut, TooLarge, TooMany, TooManyDone,
                     Unavailable, WorkerDied, WrongKind)
from .mapping import MapIterator
from .notify import notify, ready, status, stopping, watchdog, watchdog_interval
from .pool import Pool
from .process import Process, active_children
from .queues import Lease, Queue
from .results import AsyncResult
from .worker import serve

__version__ = "0.1.0"

__all__ = (
    "AsyncResult", "BadAnswer", "Busy", "Cancelled", "Closed", "CrewError", "Disconnected", "Empty", "Exists", "Full",
    "InvalidParameter", "Lease", "Lost", "MapIterator", "NoAnswer", "NoDaemon", "NoSuchLease", "NoSuchPool",
    "NoSuchQueue", "NoSuchTask", "NoSuchWorker", "NotAlive", "NotPermitted", "Pool", "Process", "ProtocolError",
    "Queue", "RemoteTraceback", "ResultTooBig", "ShuttingDown", "StartFailed", "StillAlive", "StillRunning",
    "TaskError", "TaskFailed", "TaskTimedOut", "TimedOut", "TooLarge", "TooMany", "TooManyDone", "Unavailable",
    "WorkerDied", "WrongKind", "active_children", "notify", "ready", "serve", "set_default_socket", "status",
    "stopping", "watchdog", "watchdog_interval",
)
