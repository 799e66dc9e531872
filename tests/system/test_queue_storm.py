"""Nothing lost, nothing twice: producers and consumers as processes of their own, at full speed, and killed.

CREW_STORM_SECONDS: how long each storm lasts. What became of it is printed (pytest -s, or -rP)."""

import collections
import itertools
import mmap
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

from conftest import DEADLINE, ROOT, until
from test_queue_redis import SERVER, Redis
from test_queue_shared import attach

Q = "io.crewd.Queue."
SANITIZED = "asan" in os.environ.get("CREWD", "")
SECONDS = float(os.environ.get("CREW_STORM_SECONDS", "2"))
EVERY = 0.02  # seconds from one SIGKILL of a participant to the next
AGAIN = 75  # exit status of a participant whose connection the daemon has closed
BY_KIND = {"manager": "", "durable": "durable = true", "shared": 'kind = "shared"', "redis": 'kind = "redis"\nurl = "URL"'}

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


# ---- every kind -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", name="program")
def build_program(tmp_path_factory):
    path = tmp_path_factory.mktemp("storm") / "storm"
    subprocess.run(["cc", "-O2", "-std=gnu11", "-D_GNU_SOURCE", "-pthread", f"-I{ROOT}", "-o", path,
                    ROOT / "tests/system/storm.c", *(ROOT / "lib").glob("shared_*.c")], check=True)
    return path


def memory():
    """A file system that does not keep the disk busy, if it has room for ledgers."""
    try:
        st = os.statvfs("/dev/shm")
        return "/dev/shm" if st.f_bavail * st.f_frsize > max(SECONDS, 10) * 50_000_000 else None
    except OSError:
        return None


class Storm:
    """Four producers and four consumers of one queue; storm.c has what they do, and the account."""

    def __init__(self, program, crewd, ring, leases):
        self.program, self.crewd = program, crewd
        self.ledger = pathlib.Path(tempfile.mkdtemp(prefix="crewd-storm-", dir=memory()))
        self.fds = [attach(crewd, "q")] if ring else []
        self.how = ("ring", *map(str, self.fds)) if ring else ("lease" if leases else "call", crewd.socket)
        with open(self.ledger / "over", "wb+") as f:
            f.truncate(4)
            self.over = mmap.mmap(f.fileno(), 4)
        self.errors = open(self.ledger / "errors", "w", encoding="utf-8")  # pylint: disable=consider-using-with
        self.lives, self.kills, self.running = itertools.count(), collections.Counter(), {}

    def begin(self, who, count=0):
        """who: put-0 ... or get-0 ..."""
        life = next(self.lives)
        args = [self.program, who[:3], *self.how, self.ledger, life, *([count] if who.startswith("put") else []), life]
        # pylint: disable-next=consider-using-with
        self.running[who] = subprocess.Popen(list(map(str, args)), stderr=self.errors, pass_fds=self.fds)

    def begin_all(self, count=0):
        for n in range(4):
            self.begin(f"get-{n}")
            self.begin(f"put-{n}", count)

    def ended(self, who):
        """Whether it has ended, as it may."""
        status = self.running[who].poll()
        assert status in (None, 0, AGAIN), f"{who}: {status}\n{(self.ledger / 'errors').read_text()}"
        return status is not None

    def replace_ended(self, role=""):
        for who in [w for w in self.running if w.startswith(role) and self.ended(w)]:
            self.begin(who)

    def kill(self, who):
        if not self.ended(who):
            self.running[who].kill()
            self.kills["participants"] += 1
            self.running[who].wait()
        self.begin(who)

    def await_end(self, role, meanwhile=lambda: None):
        def all_ended():
            meanwhile()
            return all(self.ended(w) for w in self.running if w.startswith(role))
        until(all_ended, f"all have ended: {role}", 4 * DEADLINE)
        for who in [w for w in self.running if w.startswith(role)]:
            del self.running[who]

    def finish(self):
        """Producers end, the queue becomes empty, consumers end; returns the account."""
        self.over[:4] = (1).to_bytes(4, sys.byteorder)
        self.await_end("put", lambda: self.replace_ended("get"))

        def empty():
            self.replace_ended("get")
            return self.crewd.call(Q + "Qsize", name="q")["qsize"] == 0 and queue(self.crewd)["leased"] == 0
        until(empty, "nothing is left", 4 * DEADLINE)
        self.over[:4] = (2).to_bytes(4, sys.byteorder)
        self.await_end("get")
        text = subprocess.run([self.program, "check", self.ledger], check=True, capture_output=True, text=True).stdout
        return {name: int(number) for name, number in map(str.split, text.splitlines())}

    def close(self):
        for p in self.running.values():
            p.kill()
            p.wait()
        for fd in self.fds:
            os.close(fd)
        self.errors.close()
        shutil.rmtree(self.ledger)


