"""Every key of a pool that concerns how its workers are started, watched and ended."""

import ctypes
import json
import os
import pwd
import re
import signal

import pytest

from conftest import WORKERS, exists, until

PYTHON_IGNORES = 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)  # in show.py, by itself
SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134, "riscv64": 134}.get(os.uname().machine)
ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def shown(crewd, name="p-1"):
    text = until(lambda: crewd.ctl("logs", "-n", "1", name).stdout, f"{name} shows itself")
    return json.loads(text)


def show(keys):
    return f'pool "p" {{ command = {{"{WORKERS}/show.py", "a b", "$HOME"}} {keys} }}'


def test_what_a_worker_gets(crewd):
    crewd.start(show(""), env={"INVOCATION_ID": "x", "FOO": "bar"})
    me = shown(crewd)
    assert me["fds"] == [0, 1, 2] and me["stdin"] == "/dev/null"
    assert me["blocked"] == 0 and me["ignored"] & ~PYTHON_IGNORES == 0
    assert me["sid"] == me["pgid"] == me["pid"] == crewd.worker("p-1")["pid"]
    assert me["argv"] == ["a b", "$HOME"]
    assert me["env"]["CREW_WORKER"] == "p-1" and me["env"]["CREW_POOL"] == "p" and me["env"]["FOO"] == "bar"
    assert "INVOCATION_ID" not in me["env"] and "NOTIFY_SOCKET" not in me["env"]


@pytest.mark.skipif(not SYS_RT_SIGACTION, reason="the number of rt_sigaction is not known here")
def test_ignored_signals_are_not_inherited(crewd):
    """Not even 32, which posix_spawn() hands on as ignored."""
    libc = ctypes.CDLL(None)

    def ignore():
        action = (ctypes.c_ulong * 8)(signal.SIG_IGN)
        for sig in (signal.SIGHUP, signal.SIGUSR1, 32):
            assert libc.syscall(ctypes.c_long(SYS_RT_SIGACTION), sig, action, None, ctypes.c_size_t(8)) == 0

    crewd.start(show(""), preexec_fn=ignore)
    assert shown(crewd)["ignored"] & ~PYTHON_IGNORES == 0


def test_nothing_is_left_of_the_worker_before(crewd):
    crewd.start(f'''
        pool "a" {{ command = {{"{WORKERS}/show.py", "1", "2", "3", "4"}} environment = {{"LEFT=over"}}
                   directory = "/usr" umask = 027 clean-environment = true ready = "exec" }}
        pool "b" {{ command = {{"{WORKERS}/show.py", "5"}} after = {{"a"}} }}
    ''', env={"FOO": "bar"})
    assert shown(crewd, "a-1")["argv"] == ["1", "2", "3", "4"]
    me = shown(crewd, "b-1")
    assert me["argv"] == ["5"] and "LEFT" not in me["env"] and me["env"]["FOO"] == "bar"
    assert me["cwd"] != "/usr" and me["umask"] != 0o27 and me["env"]["CREW_POOL"] == "b"
    crewd.ctl("run", "--name", "r", "--", f"{WORKERS}/show.py")
    assert shown(crewd, "r")["argv"] == []


def test_settings(crewd):
    crewd.start(show('environment = {"A=1", "FOO=mine"} directory = "/usr" umask = 027 nice = 5 '
                     'limits = {"nofile=123", "core=0"}'), env={"FOO": "crewd's"})
    me = shown(crewd)
    assert me["env"]["A"] == "1" and me["env"]["FOO"] == "mine"
    assert me["cwd"] == "/usr" and me["umask"] == 0o27 and me["nice"] == os.nice(0) + 5
    assert me["nofile"] == [123, 123] and me["core"] == [0, 0]


