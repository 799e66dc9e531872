"""Queues of the manager's kind, end to end: Python's rules, leases, streams, and what is left when somebody dies."""

import collections
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

from conftest import CREWCTL, DEADLINE, Varlink, VarlinkError, until

Q = "io.crewd.Queue."
MiB = 1024 * 1024
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def refused(crewd, method, **parameters):
    with pytest.raises(VarlinkError) as caught:
        crewd.call(Q + method, **parameters)
    return caught.value.name.rsplit(".", 1)[1], caught.value.parameters


def put(crewd, name, *items):
    for item in items:
        crewd.call(Q + "Put", name=name, item=item, block=False)


def get(crewd, name):
    return crewd.call(Q + "Get", name=name, block=False)["item"]


def row(crewd, name):
    return {q["name"]: q for q in crewd.call(Q + "List")["queues"]}.get(name)


def waiting(crewd, name, **counts):
    until(lambda: row(crewd, name).items() >= counts.items(), f"{name} has {counts}")


# ---- crewctl ----------------------------------------------------------------------------------------


def test_crewctl_has_pythons_rules(crewd):
    crewd.start('queue "orders" { maxsize = 2 }')
    assert crewd.ctl("queue", "empty", "orders").stdout == "true\n"
    assert crewd.ctl("queue", "get", "--no-wait", "orders", code=75).stdout == ""
    assert crewd.ctl("queue", "put", "orders", "one").stdout == ""
    crewd.ctl("queue", "put", "orders", stdin="two\n")
    assert crewd.ctl("queue", "qsize", "orders").stdout == "2\n"
    assert crewd.ctl("queue", "full", "orders").stdout == "true\n"
    assert "orders is full" in crewd.ctl("queue", "put", "--no-wait", "orders", "x", code=75).stderr
    crewd.ctl("queue", "put", "--timeout", "0.05", "orders", "x", code=75)
    assert crewd.ctl("queue", "get", "orders").stdout == "one\n"
    assert crewd.ctl("queue", "get", "orders").stdout == "two\n"
    assert "orders is empty" in crewd.ctl("queue", "get", "--timeout", "50ms", "orders", code=75).stderr
    crewd.ctl("queue", "task-done", "orders")
    crewd.ctl("queue", "join", "--timeout", "0.05", "orders", code=124)
    crewd.ctl("queue", "task-done", "orders")
    crewd.ctl("queue", "join", "orders")
    crewd.ctl("queue", "task-done", "orders", code=1)


def test_crewctl_makes_and_deletes(crewd):
    crewd.start("")
    for verb in ("put", "get", "qsize", "empty", "full", "task-done", "join", "delete"):
        said = crewd.ctl("queue", verb, "none", code=4).stderr
        assert said == "crewctl: no such queue: none\n"
    crewd.ctl("queue", "create", "a", "--maxsize", "1")
    crewd.ctl("queue", "create", "a", code=1)
    crewd.ctl("queue", "create", "a b", code=2)
    crewd.ctl("queue", "create", "b", "--kind", "disk", code=2)
    crewd.ctl("queue", "create", "b", "--dead", "b", code=2)
    crewd.ctl("queue", "create", "b", "--maxsize", "-1", code=2)
    crewd.ctl("queue", "create", "b", "--max-bytes", "1K", "--dead", "a", "--max-deliveries", "2")
    b = row(crewd, "b")
    assert (b["maxBytes"], b["dead"], b["maxDeliveries"], b["maxsize"]) == (1024, "a", 2, 0)
    crewd.ctl("queue", "put", "a", "x")
    table = [line.split() for line in crewd.ctl("queue", "list").stdout.splitlines()]
    assert table[1:] == [["a", "manager", "1", "1", "3B", "0", "1", "0"],
                         ["b", "manager", "0", "-", "0B", "0", "0", "0"]]
    assert [q["name"] for q in json.loads(crewd.ctl("--json", "queue", "list").stdout)["queues"]] == ["a", "b"]
    crewd.ctl("queue", "delete", "a", "b")
    assert crewd.call(Q + "List") == {"queues": []}


@pytest.mark.parametrize("words, said", [
    (["queue"], "queue what"), (["queue", "nod"], "no such verb: queue nod"), (["queue", "put"], "something is missing"),
    (["queue", "put", "--no-wait", "--timeout", "1", "q", "x"], "do not go together"),
    (["queue", "get", "q", "x"], "unexpected argument x"),
    (["queue", "put", "--json-item", "q", "{"], "not JSON"),
    (["queue", "create", "--max-bytes", "much", "q"], "is no size"),
])
def test_crewctl_is_called_in_a_wrong_way(crewd, words, said):
    crewd.start("queue q {}")
    assert said in crewd.ctl(*words, code=2).stderr


