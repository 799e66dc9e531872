"""Task pools end to end: what callers see, and what happens on bad days."""

import base64
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time

import pytest

from conftest import CREWD, WORKERS, Varlink, VarlinkError, exists, until

POOL = "io.crewd.Pool."
PYTHON = "/usr/bin/python3"

UPPER = '''
import sys
for line in iter(sys.stdin.readline, ""):
    print(line.rstrip("\\n").upper(), flush=True)
'''

# A worker that does what its task says: sleeps, dies, answers oddly.
ODD = '''
import os, signal, sys, time
for line in iter(sys.stdin.readline, ""):
    what, _, arg = line.rstrip("\\n").partition(" ")
    out = sys.stdout.buffer
    if what == "pid":
        out.write(b"%d\\n" % os.getpid())
    elif what == "sleep":
        time.sleep(float(arg)); out.write(b"slept\\n")
    elif what == "wait":
        while not os.path.exists(arg): time.sleep(0.005)
        out.write(b"%d\\n" % os.getpid())
    elif what == "die":
        os.kill(os.getpid(), int(arg))
    elif what == "exit":
        os._exit(int(arg))
    elif what == "half":
        out.write(b"half an ans"); out.flush(); os._exit(5)
    elif what == "after":
        out.write(b"after\\n"); out.flush(); os._exit(6)
    elif what == "twice":
        out.write(b"one\\ntwo\\n")
    elif what == "bytes":
        out.write(b"\\xff\\xfe\\n")
    elif what == "big":
        out.write(b"x" * int(arg) + b"\\n")
    elif what == "mute":
        continue
    elif what == "close":
        os.close(1); time.sleep(1000)
    else:
        out.write(line.rstrip("\\n").encode() + b"\\n")
    out.flush()
'''


def quoted(*command):
    return "{" + ", ".join(json.dumps(c) for c in command) + "}"


def pool(name, kind, command, **keys):
    lines = [f'pool "{name}" {{', f'tasks = "{kind}"', f"command = {quoted(*command)}",
             'log = "discard"']
    for key, value in keys.items():
        text = json.dumps(value) if isinstance(value, str) else str(value)
        lines.append(f"{key.replace('_', '-')} = {text}")
    return "\n".join(lines + ["}", ""])


def odd(**keys):
    return pool("odd", "lines", (PYTHON, "-c", ODD), **keys)


def begin(crewd, text):
    """Starts crewd, and waits until its workers run."""
    crewd.start(text)
    until(lambda: all(p["tasks"] == "exec" or not p["wanted"] or p["running"] >= p["workers"]
                      for p in crewd.call(POOL + "List")["pools"]), "all workers run")


def apply(crewd, name, *args, **more):
    return crewd.call(POOL + "Apply", pool=name, args=list(args), **more)["task"]


def apply_async(crewd, name, *args, **more):
    return crewd.call(POOL + "ApplyAsync", pool=name, args=list(args), **more)["id"]


def result(crewd, task, **more):
    return crewd.call(POOL + "Result", id=task, **more)["task"]


def about(crewd, name):
    return next(p for p in crewd.call(POOL + "List")["pools"] if p["name"] == name)


def balanced(crewd, name):
    p = about(crewd, name)
    return p["accepted"] == (p["queued"] + p["inHand"] + p["succeeded"] + p["failed"] +
                             p["cancelled"])


def error_of(name, function, /, *args, **more):
    with pytest.raises(VarlinkError) as e:
        function(*args, **more)
    assert e.value.name == POOL + name, e.value
    return e.value.parameters


def mapped(crewd, name, tasks, connection=None):
    """Replies to Map, by index."""
    with connection or crewd.varlink() as v:
        v.send(POOL + "Map", {"pool": name, "tasks": tasks}, more=True)
        found = {}
        while True:
            reply = v.receive()
            assert reply, "the daemon closed the connection"
            if "error" in reply:
                raise VarlinkError(reply["error"], reply.get("parameters"))
            found[reply["parameters"]["index"]] = reply["parameters"]["task"]
            if not reply.get("continues"):
                return found


# ---- exec ---------------------------------------------------------------------------------------


def test_exec_hands_on_what_ran(crewd):
    crewd.start(pool("sh", "exec", ("/bin/sh", "-c"), workers=2))
    task = apply(crewd, "sh", 'printf "%s|" "$@"', "x", "a b", "c\nd", "")
    assert task["state"] == "succeeded" and task["result"] == "a b|c\nd||"
    assert task["exitcode"] == 0 and task["attempts"] == 1 and task["worker"] == "sh-1"
    assert task["queued"] <= task["started"] <= task["finished"]
    task = apply(crewd, "sh", "echo partly; exit 3")
    assert task["state"] == "failed" and task["exitcode"] == 3 and task["result"] == "partly\n"
    assert task["error"]["message"] == "exited 3"
    assert apply(crewd, "sh", "cat", input="in put")["result"] == "in put"
    assert apply(crewd, "sh", "wc -c", input="é" * 100000)["result"].strip() == "200000"
    assert apply(crewd, "sh", "cat")["result"] == ""
    assert apply(crewd, "sh", "printf '\\377\\376'")["result"] == {
        "base64": base64.b64encode(b"\xff\xfe").decode()}


