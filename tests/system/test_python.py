"""The Python client: the same programs on multiprocessing and on crewd, and what happens when something dies."""

import doctest
import multiprocessing
import multiprocessing.pool
import os
import pathlib
import queue
import re
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import DEADLINE, ROOT, WORKERS, until

shutil.copytree(ROOT / "python" / "crew", WORKERS / "crew", ignore=shutil.ignore_patterns("__pycache__"))
sys.path.insert(0, str(WORKERS))
# pylint: disable=wrong-import-position
import crew  # noqa: E402
import parity  # noqa: E402
from crew import client as clients  # noqa: E402

CONF = f"""
pool "rpc" {{
    tasks = "jsonrpc"
    command = {{"/usr/bin/python3", "-B", "{WORKERS}/parity.py"}}
    workers = 2
    restart-delay = "1ms"
    restart-limit = 0
}}
pool "up" {{
    tasks = "lines"
    command = {{"/bin/sed", "-u", "s/.*/\\\\U&!/"}}
    workers = 2
    prefetch = 8
}}
pool "sh" {{
    tasks = "exec"
    command = {{"/bin/sh", "-c", "exec \\"$@\\"", "sh"}}
    workers = 2
    restart-delay = "1ms"
}}
pool "hurried" {{
    tasks = "exec"
    command = {{"/bin/sleep"}}
    task-timeout = "50ms"
}}
pool "narrow" {{
    tasks = "exec"
    command = {{"/bin/sleep"}}
    backlog = 1
}}
pool "plain" {{
    command = {{"/bin/sleep", "1000"}}
}}
queue "small" {{ maxsize = 2 }}
queue "disk" {{ durable = true }}
queue "ring" {{ kind = "shared" }}
queue "careful" {{ max-deliveries = 100 }}
"""


@pytest.fixture
def daemon(crewd):
    """With the configuration above; what is made without a socket goes there."""
    crewd.start(CONF, env={"PYTHONPATH": str(WORKERS), "PYTHONDONTWRITEBYTECODE": "1"})
    crew.set_default_socket(crewd.socket)
    yield crewd
    crew.set_default_socket(None)


class Stopped:
    """The manager does nothing; it is let go on in the end."""

    def __init__(self, daemon):
        self.pid = until(daemon.manager)

    def __enter__(self):
        os.kill(self.pid, signal.SIGSTOP)

    def __exit__(self, *unused):
        os.kill(self.pid, signal.SIGCONT)


def in_thread(work):
    """Begins work() in a thread; returns a function that waits for it: (value, exception)."""
    got = []

    def run():
        try:
            got.append((work(), None))
        except Exception as e:  # pylint: disable=broad-except
            got.append((None, e))
    thread = threading.Thread(target=run)
    thread.start()

    def wait():
        thread.join(DEADLINE)
        assert got, "it is still waiting"
        return got[0]
    return wait


def what_happens(call, *args, **kwds):
    """A value, or the standard exception that is raised."""
    try:
        return call(*args, **kwds)
    except Exception as e:  # pylint: disable=broad-except
        for kind in (queue.Full, queue.Empty, multiprocessing.TimeoutError, TimeoutError, ValueError, TypeError):
            if isinstance(e, kind):
                return kind
        return type(e)


# ---- the same programs on both -----------------------------------------------------------------


