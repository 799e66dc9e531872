"""Bad days, injected on purpose."""

import fcntl
import os
import pathlib
import random
import shutil
import signal
import statistics
import socket
import subprocess
import time

import pytest

from conftest import ROOT, WORKERS, Varlink, exists, until

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
SANITIZED = "asan" in os.environ.get("CREWD", "")
ANSWERS_WITHIN = 5 if SANITIZED else 1  # seconds after the manager's death: what is promised to users
TEMPLATE = pathlib.Path(os.environ.get("CREW_BUILDDIR", ROOT / "build")) / "tests/workers/template"
MANY = int(os.environ.get("CREW_TEST_MANY", "1000" if SANITIZED else "5000"))


def running(crewd, count):
    until(lambda: crewd.call("io.crewd.Manager.GetStatus")["running"] == count, f"{count} workers run", 120)
    until(lambda: all(w["state"] == "running" for w in crewd.workers().values() if w["alive"]), "they run", 120)


def table(crewd, *without):
    return {n: (w["pid"], w["state"], w["restarts"]) for n, w in crewd.workers().items() if n not in without}


# ---- workers ---------------------------------------------------------------------------------------


def test_worker_that_ignores_term(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "trap \'\' TERM; echo up; while :; do sleep 0.1; done"} '
                'stop-timeout = "200ms" }')
    until(lambda: crewd.ctl("logs", "p-1").stdout == "up\n")
    crewd.ctl("terminate", "p-1")
    assert crewd.worker("p-1")["signal"] == signal.SIGKILL and crewd.state("p-1") == "stopped"


def test_worker_that_forks_children_and_dies(crewd):
    crewd.start("""pool "p" { command = {"sh", "-c", "(trap '' TERM HUP; sleep 1000) & echo $!; sleep 1000"} }""")
    child = int(until(lambda: crewd.ctl("logs", "p-1").stdout.strip()))
    assert exists(child)
    crewd.ctl("signal", "KILL", "p-1")
    until(lambda: not exists(child), "its child is gone too")
    until(lambda: len(crewd.ctl("logs", "p-1").stdout.split()) == 2)
    child = int(crewd.ctl("logs", "p-1").stdout.split()[1])
    crewd.ctl("terminate", "p-1")
    until(lambda: not exists(child), "its child is gone too")


def test_flood(crewd):
    """Output at full speed neither stops the others nor takes memory."""
    crewd.start('pool "y" { command = {"yes"} workers = 2 log = "discard" }\n'
                f'pool "f" {{ command = {{"sh", "-c", "head -c 300000000 /dev/zero | tr \'\\\\0\' \'\\\\n\'"}} '
                f'log = "{crewd.dir}/flood" restart = "never" }}\n'
                'pool "quiet" { command = {"sleep", "1000"} }')
    for _ in range(20):
        assert crewd.ctl("is-alive", "quiet").stdout == "alive\n"
        crewd.ctl("restart", "quiet")
    rss = int(pathlib.Path(f"/proc/{crewd.manager()}/statm").read_text().split()[1]) * 4096
    assert rss < (400 << 20 if SANITIZED else 64 << 20)
    assert "y" in crewd.ctl("logs", "-n", "1", "y-1").stdout
    crewd.ctl("kill", "f", "y")


@pytest.mark.parametrize("kind", ["missing", "directory", "not executable", "wrong architecture", "no directory"])
def test_exec_that_fails(crewd, kind):
    program, keys = crewd.dir / "program", ""
    if kind == "directory":
        program.mkdir()
    elif kind == "not executable":
        program.write_text("#!/bin/sh\n")
    elif kind == "wrong architecture":
        program.write_bytes(b"\x7fELF\x02\x02\x01" + b"\0" * 100)
        program.chmod(0o755)
    elif kind == "no directory":
        keys = 'directory = "/nonexistent"'
    run = f"cannot run {program}: "  # the step, then why
    expect = {"missing": run + "No such file or directory", "directory": run + "Permission denied",
              "not executable": run + "Permission denied", "wrong architecture": run + "Exec format error",
              "no directory": "cannot change to its directory /nonexistent: No such file"}[kind]
    crewd.start(f'pool "p" {{ command = {{"{program}"}} restart = "never" autostart = false {keys} }}')
    assert expect in crewd.ctl("start", "p", code=1).stderr
    assert crewd.state("p-1") == "failed" and expect in crewd.worker("p-1")["why"]
    assert expect in crewd.said()


