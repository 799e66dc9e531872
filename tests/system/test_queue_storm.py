"""Nothing lost, nothing twice: producers and consumers as processes of their own, at full speed, and killed."""

import collections
import os
import random
import subprocess
import sys

from conftest import DEADLINE, until

Q = "io.crewd.Queue."
SANITIZED = "asan" in os.environ.get("CREWD", "")

CLIENT = """
import json, os, random, socket, sys

class Varlink:
    def __init__(self):
        self.sock, self.buffer = socket.socket(socket.AF_UNIX), b""
        self.sock.connect(SOCKET)

    def send(self, method, parameters, **flags):
        call = {"method": "io.crewd.Queue." + method, "parameters": parameters, **flags}
        self.sock.sendall(json.dumps(call).encode() + b"\\0")

    def receive(self):
        while b"\\0" not in self.buffer:
            part = self.sock.recv(65536)
            if not part:
                sys.exit("the daemon closed the connection")
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\\0", 1)
        reply = json.loads(text)
        if "error" in reply:
            sys.exit(str(reply))
        return reply.get("parameters", {})

    def call(self, method, **parameters):
        self.send(method, parameters)
        return self.receive()

v = Varlink()
"""

# Puts A .. B-1, one at a time or many at once, in their order.
PRODUCER = """
at, end, rng = int(sys.argv[1]), int(sys.argv[2]), random.Random(sys.argv[1])
while at < end:
    items = list(range(at, min(end, at + rng.choice((1, 2, 10, 100, 300)))))
    if len(items) == 1:
        v.call("Put", name="q", item=at)
    else:
        v.call("PutMany", name="q", items=items)
    at += len(items)
"""

# Gets, one at a time or many at once, until it gets null; prints what it got.
CONSUMER = """
rng, got = random.Random(sys.argv[1]), []
while None not in got[-300:]:
    most = rng.choice((1, 2, 10, 100, 300))
    if most == 1:
        got.append(v.call("Get", name="q")["item"])
    else:
        got += v.call("GetMany", name="q", max=most)["items"]
for _ in range(got.count(None) - 1):
    v.call("Put", name="q", item=None)
print(*(i for i in got if i is not None), sep="\\n")
"""

# Borrows items and says Done, until it is killed; a line in the file before and behind each Done.
BORROWER = """
out, other = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND), Varlink()
v.send("Get", {"name": "q", "lease": True, "credit": 8}, more=True)
while True:
    got = v.receive()
    os.write(out, b"begun %d\\n" % got["item"])
    other.call("Done", lease=got["lease"])
    os.write(out, b"done %d\\n" % got["item"])
"""


def begin(crewd, script, *args):
    text = (CLIENT + script).replace("SOCKET", repr(str(crewd.socket)))
    return subprocess.Popen([sys.executable, "-c", text, *map(str, args)], stdout=subprocess.PIPE, text=True)


def queue(crewd):
    return crewd.call(Q + "List")["queues"][0]


def test_nothing_lost_nothing_twice(crewd):
    total = 40_000 if SANITIZED else 200_000
    crewd.start('queue "q" { maxsize = 1000 }')
    consumers = [begin(crewd, CONSUMER, n) for n in range(4)]
    producers = [begin(crewd, PRODUCER, n * total // 4, (n + 1) * total // 4) for n in range(4)]
    try:
        for p in producers:
            assert p.wait(4 * DEADLINE) == 0
        for _ in consumers:
            crewd.call(Q + "Put", name="q", item=None)
        got = [list(map(int, c.communicate(timeout=4 * DEADLINE)[0].split())) for c in consumers]
    finally:
        for p in producers + consumers:
            p.kill()
            p.communicate()
    assert sorted(i for items in got for i in items) == list(range(total))
    for items in got:  # of each producer in the order in which it put them
        for n in range(4):
            mine = [i for i in items if i * 4 // total == n]
            assert mine == sorted(mine)
    assert queue(crewd).items() >= {"qsize": 0, "bytes": 0, "leased": 0, "waitingGet": 0, "waitingPut": 0}.items()


def has_done(notes, count, borrowers):
    assert all(b.poll() is None for b in borrowers)
    return notes.read_bytes().count(b"done") > count


def test_nothing_lost_though_borrowers_are_killed(crewd):
    total, kills = (4_000, 10) if SANITIZED else (20_000, 30)
    rng = random.Random(7)
    notes = crewd.dir / "notes"
    notes.touch()
    crewd.start('queue "q" { maxsize = 500 }')
    borrowers = [begin(crewd, BORROWER, notes) for _ in range(4)]
    producers = [begin(crewd, PRODUCER, n * total // 4, (n + 1) * total // 4) for n in range(4)]
    try:
        for n in range(kills):
            until(lambda part=(n + 1) / (kills + 2): has_done(notes, part * total, borrowers), "they go on",
                  4 * DEADLINE)
            which = rng.randrange(4)
            borrowers[which].kill()
            borrowers[which].communicate()
            borrowers[which] = begin(crewd, BORROWER, notes)
        for p in producers:
            assert p.wait(4 * DEADLINE) == 0
        crewd.call(Q + "Join", name="q", timeout=DEADLINE)
        left = queue(crewd)
    finally:
        for p in producers + borrowers:
            p.kill()
            p.communicate()
    assert left.items() >= {"qsize": 0, "leased": 0, "unfinished": 0}.items()
    lines = [line.split() for line in notes.read_text().splitlines()]
    begun = collections.Counter(int(i) for what, i in lines if what == "begun")
    assert set(begun) == set(range(total))
    assert sum(begun.values()) - total <= kills  # what one had begun with, and not said to be done
    done = set()
    for what, i in lines:
        if what == "begun":
            assert i not in done, f"{i} was given out again after it was done"
        else:
            assert i not in done, f"{i} was done twice"
            done.add(i)
    assert total - len(done) <= kills  # killed after Done, and before it was noted