def program_with_pool(pool, name):
    """`name` makes of a function what a pool is told to do."""
    seen = []
    yield pool.apply(name(parity.add), (1, 2))
    yield pool.apply(name(parity.add), (), {"a": "x", "b": "y"})
    yield pool.map(name(parity.square), range(100))
    yield pool.map(name(parity.square), [], chunksize=3)
    yield pool.starmap(name(parity.add), [(1, 2), (3, 4)])
    yield list(pool.imap(name(parity.square), (n for n in range(50)), chunksize=5))
    yield sorted(pool.imap_unordered(name(parity.square), range(50)))
    result = pool.apply_async(name(parity.slow), (0.2,))
    yield result.ready()
    yield what_happens(result.successful)
    yield what_happens(result.get, 0.01)
    yield what_happens(result.get, timeout=0)
    yield result.wait(0.01)
    yield result.get(timeout=DEADLINE)
    yield result.get()
    yield result.ready(), result.successful()
    result = pool.apply_async(name(parity.fail), ("mine",), error_callback=lambda e: seen.append(("error", "mine" in str(e))))
    result.wait(DEADLINE)
    yield result.ready(), result.successful()
    until(lambda: len(seen) == 1)
    result = pool.apply_async(name(parity.add), (1, 2), {}, lambda v: seen.append(("value", v)))
    yield result.get(DEADLINE)
    until(lambda: len(seen) == 2)
    result = pool.map_async(name(parity.square), [1, 2, 3], callback=lambda v: seen.append(("values", v)))
    yield result.get(DEADLINE)
    until(lambda: len(seen) == 3)
    yield pool.starmap_async(name(parity.add), [(1, 2)]).get(DEADLINE)
    yield seen
    results = pool.imap(name(parity.slow), [0.2])
    yield what_happens(results.next, 0.01)
    yield results.next(timeout=DEADLINE)
    yield what_happens(results.next)
    yield what_happens(pool.join)  # it is open
    pool.close()
    yield what_happens(pool.apply, name(parity.add), (1, 2))
    yield what_happens(pool.apply_async, name(parity.add), (1, 2))
    yield what_happens(pool.map, name(parity.square), [1])
    yield pool.join()


@pytest.mark.parametrize("make", [multiprocessing.pool.ThreadPool, multiprocessing.Pool])
def test_pool_as_multiprocessing(daemon, make):
    with make(2) as pool:
        theirs = list(program_with_pool(pool, lambda f: f))
    ours = list(program_with_pool(crew.Pool("rpc"), lambda f: f.__name__))
    assert ours == theirs
    assert multiprocessing.TimeoutError in ours and ValueError in ours
    crew.Pool("rpc").start()
    assert crew.Pool("rpc").apply("add", (1, 2)) == 3


def program_with_queue(q, unfinished):
    """A queue with two places. `unfinished`: how many items wait for task_done()."""
    def filled():
        until(lambda: not q.empty())  # multiprocessing's get there a little later
    yield what_happens(q.get_nowait)
    yield what_happens(q.get, False)
    yield what_happens(q.get, True, 0.01)
    yield what_happens(q.get, timeout=0)
    yield what_happens(q.get, timeout=-1)
    yield q.empty(), q.full()
    yield q.put({"n": 1})
    yield q.put([None, "ä", 0.1], True, 1)
    filled()
    yield q.qsize(), q.empty(), q.full()
    yield what_happens(q.put, 3, False)
    yield what_happens(q.put_nowait, 3)
    yield what_happens(q.put, 3, timeout=0.01)
    yield q.get(), q.get()
    waiter = in_thread(lambda: q.get(timeout=DEADLINE))
    q.put("for who waits")
    yield waiter()
    for _ in range(unfinished):
        q.task_done()
    yield q.join()
    yield what_happens(q.task_done)
    q.close()
    yield what_happens(q.put, 1)
    yield what_happens(q.get)
    yield q.join_thread()


def test_queue_as_multiprocessing(daemon):
    theirs = list(program_with_queue(multiprocessing.JoinableQueue(2), 3))
    ours = list(program_with_queue(crew.Queue.create("new", 2), 3))
    assert ours == theirs
    assert queue.Full in ours and queue.Empty in ours
    crew.Queue("new").delete()
    with pytest.raises(crew.NoSuchQueue, match="new"):
        crew.Queue("new").qsize()