def test_crash_loop_takes_bounded_cpu(crewd):
    crewd.start('pool "c" { command = {"false"} workers = 4 restart-limit = 0 restart-delay-max = "1s" }\n'
                'pool "limited" { command = {"false"} restart-limit = 5 restart-delay = "10ms" }')
    until(lambda: all(w["restarts"] >= 5 for w in crewd.workers().values()))

    def restarts():
        return sum(w["restarts"] for w in crewd.workers("c").values())

    def cpu():
        return sum(int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])
                   for pid in (crewd.process.pid, crewd.manager())) / 1e9

    before, count = cpu(), restarts()
    until(lambda: restarts() >= count + 16)  # 4 s, of which one that spins would take all
    each = (cpu() - before) / (restarts() - count)
    assert each < (0.2 if SANITIZED else 0.1), f"{each} s of CPU a restart"
    limited = crewd.worker("limited-1")
    assert limited["state"] == "failed" and limited["restarts"] == 5 and not limited["alive"]


def test_many_end_at_once(crewd):
    crewd.start(f'pool "m" {{ command = {{"sleep", "1000"}} workers = {MANY} restart = "never" log = "discard" }}')
    running(crewd, MANY)
    pids = list(crewd.pids().values())
    crewd.ctl("is-alive", "m")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: crewd.call("io.crewd.Manager.GetStatus")["running"] == 0, deadline=60)
    assert all(w["state"] == "exited" and w["signal"] == 9 for w in crewd.workers().values())


def test_closed_output_and_dead_reader(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "exec >&- 2>&-; sleep 1000"} }')
    running(crewd, 1)
    crewd.ctl("restart", "p")
    assert crewd.ctl("logs", "p-1").stdout == ""


@pytest.mark.parametrize("where", ["/dev/full", "/nonexistent/dir/log"])
def test_log_that_cannot_be_written(crewd, where):
    """A full disk under the log: the worker goes on, what it prints is at hand, and it is said."""
    crewd.start(f'pool "p" {{ command = {{"sh", "-c", "seq 1000; echo end; sleep 1000"}} log = "{where}" }}')
    until(lambda: crewd.ctl("logs", "-n", "1", "p-1").stdout == "end\n")
    until(lambda: where in crewd.said(), "it is said")
    assert crewd.said().count(where) < 5 and crewd.state("p-1") == "running"