@pytest.mark.parametrize("item, printed", [
    ('"a string"', "a string"), ('"tab\\tand \\u00e9\\ud83d\\ude00"', "tab\tand é😀"), ('""', ""), ("null", "null"),
    ('{ "b" : [1, 2.50, -0] }', '{"b":[1,2.50,-0]}'), ("0.1", "0.1"), ("12345678901234567890123", "12345678901234567890123"),
    ("1e400", "1e400"), ('"1e400"', "1e400"), ("true", "true"),
])
def test_crewctl_prints_items(crewd, item, printed):
    crewd.start("queue q {}")
    crewd.ctl("queue", "put", "--json-item", "q", item)
    crewd.ctl("queue", "put", "--json-item", "q", stdin=item + "\n")
    assert crewd.ctl("queue", "get", "q").stdout == printed + "\n"
    assert json.loads(crewd.ctl("--json", "queue", "get", "q").stdout) == {"item": json.loads(item)}


def check_that_it_waits(crewd):
    """crewctl's put, get and join, of a queue "q" that holds one item."""
    getter = crewd.popen("queue", "get", "q")
    waiting(crewd, "q", waitingGet=1)
    crewd.ctl("queue", "put", "q", "1")
    assert getter.communicate(timeout=DEADLINE)[0] == "1\n" and getter.returncode == 0
    crewd.ctl("queue", "put", "q", "2")
    putter = crewd.popen("queue", "put", "q", "3")
    waiting(crewd, "q", waitingPut=1)
    assert crewd.ctl("queue", "get", "q").stdout == "2\n"
    assert putter.wait(DEADLINE) == 0
    joiner = crewd.popen("queue", "join", "q")
    waiting(crewd, "q", waitingJoin=1)
    for _ in range(3):
        crewd.ctl("queue", "task-done", "q")
    assert joiner.wait(DEADLINE) == 0
    for p in (putter, joiner):
        p.communicate()


def test_crewctl_waits(crewd):
    crewd.start('queue "q" { maxsize = 1 }')
    check_that_it_waits(crewd)
    deleted = [crewd.popen("queue", verb, "q", *more) for verb, more in (("put", ["4"]), ("join", []))]
    waiting(crewd, "q", waitingPut=1)
    crewd.ctl("queue", "delete", "q")
    assert [p.wait(DEADLINE) for p in deleted][0] == 4
    for p in deleted:
        p.communicate()


def test_the_example(crewd):
    top = pathlib.Path(__file__).resolve().parents[2] / "conf/examples"
    crewd.start((top / "queues.conf").read_text().replace('socket = ', '#').replace('state-dir = ', '#'))
    crewd.call(Q + "Create", name="small", maxsize=2)
    env = dict(os.environ, PATH=f"{pathlib.Path(CREWCTL).parent}:{os.environ['PATH']}")
    done = subprocess.run([top / "queues.sh", crewd.socket, "small", "15"], env=env, capture_output=True,
                          text=True, timeout=DEADLINE * 3, check=True)
    got = [line.split(": ")[1] for line in done.stdout.splitlines()]
    assert sorted(got) == sorted(f"{who} {i}" for who in ("red", "blue") for i in range(1, 16))
    assert done.stderr == ""
    assert row(crewd, "small")["unfinished"] == 0


# ---- items ------------------------------------------------------------------------------------------

ITEMS = ["null", "true", "[]", "{}", '""', "0", "-0", "-0.0", "0.1", "1.10", "1E5", "1e-5", "3.141592653589793238462643",
         "9007199254740993", "18446744073709551616", "-123456789012345678901234567890", "1e400", "-1E+999",
         '"\\u0000"', '"a\\u0000b\\u001f"', '"\\ud83d\\ude00 é €"', '"é"', '"\\/\\"\\\\"', '{"a":{"item":[0.1,{"item":-0}]}}',
         '{"":1,"\\u0061":2}', '[1e400,"1e400",0.10]', '"' + "x" * 100000 + '"']


class Raw:
    """Calls and replies as bytes: no parser comes between."""

    def __init__(self, crewd):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(crewd.socket))
        self.buffer = b""

    def send(self, text):
        self.sock.sendall(text.encode() + b"\0")

    def receive(self):
        while b"\0" not in self.buffer:
            part = self.sock.recv(MiB)
            if not part:
                return None
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        return text.decode()

    def call(self, method, parameters):
        self.send(f'{{"method":"{Q}{method}","parameters":{parameters}}}')
        return self.receive()


