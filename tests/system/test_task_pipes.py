"""Workers that have tasks, seen from outside: what they are connected to, and who else is."""

import os
import pathlib
import sys

from conftest import WORKERS, exists, until

LINES = 'pool "up" { command = {"sed", "-u", "s/$/!/"} tasks = "lines" workers = %d }\n'


def links(pid):
    """{descriptor: what it is} of a process."""
    found = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            pass
    return found


def running(crewd, name):
    return crewd.wait_state(name, "running")["pid"]


def test_worker_has_its_pipes_and_nothing_else(crewd):
    crewd.start(LINES % 3 + f'pool "show" {{ command = {{"{sys.executable}", "{WORKERS}/show.py"}} }}')
    pids = [running(crewd, f"up-{n}") for n in (1, 2, 3)]
    seen = set()
    for pid in pids:
        # it runs from its exec on: its loader may still have a library open
        until(lambda: sorted(links(pid)) == [0, 1, 2], f"it has three descriptors, not {links(pid)}")
        fds = links(pid)
        assert all(to.startswith("pipe:") for to in fds.values())
        assert len(set(fds.values())) == 3
        seen |= set(fds.values())
    assert len(seen) == 9
    other = links(running(crewd, "show-1"))
    assert not seen & set(other.values()) and other[0] == "/dev/null" and other[1] == other[2]
    # of every pipe the keeper holds the other end, and never the worker's
    keeper = links(crewd.process.pid)
    for pid in pids:
        for fd, mode in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
            ends = [k for k, to in keeper.items() if to == links(pid)[fd]]
            assert len(ends) == 1
            info = pathlib.Path(f"/proc/{crewd.process.pid}/fdinfo/{ends[0]}").read_text()
            flags = int(info.split("flags:")[1].split()[0], 8)
            assert flags & os.O_ACCMODE == mode and flags & os.O_NONBLOCK and flags & os.O_CLOEXEC


def test_worker_outlives_the_manager(crewd):
    """Its standard input does not end with the manager."""
    crewd.start(LINES % 2)
    before = {n: running(crewd, n) for n in ("up-1", "up-2")}
    for _ in range(3):
        crewd.kill_manager()
        assert crewd.pids() == before
        assert all(exists(pid) for pid in before.values())
    assert all(w["restarts"] == 0 for w in crewd.workers().values())


def test_nothing_is_left_open(crewd):
    """A worker that is replaced takes its pipes along, in the keeper too."""
    crewd.start(LINES % 1)
    running(crewd, "up-1")
    before = len(links(crewd.process.pid))
    for _ in range(5):
        pid = running(crewd, "up-1")
        crewd.ctl("restart", "up-1")
        assert running(crewd, "up-1") != pid
    until(lambda: len(links(crewd.process.pid)) == before, "the keeper holds no more than before")


def test_log_is_standard_error_only(crewd):
    """Standard output is where answers come from."""
    crewd.start("""pool "p" { tasks = "jsonrpc"
        command = {"sh", "-c", "echo answer; echo log >&2; exec sleep 1000"} }""")
    until(lambda: crewd.ctl("logs", "p-1").stdout == "log\n", "its log is there")


def test_example_runs(crewd):
    config = pathlib.Path(__file__).resolve().parents[2] / "conf/examples/tasks.conf"
    crewd.start(config.read_text())
    running(crewd, "up-1")
    running(crewd, "add-1")
