"""Pools whose tasks come from a queue, end to end: done once each, and what is left on bad days."""

import json
import pathlib

from conftest import DEADLINE, WORKERS, until

Q = "io.crewd.Queue."
POOL = "io.crewd.Pool."
PYTHON = "/usr/bin/python3"

# Notes each line in a file before it answers: `die N` kills it the first N times, `wait PATH` waits for a file.
NOTES = '''
import os, signal, sys, time
for line in iter(sys.stdin.readline, ""):
    line = line.rstrip("\\n")
    with open(sys.argv[1], "a") as f:
        f.write(line + "\\n")
    word, _, arg = line.partition(" ")
    if word == "die" and open(sys.argv[1]).read().split("\\n").count(line) <= int(arg):
        os.kill(os.getpid(), signal.SIGKILL)
    while word == "wait" and not os.path.exists(arg):
        time.sleep(0.005)
    print("error" if word == "bad" else line, flush=True)
'''


def command(*words):
    return "command = {" + ", ".join(json.dumps(str(w)) for w in words) + "}"


def notes(crewd, name="notes"):
    path = crewd.dir / name
    path.touch()
    path.chmod(0o666)
    return path


def noting(crewd, keys="", name="p", file="notes", queue="jobs"):
    script = crewd.dir / "notes.py"
    script.write_text(NOTES)
    script.chmod(0o644)
    path = notes(crewd, file)
    return (f'pool "{name}" {{ {command(PYTHON, "-I", script, path)} tasks = "lines" '
            f'queue = "{queue}" stop-timeout = 5s {keys} }}\n'), path


def put(crewd, *items, name="jobs"):
    with crewd.varlink() as v:
        for begin in range(0, len(items), 1000):
            v.call(Q + "PutMany", name=name, items=list(items[begin:begin + 1000]))


def queue(crewd, name="jobs"):
    return {q["name"]: q for q in crewd.call(Q + "List")["queues"]}[name]


def pool(crewd, name="p"):
    return {p["name"]: p for p in crewd.call(POOL + "List")["pools"]}[name]


def everything(crewd, name="jobs"):
    """Takes all that is there."""
    found = []
    while queue(crewd, name)["qsize"]:
        found += crewd.call(Q + "GetMany", name=name, max=1000)["items"]
    return found


def done(crewd, count, name="p"):
    until(lambda: pool(crewd, name)["succeeded"] == count, f"{count} are done")
    until(lambda: queue(crewd)["unfinished"] == 0, "all are said to be done")
    assert queue(crewd)["leased"] == 0 and queue(crewd)["qsize"] == 0


# ---- all is done, once -------------------------------------------------------------------------------


def test_a_thousand_lines(crewd):
    text, path = noting(crewd, "workers = 3 prefetch = 4")
    crewd.start('queue "jobs" {}\n' + text)
    assert pool(crewd)["queue"] == "jobs"
    put(crewd, *[f"n {i}" for i in range(1000)])
    crewd.ctl("queue", "join", "jobs", "--timeout", str(DEADLINE))
    done(crewd, 1000)
    assert sorted(path.read_text().splitlines()) == sorted(f"n {i}" for i in range(1000))
    assert pool(crewd)["failed"] == 0


def test_exec(crewd):
    out = notes(crewd)
    crewd.start(f'queue "jobs" {{}}\npool "p" {{ {command("/bin/sh", "-c", f"echo $0 $# >>{out}; cat >>{out}")} '
                'tasks = "exec" workers = 2 queue = "jobs" }')
    put(crewd, "one", {"args": ["two", "x"]}, {"args": ["three"], "input": "in\n"}, ["four", "y", "z"])
    crewd.ctl("queue", "put", "jobs", "five")
    done(crewd, 5)
    assert sorted(out.read_text().splitlines()) == ["five 0", "four 2", "in", "one 0", "three 0", "two 1"]


def test_jsonrpc(crewd):
    crewd.start(f'queue "jobs" {{ dead = "lost" }}\nqueue "lost" {{}}\n'
                f'pool "p" {{ {command(PYTHON, WORKERS / "echo_jsonrpc.py")} tasks = "jsonrpc" queue = "jobs" }}')
    put(crewd, *[{"method": "echo", "params": [i]} for i in range(50)])
    done(crewd, 50)
    put(crewd, {"method": "nowhere"})
    until(lambda: queue(crewd, "lost")["qsize"] == 1, "the failed one is there")
    assert everything(crewd, "lost") == [{"method": "nowhere"}]
    assert pool(crewd)["failed"] == 1