def test_exec_that_dies_or_cannot_start(crewd):
    crewd.start(pool("sh", "exec", ("/bin/sh", "-c"))
                + pool("missing", "exec", ("/no/such/program",)))
    died = error_of("WorkerDied", apply, crewd, "sh", "kill -9 $$")
    assert died["signal"] == 9 and died["worker"] == "sh-1" and died["task"]["state"] == "failed"
    assert died["why"] == "killed by SIGKILL"
    missing = error_of("WorkerDied", apply, crewd, "missing", "x")
    assert missing["why"] == "cannot run /no/such/program: No such file or directory"
    assert apply(crewd, "sh", "echo fine")["result"] == "fine\n"
    assert crewd.state("sh-1") == "stopped"


def test_exec_result_has_a_bound(crewd):
    crewd.start(pool("sh", "exec", ("/bin/sh", "-c")))
    exact = apply(crewd, "sh", "head -c 1048576 /dev/zero | tr '\\0' x")
    assert len(exact["result"]) == 1048576
    over = error_of("TooBig", apply, crewd, "sh", "yes")
    assert "1 MiB" in over["why"]
    assert apply(crewd, "sh", "echo fine")["result"] == "fine\n"


def test_exec_with_a_child_that_holds_its_output(crewd):
    crewd.start(pool("sh", "exec", ("/bin/sh", "-c"), workers=1))
    assert apply(crewd, "sh", "sleep 1000 & echo done", timeout=20)["result"] == "done\n"
    assert apply(crewd, "sh", "echo next", timeout=20)["result"] == "next\n"


def test_exec_never_more_than_workers(crewd):
    crewd.start(pool("sh", "exec", ("/bin/sh", "-c"), workers=3))
    log = crewd.dir / "log.d"
    log.mkdir(mode=0o777)
    os.chmod(log, 0o777)
    script = f'echo + >>{log}/$$; cat {log}/* | grep -c . ; sleep 0.05; rm {log}/$$'
    counts = [int(t["result"]) for t in mapped(crewd, "sh", [[script]] * 30).values()]
    assert len(counts) == 30 and max(counts) <= 3


# ---- the seed's example -------------------------------------------------------------------------


def test_apply_async_close_join(crewd):
    crewd.start(odd(workers=3))
    gate = crewd.dir / "gate"
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(10)]
    until(lambda: about(crewd, "odd")["inHand"] == 3, "three have a task")
    assert about(crewd, "odd")["queued"] == 7
    crewd.call(POOL + "Close", name="odd")
    error_of("Closed", apply, crewd, "odd", "late")
    error_of("TimedOut", crewd.call, POOL + "Join", name="odd", timeout=0.1)
    gate.touch()
    crewd.call(POOL + "Join", name="odd")
    pids = {result(crewd, i)["result"] for i in ids}
    assert len(pids) == 3
    assert about(crewd, "odd")["gate"] == "closed" and not crewd.pids()
    crewd.call("io.crewd.Worker.Start", name="odd")
    assert apply(crewd, "odd", "again")["result"] == "again"


def test_join_of_an_open_pool_is_an_error(crewd):
    crewd.start(odd() + 'pool "plain" { command = {"/bin/sleep", "1000"} log = "discard" }\n')
    error_of("StillRunning", crewd.call, POOL + "Join", name="odd")
    error_of("StillRunning", crewd.call, "io.crewd.Worker.Join", name="odd")
    assert "why" in error_of("NoSuchPool", crewd.call, POOL + "Join", name="plain")
    error_of("NoSuchPool", apply, crewd, "nowhere", "x")
    error_of("NoSuchTask", result, crewd, "nonsense")
    error_of("NoSuchTask", result, crewd, "00000000-1-1")


def test_terminate_tells_every_caller(crewd):
    crewd.start(odd(workers=2))
    gate = crewd.dir / "gate"
    with crewd.varlink() as one, crewd.varlink() as two, crewd.varlink() as three:
        for v in (one, two, three):
            v.send(POOL + "Apply", {"pool": "odd", "args": [f"wait {gate}"]})
        until(lambda: about(crewd, "odd")["queued"] == 1, "one waits")
        crewd.call(POOL + "Terminate", name="odd")
        for v in (one, two, three):
            assert v.receive()["parameters"]["task"]["state"] == "cancelled"
    assert not crewd.pids()
    crewd.call(POOL + "Join", name="odd")
    error_of("Closed", apply, crewd, "odd", "x")
    assert about(crewd, "odd")["cancelled"] == 3
    crewd.call("io.crewd.Worker.Start", name="odd")
    assert apply(crewd, "odd", "again")["result"] == "again"