def program_with_process(make, end):
    """make(function, args) -> a process that was not started."""
    for function, args in ((parity.leave, (3,)), (parity.leave, (0,)), (parity.square, (5,)), (parity.raises, ()),
                           (parity.die, (9,))):
        p = make(function, args)
        yield p.exitcode, p.pid, p.is_alive()
        p.start()
        yield what_happens(p.start) in (AssertionError, ValueError)
        yield p.join()
        yield p.exitcode, p.is_alive(), isinstance(p.pid, int)
        yield p.join(), p.join(1)
        yield p.terminate()  # of one that has ended: nothing
        yield p.close()
        yield what_happens(p.is_alive)
    for how in (end, lambda p: p.kill()):
        p = make(parity.slow, (1000,))
        p.start()
        yield p.join(0.01), p.join(timeout=0)
        yield p.is_alive(), p.exitcode, isinstance(p.pid, int)
        yield what_happens(p.close)
        how(p)
        p.join()
        yield p.exitcode, p.is_alive()


def test_process_as_multiprocessing(daemon):
    context = multiprocessing.get_context("spawn")
    os.environ["PYTHONPATH"] = str(WORKERS)
    try:
        theirs = list(program_with_process(lambda f, args: context.Process(target=f, args=args), lambda p: p.terminate()))
    finally:
        del os.environ["PYTHONPATH"]
    ours = list(program_with_process(lambda f, args: crew.Process(target=f, args=args), lambda p: p.terminate()))
    assert ours == theirs
    assert (3, False, True) in ours and (-9, False) in ours and (-15, False) in ours


# ---- pools -------------------------------------------------------------------------------------


def test_kinds_of_tasks(daemon):
    up, run = crew.Pool("up"), crew.Pool("sh")
    assert up.apply("hello") == up.apply(args=["hello"]) == "HELLO!"
    assert up.apply(3.5) == "3.5!"
    assert run.apply("echo", ["a b"]) == run.apply(["echo", "a b"]) == run.apply(args=("echo", "a b")) == "a b\n"
    assert run.apply("cat", input="text") == run.apply(["cat"], input=b"text") == "text"
    assert run.apply(["printf", "\\377\\376"]) == b"\xff\xfe"
    assert run.apply(["ls", "-d", pathlib.Path("/")]) == "/\n"
    assert run.map("echo", ["a", "b"]) == ["a\n", "b\n"]
    assert run.starmap([("echo", "a"), ("echo", "b", "c")]) == ["a\n", "b c\n"]
    assert up.map(["a", "b"]) == list(up.imap(iter(["a", "b"]))) == ["A!", "B!"]
    for pool, args in ((up, ("a", "b")), (up, ("a\nb",)), (up, ()), (up, (None,)), (up, (b"x",)), (run, ({"a": 1},)),
                       (crew.Pool("rpc"), ()), (crew.Pool("rpc"), (3,))):
        with pytest.raises(TypeError):
            pool.apply(*args) if len(args) < 2 else pool.apply(args)
    with pytest.raises(TypeError):
        crew.Pool("rpc").apply("add", (1,), {"b": 2})
    with pytest.raises(TypeError):
        up.apply("x", input="y")


def test_many(daemon):
    words = [f"word{n}" for n in range(20000)]
    assert crew.Pool("up").map(words) == [w.upper() + "!" for w in words]