def test_own_tasks_besides(crewd):
    text, path = noting(crewd, "workers = 2")
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, *[f"q {i}" for i in range(200)])
    assert crewd.ctl("apply", "p", "mine").stdout == "mine\n"
    mapped = crewd.ctl("map", "p", stdin="".join(f"m {i}\n" for i in range(100)))
    assert mapped.stdout == "".join(f"m {i}\n" for i in range(100))
    done(crewd, 301)
    assert len(path.read_text().splitlines()) == 301


def test_no_more_than_workers_can_take(crewd):
    gate = crewd.dir / "gate"
    text, path = noting(crewd, "workers = 2 prefetch = 2")
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, *[f"wait {gate}"] * 10)
    until(lambda: queue(crewd)["leased"] == 4, "four are in hand")
    assert queue(crewd)["qsize"] == 6 and pool(crewd)["queued"] == 0
    assert crewd.call(Q + "Get", name="jobs", block=False)["item"] == f"wait {gate}"
    gate.touch()
    until(lambda: pool(crewd)["succeeded"] == 9, "the others are done")
    assert len(path.read_text().splitlines()) == 9


def test_grows_from_nothing(crewd):
    gate = crewd.dir / "gate"
    text, _ = noting(crewd, "workers = 4 min-workers = 0")
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, *[f"wait {gate}"] * 3)
    until(lambda: queue(crewd)["leased"] == 3, "three workers have one each")
    gate.touch()
    done(crewd, 3)


def test_two_pools_share(crewd):
    one, first = noting(crewd, "workers = 2", "one", "first")
    two, second = noting(crewd, "workers = 2", "two", "second")
    gate = crewd.dir / "gate"
    crewd.start('queue "jobs" {}\n' + one + two)
    put(crewd, *[f"wait {gate}"] * 6)
    until(lambda: queue(crewd)["leased"] == 4, "each has what it can take")
    assert pool(crewd, "one")["inHand"] == 2 and pool(crewd, "two")["inHand"] == 2
    gate.touch()
    put(crewd, *[f"n {i}" for i in range(500)])
    until(lambda: queue(crewd)["unfinished"] == 0, "all are done")
    both = first.read_text().splitlines() + second.read_text().splitlines()
    assert sorted(both) == sorted([f"wait {gate}"] * 6 + [f"n {i}" for i in range(500)])


def test_the_example(crewd):
    top = pathlib.Path(__file__).resolve().parents[2] / "conf/examples"
    crewd.start((top / "queues.conf").read_text().replace("socket = ", "#").replace("state-dir = ", "#"))
    crewd.ctl("queue", "put", "pictures", "a.png")
    crewd.ctl("queue", "put", "pictures", "b.png")
    crewd.ctl("queue", "put", "pictures", "")
    crewd.ctl("queue", "join", "--timeout", str(DEADLINE), "pictures")
    said = crewd.ctl("logs", "resize-1").stdout + crewd.ctl("logs", "resize-2").stdout
    assert "resizing a.png\n" in said and "resizing b.png\n" in said
    assert everything(crewd, "failed") == [""]


# ---- bad items, bad days -----------------------------------------------------------------------------


def test_bad_items(crewd):
    text, path = noting(crewd)
    dead, other = noting(crewd, "", "d", "other", "careful")
    crewd.start('queue "jobs" {}\nqueue "careful" { dead = "lost" }\nqueue "lost" {}\n' + text + dead)
    bad = [7, None, True, {"method": "m"}, {"args": "x"}, {"args": [1]}, ["a", "b"], {"unknown": 1}, "two\nlines",
           "a\0b", {"args": ["a"], "params": []}]
    for name in ("jobs", "careful"):
        put(crewd, *bad, "good", name=name)
    until(lambda: pool(crewd)["succeeded"] == 1 and pool(crewd, "d")["succeeded"] == 1, "the good ones are done")
    assert pool(crewd)["failed"] == pool(crewd, "d")["failed"] == len(bad)
    assert queue(crewd)["unfinished"] == 0 and queue(crewd, "careful")["unfinished"] == 0
    assert everything(crewd, "lost") == bad
    assert path.read_text() == other.read_text() == "good\n"
    said = crewd.said()
    assert said.count("jobs: an item is no task for pool p (") == len(bad)
    assert said.count(": it is dropped") == len(bad)
    assert said.count("careful: an item is no task for pool d (") == len(bad)
    assert said.count(": it goes to queue lost") == len(bad)