def test_terminate_while_tasks_start(crewd):
    crewd.start(pool("sh", "exec", ("/bin/sh", "-c"), workers=4))
    for _ in range(20):
        ids = [apply_async(crewd, "sh", "sleep 1000") for _ in range(8)]
        crewd.call(POOL + "Terminate", name="sh")
        assert {result(crewd, i)["state"] for i in ids} == {"cancelled"}
        crewd.call("io.crewd.Worker.Start", name="sh")
    assert balanced(crewd, "sh")


# ---- jsonrpc ------------------------------------------------------------------------------------

RPC = '''
import json, os, sys
held = []
for line in iter(sys.stdin.readline, ""):
    m = json.loads(line)
    def say(**more):
        print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **more}), flush=True)
    if m["method"] == "echo":
        say(result=m.get("params"))
    elif m["method"] == "fail":
        say(error={"code": -32000, "message": "it fails", "data": {"why": 1}})
    elif m["method"] == "hold":
        held.append(m["id"])
        if len(held) == 3:
            for i in reversed(held):
                print(json.dumps({"jsonrpc": "2.0", "id": i, "result": held.index(i)}), flush=True)
            held = []
    elif m["method"] == "foreign":
        print('{"jsonrpc":"2.0","id":999999,"result":1}', flush=True)
        say(result="mine"); say(result="again")
    elif m["method"] == "junk":
        print("junk", flush=True)
    elif m["method"] == "null":
        say(result=None)
'''


def test_jsonrpc(crewd):
    crewd.start(pool("rpc", "jsonrpc", (PYTHON, "-c", RPC), prefetch=3))

    def call(**parameters):
        with crewd.varlink() as v:
            v.send(POOL + "Apply", {"pool": "rpc", **parameters})
            reply = v.receive()
        if "error" in reply:
            raise VarlinkError(reply["error"], reply["parameters"])
        return reply["parameters"]["task"]

    assert call(method="echo", args=[1, "zwei", {"drei": [3]}])["result"] == [1, "zwei",
                                                                             {"drei": [3]}]
    assert call(method="echo", params={"a": 1, "b": None})["result"] == {"a": 1, "b": None}
    assert call(method="echo")["result"] == []  # params are always there
    assert "result" in call(method="null") and call(method="null")["result"] is None
    failed = call(method="fail")
    assert failed["state"] == "failed"
    assert failed["error"] == {"message": "it fails", "code": -32000, "data": {"why": 1}}
    held = mapped(crewd, "rpc", [{"method": "hold"}] * 3)
    assert [held[i]["result"] for i in range(3)] == [0, 1, 2]
    assert call(method="foreign")["result"] == "mine"
    assert call(method="echo", args=["still there"])["result"] == ["still there"]
    bad = error_of("BadAnswer", call, method="junk")
    assert "JSON" in bad["why"]
    assert call(method="echo", args=[7])["result"] == [7]
    with pytest.raises(VarlinkError) as e:
        call(args=[1])
    assert e.value.parameters["parameter"] == "method"


# ---- map ----------------------------------------------------------------------------------------


def test_map(crewd):
    crewd.start(pool("up", "lines", (PYTHON, "-c", UPPER), workers=2, prefetch=16))
    found = mapped(crewd, "up", [f"line {i}" for i in range(5000)])
    assert len(found) == 5000
    assert all(found[i]["result"] == f"LINE {i}" for i in range(5000))
    assert mapped(crewd, "up", []) == {None: None}
    assert mapped(crewd, "up", ["a", ["b"], {"args": ["c"]}])[2]["result"] == "C"
    with pytest.raises(VarlinkError) as e:
        mapped(crewd, "up", ["fine", "not\nfine"])
    assert e.value.parameters["parameter"] == "tasks" and "index 1" in e.value.parameters["why"]
    with pytest.raises(VarlinkError) as e:
        crewd.call(POOL + "Map", pool="up", tasks=["x"])
    assert e.value.name == "org.varlink.service.ExpectedMore"


def test_map_waits_for_room(crewd):
    crewd.start(pool("up", "lines", (PYTHON, "-c", UPPER), workers=2, backlog=3))
    assert len(mapped(crewd, "up", ["x"] * 1000)) == 1000


def test_map_with_a_reader_that_is_slow(crewd):
    crewd.start(odd(workers=2))
    with crewd.varlink() as v:
        v.send(POOL + "Map", {"pool": "odd", "tasks": ["big 100000"] * 300}, more=True)
        # as much as is let through without reading, then no more tasks are begun
        settled = [None, 0]

        def comes_to_rest():
            settled[0], settled[1] = settled[1], about(crewd, "odd")["succeeded"]
            time.sleep(0.2)
            return settled[0] == settled[1] > 0
        until(comes_to_rest, "no more are begun")
        assert about(crewd, "odd")["succeeded"] < 300
        for i in range(300):
            reply = v.receive()
            assert len(reply["parameters"]["task"]["result"]) == 100000
            assert reply.get("continues", False) == (i < 299)