def test_items_come_back_as_they_were_written(crewd):
    crewd.start("queue q {}")
    raw = Raw(crewd)
    for item in ITEMS:
        assert raw.call("Put", f'{{"item": {item}, "name":"q"}}') == '{"parameters":{}}', item
    for item in ITEMS:
        assert raw.call("Get", '{"name":"q"}') == f'{{"parameters":{{"item":{item}}}}}'
    assert raw.call("PutMany", '{"name":"q","it\\u0065ms" : [ %s ] }' % " , ".join(ITEMS)) == \
        f'{{"parameters":{{"put":{len(ITEMS)}}}}}'
    assert raw.call("GetMany", '{"name":"q","max":1000}') == '{"parameters":{"items":[%s]}}' % ",".join(ITEMS)
    # white space between the parts is nobody's; in strings it is
    raw.call("Put", '{"name":"q","item":\n{ "a b" :\t[ 1 ,\r2 , " x " ] } }')
    assert raw.call("Get", '{"name":"q"}') == '{"parameters":{"item":{"a b":[1,2," x "]}}}'


def test_numbers_too_large_are_for_items_only(crewd):
    crewd.start("queue q {}")
    raw = Raw(crewd)
    assert "InvalidParameter" in raw.call("Put", '{"name":"q","item":1,"timeout":1e400}')
    assert "InvalidParameter" in raw.call("Put", '{"name":18446744073709551616,"item":1}')
    assert raw.call("Get", '{"name":"q","timeout":1e400}') is None  # as any call that is malformed
    assert Raw(crewd).call("Create", '{"name":"r","maxsize":18446744073709551616}') is None
    assert crewd.call(Q + "Qsize", name="q") == {"qsize": 0}


def test_what_is_no_item(crewd):
    crewd.start("queue q {}")
    for parameters in ({"name": "q"}, {"item": 1}, {"name": "q", "item": 1, "more": 1},
                       {"name": "q", "item": 1, "block": 0}, {"name": "q", "item": 1, "timeout": -1}):
        assert refused(crewd, "Put", **parameters)[0] == "InvalidParameter"
    for parameters in ({"name": "q"}, {"name": "q", "items": 1}, {"name": "q", "items": [1] * 10001}):
        assert refused(crewd, "PutMany", **parameters)[0] == "InvalidParameter"
    for parameters in ({"name": "q"}, {"name": "q", "max": 0}, {"name": "q", "max": 10001}):
        assert refused(crewd, "GetMany", **parameters)[0] == "InvalidParameter"
    for broken in ('"\\ud800"', "01", "[1", "nil", '{"a":1,"a":2}'):
        assert Raw(crewd).call("Put", f'{{"name":"q","item":{broken}}}') is None
    assert crewd.call(Q + "Qsize", name="q") == {"qsize": 0}


def test_items_at_the_bounds(crewd):
    crewd.start("queue q {}")
    frame = f'{{"method":"{Q}Put","parameters":{{"name":"q","item":""}}}}'
    largest = "x" * (MiB - len(frame))
    raw = Raw(crewd)
    assert raw.call("Put", f'{{"name":"q","item":"{largest}"}}') == '{"parameters":{}}'
    assert get(crewd, "q") == largest
    assert Raw(crewd).call("Put", f'{{"name":"q","item":"x{largest}"}}') is None
    deep = "[" * 62 + "]" * 62
    assert raw.call("Put", f'{{"name":"q","item":{deep}}}') == '{"parameters":{}}'
    assert crewd.ctl("queue", "get", "q").stdout == deep + "\n"
    crewd.ctl("queue", "put", "--json-item", "q", deep)
    assert raw.call("GetMany", '{"name":"q","max":1}') == f'{{"parameters":{{"items":[{deep}]}}}}'
    assert Raw(crewd).call("Put", f'{{"name":"q","item":[{deep}]}}') is None
    assert "nested too deeply" in crewd.ctl("queue", "put", "--json-item", "q", f"[{deep}]", code=2).stderr
    assert "too long" in crewd.ctl("queue", "put", "q", stdin="x" * MiB, code=1).stderr
    crewd.call(Q + "Create", name="tight", maxBytes=100)
    put(crewd, "tight", "x" * 98)
    assert crewd.call(Q + "IsFull", name="tight") == {"full": True}
    assert refused(crewd, "Put", name="tight", item="", block=False)[0] == "Full"
    assert refused(crewd, "Put", name="tight", item="x" * 99, timeout=9) == \
        ("InvalidParameter", {"parameter": "item", "why": "no item longer than the queue's max-bytes"})