def test_failures(daemon):
    run, rpc = crew.Pool("sh"), crew.Pool("rpc")
    with pytest.raises(crew.TaskError) as e:
        run.apply(["sh", "-c", "echo out; exit 3"])
    assert e.value.exitcode == 3 and e.value.task["result"] == "out\n"
    with pytest.raises(crew.TaskError) as e:
        run.apply("false")
    assert e.value.exitcode == 1
    with pytest.raises(crew.TaskFailed) as e:
        run.apply(["sh", "-c", "kill -9 $$"])
    assert e.value.exitcode == -9
    with pytest.raises(crew.TaskError, match="^ValueError: mine$") as e:
        rpc.apply("fail", ["mine"])
    assert e.value.code == -32000 and e.value.data["type"] == "ValueError"
    assert "parity.py" in str(e.value.__cause__) and e.value.worker.startswith("rpc-")
    with pytest.raises(crew.TaskError) as e:
        rpc.apply("nothing")
    assert e.value.code == -32601
    with pytest.raises(crew.WorkerDied) as e:
        rpc.apply("leave", [7])
    assert e.value.exitcode == 7 and e.value.worker.startswith("rpc-")
    with pytest.raises(crew.WorkerDied) as e:
        rpc.apply("die", [9])
    assert e.value.exitcode == -9
    with pytest.raises(crew.ResultTooBig):
        run.apply(["head", "-c", "2000000", "/dev/zero"])
    with pytest.raises(crew.NoSuchPool, match="no tasks"):
        crew.Pool("plain").apply("x")
    with pytest.raises(crew.NoSuchPool, match="nope"):
        crew.Pool("nope").map(["x"])


def test_one_of_many_dies(daemon):
    """All others have results; multiprocessing's map() never returns."""
    items = [("square", n) for n in range(40)]
    pool = crew.Pool("rpc")
    got = list(pool.map("die", [9], return_exceptions=True)) + pool.map("square", [n for _, n in items])
    assert isinstance(got[0], crew.WorkerDied) and got[1:] == [n * n for n in range(40)]
    run = crew.Pool("sh")
    got = run.map(["sh", "-c", 'test "$0" != 13 || kill -9 $$; echo "$0"'], range(30), return_exceptions=True)
    assert [n for n, v in enumerate(got) if isinstance(v, crew.TaskFailed)] == [13]
    assert [v for n, v in enumerate(got) if n != 13] == [f"{n}\n" for n in range(30) if n != 13]


def test_times(daemon):
    """The caller's, and the task's own."""
    with pytest.raises(crew.TimedOut) as e:
        crew.Pool("sh").apply(["sleep", "1000"], timeout=0.05)
    assert isinstance(e.value, multiprocessing.TimeoutError) and not isinstance(e.value, crew.TaskTimedOut)
    hurried = crew.Pool("hurried")
    with pytest.raises(crew.TaskTimedOut) as e:
        hurried.apply("1000")
    assert isinstance(e.value, TimeoutError) and e.value.task["state"] == "failed"
    r = hurried.apply_async("1000")
    with pytest.raises(crew.TaskTimedOut):
        r.get()
    assert r.ready() and not r.successful()


def test_full(daemon):
    """One that runs, one that waits: there is no place for a third; a map waits until there is."""
    pool = crew.Pool("narrow")
    first, second = pool.apply_async("1000"), None
    until(lambda: pool.info()["inHand"] == 1)
    second = pool.apply_async("1000")
    with pytest.raises(queue.Full, match="narrow"):
        pool.apply_async("1000")
    with pytest.raises(crew.Full):
        pool.apply("1000")
    mapped = in_thread(lambda: pool.map(["0", "0"]))
    first.cancel()
    second.cancel()
    assert mapped() == (["", ""], None)


def test_cancel(daemon):
    pool = crew.Pool("sh")
    r = pool.apply_async(["sleep", "1000"])
    assert not r.ready()
    r.cancel()
    with pytest.raises(crew.Cancelled):
        r.get(DEADLINE)
    with pytest.raises(crew.NoSuchTask):
        pool._client.call("Pool.Result", {"id": r.id})


def test_result_that_was_fetched_elsewhere(daemon):
    r = crew.Pool("up").apply_async("x")
    assert daemon.ctl("result", r.id).stdout == "X!\n"
    with pytest.raises(crew.NoSuchTask):
        r.get()