@ROOT_ONLY
def test_log_on_a_full_disk(crewd):
    """A real one, 256 KiB small: full, then with room again."""
    disk = crewd.dir / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=256k none {disk} && head -c 200000 /dev/zero >{disk}/filler"
    if subprocess.run(["unshare", "--mount", "sh", "-c", mount], check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    crewd.start('pool "p" { command = {"sh", "-c", "seq 20000; echo end; while [ ! -e go ]; do sleep 0.02; done; '
                f'echo after; sleep 1000"}} directory = "{crewd.dir}" log = "{disk}/log" }}',
                prefix=["unshare", "--mount", "sh", "-c", mount + ' && exec "$@"', "sh"])
    inside = pathlib.Path(f"/proc/{crewd.process.pid}/root{disk}")
    until(lambda: crewd.ctl("logs", "-n", "1", "p-1").stdout == "end\n")
    until(lambda: f"{disk}/log" in crewd.said(), "it is said")
    assert crewd.said().count(str(disk)) < 5 and crewd.state("p-1") == "running"
    assert "\nend\n" not in (inside / "log").read_text()
    (inside / "filler").unlink()
    (crewd.dir / "go").touch()
    until(lambda: (inside / "log").read_text().endswith("\nafter\n"), "it is written again")


# ---- the manager -----------------------------------------------------------------------------------


def replace_manager(crewd):
    """SIGKILL for the manager; after how many seconds another one answers."""
    old = until(crewd.manager, "there is a manager")
    begin = time.monotonic()
    os.kill(old, signal.SIGKILL)

    def replaced():
        try:
            return crewd.call("io.crewd.Manager.GetStatus")["manager"] != old
        except (OSError, AssertionError):
            return False

    until(replaced, "another manager answers")
    return time.monotonic() - begin


def test_manager_killed_at_any_moment(crewd):
    crewd.start('pool "w" { command = {"sleep", "1000"} workers = 100 }\n'
                'pool "busy" { command = {"sh", "-c", "exit 1"} restart-limit = 0 restart-delay = "10ms" restart-delay-max = "50ms" workers = 3 }')
    until(lambda: sum(n.startswith("w-") and w["state"] == "running" for n, w in crewd.workers().items()) == 100)
    rng = random.Random(7)
    before = table(crewd, "busy-1", "busy-2", "busy-3")
    assert len(before) == 100
    away = []
    for i in range(50):
        ends = f"sleep 0.05; exit {i}"
        if i % 2:  # it ends while no manager can learn of it
            ends = f"while [ ! -e {crewd.dir}/end{i} ]; do sleep 0.01; done; exit {i}"
        pid = crewd.call("io.crewd.Worker.Run", command=["sh", "-c", ends], name=f"r{i}")["pid"]
        time.sleep(rng.random() * 0.1)  # any moment; nothing is waited for
        if i % 2:
            os.kill(crewd.manager(), signal.SIGSTOP)
            (crewd.dir / f"end{i}").touch()
            until(lambda pid=pid: not exists(pid), "it has ended")
        away.append(replace_manager(crewd))
        assert crewd.ctl("join", f"r{i}").stdout == f"r{i} exited {i}\n"
        crewd.ctl("forget", f"r{i}")
        assert table(crewd, "busy-1", "busy-2", "busy-3") == before
    assert crewd.worker("busy-1")["restarts"] > 0
    print("without a manager for", sorted(round(s, 3) for s in away))
    # the machine may have been busy with something else now and then
    assert statistics.median(away) < ANSWERS_WITHIN, away


def test_manager_killed_before_it_is_ready(crewd):
    """Killing the next one, and the next, does not make the last one late."""
    crewd.start('pool "w" { command = {"sleep", "1000"} workers = 10 }')
    running(crewd, 10)
    before = table(crewd)
    known = crewd.children()
    os.kill(crewd.manager(), signal.SIGKILL)
    for _ in range(10):
        while not (new := crewd.children() - known):  # hardly born
            pass
        known |= new
        os.kill(new.pop(), signal.SIGKILL)
    assert replace_manager(crewd) < 4 * ANSWERS_WITHIN  # it was 5 s once
    assert table(crewd) == before


def test_manager_killed_while_starting_and_stopping(crewd):
    """What was asked for is done in the end, and nothing is done twice."""
    crewd.start('pool "w" { command = {"sleep", "1000"} workers = 50 autostart = false }')
    for _ in range(5):
        starting = crewd.popen("start", "w")
        crewd.kill_manager()
        starting.kill()
        starting.communicate()
        crewd.ctl("start", "w")
        pids = crewd.pids()
        assert len(set(pids.values())) == 50
        stopping = crewd.popen("terminate", "w")
        crewd.kill_manager()
        stopping.kill()
        stopping.communicate()
        crewd.ctl("terminate", "w")
        assert not crewd.pids() and not any(exists(p) for p in pids.values())


def test_manager_killed_in_mid_reload(crewd):
    crewd.start('pool "w" { command = {"sleep", "1000"} workers = 10 }')
    running(crewd, 10)
    before = crewd.pids()
    crewd.write('pool "w" { command = {"sleep", "1001"} workers = 10 }\npool "x" { command = {"sleep", "9"} }')
    crewd.ctl("reload")
    crewd.kill_manager()
    until(lambda: not set(before.values()) & set(crewd.pids().values()), "all are replaced")
    running(crewd, 11)


def test_join_survives_the_manager(crewd):
    crewd.start('pool "w" { command = {"sleep", "1000"} }')
    running(crewd, 1)
    joining = crewd.popen("join", "w-1")
    until(lambda: crewd.call("io.crewd.Manager.GetStatus")["connections"] == 2)
    crewd.kill_manager()
    crewd.ctl("terminate", "w-1")
    assert joining.communicate(timeout=30)[0] == "w-1 killed by SIGTERM\n"


def test_output_survives_the_manager(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "echo before; while [ ! -e go ]; do sleep 0.02; done; '
                f'echo after; sleep 1000"}} directory = "{crewd.dir}" }}')
    until(lambda: crewd.ctl("logs", "p-1").stdout == "before\n")
    crewd.kill_manager()
    (crewd.dir / "go").touch()
    until(lambda: crewd.ctl("logs", "p-1").stdout == "before\nafter\n")


def test_stopped_manager_is_replaced(crewd):
    crewd.start('pool "w" { command = {"sleep", "1000"} workers = 3 }')
    running(crewd, 3)
    before, manager = table(crewd), crewd.manager()
    os.kill(manager, signal.SIGSTOP)
    until(lambda: crewd.manager() not in (None, manager), "it is replaced", 60)
    until(crewd.answers)
    assert table(crewd) == before


def test_descriptors_run_out(crewd):
    crewd.start('pool "w" { command = {"sh", "-c", "echo x; sleep 1000"} workers = 3 }',
                prefix=["prlimit", "--nofile=40:40", "--"])
    running(crewd, 3)
    manager, pids = crewd.manager(), crewd.pids()
    clients = []
    for _ in range(60):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].connect(str(crewd.socket))
    first = Varlink.__new__(Varlink)
    first.sock, first.buffer = clients[0], b""
    assert first.call("io.crewd.Worker.IsAlive", name="w") == {"alive": True}

    def cpu():
        fields = pathlib.Path(f"/proc/{manager}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before = cpu()
    time.sleep(1)  # the measure, not a wait: it must not spin meanwhile
    assert cpu() - before < os.sysconf("SC_CLK_TCK") * 0.8
    os.kill(pids["w-1"], signal.SIGKILL)  # its next output cannot be received for now
    until(lambda: first.call("io.crewd.Worker.List", names=["w-1"])["workers"][0]["restarts"] == 1)
    for c in clients:
        c.close()
    until(lambda: crewd.ctl("is-alive", "w", code=None).stdout == "alive\n")
    until(lambda: crewd.ctl("logs", "w-1").stdout == "x\nx\n", "its output arrives when there is room again")


# ---- the keeper ------------------------------------------------------------------------------------


def test_keeper_killed(crewd):
    crewd.start('pool "w" { command = {"sleep", "1000"} workers = 20 stop-timeout = "1h" }\n'
                'pool "polite" { command = {"sh", "-c", "trap \'touch told; exit\' USR1; echo up; '
                f'while :; do sleep 0.1; done"}} stop-signal = "USR1" directory = "{crewd.dir}" stop-timeout = "1h" }}\n'
                'pool "mute" { command = {"sh", "-c", "exec >/dev/null 2>&1; trap \'touch heard; exit\' TERM; touch up; '
                f'while :; do sleep 0.1; done"}} directory = "{crewd.dir}" }}\n'
                """pool "deaf" { command = {"sh", "-c", "trap '' TERM; (trap '' TERM; sleep 1000) & echo up; """
                """while :; do sleep 0.1; done"} stop-timeout = "500ms" }""")
    until(lambda: crewd.ctl("logs", "deaf-1").stdout == "up\n")
    until(lambda: crewd.ctl("logs", "polite-1").stdout == "up\n")
    until(lambda: (crewd.dir / "up").exists())
    running(crewd, 23)
    os.kill(crewd.process.pid, signal.SIGKILL)
    crewd.process.wait()
    until(lambda: not crewd.marked(), "no process is left", 30)
    assert (crewd.dir / "told").exists() and (crewd.dir / "heard").exists()  # each was asked first, in its own way
    crewd.exitcode, crewd.leftovers_ok = -signal.SIGKILL, True


@pytest.mark.parametrize("moment", range(12))
@pytest.mark.parametrize("user", ["", pytest.param('user = "games"', marks=ROOT_ONLY)])
def test_keeper_killed_when_tasks_begin(crewd, moment, user):
    """Whether the manager has heard of their processes or not."""
    crewd.start(f'pool "t" {{ tasks = "exec" command = {{"sleep"}} workers = 4 {user} }}')
    with crewd.varlink() as v:
        v.send("io.crewd.Pool.Map", {"pool": "t", "tasks": ["1000"] * 4}, more=True)
        time.sleep(moment / 3000)  # not waited for anything: each is another moment
        os.kill(crewd.process.pid, signal.SIGKILL)
    crewd.process.wait()
    until(lambda: not crewd.marked(), "no process is left", 30)
    crewd.exitcode, crewd.leftovers_ok = -signal.SIGKILL, True


YOUNG = {
    "plain": 'pool "w" { command = {"sleep", "1000"} workers = 8 }',
    "user": 'pool "w" { command = {"sleep", "1000"} workers = 8 user = "games" }',
    "deaf": """pool "w" { command = {"sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"} """
            'workers = 4 stop-timeout = "100ms" }',
    "lines": 'pool "w" { command = {"sed", "-u", "s/a/b/"} tasks = "lines" workers = 8 }',
    "exec": 'pool "w" { command = {"sleep"} tasks = "exec" workers = 8 }',
    "template": f'template "t" {{ command = {{"{WORKERS}/template"}} }}\n'
                'pool "w" { template = "t" workers = 8 }',
}


@pytest.mark.parametrize("kind", [pytest.param(k, marks=ROOT_ONLY) if k == "user" else k for k in YOUNG])
def test_keeper_killed_when_young(crewd, kind):
    """At any moment of its start, whatever the manager has heard of by then: nobody is left."""
    if kind == "template":
        shutil.copy(TEMPLATE, WORKERS / "template")
    for i in range(24):
        crewd.start(YOUNG[kind], wait=i % 2)
        if kind == "exec" and i % 2:
            with crewd.varlink() as v:
                v.send("io.crewd.Pool.Map", {"pool": "w", "tasks": ["1000"] * 8}, more=True)
                time.sleep(random.random() / 200)  # as below
        else:  # not waited for anything: each is another moment
            time.sleep(random.random() / (100 if i % 2 else 20) if i % 4 else 0)
        crewd.process.kill()
        crewd.process.wait()
        until(lambda: not crewd.marked(), f"no process is left (try {i})")
    crewd.exitcode, crewd.leftovers_ok = -signal.SIGKILL, True


@ROOT_ONLY
def test_as_an_ordinary_user(crewd):
    """The same without root: no other user, the same rights for manager and workers."""
    os.chown(crewd.dir, 5, 60)
    crewd.config.write_text(f'state-dir = "{crewd.dir}/state"\npool "w" {{ command = {{"sleep", "1000"}} workers = 3 }}')
    crewd.start(wait=False, prefix=["setpriv", "--reuid=5", "--regid=60", "--clear-groups", "--"])
    until(crewd.answers)
    running(crewd, 3)
    crewd.kill_manager()
    running(crewd, 3)
    os.kill(crewd.process.pid, signal.SIGKILL)
    crewd.process.wait()
    until(lambda: not crewd.marked(), "no process is left", 30)
    crewd.exitcode, crewd.leftovers_ok = -signal.SIGKILL, True


# ---- the clock -------------------------------------------------------------------------------------

SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
/* The machine's clock goes back an hour at every look at it; only CLOCK_MONOTONIC can be relied on. */
static long back;
int clock_gettime(clockid_t id, struct timespec *t)
{
	static int (*real)(clockid_t, struct timespec *);
	int r;
	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	r = real(id, t);
	if (id == CLOCK_REALTIME)
		t->tv_sec -= 3600 * ++back;
	return r;
}
int gettimeofday(struct timeval *tv, void *tz)
{
	struct timespec t;
	(void)tz;
	clock_gettime(CLOCK_REALTIME, &t);
	tv->tv_sec = t.tv_sec;
	tv->tv_usec = t.tv_nsec / 1000;
	return 0;
}
time_t time(time_t *out)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	if (out)
		*out = t.tv_sec;
	return t.tv_sec;
}
"""


@pytest.mark.skipif(SANITIZED, reason="the sanitizers want to be loaded first")
def test_clock_set_back(crewd):
    (crewd.dir / "shim.c").write_text(SHIM)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", crewd.dir / "shim.so", crewd.dir / "shim.c"], check=True)
    crewd.start('pool "c" { command = {"sh", "-c", "sleep 0.05; exit 1"} restart-delay = "20ms" restart-limit = 3 }\n'
                """pool "deaf" { command = {"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"} """
                'stop-timeout = "300ms" }', env={"LD_PRELOAD": str(crewd.dir / "shim.so")})
    assert crewd.wait_state("c-1", "failed")["restarts"] == 3
    until(lambda: "up\n" in crewd.ctl("logs", "deaf-1").stdout)
    crewd.ctl("terminate", "deaf")
    crewd.ctl("run", "--name", "s", "sleep", "1000")
    crewd.ctl("join", "--timeout", "0.2", "s", code=124)
    assert 0 <= crewd.worker("s")["uptime"] < 30


def test_start_that_hangs_holds_up_nobody(crewd):
    """A lease on its program keeps a worker from its exec, as a dead file server would."""
    crewd.start("")
    program = crewd.dir / "program"
    shutil.copy(shutil.which("sleep"), program)
    program.chmod(0o755)
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(program, os.O_RDONLY)
    clients = [crewd.varlink() for _ in range(60)]
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        for n, client in enumerate(clients):
            client.send("io.crewd.Worker.Run", {
                "name": f"w{n}", "command": ["sleep" if n % 10 != 5 else str(program), "1000"]})
        for n, client in enumerate(clients):
            if n % 10 != 5:
                assert client.receive()["parameters"]["name"] == f"w{n}"
        assert {n for n, w in crewd.workers().items() if w["state"] == "starting"} == {f"w{n}" for n in range(5, 60, 10)}
    finally:
        os.close(fd)
    for client in clients[5::10]:
        assert client.receive()["parameters"]["pid"]
    for client in clients:
        client.sock.close()


def test_what_has_begun_began_when_it_did(crewd):
    """Neither another look nor another manager changes when something was started."""
    before = time.time()
    crewd.start('pool "p" { command = {"sleep", "1000"} workers = 20 }')
    running(crewd, 20)

    def begun():
        return [crewd.call("io.crewd.Manager.GetStatus")["started"], *(w["started"] for w in crewd.workers().values())]
    first = begun()
    assert all(before <= s <= time.time() for s in first)
    for _ in range(20):
        assert begun() == first
    crewd.kill_manager()
    assert begun() == first


def test_terminate_outlives_its_manager(crewd):
    crewd.start("""pool "p" { command = {"sh", "-c", "trap '[ -e go ] && exit 5' TERM; echo ready; while :; do sleep 0.05; done"}
        directory = "%s" stop-timeout = "60s" }""" % crewd.dir)
    until(lambda: "ready" in crewd.ctl("logs", "p").stdout)
    ending = crewd.popen("terminate", "p")
    crewd.wait_state("p-1", "stopping")
    crewd.kill_manager()
    assert crewd.state("p-1") == "stopping" and ending.poll() is None
    (crewd.dir / "go").touch()
    crewd.ctl("signal", "TERM", "p")
    assert ending.wait(30) == 0 and ending.stderr.read() == ""
    assert crewd.worker("p-1")["exitcode"] == 5 and crewd.state("p-1") == "stopped"