def test_many(crewd):
    crewd.start('queue "q" { maxsize = 5 }')
    assert crewd.call(Q + "PutMany", name="q", items=[]) == {"put": 0}
    assert refused(crewd, "PutMany", name="q", items=list(range(8)), block=False) == ("Full", {"name": "q", "put": 5})
    assert crewd.call(Q + "GetMany", name="q", max=3) == {"items": [0, 1, 2]}
    with crewd.varlink() as v, crewd.varlink() as w:
        v.send(Q + "PutMany", {"name": "q", "items": list(range(10, 20))})
        waiting(crewd, "q", waitingPut=1, qsize=5)
        w.send(Q + "Put", {"name": "q", "item": "after"})
        waiting(crewd, "q", waitingPut=2)
        got = []
        while len(got) < 13:
            got += crewd.call(Q + "GetMany", name="q", max=4)["items"]
        assert got == [3, 4, *range(10, 20), "after"]
        assert v.receive() == {"parameters": {"put": 10}}
        assert w.receive() == {"parameters": {}}
    assert refused(crewd, "GetMany", name="q", max=2, timeout=0.05)[0] == "Empty"
    crewd.call(Q + "Create", name="large")
    put(crewd, "large", *["x" * 700000] * 3)
    assert len(crewd.call(Q + "GetMany", name="large", max=3)["items"]) == 1  # 1 MiB of text at most


def connected(crewd):
    """A client, also when more come than the daemon accepts in one turn."""
    def attempt():
        try:
            return crewd.varlink()
        except BlockingIOError:
            return None
    return until(attempt, "there is room in the backlog")


# ---- who waits --------------------------------------------------------------------------------------


def test_first_come_first_served(crewd):
    crewd.start("queue q {}")
    clients = [crewd.varlink() for _ in range(10)]
    for i, c in enumerate(clients):
        c.send(Q + "Get", {"name": "q"})
        waiting(crewd, "q", waitingGet=i + 1)
    clients[3].sock.close()
    waiting(crewd, "q", waitingGet=9)
    put(crewd, "q", *range(10))
    assert [c.receive()["parameters"]["item"] for c in clients[:3] + clients[4:]] == list(range(9))
    assert get(crewd, "q") == 9


def test_times_of_many(crewd):
    crewd.start('queue "q" { maxsize = 1 }')
    put(crewd, "q", 0)
    patient = [crewd.varlink() for _ in range(6)]
    for i, c in enumerate(patient):
        c.send(Q + "Put", {"name": "q", "item": i + 1})
        waiting(crewd, "q", waitingPut=i + 1)
    hasty = [crewd.varlink() for _ in range(6)]
    for i, c in enumerate(hasty):
        c.send(Q + "Put", {"name": "q", "item": "late", "timeout": 0.05 * (6 - i)})
    for c in hasty:
        assert c.receive() == {"error": Q + "Full", "parameters": {"name": "q"}}
    assert [crewd.call(Q + "Get", name="q")["item"] for _ in range(7)] == list(range(7))
    for c in patient:
        assert c.receive() == {"parameters": {}}


def test_a_thousand_wait(crewd):
    crewd.start("queue q {}")
    clients = [connected(crewd) for _ in range(950)]
    for c in clients:
        c.send(Q + "Get", {"name": "q"})
    waiting(crewd, "q", waitingGet=950)
    for c in clients[::2]:
        c.sock.close()
    waiting(crewd, "q", waitingGet=475)
    assert crewd.call(Q + "PutMany", name="q", items=list(range(475))) == {"put": 475}
    assert sorted(c.receive()["parameters"]["item"] for c in clients[1::2]) == list(range(475))
    assert crewd.call(Q + "IsEmpty", name="q") == {"empty": True}


def test_a_call_behind_one_that_waits(crewd):
    crewd.start("queue q {}")
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "q"})
        v.send(Q + "Put", {"name": "q", "item": 2})  # not begun before the first is answered
        v.send(Q + "Get", {"name": "q"})
        waiting(crewd, "q", waitingGet=1)
        put(crewd, "q", 1)
        assert [v.receive()["parameters"] for _ in range(3)] == [{"item": 1}, {}, {"item": 2}]


def test_oneway(crewd):
    crewd.start('queue "q" { maxsize = 2 }')
    with crewd.varlink() as v:
        v.send(Q + "Put", {"name": "q", "item": 1}, oneway=True)
        v.send(Q + "Get", {"name": "q"}, oneway=True)  # nobody would have the item
        v.send(Q + "PutMany", {"name": "q", "items": [2, 3, 4]}, oneway=True)
        assert v.call(Q + "Qsize", name="q") == {"qsize": 2}
        v.send(Q + "Join", {"name": "q"}, oneway=True)
    assert [get(crewd, "q"), get(crewd, "q")] == [1, 2]
    assert row(crewd, "q")["waitingPut"] == 0