def test_terminate(daemon):
    pool = crew.Pool("sh")
    r = pool.apply_async(["sleep", "1000"])
    pool.terminate()
    with pytest.raises(crew.Cancelled):
        r.get(DEADLINE)
    with pytest.raises(crew.Closed):
        pool.apply("true")
    pool.join(DEADLINE)
    pool.start()
    pool.scale(3)
    assert pool.info()["workers"] == 3
    with pytest.raises(crew.StillRunning):
        pool.join()
    with crew.Pool("sh") as again:
        assert again.apply("echo") == "\n"
    assert again.apply("echo") == "\n"  # leaving the block has left the pool as it is


def test_iterator_that_is_left_takes_its_tasks_back(daemon):
    pool = crew.Pool("sh")
    results = pool.imap("sh", ([ "-c", "exit 0"] for _ in ()), window=5)
    assert list(results) == []
    results = pool.imap("sleep", ["1000"] * 50)
    until(lambda: pool.info()["inHand"] == 2 and pool.info()["queued"] > 0)
    results.close()
    until(lambda: pool.info()["queued"] == 0)
    pool.terminate()


# ---- queues ------------------------------------------------------------------------------------


def test_many_items(daemon):
    q = crew.Queue("disk")
    assert q.put_many({"n": n} for n in range(12345)) == 12345
    got = []
    while len(got) < 12345:
        got += q.get_many(5000, timeout=DEADLINE)
    assert got == [{"n": n} for n in range(12345)]
    with pytest.raises(queue.Empty):
        q.get_many(5, block=False)
    small = crew.Queue("small")
    with pytest.raises(queue.Full) as e:
        small.put_many([1, 2, 3], timeout=0.01)
    assert e.value.put == 2 and small.get_many(10) == [1, 2]


def test_leases(daemon):
    q = crew.Queue("careful")
    q.put_many(["a", "b"])
    with q.lease() as item:
        assert item == "a" and q.qsize() == 1
    with pytest.raises(crew.TimedOut):
        q.join(0.01)
    with pytest.raises(KeyError):
        with q.lease(timeout=1) as item:
            raise KeyError(item)
    lease = q.lease(timeout=DEADLINE)
    assert (lease.item, lease.deliveries) == ("b", 2)
    with pytest.raises(queue.Empty):
        q.lease(block=False)
    lease.give_back()
    with q.lease(timeout=DEADLINE):
        pass
    q.join(DEADLINE)
    with pytest.raises(crew.TooManyDone):
        q.task_done()


def test_borrower_that_is_killed(daemon):
    q = crew.Queue("careful")
    q.put("precious")
    child = os.fork()
    if child == 0:
        crew.Queue("careful").lease()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    with q.lease(timeout=DEADLINE) as item:
        assert item == "precious"


def test_shared_queue(daemon):
    """By way of the daemon, without waiting; else the error says what to use."""
    q = crew.Queue("ring")
    q.put_nowait({"n": 1})
    assert (q.qsize(), q.empty(), q.full()) == (1, False, False)
    assert q.get_nowait() == {"n": 1}
    for call in (q.get, lambda: q.put(1), lambda: q.get_many(3), lambda: q.put_many([1]), q.lease):
        with pytest.raises(crew.WrongKind, match="get_nowait.*libcrew"):
            call()
    with pytest.raises(queue.Empty):
        q.get_nowait()


def test_items_come_back_as_they_were(daemon):
    q = crew.Queue("disk")
    for item in (None, True, 0, -1, 2 ** 80, 0.1, "", "\0", "ä\U0001f600\\\"", [], {}, [[[]]], {"a": {"b": [1, None]}},
                 "x" * 1_000_000):
        q.put(item)
        back = q.get(timeout=DEADLINE)
        assert back == item and type(back) is type(item)


def test_too_deep(daemon):
    deep = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(crew.TooLarge, match="nested"):
        crew.Queue("disk").put(deep)
    assert crew.Queue("disk").empty()
    with pytest.raises(crew.InvalidParameter, match="name"):
        crew.Queue.create("bad name")


