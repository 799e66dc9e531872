"""Queues of the redis kind, against a real redis-server on a private socket: every verb, two crewds on one
queue, and what is left when somebody is killed, hangs, or is not there."""

import collections
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading

import pytest

from conftest import Crewd, DEADLINE, Varlink, VarlinkError, until
from test_queues import ITEMS, Q, Raw, check_that_it_waits, get, put, refused, row, waiting

SERVER = shutil.which("redis-server") or shutil.which("valkey-server")
pytestmark = pytest.mark.skipif(not SERVER, reason="redis-server is not installed (Debian: redis-server)")


class Redis:
    """A server of its own: nothing accepted is lost, whatever happens to it."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.socket = self.dir / "redis"
        self.process = None
        self.conf = {"port": "0", "unixsocket": self.socket, "unixsocketperm": "777", "dir": self.dir,
                     "appendonly": "yes", "appendfsync": "always", "save": '""', "logfile": self.dir / "redis.log"}

    def url(self, db=0):
        return f"unix://{self.socket}?db={db}"

    def begin(self):
        text = "".join(f"{k.replace('_', '-')} {v}\n" for k, v in self.conf.items())
        (self.dir / "redis.conf").write_text(text)
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([SERVER, self.dir / "redis.conf"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL)

    def start(self, **more):
        self.conf.update(more)
        self.begin()
        until(self.answers, "redis answers")
        return self

    def answers(self):
        assert self.process.poll() is None, (self.dir / "redis.log").read_text()
        try:
            return self.do("PING").startswith(("PONG", "NOAUTH"))
        except OSError:
            return False

    def do(self, *words, db=0):
        """One command; a client that shares nothing with hiredis."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(DEADLINE)
            s.connect(str(self.socket))
            with s.makefile("rwb") as f:
                for command in (("SELECT", db), words):
                    f.write(b"*%d\r\n" % len(command))
                    for word in command:
                        word = str(word).encode()
                        f.write(b"$%d\r\n%s\r\n" % (len(word), word))
                    f.flush()
                    answer = self.read(f)
                return answer

    def read(self, f):
        kind, rest = (line := f.readline().decode().rstrip("\r\n"))[:1], line[1:]
        if kind == "$":
            return None if rest == "-1" else f.read(int(rest) + 2)[:-2].decode()
        if kind == "*":
            return [self.read(f) for _ in range(int(rest))]
        return int(rest) if kind == ":" else rest

    def kill(self, sig=signal.SIGKILL):
        self.process.send_signal(sig)
        if sig in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait(DEADLINE)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(DEADLINE)


@pytest.fixture
def directory():
    d = tempfile.mkdtemp(prefix="crewd-redis-")
    os.chmod(d, 0o755)
    yield pathlib.Path(d)
    shutil.rmtree(d, ignore_errors=True)


@pytest.fixture
def redis(directory):
    r = Redis(directory)
    yield r
    r.stop()


@pytest.fixture
def crews(directory):
    """Makes crewds; each is looked at when it is dead."""
    made = []

    def make(text):
        d = directory / f"crewd-{len(made)}"
        d.mkdir(mode=0o755)
        made.append(Crewd(d))
        return made[-1].start(text)
    yield make
    for c in made:
        c.autopsy()


def queue(redis, more="", name="q"):
    return f'queue "{name}" {{\nkind = "redis"\nurl = "{redis.url()}"\n{more}\n}}\n'


def up(crewd, name="q"):
    """Redis is there, and has answered."""
    def asked():
        try:
            return crewd.call(Q + "Qsize", name=name) is not None
        except VarlinkError as e:
            assert e.name == Q + "BackendUnavailable"
            return False
    until(asked, f"{name} answers:\n{crewd.said()}")


def size(crewd):
    return crewd.call(Q + "Qsize", name="q")["qsize"]


# ---- the verbs --------------------------------------------------------------------------------------