def test_delete_answers_those_who_wait(crewd):
    crewd.start('queue "q" { maxsize = 1 }')
    clients = {name: crewd.varlink() for name in ("put", "join", "stream")}
    put(crewd, "q", 1)
    clients["put"].send(Q + "Put", {"name": "q", "item": 2})
    clients["join"].send(Q + "Join", {"name": "q"})
    waiting(crewd, "q", waitingPut=1, waitingJoin=1)
    crewd.call(Q + "Delete", name="q")
    gone = {"error": Q + "NoSuchQueue", "parameters": {"name": "q"}}
    assert clients["put"].receive() == clients["join"].receive() == gone
    crewd.call(Q + "Create", name="q")
    clients["put"].send(Q + "Get", {"name": "q"})
    clients["stream"].send(Q + "Get", {"name": "q"}, more=True)
    waiting(crewd, "q", waitingGet=2)
    crewd.call(Q + "Delete", name="q")
    assert clients["put"].receive() == clients["stream"].receive() == gone


# ---- leases -----------------------------------------------------------------------------------------


def lease(client, name="q"):
    return client.call(Q + "Get", name=name, lease=True, block=False)


def test_a_lease_ends_with_its_connection(crewd):
    crewd.start("queue q {}")
    put(crewd, "q", 1, 2, 3, 4)
    with crewd.varlink() as a, crewd.varlink() as b:
        first, second, third = lease(a), lease(b), lease(a)
        assert [x["item"] for x in (first, second, third)] == [1, 2, 3]
        assert first["deliveries"] == 1
        assert row(crewd, "q").items() >= {"qsize": 1, "leased": 3, "unfinished": 4}.items()
        a.sock.close()
        waiting(crewd, "q", qsize=3, leased=1)
        again = lease(b)
        assert (again["item"], again["deliveries"]) == (1, 2)
        for done in (second, again):
            assert b.call(Q + "Done", lease=done["lease"]) == {}
        assert refused(crewd, "Done", lease=again["lease"]) == ("NoSuchLease", {"lease": again["lease"]})
        assert refused(crewd, "Done", lease=third["lease"])[0] == "NoSuchLease"
    assert [get(crewd, "q"), get(crewd, "q")] == [3, 4]
    assert row(crewd, "q")["unfinished"] == 2


def test_a_lease_holder_is_killed(crewd):
    crewd.start("queue q {}")
    put(crewd, "q", "work")
    holder = subprocess.Popen([sys.executable, "-c", f"""
import json, socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect({str(crewd.socket)!r})
s.sendall(json.dumps({{"method": "{Q}Get", "parameters": {{"name": "q", "lease": True}}}}).encode() + b"\\0")
print(s.recv(65536), flush=True)
time.sleep(1000)
"""], stdout=subprocess.PIPE)
    assert b"work" in holder.stdout.readline()
    assert row(crewd, "q").items() >= {"qsize": 0, "leased": 1}.items()
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "q", "lease": True})
        waiting(crewd, "q", waitingGet=1)
        holder.kill()
        assert v.receive()["parameters"].items() >= {"item": "work", "deliveries": 2}.items()
    holder.communicate()


def test_dead_letters(crewd):
    crewd.start('queue "q" { max-deliveries = 2 dead = "lost" } queue "lost" { maxsize = 1 }')
    put(crewd, "lost", "first")
    put(crewd, "q", "poison", "good")
    for _ in range(2):
        with crewd.varlink() as v:
            assert lease(v)["item"] == "poison"
        until(lambda: row(crewd, "q")["leased"] == 0)
    assert get(crewd, "q") == "good"
    crewd.call(Q + "TaskDone", name="q")
    assert row(crewd, "q").items() >= {"qsize": 0, "unfinished": 0}.items()
    assert [get(crewd, "lost"), get(crewd, "lost")] == ["first", "poison"]
    assert "an item was taken 2 times and never done, it goes to queue lost" in crewd.said()


def test_consumers_are_killed_at_random(crewd):
    crewd.start('queue "q" { maxsize = 20 }')
    rng = random.Random(5)
    total, seen, lock, stop = 400, collections.Counter(), threading.Lock(), threading.Event()
    failed = []

    def consume(seed):
        mine = random.Random(seed)
        try:
            while not stop.is_set():
                with crewd.varlink() as v:
                    for _ in range(mine.randrange(1, 12)):
                        try:
                            got = v.call(Q + "Get", name="q", lease=True, timeout=0.2)
                        except VarlinkError as e:
                            assert e.name == Q + "Empty"
                            break
                        if mine.random() < 0.2:
                            break  # dies with it
                        with lock:
                            seen[got["item"]] += 1
                        v.call(Q + "Done", lease=got["lease"])
        except Exception as e:  # pylint: disable=broad-except
            failed.append(e)

    threads = [threading.Thread(target=consume, args=(rng.random(),)) for _ in range(6)]
    for t in threads:
        t.start()
    for i in range(total):
        crewd.call(Q + "Put", name="q", item=i)
    crewd.call(Q + "Join", name="q", timeout=DEADLINE)
    stop.set()
    for t in threads:
        t.join(DEADLINE)
    assert not failed
    assert seen == collections.Counter(range(total))
    assert row(crewd, "q").items() >= {"qsize": 0, "leased": 0, "unfinished": 0}.items()