# ---- processes ---------------------------------------------------------------------------------


def test_process(daemon):
    p = crew.Process(["sleep", "1000"], name="pr")
    assert (p.name, p.pid, p.exitcode, p.is_alive()) == ("pr", None, None, False)
    p.start()
    assert p.is_alive() and p.pid == daemon.worker("pr")["pid"] and crew.active_children() == [p]
    with pytest.raises(crew.Exists):
        crew.Process(["true"], name="pr").start()
    p.signal(signal.SIGUSR1)
    p.join(DEADLINE)
    assert p.exitcode == -signal.SIGUSR1 and crew.active_children() == []
    p.close()
    with pytest.raises(crew.NoSuchWorker):
        crew.Process.attach("pr")
    p = crew.Process(["/bin/sh", "-c", 'echo "$A" in "$PWD"; exit 4'], env={"A": "hello"}, cwd="/")
    p.start()
    assert p.name == "run-1"
    p.join()
    assert p.exitcode == 4 and p.logs() == ["hello in /"]
    with pytest.raises(crew.StartFailed):
        crew.Process(["/no/such/program"]).start()
    for wrong in ("sleep 5", b"sleep"):
        with pytest.raises(TypeError):
            crew.Process(wrong)
    with pytest.raises(ValueError, match="start"):
        crew.Process(["true"]).join()


def test_process_of_a_pool(daemon):
    daemon.wait_state("plain-1", "running")
    p = crew.Process.attach("plain-1")
    first = p.pid
    assert first == daemon.worker("plain-1")["pid"]
    p.signal("KILL")
    until(lambda: p.pid != first and p.is_alive())
    p.terminate()
    p.join()
    assert p.exitcode == -15 and not p.is_alive()
    with pytest.raises(crew.NotAlive):
        p.signal("HUP")


def test_class_of_ones_own(daemon):
    p = parity.Worker("a", "b")
    p.start()
    p.join()
    assert p.exitcode == 2 and p.logs() == ["words: a b"]


def test_function_of_a_program(daemon):
    """What stands in a script is found again, and the script's own part is not run twice."""
    script = WORKERS / "program.py"
    script.write_text(f"""
import crew
def work(n):
    print("working", flush=True)
    raise SystemExit(n)
if __name__ == "__main__":
    crew.set_default_socket({str(daemon.socket)!r})
    p = crew.Process(target=work, args=(5,))
    p.start()
    p.join()
    print(p.exitcode, p.logs())
""")
    done = subprocess.run([sys.executable, script], env={**os.environ, "PYTHONPATH": str(WORKERS)}, text=True,
                          stdout=subprocess.PIPE, check=True, timeout=DEADLINE)
    assert done.stdout == "5 ['working']\n"


# ---- what dies ---------------------------------------------------------------------------------


def waiting(daemon, name):
    rows = daemon.call("io.crewd.Queue.List")["queues"]
    return next(q["waitingGet"] for q in rows if q["name"] == name)


def test_manager_is_killed_while_somebody_gets(daemon):
    """Who waits for an item is told; who waits to borrow one, or for what does no harm twice, goes on waiting."""
    q, careful = crew.Queue("small"), crew.Queue("careful")
    process = crew.Process(["sleep", "1000"], name="pr")
    process.start()
    got, borrowed, joined = in_thread(q.get), in_thread(careful.lease), in_thread(process.join)
    until(lambda: waiting(daemon, "small") == waiting(daemon, "careful") == 1)
    daemon.kill_manager()
    value, error = got()
    assert value is None and isinstance(error, crew.Disconnected) and isinstance(error, ConnectionError)
    careful.put("later")
    lease, error = borrowed()
    assert error is None and lease.item == "later"
    lease.done()
    process.terminate()
    assert joined() == (None, None) and process.exitcode == -15
    q.put(1)
    assert q.get() == 1