def test_map_whose_caller_leaves(crewd):
    crewd.start(odd(workers=2))
    gate = crewd.dir / "gate"
    with crewd.varlink() as v:
        v.send(POOL + "Map", {"pool": "odd", "tasks": [f"wait {gate}"] * 500}, more=True)
        until(lambda: about(crewd, "odd")["inHand"] == 2, "two run")
    until(lambda: about(crewd, "odd")["queued"] == 0, "what waited is taken back")
    gate.touch()
    until(lambda: about(crewd, "odd")["succeeded"] == 2, "what ran went on")
    assert balanced(crewd, "odd") and about(crewd, "odd")["cancelled"] > 0


def test_events_tell_of_tasks(crewd):
    begin(crewd, odd())
    with crewd.varlink() as v:
        v.send("io.crewd.Manager.Subscribe", more=True)
        v.receive()
        died = error_of("WorkerDied", apply, crewd, "odd", "die 9")
        seen = []
        while not seen or seen[-1]["state"] != "failed":
            event = v.receive()["parameters"]
            if event["event"] == "task":
                seen.append(event)
    assert {e["id"] for e in seen} == {died["id"]} and {e["pool"] for e in seen} == {"odd"}
    assert [e["state"] for e in seen] == ["running", "failed"]
    assert seen[-1]["why"] == "killed by SIGKILL" and seen[-1]["worker"] == "odd-1"
    stream = crewd.popen("events")
    assert stream.stdout.readline()
    task = apply(crewd, "odd", "x")
    line = ""
    while "succeeded" not in line:
        line = stream.stdout.readline()
    assert line.split()[2:] == ["odd", "task", task["id"], "succeeded", "on", "odd-1"]
    stream.terminate()
    stream.communicate()


# ---- bounds -------------------------------------------------------------------------------------


def test_full(crewd):
    begin(crewd, odd(backlog=2))
    gate = crewd.dir / "gate"
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(3)]
    full = error_of("Full", apply_async, crewd, "odd", "one too many")
    assert full["pool"] == "odd" and "backlog" in full["why"]
    error_of("Full", apply, crewd, "odd", "one too many")
    listed = crewd.call(POOL + "Tasks", pool="odd")["tasks"]
    assert [t["id"] for t in listed] == ids
    assert [t["state"] for t in listed] == ["running", "queued", "queued"]
    gate.touch()
    for i in ids:
        assert result(crewd, i)["state"] == "succeeded"
    assert apply(crewd, "odd", "room again")["result"] == "room again"


def test_hundred_thousand_wait(crewd):
    crewd.start(odd())
    gate = crewd.dir / "gate"
    text = json.dumps({"method": POOL + "ApplyAsync",
                       "parameters": {"pool": "odd", "args": [f"wait {gate}"]}}).encode() + b"\0"
    with crewd.varlink() as v:
        sender = threading.Thread(target=v.sock.sendall, args=(text * 100000,))
        sender.start()
        ids = [v.receive()["parameters"]["id"] for _ in range(100000)]
        sender.join()
    assert len(set(ids)) == 100000
    assert about(crewd, "odd")["queued"] == 99999
    with crewd.varlink() as v:
        v.send(POOL + "Tasks", {"pool": "odd"}, more=True)
        listed = []
        while True:
            reply = v.receive()
            listed += [t["id"] for t in reply["parameters"]["tasks"]]
            if not reply.get("continues"):
                break
    assert listed == ids
    for i in ids[1:1000]:
        crewd.call(POOL + "Cancel", id=i)
    assert about(crewd, "odd")["queued"] == 99000
    crewd.call(POOL + "Terminate", name="odd")
    assert about(crewd, "odd")["cancelled"] == 100000


def test_results_go_after_their_time(crewd):
    crewd.start(odd(result_ttl="100ms"))
    i = apply_async(crewd, "odd", "quick")

    def gone():
        try:
            crewd.call(POOL + "Result", id=i, timeout=0)
        except VarlinkError as e:
            return e.name == POOL + "NoSuchTask"
        return True
    until(lambda: about(crewd, "odd")["succeeded"] == 1, "it is done")
    time.sleep(0.3)
    assert gone()


# ---- workers that misbehave ---------------------------------------------------------------------


def test_a_worker_dies_and_only_its_task_fails(crewd):
    crewd.start(odd(workers=3))
    tasks = ["fine"] * 50 + ["die 9"] + ["fine"] * 49
    found = mapped(crewd, "odd", tasks)
    bad = [t for t in found.values() if t["state"] != "succeeded"]
    assert len(found) == 100 and len(bad) == 1 and bad[0] is found[50]
    assert bad[0]["error"]["name"] == POOL + "WorkerDied" and bad[0]["error"]["signal"] == 9
    assert crewd.call(POOL + "List")["pools"][0]["running"] >= 1


