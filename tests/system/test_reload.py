"""Reload: plan and commit. And crewd's own command line, signals and exit codes."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

from conftest import CREWD, cmdline, exists, until

BASE = """
pool "same" { command = {"sleep", "1000"} workers = 2 }
pool "other" { command = {"sleep", "1000"} workers = 3 }
pool "leaves" { command = {"sleep", "1000"} }
"""


def settled(crewd, count):
    until(lambda: sum(w["state"] == "running" for w in crewd.workers().values()) == count)
    return crewd.pids()


def test_changed_added_removed(crewd):
    crewd.start(BASE)
    before = settled(crewd, 6)
    crewd.write("""
        pool "same" { command = {"sleep", "1000"} workers = 2 }
        pool "other" { command = {"sleep", "1001"} workers = 3 }
        pool "new" { command = {"sleep", "1000"} }
    """)
    dry = crewd.ctl("reload", "--dry-run").stdout
    assert crewd.pids() == before
    assert crewd.ctl("reload").stdout == dry
    assert dry == "added new\nchanged other: command (its workers are restarted)\nremoved leaves\n"
    until(lambda: "leaves-1" not in crewd.workers())
    until(lambda: not {before[f"other-{n}"] for n in (1, 2, 3)} & set(crewd.pids().values()))
    after = settled(crewd, 6)
    assert after["same-1"] == before["same-1"] and after["same-2"] == before["same-2"]
    assert not exists(before["leaves-1"])
    assert crewd.ctl("reload").stdout == "nothing changed\n"
    document = json.loads(crewd.ctl("--json", "reload").stdout)
    assert document["unchanged"] == ["same", "other", "new"]


def test_one_after_the_other(crewd):
    crewd.start(BASE)
    settled(crewd, 6)
    with crewd.varlink() as v:
        v.send("io.crewd.Manager.Subscribe", {}, more=True)
        v.receive()
        crewd.write(BASE.replace('workers = 3', 'workers = 3 umask = 027'))
        crewd.ctl("reload")
        down, most, ups = set(), 0, 0
        while ups < 3:
            e = v.receive()["parameters"]
            if e.get("pool") != "other":
                continue
            if e["state"] == "running":
                ups += 1
                down.discard(e["worker"])
            else:
                down.add(e["worker"])
            most = max(most, len(down))
    assert most == 1


def test_live_keys_restart_nobody(crewd):
    crewd.start(BASE)
    before = settled(crewd, 6)
    crewd.write(BASE.replace('workers = 2', 'workers = 1 stop-timeout = "1s" restart-limit = 5'))
    out = crewd.ctl("reload").stdout
    assert "restarted" not in out and "changed same:" in out
    until(lambda: "same-2" not in crewd.workers())
    assert crewd.pids() == {n: p for n, p in before.items() if n != "same-2"}


def test_bad_file_changes_nothing(crewd):
    crewd.start(BASE)
    before = settled(crewd, 6)
    lines = crewd.write(BASE + 'pool "x" {\n  nonsense = 1\n  workers = many\n}\n') + BASE.count("\n")
    p = crewd.ctl("reload", code=78)
    assert p.stderr.startswith("crewctl: the configuration has errors, nothing was changed:\n"), p.stderr
    assert f"crewd.conf:{lines + 1}: " in p.stderr and f"crewd.conf:{lines + 2}: " in p.stderr
    assert "nonsense" in p.stderr and p.stdout == ""
    crewd.config.write_text("\0")
    crewd.ctl("reload", code=78)
    crewd.config.unlink()
    crewd.ctl("reload", code=78)
    crewd.config.mkdir()
    crewd.ctl("reload", code=78)
    crewd.config.rmdir()
    assert crewd.pids() == before


def test_scale_lasts_until_its_pool_changes(crewd):
    crewd.start(BASE)
    settled(crewd, 6)
    crewd.ctl("scale", "same", "4")
    settled(crewd, 8)
    crewd.ctl("reload")
    assert len(crewd.workers("same")) == 4
    crewd.kill_manager()
    assert len(crewd.workers("same")) == 4
    crewd.write(BASE.replace("workers = 2", 'workers = 2 nice = 1'))
    crewd.ctl("reload")
    until(lambda: len(crewd.workers("same")) == 2)


def test_sighup(crewd):
    crewd.start(BASE)
    settled(crewd, 6)
    crewd.write(BASE + 'pool "new" { command = {"sleep", "1000"} }')
    os.kill(crewd.process.pid, signal.SIGHUP)
    until(lambda: "new-1" in crewd.workers())


def test_includes(crewd):
    (crewd.dir / "pools.d").mkdir()
    (crewd.dir / "pools.d" / "a.conf").write_text('pool "a" { command = {"sleep", "1000"} }\n')
    (crewd.dir / "pools.d" / "b.conf").write_text('\npool "b" {\n  command = {"sleep"} bad = 1\n}\n')
    crewd.write('include("pools.d/*.conf")\n')
    p = subprocess.run([CREWD, "-t", "-c", crewd.config], capture_output=True, text=True, check=False)
    assert p.returncode == 78 and "b.conf:3: " in p.stderr
    (crewd.dir / "pools.d" / "b.conf").unlink()
    crewd.start()
    assert list(crewd.workers()) == ["a-1"]


# ---- the command line -----------------------------------------------------------------------------


def test_check_and_print(crewd):
    crewd.write(BASE + 'pool "kind" { inherits = "same" limits = {"nofile=64"} success-exit = {0, 3} }')

    def printed(path):
        return subprocess.run([CREWD, "-c", path, "-t", "-v"], capture_output=True, text=True, check=True).stdout

    first = printed(crewd.config)
    again = crewd.dir / "again.conf"
    again.write_text(first)
    assert 'pool "kind"' in first and printed(again) == first
    assert subprocess.run([CREWD, "-c", crewd.config, "-t"], check=False).returncode == 0


def test_all_errors_in_one_go(crewd):
    crewd.write('pool "a" {\n  workers = -1\n}\npool "a" { command = {"x"} }\npool "c" {\n  command = {"x"}\n'
                '  restart = "perhaps"\n  stop-timeout = "soon"\n  nonsense = 1\n  command = {"y"}\n'
                '  after = {"nobody"}\n}\npool "b-1" { command = {"x"} }\n')
    p = subprocess.run([CREWD, "-c", crewd.config, "-t"], capture_output=True, text=True, check=False)
    assert p.returncode == 78 and p.stdout == ""
    for word in ("workers", "restart", "stop-timeout", "command", '"a"', "b-1", "nobody", "nonsense"):
        assert word in p.stderr, p.stderr
    assert all(":" in line and line.split(":")[1].isdigit() for line in p.stderr.splitlines() if "crewd.conf" in line)


def test_errors_of_the_file_have_priorities_in_the_journal(crewd):
    crewd.write('pool "e" {\n  tasks = "exec"\n  command = {"/bin/echo"}\n  prefetch = 1\n  nice = 77\n}\n')
    with open(crewd.log, "wb") as log:
        of = os.fstat(log.fileno())
        for option, marks in (([], ["<3>", "<4>"]), (["-t"], [str(crewd.config)] * 2)):
            log.truncate(0)
            p = subprocess.run([CREWD, "-c", crewd.config, "-s", crewd.socket, *option], stderr=log, check=False,
                               env={**os.environ, "JOURNAL_STREAM": f"{of.st_dev}:{of.st_ino}"})
            log.seek(0)
            lines = sorted(line for line in crewd.said().splitlines() if 'pool "e"' in line)
            assert p.returncode == 78 and len(lines) == 2, lines
            assert [line.startswith(mark) for line, mark in zip(lines, marks)] == [True, True], lines
            assert "nice" in lines[0] or option, lines


def test_keys_without_effect_are_no_errors(crewd):
    crewd.write('pool "e" {\n  tasks = "exec"\n  command = {"/bin/echo"}\n  workers = 2\n  min-workers = 1\n'
                '  idle-timeout = "1s"\n  max-tasks-per-worker = 1\n  prefetch = 1\n}\n')
    p = subprocess.run([CREWD, "-c", crewd.config, "-t"], capture_output=True, text=True, check=False)
    assert p.returncode == 0, p
    for key in ("min-workers", "idle-timeout", "max-tasks-per-worker", "prefetch"):
        assert f'warning: pool "e": {key} has no effect' in p.stderr
    crewd.start()
    assert crewd.ctl("apply", "e", "x").stdout == "x\n"


def test_socket_that_cannot_be_is_an_error_of_the_file(crewd):
    crewd.config.write_text(f'state-dir = "{crewd.dir}"\nsocket = "/{"x" * 107}"\n')
    p = subprocess.run([CREWD, "-c", crewd.config, "-t"], capture_output=True, text=True, check=False)
    assert p.returncode == 78 and "crewd.conf:2: socket = " in p.stderr and "at most 107" in p.stderr
    crewd.config.write_text(f'state-dir = "{crewd.dir}"\nsocket = "/{"x" * 106}"\n')
    assert subprocess.run([CREWD, "-c", crewd.config, "-t"], check=False).returncode == 0


def test_exit_codes(crewd):
    def run(*args):
        return subprocess.run([CREWD, *args], capture_output=True, text=True, check=False, timeout=30)

    assert run("--help").returncode == 0 and run("--version").stdout.startswith("crewd ")
    assert run("--nonsense").returncode == 2 and run("extra").returncode == 2 and run("-v").returncode == 2
    assert run("--internal=manager").returncode == 2
    assert run("-c", "/nonexistent.conf", "-s", crewd.dir / "x").returncode == 78
    crewd.write("pool")
    assert run("-c", crewd.config, "-s", crewd.dir / "x").returncode == 78
    crewd.write("")
    assert run("-c", crewd.config, "-s", crewd.dir / "no/such/dir/s").returncode == 1


def test_second_crewd(crewd):
    crewd.start("")
    p = subprocess.run([CREWD, "-c", crewd.config, "-s", crewd.socket], capture_output=True, text=True, check=False)
    assert p.returncode == 1 and f"already running, pid {crewd.process.pid}" in p.stderr
    assert crewd.answers()


def test_stale_socket(crewd):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(crewd.socket))
    stale.close()
    crewd.start("")


def test_second_sigterm_does_not_wait(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "trap \'\' TERM; echo up; while :; do sleep 0.1; done"} '
                'stop-timeout = "1h" }')
    until(lambda: crewd.ctl("logs", "p-1").stdout == "up\n")
    crewd.process.terminate()
    until(lambda: "shutting down" in crewd.said())
    assert crewd.process.poll() is None
    crewd.process.terminate()
    assert crewd.process.wait(30) == 0


def test_socket_activation(crewd):
    """As systemd does it: the listening socket is there before the daemon, and stays when it ends."""
    crewd.write("")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(crewd.socket))
    listener.listen()
    child = ("import os, sys\nos.dup2(int(sys.argv[1]), 3, inheritable=True)\n"
             "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='varlink')\n"
             "os.execv(sys.argv[2], sys.argv[2:])")
    p = subprocess.Popen([sys.executable, "-c", child, str(listener.fileno()), CREWD, "-c", crewd.config,
                          "-s", crewd.socket], pass_fds=[listener.fileno()], stderr=open(crewd.log, "wb"))
    crewd.process = p
    until(crewd.answers)
    p.terminate()
    assert p.wait(30) == 0 and crewd.socket.exists()
    crewd.leftovers_ok = True


def test_hangup_during_a_reload_is_not_lost(crewd):
    many = "".join(f'pool "p{n}" {{ command = {{"true"}} autostart = false }}\n' for n in range(300))
    crewd.start(many + 'pool "w" { command = {"sleep", "1000"} workers = 1 }')
    for n in range(3, 23, 2):
        for workers in (n, n + 1):
            crewd.write(many + f'pool "w" {{ command = {{"true"}} autostart = false workers = {workers} }}')
            crewd.process.send_signal(signal.SIGHUP)
            if workers == n:
                until(lambda: reader(crewd) or len(crewd.workers("w")) == n, "it is being read")
        until(lambda: len(crewd.workers("w")) == n + 1, f"{n + 1} workers, as the last hangup said")


def reader(crewd):
    """The process that reads the configuration, if it does so now."""
    keeper = crewd.process.pid
    children = pathlib.Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    return any(cmdline(c).startswith(b"crewd: reader") for c in children)