@pytest.fixture(name="redis")
def run_redis(request):
    if "redis" not in request.node.callspec.params["kind"]:
        yield None
        return
    if not SERVER:
        pytest.skip("redis-server is not installed (Debian: redis-server)")
    directory = tempfile.mkdtemp(prefix="crewd-redis-")
    os.chmod(directory, 0o755)
    r = Redis(directory).start()
    yield r
    r.stop()
    shutil.rmtree(directory)


@pytest.fixture(name="storm")
def start_storm(program, crewd, redis):
    made = []

    def start(kind, size, leases):
        text = BY_KIND[kind].replace("URL", redis.url() if redis else "")
        if kind != "shared":
            text += "\nmax-deliveries = 1000000"
        crewd.start(f'queue "q" {{\nmaxsize = {size}\n{text}\n}}\n')
        made.append(Storm(program, crewd, kind == "shared", leases))
        return made[0]
    yield start
    for s in made:
        s.close()


@pytest.mark.parametrize("kind", BY_KIND)
def test_nothing_lost_nothing_twice(storm, kind):
    total = 40_000 if SANITIZED else 200_000
    s = storm(kind, 1000, False)
    began = time.monotonic()
    s.begin_all(total // 4)
    s.await_end("put", lambda: s.replace_ended("get"))
    account = s.finish()
    print(f"\n{kind}: {account} in {time.monotonic() - began:.1f} s")
    assert account.items() >= {"puts": total, "gets": total, "lost": 0, "twice": 0, "invented": 0, "disorder": 0,
                               "hands": 0, "doubt": 0}.items()
    assert queue(s.crewd).items() >= {"qsize": 0, "bytes": 0, "leased": 0, "waitingGet": 0, "waitingPut": 0}.items()


class Killer:
    """Kills something other than participants, every now and then."""

    def __init__(self, storm, redis, victim, rng):
        self.storm, self.redis, self.victim, self.rng = storm, redis, victim, rng
        self.next = time.monotonic() + 0.2

    def look(self):
        if self.victim == "participants" or time.monotonic() < self.next:
            return
        if self.victim == "redis-server":
            self.redis.kill()
            self.redis.begin()
            self.next = time.monotonic() + self.rng.uniform(0.3, 1.5)
        else:
            pid = self.storm.crewd.manager()
            if not pid:
                return
            os.kill(pid, signal.SIGKILL)
            self.next = time.monotonic() + self.rng.uniform(0.05, 0.4)
        self.storm.kills[self.victim] += 1


def rage(s, killer, rng):
    end = tick = time.monotonic()
    end += SECONDS
    while tick < end:
        s.kill(rng.choice(list(s.running)))
        s.replace_ended()
        killer.look()
        tick = max(tick + EVERY, time.monotonic() - EVERY)
        time.sleep(max(0, tick - time.monotonic()))


@pytest.mark.parametrize("kind, victim", [
    ("manager", "participants"), ("durable", "participants"), ("durable", "manager"), ("shared", "participants"),
    ("shared", "manager"), ("redis", "participants"), ("redis", "redis-server")])
def test_storm(storm, redis, kind, victim):
    """A participant is killed every 20 ms; here and there the manager, or redis, as well."""
    signal.alarm(int(SECONDS) + 4 * DEADLINE + 60)
    rng = random.Random(11)
    s = storm(kind, 50, True)
    s.begin_all()
    rage(s, Killer(s, redis, victim, rng), rng)
    until(s.crewd.answers, "it answers")
    account = s.finish()
    kills = ", ".join(f"{n} {who}" for who, n in s.kills.items())
    print(f"\n{kind}, {SECONDS:g} s, killed: {kills}; {account}")
    assert account["lost"] == 0 and account["invented"] == 0
    if victim != "redis-server" and (kind, victim) != ("durable", "manager"):
        assert account["twice"] == 0  # there, what was got just before may come back
    if kind == "shared":
        assert account["disorder"] == 0
    assert max(account["hands"], account["doubt"]) <= sum(s.kills.values()) + 4 * s.kills["manager"]
    assert account["puts"] > s.kills["participants"] > 0
