"""kill -9 of everything at every single call that the manager makes, while a durable queue is put into, got from, goes
on to the next segment and moves what is old: what was answered is there, and nothing else.

CREW_KILL_AT_EVERY_CALL=1: at all of them, some minutes; else at a few. How many is printed (pytest -s, or -rP)."""

import collections
import os
import re
import shutil
import signal

import pytest

from conftest import DEADLINE, VarlinkError
from test_queue_durable import CONFIG, Q, Traced, kill_all

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed (Debian: strace)")
EVERY = bool(os.environ.get("CREW_KILL_AT_EVERY_CALL"))
# What is made on the journal's files, and what else stands between a call and its answer.
CALLS = ["pwrite64", "fdatasync", "fsync", "fallocate", "ftruncate", "openat", "renameat", "unlinkat", "newfstatat", "close",
         "pread64", "write", "read", "futex", "recvfrom", "sendto", "poll", "epoll_wait"]
# What comes from the C library's memory, and from a client that connects.
OTHERS = {"brk", "mmap", "munmap", "mprotect", "madvise", "getrandom", "accept4", "getsockopt", "epoll_ctl", "restart_syscall",
          "clock_gettime", "sched_yield"}
SIZE = 200_000  # bytes of an item: five fill a segment
PUTS = 22


def item(number):
    return [number, f"{number % 10}" * SIZE] if number else [0, "lent all the time"]


class Script:
    """The same calls in the same order, until the manager dies of one."""

    def __init__(self, crewd):
        self.crewd = crewd
        self.asked, self.answered, self.got = 0, 0, []

    def put(self, v):
        self.asked += 1
        v.call(Q + "Put", name="d", item=item(self.asked - 1))
        self.answered += 1

    def get(self, v):
        got = v.call(Q + "Get", name="d", block=False)["item"]
        assert got == item(got[0])
        self.got.append(got[0])

    def run(self, v):
        """True: it came to its end."""
        try:
            self.put(v)
            # What is old and lives: it has to be moved before its segment can go.
            assert v.call(Q + "Get", name="d", lease=True)["item"] == item(0)
            for n in range(1, PUTS):
                self.put(v)
                if n > 3:
                    self.get(v)
            return True
        except (OSError, AssertionError, VarlinkError):
            assert not self.crewd.manager(), self.crewd.said()
            return False

    def check(self):
        """After a restart."""
        # What was got before the script began may come again: that it was is noted after the answer.
        there = [i for i in drain_all(self.crewd) if i != "more"]
        numbers = [i[0] for i in there]
        assert all(i == item(i[0]) for i in there), "not what was put"
        assert numbers == sorted(set(numbers)), f"twice, or out of order: {numbers}"
        assert set(numbers) <= set(range(self.asked)), f"invented: {numbers} of {self.asked}"
        lost = set(range(self.answered)) - set(numbers) - set(self.got)
        assert not lost, f"answered, and lost: {lost}; there: {numbers}, got: {self.got}"


def drain_all(crewd):
    there = []
    while True:
        try:
            there += crewd.call(Q + "GetMany", name="d", max=10000, block=False)["items"]
        except VarlinkError as e:
            assert e.name == Q + "Empty", e
            return there


def run(crewd, inject):
    """One life of crewd with an empty queue, that ends at some call, or after the script. True: at some call."""
    script = Script(crewd)
    with crewd.varlink() as v, Traced(crewd, inject) as traced:
        crewd.process.send_signal(signal.SIGSTOP)  # the keeper starts no other manager: all ends at once
        ended = script.run(v)
        traced.end()
    kill_all(crewd)
    crewd.start()
    script.check()
    assert "cannot open" not in crewd.said(), crewd.said()
    assert crewd.call(Q + "Put", name="d", item="more") == {} and crewd.call(Q + "Get", name="d")["item"] == "more"
    return not ended


def calls_made(crewd, what):
    """(thread, call) as often as it was made in the script."""
    assert not run(crewd, f"{what}:delay_enter=0")
    return collections.Counter(re.findall(r"^(\d+) +(\w+)\(", (crewd.dir / "strace").read_text(), re.MULTILINE))


def test_no_call_is_left_out(crewd):
    crewd.start(CONFIG)
    made = calls_made(crewd, "all")
    names = {call for _, call in made}
    assert {"pwrite64", "fdatasync", "renameat", "unlinkat", "ftruncate"} <= names, "it goes on to another segment"
    assert not names - set(CALLS) - OTHERS


@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_call(crewd, call):
    crewd.start(CONFIG)
    # each thread has a count of its own, and the first that gets there dies with all others
    count = max(calls_made(crewd, call).values(), default=0)
    assert count
    numbers = range(1, count + 1) if EVERY else sorted({1, count // 2, count} - {0})
    died = 0
    for n in numbers:
        signal.alarm(4 * DEADLINE)
        died += run(crewd, f"{call}:signal=KILL:when={n}")
    print(f"\n{call}: made {count} times, killed {died} times")
    assert died >= len(numbers) / 2
