"""Queues in shared memory, end to end: crewctl, a participant of its own, and who of them may die when."""

import array
import collections
import ctypes
import fcntl
import grp
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading

import pytest

from conftest import CREWCTL, DEADLINE, ROOT, VarlinkError, until
from test_queues import AS_OTHER, Q, ROOT_ONLY, get, put, refused, row

GROUP = next(g for g in grp.getgrall() if g.gr_gid)  # any that is not root's
SHARED = 'queue "jobs" { kind = "shared" maxsize = 3 }'
F_GET_SEALS, SHRINK_GROW_SEAL = 1034, 2 | 4 | 1


@pytest.fixture(scope="module", name="library")
def build_library(tmp_path_factory):
    """lib/shared_queue.h for Python."""
    path = tmp_path_factory.mktemp("ring") / "ring.so"
    sources = [ROOT / "lib" / f"shared_{s}.c" for s in ("lock", "queue", "queue_attach", "watch", "word")]
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-std=gnu11", "-D_GNU_SOURCE", "-pthread", f"-I{ROOT}", "-o", path,
                    *sources], check=True)
    lib = ctypes.CDLL(str(path), use_errno=True)
    lib.shared_queue_attach.restype = ctypes.c_void_p
    lib.shared_queue_qsize.restype = ctypes.c_int64
    return lib


class Ring:
    """One participant."""

    def __init__(self, library, fd):
        self.lib = library
        self.handle = ctypes.c_void_p(library.shared_queue_attach(fd))
        assert self.handle, os.strerror(ctypes.get_errno())
        os.close(fd)

    def put(self, data, timeout=DEADLINE):
        if self.lib.shared_queue_put(self.handle, data, ctypes.c_size_t(len(data)), ctypes.c_int64(int(timeout * 1e6))):
            raise OSError(ctypes.get_errno(), "put")

    def get(self, timeout=DEADLINE, room=65536):
        data, size = ctypes.create_string_buffer(room), ctypes.c_size_t(room)
        if self.lib.shared_queue_get(self.handle, data, ctypes.byref(size), ctypes.c_int64(int(timeout * 1e6))):
            raise OSError(ctypes.get_errno(), "get")
        return data.raw[:size.value]

    def qsize(self):
        return self.lib.shared_queue_qsize(self.handle)