def test_worker_killed(crewd):
    text, path = noting(crewd, "workers = 2 retries = 2 restart-delay = 1ms")
    crewd.start('queue "jobs" { dead = "lost" }\nqueue "lost" {}\n' + text)
    put(crewd, "die 2", "die 5", *[f"n {i}" for i in range(20)])
    done(crewd, 21)
    assert everything(crewd, "lost") == ["die 5"]
    assert path.read_text().count("die 2\n") == 3 and path.read_text().count("die 5\n") == 3
    assert "jobs: the task of an item failed in pool p: killed by SIGKILL: it goes to queue lost" in crewd.said()


def test_no_worker_can_start(crewd):
    crewd.start('queue "jobs" {}\npool "p" { command = {"/nowhere/x"} tasks = "lines" queue = "jobs" '
                'workers = 2 min-workers = 0 restart-delay = 1ms restart-limit = 2 }')
    put(crewd, "a", "b", "c")
    until(lambda: pool(crewd)["queued"] == 0 and crewd.workers("p") and
          {w["state"] for w in crewd.workers("p").values()} == {"failed"}, "all have failed")
    until(lambda: queue(crewd)["qsize"] == 3, "all are back")
    assert everything(crewd) == ["a", "b", "c"]


def test_manager_killed(crewd):
    """Of a queue in the manager's memory all is lost; the pool takes what comes then."""
    gate = crewd.dir / "gate"
    text, path = noting(crewd, "workers = 2")
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, *[f"wait {gate}"] * 5)
    until(lambda: queue(crewd)["leased"] == 2, "two are in hand")
    pids = crewd.pids()
    crewd.kill_manager()
    assert queue(crewd)["qsize"] == 0 and crewd.pids() == pids
    put(crewd, *[f"n {i}" for i in range(100)])
    gate.touch()
    done(crewd, 100)
    assert sorted(line for line in path.read_text().splitlines() if line[0] == "n") == sorted(
        f"n {i}" for i in range(100))


def test_queue_deleted_and_made_again(crewd):
    gate = crewd.dir / "gate"
    text, path = noting(crewd)
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, f"wait {gate}", "gone")
    until(lambda: queue(crewd)["leased"] == 1, "one is in hand")
    crewd.ctl("queue", "delete", "jobs")
    gate.touch()
    until(lambda: "p: takes no tasks from queue jobs now: there is no such queue" in crewd.said(), "it is said")
    crewd.ctl("queue", "create", "jobs")
    put(crewd, "here")
    until(lambda: path.read_text() == f"wait {gate}\nhere\n", "it goes on")
    assert crewd.said().count("takes no tasks from") == 1


# ---- close, terminate, stop --------------------------------------------------------------------------


def test_close_and_start(crewd):
    gate = crewd.dir / "gate"
    text, path = noting(crewd)
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, f"wait {gate}", "b", "c")
    until(lambda: queue(crewd)["leased"] == 1, "one is in hand")
    crewd.call(POOL + "Close", name="p")
    gate.touch()
    crewd.ctl("join", "p", "--timeout", str(DEADLINE))
    assert queue(crewd)["qsize"] == 2 and path.read_text() == f"wait {gate}\n"
    crewd.ctl("start", "p")
    done(crewd, 3)
    assert path.read_text() == f"wait {gate}\nb\nc\n"


def test_terminate_gives_back(crewd):
    gate = crewd.dir / "gate"
    text, _ = noting(crewd, "workers = 2 prefetch = 3 stop-signal = KILL")
    crewd.start('queue "jobs" {}\n' + text)
    items = [f"wait {gate} {i}" for i in range(20)]
    put(crewd, *items)
    until(lambda: queue(crewd)["leased"] == 6, "their hands are full")
    crewd.call(POOL + "Terminate", name="p")
    until(lambda: queue(crewd)["qsize"] == 20, "all are back")
    assert everything(crewd) == items
    assert pool(crewd)["cancelled"] == 6 and queue(crewd)["leased"] == 0