def test_pythons_rules(crewd, redis):
    redis.start()
    crewd.start(queue(redis, "maxsize = 2"))
    assert crewd.ctl("queue", "empty", "q").stdout == "true\n"
    crewd.ctl("queue", "get", "--no-wait", "q", code=75)
    crewd.ctl("queue", "put", "q", "one")
    crewd.ctl("queue", "put", "q", "two")
    assert crewd.ctl("queue", "qsize", "q").stdout == "2\n"
    assert crewd.ctl("queue", "full", "q").stdout == "true\n"
    assert "q is full" in crewd.ctl("queue", "put", "--no-wait", "q", "x", code=75).stderr
    crewd.ctl("queue", "put", "--timeout", "0.05", "q", "x", code=75)
    assert crewd.ctl("queue", "get", "q").stdout == "one\n"
    assert crewd.ctl("queue", "get", "--no-wait", "q").stdout == "two\n"
    assert "q is empty" in crewd.ctl("queue", "get", "--timeout", "50ms", "q", code=75).stderr
    crewd.ctl("queue", "task-done", "q")
    crewd.ctl("queue", "join", "--timeout", "0.05", "q", code=124)
    crewd.ctl("queue", "task-done", "q")
    crewd.ctl("queue", "join", "q")
    crewd.ctl("queue", "task-done", "q", code=1)
    until(lambda: redis.do("XLEN", "crewd:{q}") == 0, "what was got is gone")
    assert redis.do("XPENDING", "crewd:{q}", "crewd")[0] == 0
    assert redis.do("HGET", "crewd:{q}:state", "bytes") == "0"


def test_it_waits(crewd, redis):
    redis.start()
    crewd.start(queue(redis, "maxsize = 1"))
    check_that_it_waits(crewd)


def test_items_come_back_as_they_were_written(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    up(crewd)
    raw = Raw(crewd)
    assert raw.call("PutMany", '{"name":"q","items":[%s]}' % " , ".join(ITEMS)) == f'{{"parameters":{{"put":{len(ITEMS)}}}}}'
    for item in ITEMS:
        assert raw.call("Get", '{"name":"q"}') == f'{{"parameters":{{"item":{item}}}}}'


def test_many(crewd, redis):
    redis.start()
    crewd.start(queue(redis, "maxsize = 3000"))
    up(crewd)
    items = [f"{i}" * 300 for i in range(3000)]
    for at in range(0, 3000, 500):
        assert crewd.call(Q + "PutMany", name="q", items=items[at:at + 500])["put"] == 500
    name, why = refused(crewd, "PutMany", name="q", items=[1, 2], block=False)
    assert name == "Full" and "put" not in why
    got = []
    while len(got) < 3000:
        part = crewd.call(Q + "GetMany", name="q", max=1000)["items"]
        assert part
        got += part
    assert got == items and size(crewd) == 0
    crewd.call(Q + "PutMany", name="q", items=items[:1000])
    with crewd.varlink() as v:
        v.send(Q + "PutMany", {"name": "q", "items": list(range(2500))})
        waiting(crewd, "q", waitingPut=1)
        got = []
        while len(got) < 3500:
            got += crewd.call(Q + "GetMany", name="q", max=10000)["items"]
        assert v.receive()["parameters"] == {"put": 2500}
    assert got == items[:1000] + list(range(2500))


def test_max_bytes(crewd, redis):
    redis.start()
    crewd.start(queue(redis, 'max-bytes = "1K"'))
    up(crewd)
    assert refused(crewd, "Put", name="q", item="x" * 1100)[0] == "InvalidParameter"
    put(crewd, "q", "x" * 900)
    name, why = refused(crewd, "Put", name="q", item="x" * 200, block=False)
    assert (name, why["why"]) == ("Full", "max-bytes are reached")
    assert get(crewd, "q") == "x" * 900
    put(crewd, "q", "x" * 200)


def test_leases(crewd, redis):
    redis.start()
    crewd.start(queue(redis, 'max-deliveries = 2\ndead = "dead"') + "queue dead {}")
    up(crewd)
    put(crewd, "q", "a", "b")
    with crewd.varlink() as v:
        a = v.call(Q + "Get", name="q", lease=True)
        assert (a["item"], a["deliveries"], size(crewd)) == ("a", 1, 1)
    until(lambda: size(crewd) == 2, "it is given back")
    with crewd.varlink() as v:
        a = v.call(Q + "Get", name="q", lease=True)
        assert (a["item"], a["deliveries"]) == ("a", 2)  # the head it was, the head it is
    until(lambda: crewd.call(Q + "Qsize", name="dead")["qsize"] == 1, "it is given up")
    with crewd.varlink() as v:
        b = v.call(Q + "Get", name="q", lease=True)
        assert b["item"] == "b"
        v.call(Q + "Done", lease=b["lease"])
    crewd.call(Q + "Join", name="q", timeout=DEADLINE)
    assert redis.do("XLEN", "crewd:{q}") == 0


def test_a_stream(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    up(crewd)
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "q", "lease": True, "credit": 2}, more=True)
        put(crewd, "q", 1, 2, 3)
        first = [v.receive()["parameters"] for _ in range(2)]
        assert [p["item"] for p in first] == [1, 2] and v.silent()
        crewd.call(Q + "Done", lease=first[0]["lease"])
        assert v.receive()["parameters"]["item"] == 3
    until(lambda: size(crewd) == 2, "given back")
    assert [get(crewd, "q"), get(crewd, "q")] == [2, 3]