def test_manager_is_killed_between_two_calls(daemon):
    q = crew.Queue("disk")
    for n in range(3):
        q.put(n)
        daemon.kill_manager()
    assert q.get_many(10) == [0, 1, 2]


def test_manager_is_killed_with_tasks(daemon):
    """No caller waits for ever, and nothing is handed in twice."""
    run = crew.Pool("sh")
    mark = daemon.dir / "mark"
    mark.touch()
    mark.chmod(0o666)
    once = run.apply_async(["sh", "-c", f"echo x >>{mark}; sleep 1000"])
    seen = []
    watched = run.apply_async(["sh", "-c", f"echo x >>{mark}; sleep 1000"], error_callback=seen.append)
    until(lambda: mark.read_text() == "x\nx\n")
    applied = in_thread(lambda: run.apply(["sleep", "1000"]))
    until(lambda: run.info()["queued"] == 1)
    daemon.kill_manager()
    value, error = applied()
    assert value is None and isinstance(error, crew.Disconnected)
    for result in (once, watched):
        with pytest.raises(crew.Lost):
            result.get(DEADLINE)
    until(lambda: [type(e) for e in seen] == [crew.Lost])
    assert mark.read_text() == "x\nx\n"


def test_manager_is_killed_in_a_map(daemon):
    """Each item has a result, or an exception that says that nobody knows."""
    pool = crew.Pool("up")
    killed = threading.Event()

    def words():
        for n in range(5000):
            if n == 2000:
                daemon.kill_manager()
                killed.set()
            yield f"w{n}"
    got = pool.map(words(), return_exceptions=True)
    assert killed.is_set() and len(got) == 5000
    for n, value in enumerate(got):
        assert value == f"W{n}!" or isinstance(value, crew.Disconnected), (n, value)
    assert got[0] == "W0!" and got[-1] == "W4999!"


def test_random_kills(daemon):
    """A producer and a consumer that mind what they are told lose nothing of a durable queue."""
    q = crew.Queue("disk")
    put, got = [], []

    def produce():
        for n in range(2000):
            try:
                q.put(n)
                put.append(n)
            except crew.Disconnected:
                pass  # it may be there, or not

    def consume():
        while True:
            with q.lease(timeout=DEADLINE) as item:
                if item == "end":
                    return
                got.append(item)

    def consume_all():
        while True:
            try:
                return consume()
            except (crew.Disconnected, crew.NoSuchLease):
                pass  # the item comes again
    consumer, producer = in_thread(consume_all), in_thread(produce)
    for _ in range(5):
        before = len(put)
        until(lambda: len(put) > before + 50 or len(put) + 100 > 2000)  # pylint: disable=cell-var-from-loop
        daemon.kill_manager()
    assert producer() == (None, None)
    q.put("end")
    assert consumer() == (None, None)
    assert set(put) <= set(got)


def test_keeper_is_killed(daemon):
    daemon.exitcode, daemon.leftovers_ok = -signal.SIGKILL, True
    q = crew.Queue("small")
    got = in_thread(q.get)
    until(lambda: waiting(daemon, "small") == 1)
    daemon.wait_state("plain-1", "running")
    daemon.process.kill()
    daemon.process.wait()
    _, error = got()
    assert isinstance(error, crew.Disconnected)
    until(lambda: not daemon.marked(), "no process is left")
    with pytest.raises(crew.NoDaemon):
        until(lambda: q.qsize() < 0)


def test_daemon_that_hangs(daemon, monkeypatch):
    """Whoever has said for how long is told in time, and not that the queue is empty."""
    monkeypatch.setattr(clients, "GRACE", 0.1)
    monkeypatch.setattr(clients, "ANSWER", 0.1)
    q = crew.Queue("small")
    q.put(1)
    with Stopped(daemon):
        begin = time.monotonic()
        for call in (lambda: q.get(timeout=0.1), q.qsize, lambda: crew.Pool("up").apply("x", timeout=0.1)):
            with pytest.raises(crew.NoAnswer) as e:
                call()
            assert isinstance(e.value, TimeoutError)
        assert time.monotonic() - begin < DEADLINE
    monkeypatch.undo()
    assert crew.Pool("up").apply("x") == "X!"


