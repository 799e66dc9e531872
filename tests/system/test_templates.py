"""Workers that are forked from a template."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import ROOT, WORKERS, exists, until

BUILT = pathlib.Path(os.environ.get("CREW_BUILDDIR", ROOT / "build")) / "tests/workers/template"
shutil.copy(BUILT, WORKERS / "template")  # where every user can reach it
PYTHON = WORKERS / "template.py"
shutil.copy(ROOT / "conf/examples/template.py", PYTHON)


def template(*args, name="t", more=""):
    command = ", ".join(f'"{a}"' for a in (WORKERS / "template", *args))
    return f'template "{name}" {{ command = {{{command}}} {more} }}\n'


def pool(name="w", workers=2, of="t", more=""):
    return f'pool "{name}" {{ template = "{of}" workers = {workers} {more} }}\n'


def running(crewd, *names):
    return [crewd.wait_state(n, "running")["pid"] for n in names]


def parent(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def session(pid):
    return os.getsid(pid)


def test_workers_are_the_keepers_children(crewd):
    crewd.start(template("-m", "8") + pool(workers=3))
    (t,) = running(crewd, "t-1")
    pids = running(crewd, "w-1", "w-2", "w-3")
    assert len({t, *pids}) == 4
    for pid in pids:
        assert parent(pid) == crewd.process.pid and session(pid) == pid
        assert sorted(map(int, os.listdir(f"/proc/{pid}/fd"))) == [0, 1, 2]
        assert os.readlink(f"/proc/{pid}/exe") == os.readlink(f"/proc/{t}/exe")
    until(lambda: "worker w-2 at work, " in crewd.ctl("logs", "w-2").stdout, "it is heard")
    assert "loaded 8 MiB" in crewd.ctl("logs", "t-1").stdout
    assert crewd.ctl("is-alive", "w-2").stdout == "alive\n"


def test_exit_status_restart_and_join(crewd):
    crewd.start(template() + pool(workers=2, more='restart = "on-failure" restart-delay = "1ms"'))
    first, second = running(crewd, "w-1", "w-2")
    os.kill(first, signal.SIGKILL)
    until(lambda: crewd.worker("w-1")["pid"] not in (first, None), "it is forked anew")
    assert crewd.worker("w-1")["restarts"] == 1 and crewd.worker("w-1")["signal"] == 9
    assert crewd.ctl("terminate", "w-2").returncode == 0
    assert not exists(second)
    assert crewd.ctl("join", "w-2").stdout == "w-2 killed by SIGTERM\n"
    crewd.ctl("restart", "w")
    assert crewd.state("w-2") == "running"


def test_lines(crewd):
    crewd.start(template("-m", "4", "lines")
                + pool(workers=2, more='tasks = "lines" environment = {"A=b c", "B="} directory = "/tmp" '
                                       'umask = 027 nice = 3 limits = {"core=0", "nofile=77"}'))
    assert crewd.ctl("apply", "w", "hello").stdout == "hello\n"
    assert crewd.ctl("apply", "w", "env A").stdout == "b c\n"
    assert crewd.ctl("apply", "w", "env CREW_TEMPLATE_FD").stdout == "(unset)\n"
    assert crewd.ctl("apply", "w", "env CREW_POOL").stdout == "w\n"
    assert crewd.ctl("apply", "w", "env NOTIFY_SOCKET").stdout == "(unset)\n"
    (pid,) = running(crewd, "w-1")
    assert os.readlink(f"/proc/{pid}/cwd") == "/tmp"
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert "\nUmask:\t0027\n" in status
    assert pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[16] == "3"
    limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
    assert [line.split()[3:5] for line in limits.splitlines() if "Max open files" in line] == [["77", "77"]]
    died = crewd.ctl("apply", "w", "exit 3", code=None)
    assert died.returncode == 3 and "exited 3" in died.stderr
    out = crewd.ctl("map", "w", stdin="".join(f"n{i}\n" for i in range(1000))).stdout
    assert out == "".join(f"n{i}\n" for i in range(1000))
    assert "Max core file size        0" in limits


def test_ready_and_watchdog_are_the_pools(crewd):
    crewd.start(template("-m", "1") + pool(more='ready = "notify" start-timeout = "300ms" restart = "never"'))
    crewd.wait_state("w-1", "failed")
    assert "not ready within its start-timeout" in crewd.worker("w-1")["why"]
    assert crewd.state("t-1") == "running"  # it has done what it was asked for


def test_example(crewd):
    """The one of crewd-template(7), that forks twice."""
    text = (ROOT / "conf/examples/template.conf").read_text()
    crewd.start(text.replace("/usr/share/doc/crewd/examples/template.py", str(PYTHON)))
    pids = running(crewd, *(f"squares-{n}" for n in range(1, 5)))
    assert all(parent(pid) == crewd.process.pid for pid in pids)
    out = crewd.ctl("map", "squares", stdin="".join(f"{i}\n" for i in range(500))).stdout
    assert out == "".join(f"{i * i}\n" for i in range(500))
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: crewd.worker("squares-1")["pid"] not in (pids[0], None), "it is forked anew")
    for pid in running(crewd, *(f"squares-{n}" for n in range(1, 5))):
        assert sorted(map(int, os.listdir(f"/proc/{pid}/fd"))) == [0, 1, 2]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes another user")
def test_user_is_the_templates(crewd):
    crewd.start(template("-m", "1", "lines", more='user = "games"') + pool(more='tasks = "lines"'))
    pid, worker = running(crewd, "t-1", "w-1")
    assert os.stat(f"/proc/{worker}").st_uid == os.stat(f"/proc/{pid}").st_uid != 0
    assert crewd.ctl("apply", "w", "hello").stdout == "hello\n"
    crewd.write(template("-m", "1", more='user = "games"') + pool(more='user = "daemon"'))
    bad = crewd.ctl("reload", code=78)
    assert "its workers are forked from a template and run as that does" in bad.stderr


# ---- what goes wrong --------------------------------------------------------------------------


def test_template_with_threads_is_refused(crewd):
    crewd.start(template("-t") + pool())
    crewd.wait_state("t-1", "failed")
    assert "more than one thread" in crewd.worker("t-1")["why"]
    crewd.wait_state("w-1", "failed")
    why = crewd.worker("w-1")["why"]
    assert "template t has failed" in why and "more than one thread" in why
    assert "more than one thread" in crewd.ctl("start", "w", code=1).stderr


def test_template_that_is_not_warm_in_time(crewd):
    crewd.start(template("-d", "60000", more='start-timeout = "100ms" restart-delay = "1ms" restart-limit = 1')
                + pool(workers=1))
    crewd.wait_state("w-1", "failed")
    assert "not ready within its start-timeout" in crewd.worker("w-1")["why"]
    assert crewd.worker("t-1")["restarts"] == 1


def test_template_that_dies_says_its_last_lines(crewd):
    crewd.start('template "t" { command = {"sh", "-c", "echo once; echo no model; exit 3"} restart-delay = "1ms" }\n'
                + pool(workers=2, more='tasks = "lines"'))
    crewd.wait_state("w-1", "failed")
    until(lambda: "no model" in crewd.worker("w-1")["why"], "what it said last")
    assert "exited 3" in crewd.worker("w-1")["why"]
    until(lambda: "its last lines:" in crewd.said(), "the log has it")
    failed = crewd.ctl("apply", "w", "x", code=1)
    assert "template t has failed" in failed.stderr
    # and once it is put right, all goes on
    crewd.write(template("lines") + pool(workers=2, more='tasks = "lines"'))
    crewd.ctl("reload")
    running(crewd, "w-1", "w-2")
    assert crewd.ctl("apply", "w", "x").stdout == "x\n"


def test_killed_template_is_made_anew(crewd):
    crewd.start(template("-m", "4", more='restart-delay = "1ms"') + pool(workers=3))
    before = running(crewd, "t-1", "w-1", "w-2", "w-3")
    os.kill(before[0], signal.SIGKILL)
    until(lambda: crewd.worker("t-1")["pid"] not in (before[0], None), "another template")
    assert running(crewd, "w-1", "w-2", "w-3") == before[1:]
    running(crewd, "t-1")
    os.kill(before[1], signal.SIGKILL)
    until(lambda: crewd.worker("w-1")["pid"] not in (before[1], None), "a worker of the new one")
    assert running(crewd, "w-2", "w-3") == before[2:]
    assert crewd.worker("w-2")["restarts"] == 0


def test_stopped_template_holds_up_nobody_else(crewd):
    crewd.start(template(more='restart-delay = "1ms"')
                + pool(workers=1, more='start-timeout = "300ms" restart-delay = "1ms"')
                + 'pool "other" { command = {"sleep", "1000"} }')
    t, w, _ = running(crewd, "t-1", "w-1", "other-1")
    os.kill(t, signal.SIGSTOP)
    os.kill(w, signal.SIGKILL)
    until(lambda: crewd.state("w-1") == "starting", "it is asked for")
    crewd.ctl("restart", "other-1")
    until(lambda: not exists(t), "the one that hangs is replaced")
    assert "has not forked a worker within its start-timeout" in crewd.said()
    running(crewd, "t-1", "w-1")


def test_worker_that_waits_may_be_told_to_end(crewd):
    crewd.start(template() + pool(workers=2))
    t, w, _ = running(crewd, "t-1", "w-1", "w-2")
    os.kill(t, signal.SIGSTOP)
    os.kill(w, signal.SIGKILL)
    until(lambda: crewd.state("w-1") == "starting", "it is asked for")
    crewd.ctl("terminate", "w-1")
    assert crewd.state("w-1") == "stopped"
    os.kill(t, signal.SIGCONT)  # what it forks now is wanted by nobody
    crewd.ctl("start", "w-1")
    before = running(crewd, "w-1", "w-2")
    until(lambda: len(crewd.children() - {crewd.manager()}) == 3, "no other child is left")
    assert running(crewd, "w-1", "w-2") == before


HOSTILE = '''
import os, signal, socket, sys, time
crew = socket.socket(fileno=int(os.environ["CREW_TEMPLATE_FD"]))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
how = sys.argv[1]
if how == "close":
    crew.close()
    time.sleep(1000)
data, fds, _, _ = socket.recv_fds(crew, 65536, 4)
number = data.split(b"\\0")[1]
if how == "garbage":
    crew.send(b"nothing that is known")
elif how == "number":
    crew.send(b"forked\\0" + b"4711\\0")
elif how == "die":
    os._exit(1)
elif how == "itself":  # says that it is the worker
    socket.socket(fileno=fds[3]).send(b"!")
    crew.send(b"forked\\0" + number + b"\\0")
elif how == "own child":
    if os.fork() == 0:
        os.setsid()
        speak = socket.socket(fileno=fds[3])
        speak.send(b"!")
        speak.recv(1)
        os._exit(0)
    for fd in fds:
        os.close(fd)
    crew.send(b"forked\\0" + number + b"\\0")
elif how == "nothing":
    for fd in fds:
        os.close(fd)
    crew.send(b"forked\\0" + number + b"\\0")
elif how == "failed":
    crew.send(b"failed\\0" + number + b"\\0" + b"12\\0")
time.sleep(1000)
'''


def twice(how):
    """A template that forks twice, and whose workers do what they should but for `how`."""
    return '''
import os, socket, sys, time
crew = socket.socket(fileno=int(os.environ["CREW_TEMPLATE_FD"]))
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
how = "%s"
while True:
    data, fds, _, _ = socket.recv_fds(crew, 65536, 4)
    if not data:
        os._exit(0)
    speak = socket.socket(fileno=fds[3])
    middle = os.fork()
    if middle == 0:
        if os.fork():
            time.sleep(0.2 if how == "slow" else 0)
            os._exit(0)
        if how != "session":
            os.setsid()
        speak.send(b"!")
        if how == "hasty":
            os._exit(5)
        if not speak.recv(1):
            os._exit(0)
        if how == "quick":
            os._exit(6)
        time.sleep(1000)
    speak.close()
    for fd in fds[:3]:
        os.close(fd)
    os.waitpid(middle, 0)
    crew.send(b"forked\\0" + data.split(b"\\0")[1] + b"\\0")
''' % how


@pytest.mark.parametrize("how, state, why", [
    ("slow", "running", ""), ("session", "failed", "cannot make a session"),
    ("hasty", "exited", "exited 5"), ("quick", "exited", "exited 6")])
def test_worker_and_the_process_between(crewd, how, state, why):
    """The keeper hears of a worker before that is its child, or when it has died already."""
    script = crewd.dir / "twice.py"
    script.write_text(twice(how))
    crewd.start(f'template "t" {{ command = {{"{sys.executable}", "{script}"}} }}\n'
                + pool(workers=2, more='restart = "never"'))
    for name in ("w-1", "w-2"):
        crewd.wait_state(name, state)
        assert why in crewd.worker(name)["why"]
    assert crewd.state("t-1") == "running"
    until(lambda: len(crewd.children()) == (4 if state == "running" else 2), "nobody else is left")


@pytest.mark.parametrize("how, why", [
    ("garbage", "template t has failed"), ("number", "template t has failed"), ("close", "template t has failed"),
    ("die", "template t has failed"), ("itself", "be forked from its template"),
    ("own child", "be forked from its template"), ("nothing", "be forked from its template"),
    ("failed", "cannot fork: Cannot allocate memory"), ("silent", "not ready within its start-timeout")])
def test_hostile_template(crewd, how, why):
    script = crewd.dir / "hostile.py"
    script.write_text(HOSTILE)
    crewd.start(f'template "t" {{ command = {{"{sys.executable}", "{script}", "{how}"}} restart-delay = "1ms" '
                'restart-limit = 2 }\n'
                + pool(workers=1, more='restart-delay = "1ms" restart-limit = 2 start-timeout = "300ms"')
                + 'pool "other" { command = {"sleep", "1000"} }')
    other = running(crewd, "other-1")
    crewd.wait_state("w-1", "failed")
    assert why in crewd.worker("w-1")["why"]
    assert running(crewd, "other-1") == other
    crewd.ctl("restart", "other")


# ---- the manager dies -------------------------------------------------------------------------


def test_manager_is_killed(crewd):
    crewd.start(template("-m", "4", "lines") + pool(workers=3, more='tasks = "lines"'))
    before = running(crewd, "t-1", "w-1", "w-2", "w-3")
    for _ in range(2):
        crewd.kill_manager()
        assert running(crewd, "t-1", "w-1", "w-2", "w-3") == before
    assert crewd.ctl("apply", "w", "hello").stdout == "hello\n"
    os.kill(before[1], signal.SIGKILL)
    until(lambda: crewd.worker("w-1")["pid"] not in (before[1], None), "forked from the same template")
    assert all(w["restarts"] == (w["name"] == "w-1") for w in crewd.workers().values())


def test_manager_is_killed_while_a_fork_is_under_way(crewd):
    crewd.start(template("-m", "1") + pool(workers=2))
    t, w, other = running(crewd, "t-1", "w-1", "w-2")
    os.kill(t, signal.SIGSTOP)
    os.kill(w, signal.SIGKILL)
    until(lambda: crewd.state("w-1") == "starting", "it is asked for")
    crewd.kill_manager()
    os.kill(t, signal.SIGCONT)
    assert running(crewd, "w-1", "w-2")[1] == other
    assert len(crewd.children() - {crewd.manager()}) == 3


def test_shutdown_join_ends_the_template_last(crewd):
    crewd.start(template() + pool(workers=1, more='restart = "never"'))
    _, w = running(crewd, "t-1", "w-1")
    ended = crewd.popen("shutdown", "--join")
    until(lambda: "when every worker has ended" in crewd.said(), "it waits")
    assert crewd.process.poll() is None and exists(w)
    os.kill(w, signal.SIGTERM)
    ended.communicate()
    assert crewd.process.wait(30) == 0


# ---- sharing ----------------------------------------------------------------------------------

MIB = 1024 * 1024


def memory(crewd, *names):
    return json.loads(crewd.ctl("--json", "memory", *names).stdout)


def test_workers_share_what_their_template_has_loaded(crewd):
    """The template has 300 MiB, its workers read all of it, and write 10 MiB."""
    crewd.start(template("-m", "300", "lines") + pool(workers=8, more='tasks = "lines"'))
    running(crewd, "t-1", *(f"w-{n}" for n in range(1, 9)))
    alone = {w["name"]: w for w in memory(crewd, "t-1")["workers"]}["t-1"]["memory"]
    assert alone >= 300 * MIB
    for worker in range(8):
        assert crewd.ctl("apply", "w", "sum").returncode == 0, worker
    crewd.ctl("map", "w", stdin="sum\n" * 64)
    told = memory(crewd, "w")
    assert {w["name"] for w in told["workers"]} == {"t-1", *(f"w-{n}" for n in range(1, 9))}
    assert sum(w["pss"] for w in told["workers"]) <= 1.1 * alone
    (summed,) = told["pools"]
    assert summed["workers"] == 8 and summed["template"] == "t" and summed["takes"] <= 1.1 * alone
    assert summed["unshared"] >= 8 * 300 * MIB
    before = {w["name"]: w["uss"] for w in told["workers"]}
    crewd.ctl("apply", "w", "write 10")
    after = {w["name"]: w for w in memory(crewd, "w")["workers"]}
    grown = [n for n in before if after[n]["uss"] > before[n] + MIB]
    assert grown == ["w-1"]
    assert 8 * MIB <= after["w-1"]["uss"] <= 12 * MIB
    assert after["w-1"]["shared"] == after["w-1"]["memory"] - after["w-1"]["uss"]


def test_memory_for_people(crewd):
    crewd.start(template("-m", "8") + pool(workers=2) + 'pool "plain" { command = {"sleep", "1000"} }')
    running(crewd, "w-1", "w-2", "plain-1")
    lines = crewd.ctl("memory").stdout.splitlines()
    assert lines[0].split() == ["NAME", "PID", "RSS", "PSS", "USS", "SHARED"]
    assert {line.split()[0] for line in lines[1:5]} == {"t-1", "w-1", "w-2", "plain-1"}
    assert lines[-1].startswith("w: 2 workers of template t take ")
    assert "1 worker of template t" in crewd.ctl("memory", "w-2").stdout
    watched = crewd.ctl("memory", "--watch", "--timeout", "2", "w").stdout.splitlines()
    assert len(watched) >= 2 and all(" w: 2 workers of template t take " in line for line in watched)
    assert crewd.ctl("memory", "--timeout", "2", code=2)
    assert crewd.ctl("memory", "nobody", code=4)


def test_list_tells_sharing_only_when_asked(crewd):
    crewd.start(template("-m", "4") + pool(workers=300))
    crewd.wait_state("w-300", "running")
    assert "pss" not in crewd.worker("w-1") and crewd.worker("w-1")["template"] == "t"
    rows = crewd.call("io.crewd.Worker.List", names=["w"], sharing=True)["workers"]
    assert len(rows) == 301 and all(w["pss"] > 0 and w["uss"] >= 0 for w in rows)
    with crewd.varlink() as v:  # in parts
        v.send("io.crewd.Worker.List", {"sharing": True}, more=True)
        told, more = [], True
        while more:
            reply = v.receive()
            told += reply["parameters"]["workers"]
            more = reply.get("continues", False)
        assert len(told) == 301 and all(w["pss"] > 0 for w in told)
    with crewd.varlink() as v:  # and one that leaves before it is answered
        v.send("io.crewd.Worker.List", {"sharing": True})
    assert crewd.worker("w-1")["state"] == "running"


# ---- generations ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["lines", "sleep"])
def test_restart_of_a_template_replaces_its_workers(crewd, how):
    crewd.start(template("-m", "4", how) + pool(workers=3, more='tasks = "lines"' if how == "lines" else ""))
    names = ["w-1", "w-2", "w-3"]
    old = dict(zip(names, running(crewd, *names)))
    (t,) = running(crewd, "t-1")
    crewd.ctl("restart", "t")
    assert crewd.state("t-2") == "running"  # beside the old one, which goes then
    until(lambda: not exists(t), "the old one has gone")
    until(lambda: all(crewd.worker(n)["pid"] not in (old[n], None) for n in names), "all are forked from the new one")
    running(crewd, *names)
    assert all(crewd.worker(n)["restarts"] == 0 for n in names)
    until(lambda: "w-4" not in crewd.workers(), "the one that came first has gone again")
    crewd.kill_manager()
    now = running(crewd, "t-2", *names)
    crewd.ctl("memory", "w")  # after a turn of everything
    assert running(crewd, "t-2", *names) == now  # nobody thinks that they are old
    crewd.ctl("restart", "t")
    running(crewd, "t-1")
    until(lambda: "t-2" not in crewd.workers(), "the second one is needed no more")


def test_reload_warms_a_new_generation_first(crewd):
    crewd.start(template("-m", "4", "lines") + pool(workers=2, more='tasks = "lines"'))
    old = running(crewd, "t-1", "w-1", "w-2")
    crewd.write(template("-m", "4", "lines", more='environment = {"NEW=1"}') + pool(workers=2, more='tasks = "lines"'))
    assert "changed t: environment" in crewd.ctl("reload").stdout
    until(lambda: crewd.ctl("apply", "w", "env NEW").stdout == "1\n", "the new one is in use")
    until(lambda: not any(exists(pid) for pid in old), "nothing of the old one is left")
    running(crewd, "t-2", "w-1", "w-2")


def test_generation_that_fails_changes_nothing(crewd):
    crewd.start(template("-m", "4", "lines") + pool(workers=2, more='tasks = "lines"'))
    old = running(crewd, "t-1", "w-1", "w-2")
    bad = 'template "t" { command = {"false"} restart-delay = "1ms" }\n'
    crewd.write(bad + pool(workers=2, more='tasks = "lines"'))
    crewd.ctl("reload")
    until(lambda: "its new generation has failed: the old one stays" in crewd.said(), "it is said")
    assert running(crewd, "t-1", "w-1", "w-2") == old
    os.kill(old[1], signal.SIGKILL)
    until(lambda: crewd.worker("w-1")["pid"] not in (old[1], None), "forked from the old one")
    refused = crewd.ctl("restart", "t", code=1)
    assert "exited 1" in refused.stderr
    assert running(crewd, "t-1") == old[:1]
    crewd.write(template("-m", "5", "lines") + pool(workers=2, more='tasks = "lines"'))
    crewd.ctl("reload")
    until(lambda: not exists(old[0]) and not exists(old[2]), "the next one is good")
    running(crewd, "t-2", "w-1", "w-2")


def test_no_task_is_lost_when_a_template_is_killed(crewd):
    crewd.start(template("-m", "16", "lines", more='restart-delay = "1ms"') + pool(workers=4, more='tasks = "lines"'))
    pids = running(crewd, "t-1", "w-1", "w-2", "w-3", "w-4")
    busy = crewd.popen("map", "w", stdin=subprocess.PIPE)
    lines = [f"line {n}\n" for n in range(20000)]
    busy.stdin.write("".join(lines[:10000]))
    busy.stdin.flush()
    os.kill(pids[0], signal.SIGKILL)
    busy.stdin.write("".join(lines[10000:]))
    out, err = busy.communicate()
    assert (busy.returncode, out, err) == (0, "".join(lines), "")
    until(lambda: crewd.worker("t-1")["pid"] not in (pids[0], None), "another template")
    assert running(crewd, "w-1", "w-2", "w-3", "w-4") == pids[1:]


def test_worker_that_owns_too_much_is_forked_anew(crewd):
    crewd.start(template("-m", "40", "lines")
                + pool(workers=1, more='tasks = "lines" recycle-private = "8M" refork-after = 1'))
    (first,) = running(crewd, "w-1")
    assert crewd.ctl("apply", "w", "write 2").stdout == "written\n"
    assert crewd.ctl("map", "w", stdin="pid\n" * 50).stdout == f"{first}\n" * 50
    assert crewd.ctl("apply", "w", "write 20").stdout == "written\n"
    until(lambda: crewd.worker("w-1")["pid"] not in (first, None), "it is forked anew")
    assert "of memory are its own, more than 8" in crewd.said()
    assert crewd.worker("w-1")["restarts"] == 0
    assert crewd.ctl("apply", "w", "sum").returncode == 0
    (row,) = [w for w in memory(crewd, "w")["workers"] if w["name"] == "w-1"]
    assert row["uss"] < 4 * MIB


def test_random_kills(crewd):
    """Templates, workers and managers are killed, at any moment: every task is done, and all is up in the end."""
    crewd.start(template("-m", "8", "lines", more='restart-delay = "1ms" restart-limit = 0')
                + pool(workers=6, more='tasks = "lines" retries = 1000 restart-delay = "1ms" restart-limit = 0'))
    running(crewd, "t-1", *(f"w-{n}" for n in range(1, 7)))
    chance = random.Random(4711)
    for round_of in range(6):
        lines = [f"{round_of} {n}\n" for n in range(2000)]
        busy = crewd.popen("map", "w", stdin=subprocess.PIPE)
        for n in range(0, len(lines), 100):
            busy.stdin.write("".join(lines[n:n + 100]))
            busy.stdin.flush()
            victims = [pid for pid in crewd.children() if pid != crewd.manager()]
            if victims:
                try:
                    os.kill(chance.choice(victims), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        out, err = busy.communicate()
        assert (busy.returncode, out, err) == (0, "".join(lines), "")
        crewd.kill_manager()
    running(crewd, "t-1", *(f"w-{n}" for n in range(1, 7)))
    until(lambda: len(crewd.children()) == 8, "nobody else is left")