def receive(v):
    """The next reply and the descriptors that come with it."""
    fds = array.array("i")
    while b"\0" not in v.buffer:
        part, more, flags, _ = v.sock.recvmsg(65536, socket.CMSG_SPACE(16 * fds.itemsize), socket.MSG_CMSG_CLOEXEC)
        assert part and not flags & socket.MSG_CTRUNC
        v.buffer += part
        for level, kind, data in more:
            assert (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
            fds.frombytes(data)
    text, v.buffer = v.buffer.split(b"\0", 1)
    return json.loads(text), list(fds)


def attach(crewd, name="jobs"):
    with crewd.varlink() as v:
        v.send(Q + "Attach", {"name": name})
        reply, fds = receive(v)
    assert "error" not in reply and len(fds) == 1, reply
    return fds[0]


# ---- crewctl ----------------------------------------------------------------------------------------


def test_crewctl_has_pythons_rules(crewd):
    crewd.start(SHARED)
    assert crewd.ctl("queue", "empty", "jobs").stdout == "true\n"
    assert crewd.ctl("queue", "get", "--no-wait", "jobs", code=75).stdout == ""
    crewd.ctl("queue", "put", "jobs", "one")
    crewd.ctl("queue", "put", "jobs", stdin="two\n")
    crewd.ctl("queue", "put", "--json-item", "jobs", '{ "b" : [1, 2.50, -0] }')
    assert crewd.ctl("queue", "qsize", "jobs").stdout == "3\n"
    assert crewd.ctl("queue", "full", "jobs").stdout == "true\n"
    assert "jobs is full" in crewd.ctl("queue", "put", "--no-wait", "jobs", "x", code=75).stderr
    assert "jobs is full" in crewd.ctl("queue", "put", "--timeout", "0.05", "jobs", "x", code=75).stderr
    assert crewd.ctl("queue", "get", "jobs").stdout == "one\n"
    assert crewd.ctl("queue", "get", "--no-wait", "jobs").stdout == "two\n"
    assert crewd.ctl("--json", "queue", "get", "jobs").stdout == '{"item":{"b":[1,2.50,-0]}}\n'
    assert "jobs is empty" in crewd.ctl("queue", "get", "--timeout", "50ms", "jobs", code=75).stderr
    for _ in range(3):
        crewd.ctl("queue", "join", "--timeout", "0.05", "jobs", code=124)
        crewd.ctl("queue", "task-done", "jobs")
    crewd.ctl("queue", "join", "jobs")
    crewd.ctl("queue", "task-done", "jobs", code=1)
    assert row(crewd, "jobs").items() >= {"kind": "shared", "qsize": 0, "bytes": 0, "unfinished": 0, "maxsize": 3}.items()


def test_crewctl_waits(crewd):
    crewd.start(SHARED)
    getter = crewd.popen("queue", "get", "jobs")
    for i in range(4):
        crewd.ctl("queue", "put", "jobs", str(i))
    assert getter.communicate(timeout=DEADLINE)[0] == "0\n"
    putter = crewd.popen("queue", "put", "jobs", "last")
    joiner = crewd.popen("queue", "join", "jobs")
    assert crewd.ctl("queue", "get", "jobs").stdout == "1\n"
    assert putter.wait(DEADLINE) == 0
    for i in range(5):
        assert joiner.poll() is None
        crewd.ctl("queue", "task-done", "jobs")
    assert joiner.wait(DEADLINE) == 0


def test_crewctl_makes_and_deletes(crewd, library):
    crewd.start("")
    crewd.ctl("queue", "create", "--kind", "shared", "--maxsize", "2", "--max-bytes", "1K", "a")
    assert row(crewd, "a").items() >= {"kind": "shared", "maxsize": 2, "maxBytes": 1024, "configured": False}.items()
    crewd.ctl("queue", "create", "--kind", "shared", "a", code=1)
    assert "64 at least" in crewd.ctl("queue", "create", "--kind", "shared", "--max-bytes", "63", "b", code=2).stderr
    assert "never on disk" in crewd.ctl("queue", "create", "--kind", "shared", "--durable", "b", code=2).stderr
    crewd.ctl("queue", "create", "--kind", "shared", "--dead", "a", "b", code=2)
    crewd.ctl("queue", "create", "--kind", "shared", "--max-deliveries", "3", "b", code=2)
    crewd.ctl("queue", "create", "--dead", "a", "b", code=2)  # it takes no dead letters either
    crewd.ctl("queue", "put", "--no-wait", "a", "x" * 1100, code=2)
    crewd.ctl("queue", "put", "a", "x" * 1100, code=2)
    # who waits hears of the end; who is attached goes on with the memory
    ring = Ring(library, attach(crewd, "a"))
    waiting = [crewd.popen("queue", "get", "a")]
    ring.put(b"1")
    assert waiting[0].communicate(timeout=DEADLINE)[0] == "1\n"
    waiting = [crewd.popen("queue", "get", "a"), crewd.popen("queue", "join", "a")]
    with crewd.varlink() as v:
        v.send(Q + "Attach", {"name": "a"}, more=True)
        reply, fds = receive(v)
        assert reply["continues"] and len(fds) == 1
        assert v.silent()
        crewd.ctl("queue", "delete", "a")
        assert receive(v) == ({"error": Q + "NoSuchQueue", "parameters": {"name": "a"}}, [])
        os.close(fds[0])
    assert [p.wait(DEADLINE) for p in waiting] == [4, 4]
    assert all(p.communicate() == ("", "crewctl: no such queue: a\n") for p in waiting)
    ring.put(b"2")
    assert ring.get() == b"2"
    crewd.ctl("queue", "create", "--kind", "shared", "a")
    assert crewd.ctl("queue", "qsize", "a").stdout == "0\n"
    crewd.kill_manager()
    assert row(crewd, "a").items() >= {"kind": "shared", "qsize": 0, "maxsize": 0}.items()


@pytest.mark.parametrize("kind", ["shared", "manager"])
def test_the_example(crewd, kind):
    top = ROOT / "conf/examples"
    crewd.start((top / "queues.conf").read_text().replace("socket = ", "#").replace("state-dir = ", "#"))
    name = {"shared": "quick", "manager": "jobs"}[kind]
    assert row(crewd, name)["kind"] == kind
    env = dict(os.environ, PATH=f"{pathlib.Path(CREWCTL).parent}:{os.environ['PATH']}")
    done = subprocess.run([top / "queues.sh", crewd.socket, name, "15"], env=env, capture_output=True, text=True,
                          timeout=DEADLINE * 3, check=True)
    got = [line.split(": ")[1] for line in done.stdout.splitlines()]
    assert sorted(got) == sorted(f"{who} {i}" for who in ("red", "blue") for i in range(1, 16))
    assert done.stderr == ""
    assert row(crewd, name)["unfinished"] == 0


# ---- the protocol -----------------------------------------------------------------------------------


def test_the_daemon_takes_part_without_waiting(crewd):
    crewd.start(SHARED)
    put(crewd, "jobs", 1, "zwei")
    error, what = refused(crewd, "Put", name="jobs", item=3)
    assert (error, what["name"], what["kind"]) == ("WrongKind", "jobs", "shared")
    assert "say block false, or attach" in what["why"]
    assert refused(crewd, "Get", name="jobs")[1].items() >= {"name": "jobs", "kind": "shared"}.items()
    assert refused(crewd, "Get", name="jobs", timeout=1)[0] == "WrongKind"
    assert refused(crewd, "Get", name="jobs", block=False, lease=True)[0] == "WrongKind"
    assert refused(crewd, "Join", name="jobs")[0] == "WrongKind"
    assert refused(crewd, "Join", name="jobs", timeout=0)[0] == "TimedOut"
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "jobs", "block": False}, more=True)
        reply = v.receive()
        assert reply["error"] == Q + "WrongKind" and "not streamed" in reply["parameters"]["why"]
    full, why = refused(crewd, "PutMany", name="jobs", items=[3, 4], block=False)
    assert (full, why["put"]) == ("Full", 1)
    assert crewd.call(Q + "GetMany", name="jobs", max=9, timeout=0) == {"items": [1, "zwei", 3]}
    assert refused(crewd, "Get", name="jobs", block=False)[0] == "Empty"
    for _ in range(3):
        crewd.call(Q + "TaskDone", name="jobs")
    assert refused(crewd, "TaskDone", name="jobs")[0] == "TooManyDone"
    assert crewd.call(Q + "Join", name="jobs", timeout=0) == {}