# ---- streams ----------------------------------------------------------------------------------------


def test_streams_share_what_comes(crewd):
    crewd.start("queue q {}")
    with crewd.varlink() as a, crewd.varlink() as b:
        a.send(Q + "Get", {"name": "q"}, more=True)
        b.send(Q + "Get", {"name": "q"}, more=True)
        waiting(crewd, "q", waitingGet=2)
        crewd.call(Q + "PutMany", name="q", items=list(range(100)))
        got = [[v.receive() for _ in range(50)] for v in (a, b)]
        assert all(r["continues"] for g in got for r in g)
        assert sorted(r["parameters"]["item"] for g in got for r in g) == list(range(100))
        a.sock.close()
        waiting(crewd, "q", waitingGet=1)
        put(crewd, "q", "for b")
        assert b.receive()["parameters"] == {"item": "for b"}


def test_a_stream_of_many(crewd):
    crewd.start("queue q {}")
    with crewd.varlink() as v:
        v.send(Q + "GetMany", {"name": "q", "max": 40}, more=True)
        waiting(crewd, "q", waitingGet=1)
        crewd.call(Q + "PutMany", name="q", items=list(range(100)))
        got = [v.receive() for _ in range(3)]
        assert all(r["continues"] for r in got)
        assert [r["parameters"]["items"] for r in got] == [list(range(40)), list(range(40, 80)), list(range(80, 100))]
        put(crewd, "q", "one")
        assert v.receive() == {"parameters": {"items": ["one"]}, "continues": True}
        crewd.call(Q + "Delete", name="q")
        assert v.receive()["error"] == Q + "NoSuchQueue"


def test_a_stream_of_many_stops_while_nobody_reads(crewd):
    crewd.start("queue q {}")
    item = "x" * 1000
    with crewd.varlink() as v:
        for _ in range(10):
            crewd.call(Q + "PutMany", name="q", items=[item] * 500)
        v.send(Q + "GetMany", {"name": "q", "max": 10}, more=True)
        v.send(Q + "Qsize", {"name": "q"})
        until(lambda: crewd.call(Q + "Qsize", name="q")["qsize"] < 5000, "it has begun")
        left = crewd.call(Q + "Qsize", name="q")["qsize"]
        assert left > 2000  # not what a client does not read
        got = 0
        while got < 5000:
            got += v.receive()["parameters"]["items"].count(item)
        assert got == 5000


def test_a_stream_ends_when_nothing_comes(crewd):
    crewd.start("queue q {}")
    put(crewd, "q", 1, 2)
    with crewd.varlink() as v:
        for more in ({"block": False}, {"timeout": 0.05}):
            v.send(Q + "Get", {"name": "q", **more}, more=True)
            assert v.receive() == {"parameters": {"item": 1}, "continues": True}
            assert v.receive() == {"parameters": {"item": 2}, "continues": True}
            assert v.receive() == {"error": Q + "Empty", "parameters": {"name": "q"}}
            put(crewd, "q", 1, 2)


def test_a_reader_that_stops_reading(crewd):
    crewd.start("queue q {}")
    large = "x" * 10000
    crewd.call(Q + "PutMany", name="q", items=[large] * 100)
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "q"}, more=True)
        taken = 0
        while taken < 2000:  # far more than a socket and the daemon keep
            before = row(crewd, "q")["qsize"]
            crewd.call(Q + "PutMany", name="q", items=[large] * 100)
            now = row(crewd, "q")["qsize"]
            taken += 100
            if now >= before + 100 and before:
                break  # it is not asked for any more
        left = row(crewd, "q")["qsize"]
        assert left >= 100, "the stream takes what nobody reads"
        total = taken + 100
        for _ in range(total):
            assert v.receive()["parameters"]["item"] == large
        assert row(crewd, "q")["qsize"] == 0
        waiting(crewd, "q", waitingGet=1)


def test_a_stream_on_loan(crewd):
    crewd.start("queue q {}")
    put(crewd, "q", *range(20))
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "q", "lease": True}, more=True)
        got = [v.receive()["parameters"] for _ in range(20)]
        assert [g["item"] for g in got] == list(range(20))
        for g in got[:5]:
            crewd.call(Q + "Done", lease=g["lease"])  # over another connection: this one is busy
        v.sock.close()
        waiting(crewd, "q", leased=0, qsize=15)
    assert crewd.call(Q + "GetMany", name="q", max=100) == {"items": list(range(5, 20))}