def test_clean_environment(crewd):
    # Python adds LC_CTYPE by itself
    crewd.start(show('clean-environment = true environment = {"A=1"}'), env={"FOO": "bar"})
    left = set(shown(crewd)["env"]) - {"A", "CREW_WORKER", "CREW_POOL", "LC_CTYPE"}
    crewd.mark = "CREW_POOL=p"  # its own mark was cleaned away
    assert left <= {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"}
    crewd.mark = "CREW_TEST_MARK=none"


@ROOT_ONLY
def test_user(crewd):
    crewd.start(show('user = "games" clean-environment = true'))
    me, games = shown(crewd), pwd.getpwnam("games")
    assert me["uid"] == [games.pw_uid] * 3 and me["gid"] == [games.pw_gid] * 3
    assert me["groups"] == os.getgrouplist("games", games.pw_gid)
    assert me["env"]["HOME"] == games.pw_dir and me["env"]["USER"] == "games"


@ROOT_ONLY
def test_manager_has_no_rights(crewd):
    crewd.start(show(""))
    status = open(f"/proc/{crewd.manager()}/status", encoding="utf-8").read()
    assert f"Uid:\t{pwd.getpwnam('nobody').pw_uid}" in status
    for line in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
        assert f"{line}:\t0000000000000000" in status
    assert shown(crewd)["uid"] == [0, 0, 0]


def test_restart_policies(crewd):
    crewd.start("""
        pool "ok"    { command = {"true"} restart = "on-failure" }
        pool "no"    { command = {"false"} restart = "never" }
        pool "three" { command = {"sh", "-c", "exit 3"} restart = "on-failure" success-exit = {0, 3} }
        pool "fail"  { command = {"false"} restart = "on-failure" restart-limit = 2 restart-delay = "1ms" }
        pool "all"   { command = {"true"} restart-limit = 3 restart-delay = "1ms" }
    """)
    assert crewd.wait_state("ok-1", "exited")["exitcode"] == 0
    assert crewd.wait_state("no-1", "exited")["exitcode"] == 1
    assert crewd.wait_state("three-1", "exited")["restarts"] == 0
    assert crewd.wait_state("fail-1", "failed")["restarts"] == 2
    assert crewd.wait_state("all-1", "failed")["restarts"] == 3


def test_backoff_is_bounded(crewd):
    crewd.start('pool "c" { command = {"false"} restart-delay = "5ms" restart-delay-max = "20ms" restart-limit = 8 }')
    assert crewd.wait_state("c-1", "failed")["restarts"] == 8
    assert "restart in 20ms (8 of 8)" in crewd.said() and "given up" in crewd.said()
    crewd.ctl("start", "c-1", code=None)  # begins anew
    until(lambda: crewd.said().count("given up") == 2)


def test_ready_notify(crewd):
    crewd.start(f"""
        pool "n" {{ command = {{"{WORKERS}/notify.py", "READY=1"}} ready = "notify" autostart = false }}
        pool "never" {{ command = {{"sleep", "1000"}} ready = "notify" start-timeout = "300ms"
                        autostart = false restart = "never" }}
        pool "sh" {{ command = {{"sh", "-c", "systemd-notify --ready; sleep 1000"}} ready = "notify"
                     autostart = false }}
    """)
    crewd.ctl("start", "n")
    assert crewd.state("n-1") == "running"
    why = "killed by SIGKILL: not ready within its start-timeout"
    assert f"never-1 could not be started: {why}" in crewd.ctl("start", "never", code=1).stderr
    assert crewd.state("never-1") == "failed" and why in crewd.ctl("status", "never", code=3).stdout
    assert crewd.ctl("join", "never").stdout == "never-1 killed by SIGKILL\n"
    crewd.ctl("start", "sh")


def test_ready_before_the_keeper_has_told(crewd):
    """A process of the worker's session says it while the keeper, stopped, cannot yet say that there is a worker."""
    crewd.start(f"""
        pool "q" {{ command = {{"sh", "-c", "kill -STOP $PPID; {WORKERS}/notify.py READY=1 & sleep 0.2; kill -CONT $PPID; wait"}}
                    ready = "notify" autostart = false workers = 10 }}
    """)
    for n in range(1, 11):
        crewd.ctl("start", f"q-{n}")


def test_watchdog(crewd):
    crewd.start(f"""
        pool "good" {{ command = {{"{WORKERS}/notify.py", "READY=1", "pings"}} ready = "notify" watchdog = "1s" }}
        pool "mute" {{ command = {{"{WORKERS}/notify.py", "READY=1"}} ready = "notify" watchdog = "300ms"
                       restart = "never" }}
    """)
    mute = crewd.wait_state("mute-1", "failed")
    assert mute["signal"] == signal.SIGABRT and "silent for longer than its watchdog allows" in mute["why"]
    good = crewd.wait_state("good-1", "running")
    os.kill(good["pid"], signal.SIGSTOP)
    until(lambda: crewd.worker("good-1")["restarts"] > good["restarts"])
    assert not exists(good["pid"])
    assert re.search(r"good-1.*silent for longer than its watchdog allows", crewd.said())


def test_stop_signal(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "trap \'exit 9\' USR1; while :; do sleep 0.05; done"} '
                'stop-signal = "USR1" }')
    until(lambda: crewd.state("p-1") == "running")
    crewd.ctl("terminate", "p-1")
    w = crewd.worker("p-1")
    assert w["state"] == "stopped" and (w["exitcode"] == 9 or w["signal"] == signal.SIGUSR1)