def test_a_client_is_handed_the_memory(crewd, library):
    crewd.start(SHARED + "queue m {}")
    fd = attach(crewd)
    assert os.readlink(f"/proc/self/fd/{fd}").startswith("/memfd:crewd:jobs")
    assert fcntl.fcntl(fd, F_GET_SEALS) & SHRINK_GROW_SEAL == SHRINK_GROW_SEAL
    ring = Ring(library, fd)
    ring.put(b'{"a": [1, 0.10]}')
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "jobs", "block": False})
        v.sock.settimeout(DEADLINE)
        while b"\0" not in v.buffer:
            v.buffer += v.sock.recv(65536)
        assert v.buffer == b'{"parameters":{"item":{"a":[1,0.10]}}}\0'
    put(crewd, "jobs", {"b": None})
    assert ring.get() == b'{"b":null}'
    # what is no JSON comes out all the same
    for data, item in ((b"plain \x01", "plain \x01"), (b"", ""), (b"[" * 100, "[" * 100), (b"\xff\0", {"base64": "/wA="}),
                       (b'"a\0b"', {"base64": "ImEAYiI="}), (b"1 2", "1 2")):
        ring.put(data)
        assert get(crewd, "jobs") == item
        ring.put(data)
        printed = subprocess.run([CREWCTL, "-s", crewd.socket, "queue", "get", "jobs"], capture_output=True, check=True)
        assert printed.stdout == data + b"\n"
        ring.put(data)
        assert json.loads(crewd.ctl("--json", "queue", "get", "jobs").stdout) == {"item": item}
    # too long for one reply: only who is attached can get it
    ring.put(b'"' + b"x" * 2000000 + b'"')
    error, why = refused(crewd, "Get", name="jobs", block=False)
    assert error == "BackendUnavailable" and "attach" in why["why"]
    assert len(crewd.ctl("queue", "get", "jobs").stdout) == 2000001
    assert refused(crewd, "Attach", name="m")[0] == "WrongKind"
    assert refused(crewd, "Attach", name="none")[0] == "NoSuchQueue"