def test_a_stream_with_credit(crewd):
    crewd.start("queue q {}")
    put(crewd, "q", *range(6))
    for parameters, more in (({}, True), ({"lease": True}, False)):
        with crewd.varlink() as v:
            v.send(Q + "Get", {"name": "q", "credit": 2, **parameters}, more=more)
            assert v.receive()["parameters"]["parameter"] == "credit"
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "q", "lease": True, "credit": 2}, more=True)
        held = [v.receive()["parameters"] for _ in range(2)]
        assert row(crewd, "q").items() >= {"leased": 2, "qsize": 4, "waitingGet": 0}.items()
        assert get(crewd, "q") == 2  # what it does not hold is for others
        crewd.call(Q + "Done", lease=held[0]["lease"])
        held[0] = v.receive()["parameters"]
        assert held[0]["item"] == 3
        assert row(crewd, "q").items() >= {"leased": 2, "qsize": 2}.items()
        for h in held:
            crewd.call(Q + "Done", lease=h["lease"])
        assert [v.receive()["parameters"]["item"] for _ in range(2)] == [4, 5]
        crewd.call(Q + "Delete", name="q")  # also told to those who only wait for a Done
        assert v.receive() == {"error": Q + "NoSuchQueue", "parameters": {"name": "q"}}


# ---- reload, restart, permission --------------------------------------------------------------------


def test_reload(crewd):
    crewd.start('queue "a" { maxsize = 3 } queue "b" {} queue "c" {}')
    put(crewd, "a", 1, 2, 3)
    put(crewd, "b", "left", "over")
    crewd.call(Q + "Create", name="made")
    put(crewd, "made", "kept")
    crewd.write('queue "made" { maxsize = 7 } queue "a" { maxsize = 1 } queue "d" {}')
    expected = "added queue made\nchanged queue a: maxsize\nadded queue d\nremoved queue b\nremoved queue c\n"
    dry = crewd.ctl("reload", "--dry-run").stdout
    assert sorted(dry.splitlines()) == sorted(expected.splitlines())
    assert row(crewd, "d") is None and row(crewd, "a")["maxsize"] == 3
    with crewd.varlink() as v:
        v.send(Q + "Put", {"name": "b", "item": 0, "timeout": 9})
        assert v.receive() == {"parameters": {}}
    assert crewd.ctl("reload").stdout == dry
    assert [q["name"] for q in crewd.call(Q + "List")["queues"] if not q["leaving"]] == ["made", "a", "d"]
    until(lambda: row(crewd, "c") is None, "an empty queue is gone at once")
    assert row(crewd, "made").items() >= {"configured": True, "maxsize": 7, "qsize": 1}.items()
    # more items than are allowed now: none is lost, none comes in
    assert refused(crewd, "Put", name="a", item=4, block=False)[0] == "Full"
    assert [get(crewd, "a") for _ in range(3)] == [1, 2, 3]
    # what is left of a removed queue can be got
    assert row(crewd, "b")["leaving"]
    error, why = refused(crewd, "Put", name="b", item=1)
    assert error == "NoSuchQueue" and "removed from the configuration" in why["why"]
    assert "removed from the configuration, but not empty" in crewd.said()
    assert crewd.call(Q + "GetMany", name="b", max=9) == {"items": ["left", "over", 0]}
    until(lambda: row(crewd, "b") is None, "it is gone when it is empty")
    document = json.loads(crewd.ctl("--json", "reload").stdout)
    assert document["queues"] == {"added": [], "changed": [], "removed": [], "unchanged": ["made", "a", "d"]}


@pytest.mark.parametrize("there", [True, False], ids=["there", "later"])
@pytest.mark.parametrize("how", ["get", "lease", "stream"])
def test_who_went_before_it_was_served_takes_nothing(crewd, how, there):
    """All in one turn of the manager: a call, the end of its client, and an item for it."""
    crewd.start('queue "q" {}')
    parameters = {"name": "q", "lease": True} if how == "lease" else {"name": "q"}
    if there:
        put(crewd, "q", "x")
    with crewd.varlink() as getter, crewd.varlink() as putter:
        getter.call(Q + "Qsize", name="q"), putter.call(Q + "Qsize", name="q")
        os.kill(crewd.manager(), signal.SIGSTOP)
        getter.send(Q + "Get", parameters, more=how == "stream")
        getter.sock.close()
        putter.send(Q + "Put", {"name": "q", "item": "y"})
        os.kill(crewd.manager(), signal.SIGCONT)
        putter.receive()
    until(lambda: row(crewd, "q")["waitingGet"] == row(crewd, "q")["leased"] == 0, "it is gone")
    assert crewd.call(Q + "GetMany", name="q", max=9) == {"items": ["x", "y"] if there else ["y"]}