def test_a_stream_of_many(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    up(crewd)
    with crewd.varlink() as v:
        v.send(Q + "GetMany", {"name": "q", "max": 100}, more=True)
        waiting(crewd, "q", waitingGet=1)
        crewd.call(Q + "PutMany", name="q", items=list(range(250)))
        got = []
        while len(got) < 250:
            got += v.receive()["parameters"]["items"]
        assert got == list(range(250)) and v.silent()


def test_delete(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    put(crewd, "q", 1)
    assert redis.do("XLEN", "crewd:{q}") == 1
    crewd.call(Q + "Delete", name="q")
    until(lambda: redis.do("EXISTS", "crewd:{q}", "crewd:{q}:state") == 0, "its keys are gone")
    assert refused(crewd, "Create", name="r", kind="redis")[0] == "InvalidParameter"


def test_removed_from_the_configuration(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    put(crewd, "q", 1)
    crewd.write("")
    crewd.ctl("reload")
    until(lambda: row(crewd, "q") is None, "it has left")
    crewd.write(queue(redis))
    crewd.ctl("reload")
    assert get(crewd, "q") == 1


# ---- who shares it ----------------------------------------------------------------------------------


def test_two_crewds_share_a_queue(crews, redis):
    redis.start()
    a, b = crews(queue(redis)), crews(queue(redis))
    with b.varlink() as v:
        v.send(Q + "Get", {"name": "q"})
        waiting(b, "q", waitingGet=1)
        put(a, "q", {"from": "a"})
        assert v.receive()["parameters"] == {"item": {"from": "a"}}
    put(a, "q", 1, 2)
    with a.varlink() as v:
        assert v.call(Q + "Get", name="q", lease=True)["item"] == 1
        assert size(b) == 1
    until(lambda: size(b) == 2, "given back to all")
    assert [get(b, "q"), get(b, "q")] == [1, 2]
    with a.varlink() as v:
        v.send(Q + "Join", {"name": "q"})
        waiting(a, "q", waitingJoin=1)
        for _ in range(3):
            b.call(Q + "TaskDone", name="q")
        assert v.receive() == {"parameters": {}}


def test_full_is_atomic(crews, redis):
    redis.start()
    both = [crews(queue(redis, "maxsize = 50")) for _ in range(2)]
    for c in both:
        up(c)
    results = collections.Counter()
    start = threading.Barrier(8)

    def putter(c, who):
        with c.varlink() as v:
            start.wait(DEADLINE)
            for i in range(30):
                try:
                    v.call(Q + "Put", name="q", item=[who, i], block=False)
                    results["ok"] += 1
                except VarlinkError as e:
                    results[e.name] += 1
    threads = [threading.Thread(target=putter, args=(both[n % 2], n)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(DEADLINE)
    assert results == {"ok": 50, Q + "Full": 190}
    assert size(both[0]) == 50
    items = both[1].call(Q + "GetMany", name="q", max=100)["items"]
    assert len({tuple(i) for i in items}) == 50


def test_a_crewd_is_killed_and_its_items_are_claimed(crews, redis):
    redis.start()
    a, b = crews(queue(redis)), crews(queue(redis))
    put(a, "q", "x", "y")
    with a.varlink() as v:
        assert v.call(Q + "Get", name="q", lease=True)["item"] == "x"
        a.process.kill()
        a.process.wait(DEADLINE)
    a.exitcode, a.leftovers_ok = -9, True
    assert size(b) == 1
    # the minute that it takes to believe it has passed
    (entry, consumer, *_), = redis.do("XPENDING", "crewd:{q}", "crewd", "-", "+", 10)
    redis.do("XCLAIM", "crewd:{q}", "crewd", consumer, 0, entry, "IDLE", 60000, "JUSTID")
    until(lambda: size(b) == 2, "it is claimed")
    with b.varlink() as v:
        x = v.call(Q + "Get", name="q", lease=True)
        assert (x["item"], x["deliveries"]) == ("x", 2)
        v.call(Q + "Done", lease=x["lease"])
    assert get(b, "q") == "y"


def test_the_manager_is_killed(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    put(crewd, "q", *range(100))
    crewd.kill_manager()
    up(crewd)
    assert crewd.call(Q + "GetMany", name="q", max=100)["items"] == list(range(100))


def test_what_is_held_is_not_claimed(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    put(crewd, "q", "x")
    with crewd.varlink() as v:
        x = v.call(Q + "Get", name="q", lease=True)
        (entry, consumer, *_), = redis.do("XPENDING", "crewd:{q}", "crewd", "-", "+", 10)
        redis.do("XCLAIM", "crewd:{q}", "crewd", consumer, 0, entry, "IDLE", 30000, "JUSTID")
        until(lambda: redis.do("XPENDING", "crewd:{q}", "crewd", "-", "+", 10)[0][2] < 20000, "it says so")
        assert size(crewd) == 0
        v.call(Q + "Done", lease=x["lease"])


# ---- redis is killed, hangs, is away ----------------------------------------------------------------


def test_redis_is_killed_in_the_middle(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    up(crewd)
    accepted, got = [], []
    over = threading.Event()

    def putter(who):
        with crewd.varlink() as v:
            for i in range(400):
                v.call(Q + "Put", name="q", item=[who, i])
                accepted.append((who, i))

    def getter():
        with crewd.varlink() as v:
            while not over.is_set() or size(crewd):
                try:
                    got.append(tuple(v.call(Q + "Get", name="q", timeout=0.2)["item"]))
                except VarlinkError as e:
                    assert e.name in (Q + "Empty", Q + "BackendUnavailable")
    threads = [threading.Thread(target=putter, args=(n,)) for n in range(3)]
    reader = threading.Thread(target=getter)
    for t in (*threads, reader):
        t.start()
    for n in range(1, 4):
        until(lambda n=n: len(accepted) > 250 * n, "some are put")
        redis.kill()
        redis.start()
    for t in threads:
        t.join(DEADLINE)
    assert len(accepted) == 1200
    over.set()
    reader.join(DEADLINE)
    assert set(got) == set(accepted)
    # Given out again is what was on its way when redis was killed, and no put was done twice.
    assert len(got) - len(accepted) <= 3 * 3
    for who in range(3):
        order = list(dict.fromkeys(i for w, i in got if w == who))
        assert sorted(order) == list(range(400))


def test_redis_hangs(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    put(crewd, "q", 1)
    redis.kill(signal.SIGSTOP)
    with crewd.varlink() as v:
        v.send(Q + "Put", {"name": "q", "item": 2})  # waits, and is put once
        name, why = refused(crewd, "Get", name="q", block=False)
        assert (name, why["why"]) == ("BackendUnavailable", "redis does not answer")
        assert refused(crewd, "Get", name="q", timeout=0.1)[0] == "BackendUnavailable"
        assert refused(crewd, "Qsize", name="q")[0] == "BackendUnavailable"
        crewd.call("io.crewd.Manager.GetStatus")
        redis.kill(signal.SIGCONT)
        assert v.receive() == {"parameters": {}}
    assert [get(crewd, "q"), get(crewd, "q")] == [1, 2]
    assert refused(crewd, "Get", name="q", block=False)[0] == "Empty"


def test_redis_is_away_at_the_start(crewd, redis):
    crewd.start(queue(redis))
    name, why = refused(crewd, "Put", name="q", item=1, block=False)
    assert (name, why["why"]) == ("BackendUnavailable", "redis cannot be reached")
    said = crewd.ctl("queue", "put", "--timeout", "0.1", "q", "1", code=75).stderr
    assert "redis cannot be reached" in said
    with crewd.varlink() as v:
        v.send(Q + "Put", {"name": "q", "item": "late"})
        waiting(crewd, "q", waitingPut=1)
        redis.start()
        assert v.receive() == {"parameters": {}}
    assert get(crewd, "q") == "late"


def test_redis_has_no_memory_left(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    put(crewd, "q", 1)
    redis.do("CONFIG", "SET", "maxmemory", "1")
    name, why = refused(crewd, "Put", name="q", item=2, block=False)
    assert (name, why["why"]) == ("BackendUnavailable", "redis has as much memory as it may")
    assert get(crewd, "q") == 1  # which makes room
    with crewd.varlink() as v:
        v.send(Q + "Put", {"name": "q", "item": 3})
        waiting(crewd, "q", waitingPut=1)
        redis.do("CONFIG", "SET", "maxmemory", "0")
        assert v.receive() == {"parameters": {}}
    assert get(crewd, "q") == 3


def test_a_key_of_another_type(crewd, redis):
    redis.start()
    redis.do("SET", "crewd:{q}", "something else")
    crewd.start(queue(redis))
    name, why = refused(crewd, "Put", name="q", item=1, block=False)
    assert (name, why["why"]) == ("BackendUnavailable", "a key of the queue is of another type in redis")
    assert redis.do("GET", "crewd:{q}") == "something else"
    redis.do("DEL", "crewd:{q}")
    crewd.call(Q + "Put", name="q", item=1)


def test_what_others_put_there(crewd, redis):
    redis.start()
    crewd.start(queue(redis))
    up(crewd)
    redis.do("XADD", "crewd:{q}", "*", "item", "{no json")
    redis.do("XADD", "crewd:{q}", "*", "other", "field")
    redis.do("XADD", "crewd:{q}", "*", "item", '{ "a" : 1 }')
    with crewd.varlink() as v:
        assert v.call(Q + "Get", name="q", timeout=DEADLINE) == {"item": {"a": 1}}
    assert crewd.said().count("is no item, and dropped") == 2
    until(lambda: redis.do("XLEN", "crewd:{q}") == 0, "they are gone")


def test_password(crewd, redis, directory):
    redis.start(requirepass="secret")
    file = directory / "password"
    file.write_text("wrong\n")
    file.chmod(0o644)
    crewd.start(queue(redis, f'password-file = "{file}"'))
    name, why = refused(crewd, "Put", name="q", item=1, block=False)
    assert (name, why["why"]) == ("BackendUnavailable", "redis refuses the user or the password")
    file.write_text("secret\n")
    up(crewd)
    put(crewd, "q", 1)
    assert get(crewd, "q") == 1
    assert "secret" not in crewd.said()


class Liar:
    """What answers in Redis's place: `say` to every command, or nothing."""

    def __init__(self, path, *say):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        os.chmod(path, 0o777)
        self.sock.listen(16)
        self.say = say
        self.served = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        with peer:
            try:
                for part in self.say:
                    peer.recv(65536)
                    peer.sendall(part)
                self.served += 1
                while peer.recv(65536):
                    peer.sendall(self.say[-1])
            except OSError:
                pass


HELLO = b"+OK\r\n+OK\r\n"


@pytest.mark.parametrize("says", [
    [b"HTTP/1.1 400 Bad Request\r\n\r\n"], [HELLO, b"*1000000000\r\n"], [HELLO, b"*1\r\n*1\r\n*1\r\n"], [HELLO, b":1\r\n"],
    [HELLO, b"$-1\r\n"], [HELLO, b"*3\r\n:1\r\n:-1\r\n:0\r\n"], [HELLO, b"*3\r\n:1\r\n:1\r\n:1\r\n" * 50],
    [HELLO, b"*5\r\n:1\r\n:1\r\n:1\r\n:99\r\n:0\r\n"], [HELLO, b"$536870912\r\n" + b"x" * 100000], [b"-LOADING wait\r\n" * 2],
    [HELLO, b"-READONLY You can't write\r\n"], [HELLO, b"*4\r\n:1\r\n"], [b"+OK\r\n+OK\r\n+OK\r\n"],
    [HELLO, b"*6\r\n:1\r\n:1\r\n:1\r\n$3\r\n1-1\r\n:1\r\n$1\r\n5\r\n"], [b""],
])
def test_redis_lies(crewd, redis, says):
    liar = Liar(redis.socket, *says)
    crewd.start(queue(redis))
    pid = crewd.manager()
    for method, more in (("Put", {"item": 1, "timeout": 0.3}), ("Get", {"timeout": 0.3}), ("Qsize", {}),
                         ("Put", {"item": 1, "block": False}), ("TaskDone", {})):
        try:
            crewd.call(Q + method, name="q", **more)
        except VarlinkError as e:
            assert e.name.rsplit(".", 1)[1] in ("BackendUnavailable", "Full", "Empty", "TooManyDone")
    assert crewd.manager() == pid
    liar.sock.close()


# ---- the file ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("more, said", [
    ("", "needs a url"), ('url = "redis://host"', "names are not looked up"), ('url = "http://x"', "must be redis://"),
    ('url = "redis://a@127.0.0.1"', "user and password-file"), ('url = "redis://127.0.0.1:0"', "port from 1 to 65535"),
    ('url = "redis://127.0.0.1/x"', "must be redis://"), ('url = "unix://x"', "must be unix:///PATH"),
    ('url = "unix:///x?y=1"', "only ?db=DB"), ('url = "unix:///x"\nuser = "u"', "needs a password-file"),
    ('url = "unix:///x"\npath = "/x"', "is for kind"),
])
def test_the_file_is_wrong(crewd, more, said):
    crewd.write(f'queue "q" {{\nkind = "redis"\n{more}\n}}\n')
    from conftest import CREWD  # pylint: disable=import-outside-toplevel
    p = subprocess.run([CREWD, "-c", crewd.config, "-t"], capture_output=True, text=True, check=False)
    assert p.returncode == 78 and said in p.stdout + p.stderr


@pytest.mark.parametrize("url", ["redis://127.0.0.1", "redis://127.0.0.1:7000/3", "redis://[::1]:6380", "unix:///run/redis/redis.sock?db=2"])
def test_the_file_is_right(crewd, url):
    crewd.write(f'queue "q" {{\nkind = "redis"\nurl = "{url}"\nuser = "u"\npassword-file = "/p"\n}}\n')
    from conftest import CREWD  # pylint: disable=import-outside-toplevel
    p = subprocess.run([CREWD, "-c", crewd.config, "-t", "-v"], capture_output=True, text=True, check=True)
    for line in (f'url = "{url}"', 'user = "u"', 'password-file = "/p"'):
        assert line in p.stdout