def test_many_are_handed_out_in_one_breath(crewd):
    crewd.start(SHARED)
    with crewd.varlink() as v:
        call = json.dumps({"method": Q + "Attach", "parameters": {"name": "jobs"}}).encode() + b"\0"
        size = json.dumps({"method": Q + "Qsize", "parameters": {"name": "jobs"}}).encode() + b"\0"
        v.sock.sendall((size + call) * 12 + call.replace(b'"method"', b'"oneway": true, "method"') + size)
        replies, fds = [], []
        for _ in range(25):
            reply, came = receive(v)
            replies.append(reply.get("error", "ok"))
            fds += came
    assert len(fds) == replies[1::2].count("ok") >= 8
    assert set(replies[1::2]) <= {"ok", "io.crewd.Manager.Busy"} and set(replies[::2]) == {"ok"}
    assert len({os.fstat(fd).st_ino for fd in fds}) == 1
    for fd in fds:
        os.close(fd)
    with crewd.varlink() as v:  # leaves with all of it unread
        v.sock.sendall(call * 100)
    manager = crewd.manager()
    until(lambda: crewd.call("io.crewd.Queue.List") and sum(
        "memfd:crewd:jobs" in os.readlink(f"/proc/{manager}/fd/{fd}") for fd in list_fds(manager)) == 2,
        "the manager has its own two descriptors, and no more")