def test_after(crewd):
    crewd.start(f"""
        pool "front" {{ command = {{"sleep", "1000"}} after = {{"app"}} }}
        pool "app" {{ command = {{"sleep", "1000"}} after = {{"db"}} }}
        pool "db" {{ command = {{"sh", "-c", "while [ ! -e {crewd.dir}/go ]; do sleep 0.02; done;
                    exec {WORKERS}/notify.py READY=1"}} ready = "notify" }}
    """)
    assert crewd.wait_state("db-1", "starting") and crewd.state("app-1") == "stopped"
    assert crewd.state("front-1") == "stopped"
    (crewd.dir / "go").touch()
    crewd.wait_state("front-1", "running")
    crewd.ctl("shutdown")
    ends = [line for line in crewd.said().splitlines() if "as it was told to" in line]
    assert [e.split("-1[")[0].split()[-1] for e in ends] == ["front", "app", "db"]


def test_after_what_is_not_there(crewd):
    crewd.start("""
        pool "db" { command = {"sleep", "1000"} autostart = false }
        pool "app" { command = {"sleep", "1000"} after = {"db"} autostart = false }
    """)
    assert "waits for pool db, which is not running" in crewd.ctl("start", "app", code=1).stderr
    crewd.ctl("start", "db")
    crewd.wait_state("app-1", "running")


def test_inherits(crewd):
    crewd.start("""
        pool "base" { command = {"sleep", "1000"} workers = 2 autostart = false }
        pool "kind" { inherits = "base" autostart = true environment = {"A=1"} }
    """)
    until(lambda: crewd.state("kind-2") == "running")
    assert crewd.state("base-1") == "stopped"


def test_log_to_file(crewd):
    path = crewd.dir / "out.log"
    crewd.start(f'pool "p" {{ command = {{"sh", "-c", "echo one; echo two; sleep 1000"}} log = "{path}" }}')
    until(lambda: path.exists() and path.read_text() == "one\ntwo\n")
    path.rename(crewd.dir / "old.log")  # as logrotate does
    crewd.ctl("reload")
    until(path.exists)
    crewd.ctl("restart", "p")
    until(lambda: path.read_text() == "one\ntwo\n")


def test_log_inherit_and_discard(crewd):
    crewd.start("""
        pool "i" { command = {"sh", "-c", "echo seen; sleep 1000"} log = "inherit" }
        pool "d" { command = {"sh", "-c", "echo unseen; sleep 1000"} log = "discard" }
    """)
    until(lambda: crewd.ctl("logs", "d-1").stdout == "unseen\n")
    until(lambda: "i-1: seen" in crewd.said())
    assert "unseen" not in crewd.said()


def test_last_64_kib(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "seq 100000; echo end; sleep 1000"} log = "discard" }')
    until(lambda: crewd.ctl("logs", "-n", "1", "p-1").stdout == "end\n")
    lines = crewd.call("io.crewd.Worker.Logs", name="p-1")["lines"]
    assert lines[-1] == "end" and lines[-2] == "100000"
    assert 60000 < sum(len(line) + 1 for line in lines) <= 65536
    assert [int(n) for n in lines[1:-1]] == list(range(int(lines[1]), 100001))


def test_scale_beyond_the_table(crewd):
    crewd.start("""
pool "idle" { command = {"true"} autostart = false }
pool "other" { command = {"true"} autostart = false }""")
    assert "no room" in crewd.ctl("scale", "idle", "32768", code=75).stderr
    assert len(crewd.workers("idle")) == 1
    crewd.ctl("scale", "idle", "3")
    until(lambda: len(crewd.workers("idle")) == 3)


def test_clean_environment_is_whole(crewd):
    """Even when crewd itself was started without a user's name."""
    clean = 'pool "p" { command = {"env"} restart = "never" clean-environment = true environment = {"HOME=/mine"} }'
    dirty = 'pool "q" { command = {"env"} restart = "never" }'
    variables = ("USER", "LOGNAME", "HOME", "SHELL")
    crewd.start(clean + dirty, env={"SECRET": "1"}, prefix=["env", *(f"--unset={v}" for v in variables)])
    crewd.ctl("join", "p", "q")
    me = pwd.getpwuid(os.geteuid())
    got = dict(line.split("=", 1) for line in crewd.ctl("logs", "p").stdout.splitlines())
    assert (got["USER"], got["LOGNAME"], got["HOME"]) == (me.pw_name, me.pw_name, "/mine")
    assert got["SHELL"] == (me.pw_shell or "/bin/sh") and "SECRET" not in got
    assert not set(variables) & {line.split("=")[0] for line in crewd.ctl("logs", "q").stdout.splitlines()}
