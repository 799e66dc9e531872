"""Durable queues, end to end: what was answered is there again, whoever was killed, whatever the disk did."""

import collections
import os
import pathlib
import random
import shutil
import signal
import subprocess
import threading
import time

import pytest

from conftest import DEADLINE, Varlink, VarlinkError, until
from test_queues import Q, ROOT_ONLY, get, put, refused, row

CONFIG = 'queue "d" { durable = true }\n'


def drain(crewd, name):
    try:
        return crewd.call(Q + "GetMany", name=name, max=10000, block=False)["items"]
    except VarlinkError as e:
        assert e.name == Q + "Empty"
        return []


def files(crewd, name=None):
    """What a queue has on disk."""
    return sorted(f for f in os.listdir(crewd.dir / "state") if name is None or f.startswith(name + "."))


def kill_all(crewd):
    """Keeper, manager and workers at once, as a power cut does it; what they left is swept away."""
    crewd.process.send_signal(signal.SIGSTOP)  # so that it starts no other manager
    pids = crewd.marked()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    crewd.process.wait(DEADLINE)
    until(lambda: not crewd.marked(), "all are dead")
    until(lambda: all(map(has_ended, pids)), "their files are closed")


def has_ended(pid):
    """One that is being killed has no memory any more, and no mark, before its files and their locks are gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def again(crewd):
    kill_all(crewd)
    crewd.start()


def end_and_start(crewd):
    crewd.stop()
    crewd.start()


# ---- what was answered is there -------------------------------------------------------------------


@pytest.mark.parametrize("die", [lambda c: c.kill_manager(), again, end_and_start],
                         ids=["manager", "all", "in order"])
def test_what_was_put_is_there_again(crewd, die):
    crewd.start(CONFIG)
    items = [1, "two", None, {"three": [3]}, "ü" * 1000]
    put(crewd, "d", *items)
    crewd.call(Q + "PutMany", name="d", items=list(range(1000)))
    die(crewd)
    assert row(crewd, "d")["qsize"] == 1005 and row(crewd, "d")["durable"]
    assert [get(crewd, "d") for _ in range(5)] == items
    assert drain(crewd, "d") == list(range(1000))
    crewd.call(Q + "Put", name="d", item="more")
    die(crewd)
    assert drain(crewd, "d") == ["more"]
    put(crewd, "d", "last")
    die(crewd)
    assert drain(crewd, "d") == ["last"]


def test_what_was_taken_stays_away_after_an_end_in_order(crewd):
    crewd.start(CONFIG)
    crewd.call(Q + "PutMany", name="d", items=list(range(100)))
    assert [get(crewd, "d") for _ in range(40)] == list(range(40))
    end_and_start(crewd)
    assert drain(crewd, "d") == list(range(40, 100))
    end_and_start(crewd)
    assert drain(crewd, "d") == []


def test_a_put_that_is_not_to_wait_waits_for_the_disk_alone(crewd):
    crewd.start('queue "d" { durable = true maxsize = 3 }')
    put(crewd, "d", 1, 2)
    assert refused(crewd, "PutMany", name="d", items=[3, 4, 5], block=False) == \
        ("Full", {"name": "d", "put": 1})
    assert refused(crewd, "Put", name="d", item=9, timeout=0)[0] == "Full"
    assert refused(crewd, "Put", name="d", item=9, timeout=0.05)[0] == "Full"
    again(crewd)
    assert drain(crewd, "d") == [1, 2, 3]


def test_nothing_gets_between_the_items_of_one_call(crewd):
    crewd.start('queue "d" { durable = true maxsize = 2 }')
    with crewd.varlink() as many, crewd.varlink() as one:
        many.send(Q + "PutMany", {"name": "d", "items": list(range(10))})
        until(lambda: row(crewd, "d")["qsize"] == 2, "the first ones are there")
        one.send(Q + "Put", {"name": "d", "item": "other"})
        got = [crewd.call(Q + "Get", name="d")["item"] for _ in range(11)]
        assert got == [*range(10), "other"]
        assert many.receive()["parameters"] == {"put": 10} and one.receive()["parameters"] == {}


def test_those_who_wait_are_served(crewd):
    crewd.start(CONFIG)
    with crewd.varlink() as v, crewd.varlink() as stream:
        v.send(Q + "Get", {"name": "d"})
        assert v.silent()
        put(crewd, "d", "here")
        assert v.receive()["parameters"]["item"] == "here"
        stream.send(Q + "Get", {"name": "d"}, more=True)
        crewd.call(Q + "PutMany", name="d", items=list(range(500)))
        assert [stream.receive()["parameters"]["item"] for _ in range(500)] == list(range(500))
    for _ in range(501):
        crewd.call(Q + "TaskDone", name="d")
    crewd.call(Q + "Join", name="d", timeout=5)


def test_a_client_that_leaves_gives_back(crewd):
    """An answer that nobody heard: the item is at the head again, and is not gone on disk either."""
    crewd.start(CONFIG)
    for _ in range(20):
        v = crewd.varlink()
        v.send(Q + "Get", {"name": "d"})
        v.sock.close()
        put(crewd, "d", "x")
        drain(crewd, "d")
    put(crewd, "d", "y")
    again(crewd)
    assert drain(crewd, "d")[-1:] == ["y"]


# ---- leases ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("die", [lambda c: c.kill_manager(), again, end_and_start],
                         ids=["manager", "all", "in order"])
def test_a_lease_that_was_not_done_is_back_at_the_head(crewd, die):
    crewd.start(CONFIG)
    put(crewd, "d", "a", "b", "c")
    with crewd.varlink() as v:
        a = v.call(Q + "Get", name="d", lease=True)
        b = v.call(Q + "Get", name="d", lease=True)
        assert (a["item"], a["deliveries"], b["item"]) == ("a", 1, "b")
        v.call(Q + "Done", lease=b["lease"])
        v.call(Q + "Put", name="d", item="z")  # what was noted before it is on disk with it
        die(crewd)
    with crewd.varlink() as v:
        first = v.call(Q + "Get", name="d", lease=True)
        assert (first["item"], first["deliveries"]) == ("a", 2)
        v.call(Q + "Done", lease=first["lease"])
    assert drain(crewd, "d") == ["c", "z"]


def test_dead_letters_survive(crewd):
    crewd.start('queue "d" { durable = true dead = "lost" max-deliveries = 2 }\n'
                'queue "lost" { durable = true }')
    put(crewd, "d", "poison", "good")
    for _ in range(2):
        with crewd.varlink() as v:
            assert v.call(Q + "Get", name="d", lease=True)["item"] == "poison"
        until(lambda: row(crewd, "d")["leased"] == 0, "it is back")
    until(lambda: row(crewd, "lost")["qsize"] == 1, "it is a dead letter")
    put(crewd, "d", "more")
    end_and_start(crewd)
    assert (drain(crewd, "lost"), drain(crewd, "d")) == (["poison"], ["good", "more"])


def test_more_dead_letters_than_may_wait_for_the_disk(crewd):
    crewd.start('queue "d" { durable = true dead = "lost" max-deliveries = 1 }\n'
                'queue "lost" { durable = true }')
    for n in range(12):
        put(crewd, "d", f"{n} " + "x" * 900000)
    with crewd.varlink() as v:
        for n in range(12):
            v.call(Q + "Get", name="d", lease=True)
    until(lambda: row(crewd, "lost")["qsize"] == 12, "all are dead letters")
    assert row(crewd, "d")["qsize"] == 0
    end_and_start(crewd)
    items = [crewd.call(Q + "Get", name="lost", block=False)["item"] for _ in range(12)]
    assert sorted(int(item.split()[0]) for item in items) == list(range(12))
    assert row(crewd, "d")["qsize"] == 0


# ---- made and deleted -----------------------------------------------------------------------------


def test_a_queue_that_a_client_made_outlives_crewd(crewd):
    crewd.start("")
    crewd.ctl("queue", "create", "lost", "--durable")
    crewd.ctl("queue", "create", "made", "--durable", "--maxsize", "7", "--max-bytes", "1K", "--dead", "lost",
              "--max-deliveries", "3")
    crewd.ctl("queue", "create", "memory")
    crewd.ctl("queue", "put", "--no-wait", "made", "one")
    again(crewd)
    made = row(crewd, "made")
    assert (made["maxsize"], made["maxBytes"], made["dead"], made["maxDeliveries"], made["durable"],
            made["configured"], made["qsize"]) == (7, 1024, "lost", 3, True, False, 1)
    assert row(crewd, "memory") is None
    crewd.kill_manager()
    assert crewd.ctl("queue", "get", "made").stdout == "one\n"
    crewd.ctl("queue", "delete", "made")
    assert row(crewd, "made") is None and files(crewd, "made") == []
    again(crewd)
    assert row(crewd, "made") is None and row(crewd, "lost")
    assert files(crewd, "made") == []


def test_deleted_and_made_again_is_empty(crewd):
    crewd.start("")
    for i in range(20):
        crewd.ctl("queue", "create", "a", "--durable")
        crewd.ctl("queue", "put", "--no-wait", "a", f"{i}")
        assert row(crewd, "a")["qsize"] == 1
        if i % 5 == 4:
            again(crewd)
        crewd.ctl("queue", "delete", "a")
    assert files(crewd, "a") == []


def test_a_deleted_queue_of_the_file_is_back_and_empty(crewd):
    crewd.start(CONFIG)
    put(crewd, "d", 1)
    crewd.ctl("queue", "delete", "d")
    assert row(crewd, "d") is None and files(crewd, "d") == []
    crewd.ctl("reload")
    put(crewd, "d", 2)
    again(crewd)
    assert drain(crewd, "d") == [2]


def test_who_waits_hears_of_the_end(crewd):
    crewd.start(CONFIG)
    with crewd.varlink() as v:
        v.send(Q + "Get", {"name": "d"})
        assert v.silent()
        crewd.ctl("queue", "delete", "d")
        assert v.receive()["error"] == Q + "NoSuchQueue"


def test_the_file_takes_a_made_queue_over_with_its_items(crewd):
    crewd.start("")
    crewd.ctl("queue", "create", "d", "--durable")
    put(crewd, "d", 1)
    crewd.write(CONFIG)
    crewd.ctl("reload")
    assert row(crewd, "d")["configured"]
    again(crewd)
    assert drain(crewd, "d") == [1]
    crewd.write("")
    crewd.ctl("reload")
    until(lambda: row(crewd, "d") is None and not files(crewd, "d"), "it is gone, with its files")
    again(crewd)
    assert row(crewd, "d") is None


def test_durable_does_not_change_without_a_restart(crewd):
    crewd.start(CONFIG + 'queue "m" {}')
    put(crewd, "d", 1)
    crewd.write('queue "d" {}\nqueue "m" { durable = true }')
    assert "durable" in crewd.ctl("reload").stdout
    assert row(crewd, "d")["durable"] and not row(crewd, "m")["durable"]
    assert "stays of kind manager, durable, until crewd is started again" in crewd.said()
    put(crewd, "d", 2)
    crewd.write(CONFIG)
    crewd.ctl("reload")
    again(crewd)
    assert drain(crewd, "d") == [1, 2]


def test_a_removed_queue_is_kept_on_disk_until_it_is_empty(crewd):
    crewd.start(CONFIG)
    put(crewd, "d", 1, 2)
    crewd.write("")
    crewd.ctl("reload")
    assert get(crewd, "d") == 1 and row(crewd, "d")["leaving"]
    crewd.write(CONFIG)
    again(crewd)
    assert 2 in drain(crewd, "d")


# ---- where the disk does not do -------------------------------------------------------------------


@ROOT_ONLY
def test_a_state_dir_that_cannot_be_written(crewd):
    state = crewd.dir / "state"
    state.mkdir(mode=0o755)  # root's, and the manager is somebody else
    crewd.start(CONFIG + 'queue "m" {}')
    error, why = refused(crewd, "Put", name="d", item=1)
    assert error == "BackendUnavailable" and "Permission denied" in why["why"]
    assert refused(crewd, "Get", name="d", block=False)[0] == "BackendUnavailable"
    said = crewd.ctl("queue", "create", "x", "--durable", code=75).stderr
    assert "Permission denied" in said
    assert row(crewd, "x") is None
    put(crewd, "m", 1)
    assert "cannot open the durable queue" in crewd.said()


def test_a_state_dir_that_is_none(crewd):
    (crewd.dir / "state").write_text("a file")
    crewd.start(CONFIG)
    assert "cannot open state-dir" in crewd.said()
    error, why = refused(crewd, "Put", name="d", item=1)
    assert error == "BackendUnavailable" and "state-dir" in why["why"]
    assert refused(crewd, "Create", name="x", durable=True)[0] == "BackendUnavailable"
    assert row(crewd, "x") is None


def test_damage_is_told_and_other_queues_work(crewd):
    crewd.start(CONFIG + 'queue "e" { durable = true }')
    put(crewd, "d", *range(100))
    put(crewd, "e", 1)
    end_and_start(crewd)
    end_and_start(crewd)
    crewd.stop()
    first = crewd.dir / "state" / files(crewd, "d")[1 if files(crewd, "d")[0].endswith("lock") else 0]
    data = bytearray(first.read_bytes())
    data[100] ^= 0xff
    first.write_bytes(data)
    crewd.start()
    error, why = refused(crewd, "Get", name="d", block=False)
    assert error == "BackendUnavailable" and first.name in why["why"]
    assert get(crewd, "e") == 1


@pytest.fixture
def small_disk(crewd):
    """A state-dir of 4 MiB."""
    state = crewd.dir / "state"
    state.mkdir()
    if os.geteuid() != 0 or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4M,mode=0777", "none", state], check=False).returncode:
        pytest.skip("no full disk can be tried: mounting a tmpfs needs root")
    yield state
    crewd.stop()
    subprocess.run(["umount", state], check=True)


def test_a_full_disk_refuses_puts_and_consumers_go_on(crewd, small_disk):
    crewd.start(CONFIG)
    answered = []
    error = None
    for i in range(10000):
        try:
            crewd.call(Q + "Put", name="d", item=[i, "x" * 5000])
            answered.append(i)
        except VarlinkError as e:
            error = e
            break
    assert error and error.name == Q + "BackendUnavailable" and "no space" in error.parameters["why"]
    assert len(answered) > 100
    assert refused(crewd, "Create", name="more", durable=True)[0] == "BackendUnavailable"
    crewd.kill_manager()
    got = [get(crewd, "d")[0] for _ in range(len(answered) - 10)]
    assert got == answered[:-10]
    until(lambda: not isinstance(attempt(crewd, "d", "again"), VarlinkError), "there is room again")
    again(crewd)
    left = [i if i == "again" else i[0] for i in drain(crewd, "d")]
    assert left[-11:-1] == answered[-10:] and "again" in left


def attempt(crewd, name, item):
    try:
        return crewd.call(Q + "Put", name=name, item=item)
    except VarlinkError as e:
        assert e.name == Q + "BackendUnavailable"
        return e


# ---- faults at single calls -----------------------------------------------------------------------


class Traced:
    """strace on the manager: what it does at the n-th of some call."""

    def __init__(self, crewd, inject):
        self.log = crewd.dir / "strace"
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(
            ["strace", "-f", "-o", self.log, "-e", "trace=" + inject.split(":")[0], "-e", "inject=" + inject,
             "-p", str(until(crewd.manager))], stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if "attached" in line:
                break
            self.said = line

    def __enter__(self):
        if self.process.poll() is not None or not self.attached():
            self.end()
            pytest.skip(f"strace cannot trace here: {getattr(self, 'said', '')}")
        return self

    def attached(self):
        return self.process.poll() is None

    def end(self):
        self.process.kill()  # whom it traced goes on; asked to end it may wait for one that has died
        self.process.wait(DEADLINE)
        self.process.stderr.close()

    def __exit__(self, *unused):
        self.end()


@pytest.fixture
def strace():
    if not shutil.which("strace"):
        pytest.skip("strace is not installed (Debian: strace)")
    return Traced


KILLED_AT = [("pwrite64", 1), ("pwrite64", 2), ("pwrite64", 7), ("fdatasync", 1), ("fdatasync", 2), ("fdatasync", 7),
             ("fallocate", 1), ("renameat", 1), ("unlinkat", 1), ("fsync", 1)]


@pytest.mark.parametrize("call,number", KILLED_AT, ids=[f"{c}-{n}" for c, n in KILLED_AT])
def test_the_manager_is_killed_at_a_call(crewd, strace, call, number):
    """Puts and gets of 100 KiB, so that segments come and go, until the manager dies of it."""
    crewd.start(CONFIG)
    pid = until(crewd.manager)
    asked, answered, got = [], [], []
    with strace(crewd, f"{call}:signal=KILL:when={number}"):
        try:
            with crewd.varlink() as v:
                while len(asked) < 300 and crewd.manager() == pid:
                    asked.append(len(asked))
                    v.call(Q + "Put", name="d", item=[asked[-1], "x" * 100000])
                    answered.append(asked[-1])
                    if len(answered) > 5:
                        got.append(v.call(Q + "Get", name="d", block=False)["item"][0])
        except (OSError, AssertionError):
            pass
    assert until(crewd.manager) != pid or len(asked) > 1, "nothing was tried"
    died = "the manager ended (signal 9)" in crewd.said()
    assert died or call not in ("pwrite64", "fdatasync"), "it was never killed"
    until(crewd.answers, "it answers")
    for _ in range(2):
        with crewd.varlink() as v:
            v.call(Q + "Put", name="d", item=["last"])
        assert "cannot open" not in crewd.said()
        end_and_start(crewd)
    rest = []
    while row(crewd, "d")["qsize"]:
        rest.append(get(crewd, "d")[0])
    numbers = [i for i in rest if i != "last"]
    assert rest.count("last") == 2 and numbers == sorted(numbers)
    assert set(answered) <= set(got) | set(numbers), "answered, and lost"
    assert set(numbers) <= set(asked) and len(numbers) == len(set(numbers))


def test_a_disk_that_fails_is_told_once_and_nothing_is_claimed(crewd, strace):
    crewd.start(CONFIG)
    put(crewd, "d", *range(10))
    with strace(crewd, "fdatasync:error=EIO"):
        error, why = refused(crewd, "Put", name="d", item="x")
        assert error == "BackendUnavailable" and "nput/output error" in why["why"]
        for _ in range(5):
            assert refused(crewd, "Put", name="d", item="y")[0] == "BackendUnavailable"
        assert [get(crewd, "d") for _ in range(5)] == list(range(5))
    assert crewd.said().count("nothing more is put in") == 1
    assert refused(crewd, "Put", name="d", item="z")[0] == "BackendUnavailable"
    end_and_start(crewd)
    put(crewd, "d", "new")
    left = drain(crewd, "d")
    assert [i for i in left if i != "x"] == [*range(10), "new"]


# ---- killed at random -----------------------------------------------------------------------------


class Peers:
    """Producers and consumers that go on whoever dies, and an account of what they were told."""

    def __init__(self, crewd, leases):
        self.crewd = crewd
        self.leases = leases
        self.asked = [[] for _ in range(4)]
        self.answered = set()
        self.got = collections.Counter()
        self.order = [[] for _ in range(4)]
        self.over = threading.Event()
        self.failures = []
        self.threads = [threading.Thread(target=self.run, args=(self.produce, i)) for i in range(4)]
        self.threads += [threading.Thread(target=self.run, args=(self.consume, i)) for i in range(4)]

    def run(self, what, number):
        try:
            while not what(number):
                pass
        except BaseException as e:  # pylint: disable=broad-exception-caught
            self.failures.append(e)

    def connected(self):
        """A connection, or None while nobody answers."""
        try:
            return Varlink(self.crewd.socket)
        except OSError:
            time.sleep(0.005)
            return None

    def produce(self, number):
        v = self.connected()
        if not v:
            return False
        with v:
            while not self.over.is_set():
                item = number * 1000000 + len(self.asked[number])
                self.asked[number].append(item)
                try:
                    v.call(Q + "Put", name="d", item=item)
                except (OSError, AssertionError):
                    return False  # nobody was answered: it may be there or not
                self.answered.add(item)
        return True

    def consume(self, number):
        v = self.connected()
        if not v:
            return False
        with v:
            try:
                while self.take(v, number):
                    pass
            except (OSError, AssertionError):
                return False
        return True

    def take(self, v, number):
        try:
            reply = v.call(Q + "Get", name="d", timeout=0.5, lease=self.leases)
        except VarlinkError as e:
            assert e.name == Q + "Empty", e
            return not self.over.is_set()
        self.got[reply["item"]] += 1
        self.order[number].append(reply["item"])
        if self.leases:
            v.call(Q + "Done", lease=reply["lease"])
        return True


@pytest.mark.parametrize("leases", [False, True], ids=["plain", "leases"])
def test_nothing_is_lost_while_the_manager_is_killed(crewd, leases):
    crewd.start('queue "d" { durable = true maxsize = 200 max-deliveries = 1000000 }')
    peers = Peers(crewd, leases)
    for t in peers.threads:
        t.start()
    rng = random.Random(1)
    kills = 0
    end = time.monotonic() + 6
    while time.monotonic() < end:
        crewd.kill_manager()
        kills += 1
        time.sleep(rng.uniform(0.05, 0.3))
    peers.over.set()
    for t in peers.threads:
        t.join(DEADLINE)
        assert not t.is_alive()
    assert not peers.failures, peers.failures
    until(crewd.answers, "it answers")
    rest = drain(crewd, "d")
    peers.got.update(rest)
    asked = {item for items in peers.asked for item in items}
    twice = sum(n - 1 for n in peers.got.values())
    print(f"{kills} kills, {len(peers.answered)} puts answered, {twice} items came more than once")
    assert peers.answered - set(peers.got) == set(), "answered, and lost"
    assert set(peers.got) <= asked, "nobody ever put it"
    assert len(peers.answered) > 100 and kills >= 5
    # what comes back is what was in hand: at most what was taken since the last sync before each kill
    assert twice < len(peers.answered) / 4