def test_stop_gives_back_and_start_goes_on(crewd):
    text, path = noting(crewd, "workers = 1")
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, "a")
    done(crewd, 1)
    crewd.ctl("scale", "p", "0")
    put(crewd, "b", "c")
    until(lambda: queue(crewd)["qsize"] == 2 and queue(crewd)["waitingGet"] == 0, "nobody takes them")
    crewd.ctl("scale", "p", "1")
    done(crewd, 3)
    assert path.read_text() == "a\nb\nc\n"


def test_cancelled_tasks_do_not_come_back(crewd):
    gate = crewd.dir / "gate"
    text, path = noting(crewd, "stop-signal = KILL")
    crewd.start('queue "jobs" { dead = "lost" }\nqueue "lost" {}\n' + text)
    put(crewd, f"wait {gate}", "next")
    until(lambda: pool(crewd)["inHand"] == 1, "one is in hand")
    crewd.ctl("cancel", crewd.call(POOL + "Tasks", pool="p")["tasks"][0]["id"])
    until(lambda: pool(crewd)["succeeded"] == 1, "the next is done")
    assert everything(crewd, "lost") == [f"wait {gate}"]
    assert "next" in path.read_text()


# ---- reload ------------------------------------------------------------------------------------------


def test_reload_while_busy(crewd):
    gate = crewd.dir / "gate"
    text, path = noting(crewd)
    plain = text.replace('queue = "jobs"', "")
    queues = 'queue "jobs" {}\nqueue "more" {}\n'
    crewd.start(queues + plain)
    crewd.wait_state("p-1", "running")
    pids = crewd.pids()
    put(crewd, f"wait {gate}", "j 1", "j 2")
    put(crewd, "m 1", "m 2", name="more")
    assert queue(crewd)["waitingGet"] == 0 and "queue" not in pool(crewd)
    crewd.write(queues + text)
    assert "queue" in crewd.ctl("reload").stdout
    until(lambda: queue(crewd)["leased"] == 1, "it is taken from now")
    crewd.write(queues + text.replace('"jobs"', '"more"'))
    crewd.ctl("reload")
    gate.touch()
    until(lambda: queue(crewd, "more")["unfinished"] == 0 and queue(crewd)["unfinished"] == 2, "of the other one")
    crewd.write(queues + plain)
    crewd.ctl("reload")
    put(crewd, "m 3", name="more")
    assert crewd.ctl("apply", "p", "x").stdout == "x\n"
    assert queue(crewd, "more")["qsize"] == 1 and queue(crewd, "more")["waitingGet"] == 0
    crewd.write('queue "jobs" {}\n' + text)
    crewd.ctl("reload")
    until(lambda: queue(crewd)["unfinished"] == 0, "and back")
    assert path.read_text() == f"wait {gate}\nm 1\nm 2\nx\nj 1\nj 2\n"
    assert crewd.pids() == pids
    crewd.write(text)
    refused = crewd.ctl("reload", code=78)
    assert 'pool "p": queue = "jobs": there is no queue of that name' in refused.stderr


def test_pool_removed_gives_back(crewd):
    gate = crewd.dir / "gate"
    text, _ = noting(crewd)
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, f"wait {gate}", "b")
    until(lambda: queue(crewd)["leased"] == 1, "one is in hand")
    crewd.write('queue "jobs" {}\n')
    crewd.ctl("reload")
    gate.touch()
    until(lambda: not crewd.workers(), "its worker has ended")
    assert everything(crewd) == ["b"]
    assert queue(crewd)["unfinished"] == 1 and queue(crewd)["leased"] == 0


def test_kind_changed_gives_back(crewd):
    gate = crewd.dir / "gate"
    text, _ = noting(crewd)
    crewd.start('queue "jobs" {}\n' + text)
    put(crewd, f"wait {gate}", "b")
    until(lambda: queue(crewd)["leased"] == 1, "one is in hand")
    crewd.write('queue "jobs" {}\n' + text.replace('tasks = "lines"', 'tasks = "exec"').replace('stop-timeout = 5s', ''))
    gate.touch()
    crewd.ctl("reload")
    until(lambda: queue(crewd)["unfinished"] == 0 and pool(crewd)["inHand"] == 0, "all are done")