def list_fds(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            os.readlink(f"/proc/{pid}/fd/{fd}")
            found.append(fd)
        except OSError:
            pass
    return found


@ROOT_ONLY
def test_who_may(crewd):
    crewd.start("socket-mode = 0666\n" + SHARED)
    q = {"name": "jobs"}
    calls = [("Qsize", q), ("Attach", q), ("Put", {**q, "item": 1, "block": False}), ("Get", {**q, "block": False}),
             ("TaskDone", q)]
    p = subprocess.run([sys.executable, "-c", AS_OTHER, crewd.socket, json.dumps(calls)], capture_output=True,
                       text=True, check=True)
    assert [line.split()[1] for line in p.stdout.splitlines()] == ["ok"] + ["PermissionDenied"] * 4
    crewd.write("socket-mode = 0666\nsocket-group = " + GROUP.gr_name + "\n" + SHARED)
    crewd.ctl("reload")
    p = subprocess.run([CREWCTL, "-s", crewd.socket, "queue", "put", "jobs", "mine"], check=False, timeout=DEADLINE,
                       preexec_fn=lambda: (os.setgroups([]), os.setgid(GROUP.gr_gid), os.setuid(12345)))
    assert p.returncode == 0
    assert crewd.ctl("queue", "get", "jobs").stdout == "mine\n"


# ---- who dies ---------------------------------------------------------------------------------------


def test_the_manager_is_killed(crewd, library):
    crewd.start(SHARED)
    crewd.call(Q + "Create", name="made", kind="shared", maxsize=5)
    crewd.call(Q + "Create", name="gone", kind="shared")
    crewd.call(Q + "Delete", name="gone")
    ring, made = Ring(library, attach(crewd)), Ring(library, attach(crewd, "made"))
    inode = attach(crewd)
    ring.put(b"1")
    made.put(b'"m"')
    getter = crewd.popen("queue", "get", "--timeout", "60", "made")
    assert getter.communicate(timeout=DEADLINE)[0] == "m\n"
    getter = crewd.popen("queue", "get", "--timeout", "60", "made")
    until(lambda: "memfd" in pathlib.Path(f"/proc/{getter.pid}/maps").read_text(), "it is attached")
    for i in range(3):
        manager = until(crewd.manager, "there is a manager")
        os.kill(manager, signal.SIGKILL)
        ring.put(str(i).encode())  # asks nobody
        assert ring.get() == (b"1" if i == 0 else str(i - 1).encode())
        until(lambda: crewd.manager() not in (None, manager), "there is another manager")
        until(crewd.answers, "it answers")
        assert row(crewd, "jobs")["qsize"] == 1 and row(crewd, "gone") is None
        again = attach(crewd)
        assert os.fstat(again).st_ino == os.fstat(inode).st_ino
        os.close(again)
    os.close(inode)
    made.put(b'"later"')
    assert getter.communicate(timeout=DEADLINE)[0] == "later\n"
    assert get(crewd, "jobs") == 2
    assert row(crewd, "made").items() >= {"maxsize": 5, "qsize": 0}.items()


def test_the_manager_is_killed_right_after_it_answered(crewd):
    crewd.start("")
    for i in range(6):
        manager = until(crewd.manager, "there is a manager")
        with crewd.varlink() as v:
            v.call(Q + "Create", name=f"q{i}", kind="shared")
            v.call(Q + "Put", name=f"q{i}", item=i, block=False)
            if i:
                v.call(Q + "Delete", name=f"q{i - 1}")
            os.kill(manager, signal.SIGKILL)
        until(lambda old=manager: crewd.manager() not in (None, old), "there is another manager")
        until(crewd.answers, "it answers")
        assert [(q["name"], q["qsize"], q["leaving"]) for q in crewd.call(Q + "List")["queues"]] == [(f"q{i}", 1, False)]
    assert get(crewd, "q5") == 5


def test_crewd_ends(crewd):
    crewd.start(SHARED)
    getter = crewd.popen("queue", "get", "jobs")
    until(lambda: "memfd" in pathlib.Path(f"/proc/{getter.pid}/maps").read_text(), "it is attached")
    crewd.ctl("shutdown")
    crewd.process.wait(DEADLINE)
    assert getter.wait(DEADLINE) == 69
    getter.communicate()


def test_reload(crewd, library):
    crewd.start(SHARED + 'queue "b" { kind = "shared" } queue "c" { kind = "shared" }')
    put(crewd, "jobs", 1)
    put(crewd, "b", 1)
    crewd.write('queue "jobs" { kind = "shared" maxsize = 9 } queue "new" { kind = "shared" max-bytes = 64 }')
    crewd.ctl("reload")
    assert row(crewd, "jobs").items() >= {"maxsize": 3, "qsize": 1}.items()
    assert "cannot be changed" in crewd.said()
    assert row(crewd, "new")["maxBytes"] == 64
    until(lambda: row(crewd, "c") is None, "what is empty is gone")
    assert row(crewd, "b")["leaving"]
    assert refused(crewd, "Put", name="b", item=1, block=False)[0] == "NoSuchQueue"
    assert "removed from the configuration" in crewd.ctl("queue", "put", "b", "x", code=4).stderr
    crewd.kill_manager()
    assert row(crewd, "b").items() >= {"leaving": True, "qsize": 1}.items()
    assert Ring(library, attach(crewd, "b")).get() == b"1"
    until(lambda: row(crewd, "b") is None, "it is gone when it is empty, whoever emptied it")


@pytest.mark.parametrize("text, said", [
    ('queue "q" { kind = "shared" max-bytes = 63 }', 'max-bytes = "63": must be at least 64 for kind "shared"'),
    ('queue "q" { kind = "shared" durable = true }', "durable"),
    ('queue "q" { kind = "shared" dead = "d" } queue "d" {}', 'dead = "d": is for kind = "manager"'),
    ('queue "q" { kind = "shared" path = "/x" }', 'path = "/x": the memory of a queue has no file; remove it'),
    ('queue "q" { dead = "d" } queue "d" { kind = "shared" }', 'must be a queue of kind "manager"'),
    ("\n".join(f'queue "q{i}" {{ kind = "shared" }}' for i in range(257)), "at most 256 queues may be of that kind"),
])
def test_what_cannot_be(crewd, text, said):
    crewd.start("")
    crewd.write(text)
    assert said in crewd.ctl("reload", code=78).stderr


def test_as_many_as_may_be(crewd):
    crewd.start("")
    with crewd.varlink() as v:
        for i in range(256):
            v.call(Q + "Create", name=f"q{i}", kind="shared", maxBytes=4096)
        with pytest.raises(VarlinkError) as caught:
            v.call(Q + "Create", name="more", kind="shared")
        assert caught.value.name == "io.crewd.Manager.Busy"
        v.call(Q + "Put", name="q200", item=7, block=False)
        v.call(Q + "Delete", name="q7")
        v.call(Q + "Create", name="more", kind="shared")
    crewd.kill_manager()
    assert len(crewd.call(Q + "List")["queues"]) == 256
    assert get(crewd, "q200") == 7


def test_somebody_writes_over_the_memory(crewd):
    crewd.start(SHARED)
    put(crewd, "jobs", 1, 2)
    fd = attach(crewd)
    os.pwrite(fd, b"\xff" * 4096, 4096)  # the ring: records that are none
    assert refused(crewd, "Get", name="jobs", block=False)[0] == "BackendUnavailable"
    os.pwrite(fd, os.urandom(4096), 0)  # all the rest, what makes it a queue too
    for method, more in (("Get", {"block": False}), ("Put", {"item": 1, "block": False}), ("Qsize", {}), ("IsFull", {})):
        try:
            crewd.call(Q + method, name="jobs", **more)
        except VarlinkError as e:
            assert e.name.rsplit(".", 1)[1] in ("BackendUnavailable", "Empty", "Full")
    crewd.kill_manager()
    assert "written over" in crewd.said()
    put(crewd, "jobs", 3)
    assert get(crewd, "jobs") == 3
    os.close(fd)


def kill_some(rng, running):
    for p in running:
        if rng.random() < 0.3:
            p.send_signal(signal.SIGKILL)


def test_participants_are_killed_at_random(crewd):
    """Every put that returned is got once, unless whoever got it was killed with it in hand; none is got twice."""
    crewd.start('queue "jobs" { kind = "shared" maxsize = 20 }')
    rng, stop, lock = random.Random(7), threading.Event(), threading.Lock()
    got, dead, failed = collections.Counter(), [0], []

    def consume(seed):
        mine = random.Random(seed)
        while not stop.is_set():
            p = crewd.popen("queue", "get", "--timeout", "0.5", "jobs")
            if mine.random() < 0.3:
                try:
                    p.wait(mine.random() * 0.05)
                except subprocess.TimeoutExpired:
                    p.kill()
            out = p.communicate(timeout=DEADLINE)[0]
            with lock:
                if out:
                    got[out.strip()] += 1
                elif p.returncode == -signal.SIGKILL:
                    dead[0] += 1
                elif p.returncode not in (0, 75):
                    failed.append(p.returncode)

    threads = [threading.Thread(target=consume, args=(rng.random(),)) for _ in range(3)]
    for t in threads:
        t.start()
    returned, maybe = [], []
    for i in range(0, 200, 4):
        running = [crewd.popen("queue", "put", "jobs", str(n)) for n in range(i, i + 4)]
        kill_some(rng, running)
        for n, p in zip(range(i, i + 4), running):
            p.communicate(timeout=DEADLINE)
            (returned if p.returncode == 0 else maybe).append(str(n))
            if p.returncode not in (0, -signal.SIGKILL):
                failed.append(p.returncode)
    until(lambda: row(crewd, "jobs")["qsize"] == 0, "all is got")
    stop.set()
    for t in threads:
        t.join(DEADLINE)
    assert not failed
    assert not [n for n, count in got.items() if count > 1]
    assert set(got) <= set(returned) | set(maybe)
    assert len(set(returned) - set(got)) <= dead[0]
    crewd.ctl("queue", "put", "jobs", "the lock is free")
    assert crewd.ctl("queue", "get", "jobs").stdout == "the lock is free\n"


def has_put(crewd):
    try:
        put(crewd, "jobs", 1)
    except VarlinkError as e:
        assert e.name == Q + "Full"
        return False
    return True


def test_a_producer_stands_still_in_a_put(crewd, library):
    """The loop goes on: a put by the daemon waits some milliseconds at most, and not each time."""
    crewd.start('queue "jobs" { kind = "shared" } queue "other" {}')
    pid = os.fork()
    if pid == 0:
        ring = Ring(library, attach(crewd))
        while True:
            ring.put(b"x" * 60000, 0)
            try:
                ring.get(0)
            except OSError:
                pass
    try:
        for _ in range(200):
            os.kill(pid, signal.SIGSTOP)
            os.waitpid(pid, os.WUNTRACED)
            for _ in range(3):
                has_put(crewd)
            put(crewd, "other", 1)
            assert get(crewd, "other") == 1
            os.kill(pid, signal.SIGCONT)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    until(lambda: has_put(crewd), "it goes on")