def test_a_queue_that_comes_back_while_it_leaves(crewd):
    crewd.start('queue "a" {}')
    put(crewd, "a", 1)
    crewd.write("")
    crewd.ctl("reload")
    crewd.write('queue "a" { maxsize = 2 }')
    crewd.ctl("reload")
    put(crewd, "a", 2)
    assert crewd.call(Q + "GetMany", name="a", max=9) == {"items": [1, 2]}
    assert row(crewd, "a").items() >= {"leaving": False, "maxsize": 2}.items()


def test_the_manager_is_killed(crewd):
    crewd.start('queue "conf" { maxsize = 4 } queue "gone" {}')
    crewd.call(Q + "Create", name="made", maxsize=3, maxBytes=1000, maxDeliveries=2, dead="conf")
    crewd.call(Q + "Create", name="short")
    crewd.call(Q + "Delete", name="short")
    crewd.call(Q + "Delete", name="gone")
    put(crewd, "conf", 1)
    put(crewd, "made", 1)
    crewd.call(Q + "Create", name="empty")
    getter = crewd.popen("queue", "get", "--timeout", "60", "empty")
    waiting(crewd, "empty", waitingGet=1)
    with crewd.varlink() as v:
        old = lease(v, "made")["lease"]
        crewd.kill_manager()
    assert getter.communicate(timeout=DEADLINE)[0] == "" and getter.returncode == 69  # never asked twice
    assert [q["name"] for q in crewd.call(Q + "List")["queues"]] == ["conf", "made", "empty"]
    made = row(crewd, "made")
    assert made.items() >= {"qsize": 0, "leased": 0, "maxsize": 3, "maxBytes": 1000, "maxDeliveries": 2, "dead": "conf",
                            "configured": False}.items()
    put(crewd, "made", 2)
    with crewd.varlink() as v:
        assert lease(v, "made")["lease"] != old
        assert refused(crewd, "Done", lease=old)[0] == "NoSuchLease"
    crewd.ctl("reload")  # what a client deleted is back with it
    assert row(crewd, "gone").items() >= {"configured": True}.items()
    crewd.kill_manager()
    assert row(crewd, "gone") and row(crewd, "made")


AS_OTHER = """
import json, os, socket, sys
os.setgroups([])
os.setgid(12345)
os.setuid(12345)
for method, parameters in json.loads(sys.argv[2]):
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    s.sendall(json.dumps({"method": "io.crewd.Queue." + method, "parameters": parameters}).encode() + b"\\0")
    print(method, json.loads(s.recv(65536).rstrip(b"\\0")).get("error", "ok").rsplit(".", 1)[-1])
"""


@ROOT_ONLY
def test_who_may(crewd):
    crewd.start("socket-mode = 0666\nqueue q {}")
    q = {"name": "q"}
    calls = [("List", {}), ("Qsize", q), ("IsEmpty", q), ("IsFull", q), ("Join", q),
             ("Put", {**q, "item": 1}), ("PutMany", {**q, "items": [1]}), ("Get", {**q, "block": False}),
             ("GetMany", {**q, "max": 1, "block": False}), ("TaskDone", q), ("Create", {"name": "r"}), ("Delete", q),
             ("Done", {"lease": "x-1"})]
    p = subprocess.run([sys.executable, "-c", AS_OTHER, crewd.socket, json.dumps(calls)], capture_output=True,
                       text=True, check=True)
    answers = dict(line.split() for line in p.stdout.splitlines())
    assert [m for m, a in answers.items() if a == "ok"] == ["List", "Qsize", "IsEmpty", "IsFull", "Join"]
    assert {a for m, a in answers.items() if a != "ok"} == {"PermissionDenied"}


def test_no_more_queues_than_may_be(crewd):
    crewd.start("queue q {}")
    with crewd.varlink() as v:
        for i in range(4095):
            v.call(Q + "Create", name=f"q{i}")
        with pytest.raises(VarlinkError) as caught:
            v.call(Q + "Create", name="more")
        assert caught.value.name == "io.crewd.Manager.Busy"
        assert len(v.call(Q + "List")["queues"]) == 4096
    crewd.call(Q + "Delete", name="q7")
    crewd.call(Q + "Create", name="more")
    crewd.kill_manager()
    assert len(crewd.call(Q + "List")["queues"]) == 4096


def test_the_interface_is_described(crewd):
    crewd.start("")
    with crewd.varlink() as v:
        assert "io.crewd.Queue" in v.call("org.varlink.service.GetInfo")["interfaces"]
        text = v.call("org.varlink.service.GetInterfaceDescription", interface="io.crewd.Queue")["description"]
        for line in text.splitlines():
            if line.startswith("method "):
                name = line.split()[1].split("(")[0]
                v.send(Q + name, {"no such parameter": 1})
                assert v.receive()["error"] == "org.varlink.service.InvalidParameter", name