@pytest.mark.parametrize("what, code", [("half", 5), ("exit 7", 7), ("die 11", None)])
def test_died_of_its_task(crewd, what, code):
    crewd.start(odd())
    died = error_of("WorkerDied", apply, crewd, "odd", what, timeout=20)
    assert died.get("exitcode") == code and died["worker"] == "odd-1"
    assert died.get("signal") == (None if code else 11)
    assert apply(crewd, "odd", "next", timeout=20)["result"] == "next"


def test_dies_after_the_answer(crewd):
    crewd.start(odd())
    for _ in range(15):
        assert apply(crewd, "odd", "after", timeout=20)["result"] == "after"


def test_poison_ends_after_its_retries(crewd):
    crewd.start(odd(workers=2, retries=3, restart_limit=2, restart_delay="1ms"))
    died = error_of("WorkerDied", apply, crewd, "odd", "die 6", timeout=60)
    assert died["task"]["attempts"] == 4 and died["signal"] == 6
    for _ in range(10):
        error_of("WorkerDied", apply, crewd, "odd", "exit 1", timeout=60)
    assert apply(crewd, "odd", "the pool goes on", timeout=20)["result"] == "the pool goes on"


def test_dies_before_it_reads(crewd):
    crewd.start(pool("bad", "lines", ("/bin/sh", "-c", "exit 3"), restart_limit=2,
                     restart_delay="1ms"))
    died = error_of("WorkerDied", apply, crewd, "bad", "x", timeout=60)
    assert "exited 3" in died["why"] and died["task"]["attempts"] == 0
    error_of("WorkerDied", apply, crewd, "bad", "x", timeout=60)


def test_what_has_worked_is_not_given_up(crewd):
    """Deaths before a task was done count only until one is."""
    begin(crewd, odd(restart_limit=2, restart_delay="1ms"))

    def kill():
        pid = until(lambda: crewd.pids().get("odd-1"), "it has a process")
        os.kill(pid, signal.SIGKILL)
        until(lambda: crewd.pids().get("odd-1") not in (None, pid) and
              about(crewd, "odd")["running"] == 1, "another one runs")
    for i in range(5):
        kill()
        assert apply(crewd, "odd", f"n {i}", timeout=20)["result"] == f"n {i}"
        kill()


def test_dies_before_it_is_ready(crewd):
    crewd.start(pool("bad", "lines", ("/bin/sh", "-c", "exit 4"), restart_limit=1, ready="notify",
                     restart_delay="1ms"))
    assert "exited 4" in error_of("WorkerDied", apply, crewd, "bad", "x", timeout=60)["why"]


def test_answers_twice(crewd):
    crewd.start(odd())
    pid = apply(crewd, "odd", "pid")["result"]
    assert apply(crewd, "odd", "twice")["result"] == "one"
    # what it says cannot be told apart any more: another one takes the next
    assert apply(crewd, "odd", "next", timeout=20)["result"] == "next"
    assert apply(crewd, "odd", "pid")["result"] != pid


def test_bytes_that_are_no_text(crewd):
    crewd.start(odd())
    assert apply(crewd, "odd", "bytes")["result"] == {"base64": "//4="}
    assert apply(crewd, "odd", "big 1048576")["result"] == "x" * 1048576
    error_of("TooBig", apply, crewd, "odd", "big 1048577")
    assert apply(crewd, "odd", "next", timeout=20)["result"] == "next"


def test_a_line_without_end(crewd):
    crewd.start(pool("endless", "lines", ("/bin/sh", "-c", "read l; exec tr '\\0' x </dev/zero")))
    error_of("TooBig", apply, crewd, "endless", "go", timeout=60)
    rss = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(
        f"/proc/{crewd.manager()}/status").read_text()).group(1))
    assert rss < 65536


def test_never_answers(crewd):
    begin(crewd, odd(task_timeout="200ms", workers=2))
    pids = set(crewd.pids().values())
    over = error_of("TimedOut", apply, crewd, "odd", "mute", timeout=60)
    assert over["task"]["state"] == "failed" and "task-timeout" in over["why"]
    assert apply(crewd, "odd", "next", timeout=20)["result"] == "next"
    until(lambda: len(crewd.pids()) == 2 and set(crewd.pids().values()) != pids, "it is replaced")


def test_closes_its_output(crewd):
    crewd.start(odd(restart_delay="1ms"))
    error_of("WorkerDied", apply, crewd, "odd", "close", timeout=60)
    assert apply(crewd, "odd", "next", timeout=60)["result"] == "next"