def test_two_threads(daemon):
    """A thread that waits is not in the way of another one."""
    q = crew.Queue("small")
    got = in_thread(lambda: [q.get(timeout=DEADLINE) for _ in range(200)])

    def put():
        for n in range(200):
            q.put(n, timeout=DEADLINE)
    assert in_thread(put)() == (None, None)
    assert got() == (list(range(200)), None)


def test_fork_after_connect(daemon):
    """Parent and child go on side by side, each with a connection of its own."""
    q = crew.Queue.create("forked")
    q.put("before")
    children = []
    for n in range(3):
        child = os.fork()
        if child == 0:
            for m in range(50):
                q.put([n, m])
            os._exit(0)
        children.append(child)
    got = [q.get(timeout=DEADLINE) for _ in range(151)]
    assert {os.waitpid(child, 0)[1] for child in children} == {0}
    assert got[0] == "before"
    for n in range(3):
        assert [m for who, m in got[1:] if who == n] == list(range(50))


def _square_in_crewd(n):
    """In a process of multiprocessing.Pool."""
    return crew.Pool("rpc").apply("square", [n])


def test_in_multiprocessings_workers(daemon):
    assert crew.Pool("rpc").apply("square", [1]) == 1
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map(_square_in_crewd, range(20)) == [n * n for n in range(20)]


# ---- what is written ---------------------------------------------------------------------------


def test_example(crewd):
    """python.conf and calc.py, and what stands at the head of the first."""
    text = (ROOT / "conf/examples/python.conf").read_text()
    worker = WORKERS / "calc.py"
    shutil.copy(ROOT / "conf/examples/calc.py", worker)
    assert "/usr/share/doc/crewd/examples/calc.py" in text
    conf = re.sub("(?m)^socket = .*$", "", text).replace("/usr/share/doc/crewd/examples/calc.py", str(worker))
    crewd.start(conf, env={"PYTHONPATH": str(WORKERS), "PYTHONDONTWRITEBYTECODE": "1"})
    crew.set_default_socket(crewd.socket)
    try:
        session = "\n".join(re.findall(r"(?m)^#\t(.*)$", text)).replace(
            "crew.errors.TaskError:", "Traceback (most recent call last):\ncrew.errors.TaskError:")
        test = doctest.DocTestParser().get_doctest(session + "\n", {}, "python.conf", None, 0)
        assert len(test.examples) == 6
        results = doctest.DocTestRunner(verbose=False).run(test)
        assert results.failed == 0 and results.attempted == 6
        until(lambda: "adding (1, 2)" in "".join(crew.Process.attach("calc-1").logs() +
                                                 crew.Process.attach("calc-2").logs()))
    finally:
        crew.set_default_socket(None)


def test_version():
    """One version: that of configure.ac."""
    version = re.search(r"AC_INIT\(\[crewd\], \[([^]]+)\]\)", (ROOT / "configure.ac").read_text()).group(1)
    assert crew.__version__ == version
    pyproject = (ROOT / "python/pyproject.toml").read_text()
    assert 'version = {attr = "crew.__version__"}' in pyproject and '\nversion = "' not in pyproject


def test_everything_is_exported():
    assert sorted(crew.__all__) == list(crew.__all__)
    for name in crew.__all__:
        assert getattr(crew, name).__doc__, name


def test_runs_as_a_program(daemon):
    """python -m crew without its arguments says what it wants."""
    with pytest.raises(SystemExit) as e:
        sys.argv[1:], saved = [], sys.argv[1:]
        try:
            runpy.run_module("crew", run_name="__main__")
        finally:
            sys.argv[1:] = saved
    assert e.value.code == 2