def test_stops_reading(crewd):
    """Its pipe is full, and the daemon goes on with everything else."""
    begin(crewd, pool("stone", "lines", ("/bin/sleep", "1000"), prefetch=1000)
                + pool("up", "lines", (PYTHON, "-c", UPPER)))
    ids = [apply_async(crewd, "stone", "x" * 50000) for _ in range(40)]
    assert apply(crewd, "up", "fine")["result"] == "FINE"
    os.kill(crewd.worker("stone-1")["pid"], signal.SIGKILL)
    time.sleep(0)
    until(lambda: crewd.worker("stone-1")["pid"], "it is replaced")
    crewd.call(POOL + "Terminate", name="stone")
    assert {result(crewd, i)["state"] for i in ids} == {"cancelled"}
    assert balanced(crewd, "stone")


def test_talks_without_being_asked(crewd):
    crewd.start(pool("chatty", "lines", ("/bin/sh", "-c", "echo hello; exec cat"), restart_limit=2,
                     restart_delay="1ms"))
    until(lambda: crewd.state("chatty-1") == "failed", "it is given up")
    assert "no task asked for" in crewd.said()


# ---- cancel, owners, timeouts -------------------------------------------------------------------


def test_cancel(crewd):
    begin(crewd, odd())
    gate = crewd.dir / "gate"
    running, waiting, last = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(3)]
    pid = crewd.worker("odd-1")["pid"]
    crewd.call(POOL + "Cancel", id=waiting)
    assert result(crewd, waiting)["state"] == "cancelled"
    error_of("NoSuchTask", result, crewd, waiting)
    crewd.call(POOL + "Cancel", id=running)
    assert result(crewd, running)["state"] == "cancelled"
    gate.touch()
    assert int(result(crewd, last)["result"]) == crewd.worker("odd-1")["pid"] != pid
    assert about(crewd, "odd")["cancelled"] == 2


def test_apply_whose_time_is_over(crewd):
    crewd.start(odd())
    gate = crewd.dir / "gate"
    over = error_of("TimedOut", apply, crewd, "odd", f"wait {gate}", timeout=0.1)
    assert over["pool"] == "odd" and "task" not in over
    error_of("TimedOut", apply, crewd, "odd", "taken back", timeout=0.1)
    assert about(crewd, "odd")["cancelled"] == 1
    gate.touch()
    until(lambda: about(crewd, "odd")["succeeded"] == 1, "what ran went on")
    assert apply(crewd, "odd", "next")["result"] == "next"


def test_result_waits(crewd):
    crewd.start(odd())
    gate = crewd.dir / "gate"
    i = apply_async(crewd, "odd", f"wait {gate}")
    error_of("TimedOut", result, crewd, i, timeout=0.1)
    with crewd.varlink() as one, crewd.varlink() as two:
        for v in (one, two):
            v.send(POOL + "Result", {"id": i})
        assert one.silent() and two.silent()
        gate.touch()
        assert one.receive()["parameters"]["task"] == two.receive()["parameters"]["task"]
    error_of("NoSuchTask", result, crewd, i)


# ---- workers come and go ------------------------------------------------------------------------


def test_grows_and_shrinks(crewd):
    crewd.start(odd(workers=3, min_workers=0, idle_timeout="50ms"))
    assert not crewd.pids()
    gate = crewd.dir / "gate"
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(2)]
    until(lambda: about(crewd, "odd")["inHand"] == 2, "two have come")
    ids += [apply_async(crewd, "odd", f"wait {gate}") for _ in range(5)]
    until(lambda: about(crewd, "odd")["inHand"] == 3, "no more than three")
    gate.touch()
    assert {result(crewd, i)["state"] for i in ids} == {"succeeded"}
    until(lambda: not crewd.workers(), "all have gone")
    assert apply(crewd, "odd", "again")["result"] == "again"


def test_max_tasks_per_worker(crewd):
    crewd.start(odd(max_tasks_per_worker=3))
    pids = [apply(crewd, "odd", "pid", timeout=20)["result"] for _ in range(9)]
    assert len(set(pids)) == 3 and pids[0] == pids[2] != pids[3]
    assert about(crewd, "odd")["succeeded"] == 9


def test_reload_of_a_busy_pool(crewd):
    begin(crewd, odd(workers=2))
    gate = crewd.dir / "gate"
    old = crewd.pids()
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(4)]
    until(lambda: about(crewd, "odd")["inHand"] == 2, "both are busy")
    crewd.write(odd(workers=2, nice=1))
    crewd.call("io.crewd.Manager.Reload")
    # a new one comes first, and takes what waits
    until(lambda: "odd-3" in crewd.pids(), "a new one comes first")
    assert {crewd.pids()[n] for n in old} == set(old.values())
    gate.touch()
    done = [result(crewd, i) for i in ids]
    assert {t["state"] for t in done} == {"succeeded"}
    assert set(map(str, old.values())) <= {t["result"] for t in done}
    until(lambda: set(crewd.pids()) == {"odd-1", "odd-2"} and
          not set(crewd.pids().values()) & set(old.values()), "the old ones are replaced")


def test_reload_with_a_definition_that_does_not_work(crewd):
    begin(crewd, odd(workers=2))
    old = crewd.pids()
    crewd.write(pool("odd", "lines", ("/no/such/program",), workers=2, restart_limit=1,
                     restart_delay="1ms"))
    crewd.call("io.crewd.Manager.Reload")
    until(lambda: "has failed" in crewd.said(), "the new definition fails")
    assert apply(crewd, "odd", "still here")["result"] == "still here"
    assert {crewd.pids()[n] for n in old} == set(old.values())


def test_reload_that_removes_a_busy_pool(crewd):
    crewd.start(odd(workers=1))
    gate = crewd.dir / "gate"
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(3)]
    crewd.write(pool("other", "exec", ("/bin/echo",)))
    crewd.call("io.crewd.Manager.Reload")
    gate.touch()
    assert {result(crewd, i)["state"] for i in ids} == {"succeeded"}
    until(lambda: not crewd.workers("*") or set(crewd.workers()) == {"other-1"}, "it is drained")


def test_restart_waits_for_the_task_in_hand(crewd):
    begin(crewd, odd(workers=2))
    gate = crewd.dir / "gate"
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(2)]
    until(lambda: about(crewd, "odd")["inHand"] == 2, "both are busy")
    old = crewd.pids()
    restart = crewd.popen("restart", "odd")
    gate.touch()
    assert {result(crewd, i)["state"] for i in ids} == {"succeeded"}
    assert restart.wait(60) == 0, restart.stderr.read()
    restart.communicate()
    assert not set(old.values()) & set(crewd.pids().values())


def test_scale_down_waits_for_the_task_in_hand(crewd):
    begin(crewd, odd(workers=3))
    gate = crewd.dir / "gate"
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(3)]
    until(lambda: about(crewd, "odd")["inHand"] == 3, "all are busy")
    crewd.call(POOL + "Scale", name="odd", workers=1)
    assert len(crewd.pids()) == 3
    gate.touch()
    assert {result(crewd, i)["state"] for i in ids} == {"succeeded"}
    until(lambda: set(crewd.workers()) == {"odd-1"}, "two are gone")


def test_not_started(crewd):
    crewd.start(odd(autostart="false").replace('"false"', "false"))
    assert "not started" in error_of("Closed", apply, crewd, "odd", "x")["why"]
    crewd.call("io.crewd.Worker.Start", name="odd")
    assert apply(crewd, "odd", "x")["result"] == "x"


# ---- the manager is killed ----------------------------------------------------------------------


def test_the_manager_is_killed(crewd):
    begin(crewd, odd(workers=2) + pool("sh", "exec", ("/bin/sh", "-c"), workers=2))
    gate, done = crewd.dir / "gate", crewd.dir / "done"
    done.mkdir()
    os.chmod(done, 0o777)
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(5)]
    ids.append(apply_async(crewd, "sh", f"while [ ! -e {gate} ]; do sleep 0.01; done; >{done}/x"))
    until(lambda: about(crewd, "odd")["inHand"] == 2 and crewd.state("sh-1") == "running", "busy")
    pids = crewd.pids()
    crewd.kill_manager()
    for i in ids:
        error_of("Lost", result, crewd, i, timeout=30)
    assert crewd.pids() == pids
    gate.touch()
    until((done / "x").exists, "what ran went on")
    for i in range(20):
        assert apply(crewd, "odd", f"n {i}", timeout=30)["result"] == f"n {i}"
        assert apply(crewd, "sh", f"echo {i}", timeout=30)["result"] == f"{i}\n"
    assert len(crewd.pids()) >= 2 or until(lambda: len(crewd.pids()) == 2, "both are back")


def test_idle_workers_stay_when_the_manager_is_killed(crewd):
    begin(crewd, odd(workers=2))
    for i in range(10):
        assert apply(crewd, "odd", f"n {i}")["result"] == f"n {i}"
    pids = crewd.pids()
    crewd.kill_manager()
    for i in range(10):
        assert apply(crewd, "odd", f"n {i}", timeout=30)["result"] == f"n {i}"
    assert crewd.pids() == pids


def test_a_closed_pool_stays_closed_when_the_manager_is_killed(crewd):
    crewd.start(odd())
    crewd.call(POOL + "Close", name="odd")
    crewd.call(POOL + "Join", name="odd")
    crewd.kill_manager()
    error_of("Closed", apply, crewd, "odd", "x")
    crewd.call(POOL + "Join", name="odd", timeout=30)
    crewd.call("io.crewd.Worker.Start", name="odd")
    assert apply(crewd, "odd", "x")["result"] == "x"


def test_shutdown(crewd):
    crewd.start(odd())
    gate = crewd.dir / "gate"
    with crewd.varlink() as v:
        v.send(POOL + "Apply", {"pool": "odd", "args": [f"wait {gate}"]})
        until(lambda: about(crewd, "odd")["inHand"] == 1, "it runs")
        crewd.ctl("shutdown")
        assert v.receive()["parameters"]["task"]["state"] == "cancelled"
    crewd.process.wait(30)


def test_shutdown_join_does_what_was_accepted(crewd):
    crewd.start(odd() + pool("sh", "exec", ("/bin/sh", "-c")))
    gate, done = crewd.dir / "gate", crewd.dir / "done"
    done.mkdir()
    os.chmod(done, 0o777)
    ids = [apply_async(crewd, "odd", f"wait {gate}") for _ in range(3)]
    for i in range(3):
        apply_async(crewd, "sh", f"while [ ! -e {gate} ]; do sleep 0.01; done; >{done}/{i}")
    with crewd.varlink() as v:
        v.send(POOL + "Result", {"id": ids[-1]})
        crewd.call("io.crewd.Manager.Shutdown", join=True)
        error_of("Closed", apply, crewd, "odd", "x")
        gate.touch()
        assert v.receive()["parameters"]["task"]["state"] == "succeeded"
    crewd.process.wait(30)
    assert len(list(done.iterdir())) == 3


# ---- under fire ---------------------------------------------------------------------------------


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def memory(pid):
    """KiB that are its own: pages of the logs that all share come and go with what workers print."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", text).group(1))


def children(pid):
    return pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


SANITIZED = b"__asan_init" in pathlib.Path(CREWD).read_bytes()
KILLS = int(os.environ.get("CREW_KILLS", "200"))
GROWTH = 4096  # KiB that a heap may keep for later


def test_random_kills_under_load(crewd):
    """Every task is accounted for, every caller is answered, nothing is left behind. CREW_KILLS: how many."""
    signal.alarm(180 + KILLS)
    begin(crewd, odd(workers=4, prefetch=4, restart_delay="1ms",
                     restart_delay_max="20ms", restart_limit=0, retries=1)
                + pool("sh", "exec", ("/bin/sh", "-c"), workers=3))
    assert apply(crewd, "odd", "warm")["result"] == "warm"
    manager, keeper = crewd.manager(), crewd.process.pid
    before = descriptors(manager), descriptors(keeper)
    memory_before = memory(manager), memory(keeper)
    stop = threading.Event()
    wrong = []
    replied = [0] * 8

    def caller(seed):
        try:
            with crewd.varlink() as v:
                for n in range(1 << 30):
                    if stop.is_set():
                        return
                    name, args = (("odd", [f"t {seed} {n}"]), ("sh", [f"echo t {seed} {n}"]))[n % 5 == 0]
                    v.send(POOL + "Apply", {"pool": name, "args": args})
                    reply = v.receive()
                    text = (reply["parameters"].get("task") or {}).get("result", "").strip()
                    died = reply.get("error") == POOL + "WorkerDied"
                    if not died and text != f"t {seed} {n}":
                        wrong.append(reply)
                    replied[seed] += 1
        except Exception as e:  # pylint: disable=broad-except
            wrong.append(repr(e))

    callers = [threading.Thread(target=caller, args=(i,)) for i in range(8)]
    for c in callers:
        c.start()
    dice = random.Random(1)
    killed = 0
    while killed < KILLS and not wrong:
        # some work is done in between: else all die while they start
        target = sum(replied) + dice.randrange(20)
        until(lambda: wrong or sum(replied) >= target, "tasks go on")  # pylint: disable=W0640
        pids = [p for p in crewd.pids().values() if p]
        if not pids:
            continue
        try:
            os.kill(dice.choice(pids), signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    stop.set()
    for c in callers:
        c.join(60)
        assert not c.is_alive(), "a caller still waits"
    assert not wrong, wrong[:3]
    for name in ("odd", "sh"):
        p = about(crewd, name)
        assert p["queued"] == p["inHand"] == 0 and balanced(crewd, name)
    pools = [about(crewd, name) for name in ("odd", "sh")]
    assert sum(p["accepted"] for p in pools) == sum(replied) + 1
    assert all(p["cancelled"] == 0 for p in pools)
    until(lambda: about(crewd, "odd")["running"] == 4, "all workers are back")
    assert crewd.manager() == manager
    until(lambda: descriptors(manager) <= before[0] and descriptors(keeper) <= before[1],
          "descriptors are back")
    # the manager and four workers, none of them a zombie
    until(lambda: sorted(map(int, children(keeper))) == sorted([manager, *crewd.pids().values()]),
          "nothing else is left")
    assert all(exists(pid) for pid in children(keeper))
    grown = memory(manager) - memory_before[0], memory(keeper) - memory_before[1]
    print(f"{KILLS} kills, {sum(replied)} tasks, {sum(p['failed'] for p in pools)} of them failed; "
          f"KiB more than before: {grown[0]} in the manager, {grown[1]} in the keeper")
    assert SANITIZED or max(grown) <= GROWTH, grown  # a sanitizer keeps what is freed
