"""Every verb of crewctl about workers: what it prints, what it exits with."""

import json
import os
import signal
import subprocess

from conftest import CREWCTL, exists, until

POOLS = """
pool "web" { command = {"sleep", "1000"} workers = 3 }
pool "idle" { command = {"sleep", "1000"} autostart = false }
pool "once" { command = {"sh", "-c", "exit 3"} restart = "never" }
pool "bad" { command = {"/nonexistent/program"} restart = "never" autostart = false }
"""


def test_status(crewd):
    crewd.start(POOLS)
    crewd.wait_state("once-1", "exited")
    out = crewd.ctl("status").stdout.splitlines()
    assert out[0].split()[:3] == ["NAME", "STATE", "PID"]
    assert [line.split()[0] for line in out[1:]] == ["web-1", "web-2", "web-3", "idle-1", "once-1", "bad-1"]
    assert "exited 3" in next(line for line in out if line.startswith("once-1"))
    assert len(crewd.ctl("status", "web").stdout.splitlines()) == 4
    assert len(crewd.ctl("status", "web-[12]").stdout.splitlines()) == 3
    crewd.ctl("status", "idle", code=3)
    crewd.ctl("status", "nobody", code=4)
    document = json.loads(crewd.ctl("--json", "status").stdout)
    row = next(w for w in document["workers"] if w["name"] == "web-1")
    assert row["pool"] == "web" and row["alive"] and row["state"] == "running" and row["restarts"] == 0
    assert exists(row["pid"]) and row["memory"] > 0 and row["uptime"] >= 0 and row["exitcode"] is None


def test_queries_change_nothing(crewd):
    crewd.start(POOLS)
    for n in (1, 2, 3):
        crewd.wait_state(f"web-{n}", "running")
    crewd.wait_state("once-1", "exited")
    before = {n: (w["pid"], w["state"]) for n, w in crewd.workers().items()}
    for query in (["status"], ["is-alive", "web"], ["logs", "web-1"], ["reload", "--dry-run"]):
        crewd.ctl(*query)
    assert before == {n: (w["pid"], w["state"]) for n, w in crewd.workers().items()}


def test_start_and_terminate(crewd):
    crewd.start(POOLS)
    for n in (1, 2, 3):
        crewd.wait_state(f"web-{n}", "running")
    crewd.ctl("start", "idle")
    pid = crewd.worker("idle-1")["pid"]
    assert crewd.state("idle-1") == "running"
    crewd.ctl("start", "idle-1")  # already: nothing to do
    assert crewd.worker("idle-1")["pid"] == pid
    crewd.ctl("terminate", "idle")
    assert not exists(pid) and crewd.state("idle-1") == "stopped"
    crewd.ctl("stop", "web-2")
    assert crewd.state("web-2") == "stopped" and crewd.state("web-1") == "running"
    crewd.ctl("terminate", "--no-wait", "web")
    for n in (1, 2, 3):
        crewd.wait_state(f"web-{n}", "stopped")
    assert "cannot run /nonexistent/program: No such file" in crewd.ctl("start", "bad", code=1).stderr
    crewd.ctl("start", "nobody", "idle", code=4)
    assert crewd.state("idle-1") == "running"  # one wrong name does not hold up the others


def test_kill_signal_restart(crewd):
    crewd.start(POOLS)
    for n in (1, 2, 3):
        crewd.wait_state(f"web-{n}", "running")
    first = crewd.worker("web-1")["pid"]
    crewd.ctl("signal", "KILL", "web-1")
    again = until(lambda: (w := crewd.worker("web-1"))["state"] == "running" and w["pid"] != first and w)
    assert again["restarts"] == 1 and again["signal"] == signal.SIGKILL
    crewd.ctl("restart", "web")
    pids = crewd.pids()
    assert pids["web-1"] != again["pid"] and crewd.state("web-3") == "running"
    crewd.ctl("restart", "--all-at-once", "web")
    assert not set(pids.values()) & {p for n, p in crewd.pids().items() if n.startswith("web")}
    crewd.ctl("kill", "web-2")
    w = crewd.worker("web-2")
    assert w["state"] == "stopped" and w["signal"] == signal.SIGKILL
    assert "no signal" in crewd.ctl("signal", "NONSENSE", "web-1", code=2).stderr


def test_run_is_alive_join(crewd):
    """The first example of all."""
    crewd.start("")
    work = f"while [ ! -e {crewd.dir}/go ]; do sleep 0.02; done"
    assert crewd.ctl("run", "--name", "pr", "--", "sh", "-c", work).stdout == "pr\n"
    assert crewd.ctl("is-alive", "pr").stdout == "alive\n"
    over = crewd.ctl("join", "--timeout", "0.2", "pr", code=124)
    assert over.stdout == "" and over.stderr.startswith("crewctl: ")
    (crewd.dir / "go").touch()
    assert crewd.ctl("join", "pr").stdout == "pr exited 0\n"
    assert crewd.ctl("is-alive", "pr", code=3).stdout == "dead\n"
    crewd.ctl("forget", "pr")
    crewd.ctl("is-alive", "pr", code=4)


def test_run(crewd):
    crewd.start("")
    assert crewd.ctl("run", "sleep", "1000").stdout == "run-1\n"
    assert crewd.ctl("run", "sleep", "1000").stdout == "run-2\n"
    assert crewd.ctl("run", "--join", "--", "sh", "-c", "exit 7", code=7).stdout == "run-3\n"
    crewd.ctl("run", "--join", "--", "sh", "-c", "kill -TERM $$", code=143)
    assert "StartFailed" not in crewd.ctl("run", "/nonexistent", code=1).stderr
    crewd.ctl("run", "--name", "e", "--env", "A=b c", "--dir", "/usr", "sh", "-c", 'echo "$A $PWD $CREW_WORKER"')
    crewd.ctl("join", "e")
    assert crewd.ctl("logs", "e").stdout == "b c /usr e\n"
    crewd.ctl("run", "--name", "run-1", "true", code=1)  # there is one, and it lives
    crewd.ctl("run", "--name", "a b", "true", code=2)
    crewd.ctl("run", code=2)
    crewd.ctl("forget", "run-1", code=1)
    crewd.ctl("run", "--restart", "always", "--name", "again", "sleep", "1000")
    pid = crewd.worker("again")["pid"]
    os.kill(pid, signal.SIGKILL) if os.geteuid() == 0 else crewd.ctl("signal", "9", "again")
    until(lambda: crewd.worker("again")["restarts"] == 1 and crewd.state("again") == "running")


def test_join_many(crewd):
    crewd.start('pool "w" { command = {"sh", "-c", "exit 5"} workers = 2 restart = "never" }\n' + POOLS)
    assert crewd.ctl("join", "w", "once-1").stdout == "w-1 exited 5\nw-2 exited 5\nonce-1 exited 3\n"
    crewd.ctl("kill", "web-1")
    assert crewd.ctl("join", "web-1").stdout == "web-1 killed by SIGKILL\n"
    assert crewd.ctl("join", "idle-1").stdout == "idle-1 not started\n"
    crewd.ctl("start", "bad", code=1)
    assert crewd.ctl("join", "bad-1").stdout.startswith("bad-1 failed: cannot run")
    waiting = crewd.popen("join", "web-2")
    crewd.ctl("terminate", "web-2")
    assert waiting.communicate(timeout=30)[0] == "web-2 killed by SIGTERM\n"


def test_scale(crewd):
    crewd.start(POOLS)
    for n in (1, 2, 3):
        crewd.wait_state(f"web-{n}", "running")
    pids = crewd.pids()
    crewd.ctl("scale", "web", "5")
    for n in (4, 5):
        crewd.wait_state(f"web-{n}", "running")
    crewd.ctl("scale", "web", "1")
    until(lambda: len(crewd.workers("web")) == 1)
    assert crewd.worker("web-1")["pid"] == pids["web-1"]
    crewd.ctl("scale", "nobody", "1", code=4)
    crewd.ctl("scale", "web", "-1", code=2)
    crewd.ctl("scale", "web", "many", code=2)


def test_logs(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "seq 20; echo err >&2; sleep 1000"} }')
    until(lambda: "err" in crewd.ctl("logs", "p-1").stdout)
    assert crewd.ctl("logs", "p-1").stdout.split() == [str(n) for n in range(1, 21)] + ["err"]
    assert crewd.ctl("logs", "-n", "2", "p-1").stdout == "20\nerr\n"
    crewd.ctl("logs", "nobody", code=4)
    follow = crewd.popen("logs", "-f", "-n", "1", "p-1")
    assert follow.stdout.readline() == "err\n"
    crewd.ctl("restart", "p-1")
    assert follow.stdout.readline() == "1\n"
    follow.terminate()
    follow.wait()


def test_events(crewd):
    crewd.start(POOLS)
    for n in (1, 2, 3):
        crewd.wait_state(f"web-{n}", "running")
    events = crewd.popen("--json", "events")
    assert json.loads(events.stdout.readline())["event"] == "subscribed"
    crewd.ctl("terminate", "web-1")
    seen = []
    while not seen or seen[-1].get("state") != "stopped":
        seen.append(json.loads(events.stdout.readline()))
    events.terminate()
    events.wait()
    mine = [e for e in seen if e.get("worker") == "web-1"]
    assert [e["state"] for e in mine] == ["stopping", "stopped"]
    assert mine[-1]["signal"] == signal.SIGTERM and mine[0]["was"] == "running"


def test_quick_workers_have_been_running(crewd):
    crewd.start('pool "q" { command = {"true"} restart = "never" autostart = false }')
    with crewd.varlink() as events:
        events.send("io.crewd.Manager.Subscribe", more=True)
        assert events.receive()["parameters"]["event"] == "subscribed"
        for n in range(20):
            ran = crewd.call("io.crewd.Worker.Run", command=["true"], name=f"r{n}")
            assert ran["pid"] > 0
            crewd.call("io.crewd.Worker.Join", name=f"r{n}")
            crewd.call("io.crewd.Worker.Start", name="q")
            crewd.call("io.crewd.Worker.Join", name="q")
            for worker, pid in ((f"r{n}", ran["pid"]), ("q-1", None)):
                seen = []
                while not seen or seen[-1]["state"] != "exited":
                    seen += [e for e in [events.receive()["parameters"]] if e["worker"] == worker]
                assert [(e["was"], e["state"]) for e in seen] == [
                    ("stopped" if worker != "q-1" or n == 0 else "exited", "starting"),
                    ("starting", "running"), ("running", "exited")]
                assert seen[1]["pid"] == pid or (pid is None and seen[1]["pid"] > 0)


def test_run_does_not_alter_what_is_no_text(crewd):
    crewd.start("")
    for args in ([b"cat", b"/tmp/\xff"], [b"--env", b"A=\xff", b"true"]):
        p = subprocess.run([CREWCTL, "-s", crewd.socket, "run", *args], capture_output=True, check=False)
        assert p.returncode == 2 and b"is not UTF-8" in p.stderr and not p.stdout, p
    assert not crewd.workers()
    crewd.ctl("run", "--join", "--name", "r", "echo", "ä")
    assert crewd.ctl("logs", "r").stdout == "ä\n"


def test_run_says_what_is_wrong_with_a_program(crewd):
    closed, mine = crewd.dir / "closed", crewd.dir / "mine"
    closed.mkdir()
    mine.mkdir()
    (mine / "text").write_text("")
    closed.chmod(0)
    crewd.start("", env={"PATH": f"{closed}:{os.environ['PATH']}:{mine}"})
    assert crewd.ctl("run", "no-such-program", code=1).stderr.endswith(
        "cannot run no-such-program: No such file or directory\n")
    assert crewd.ctl("run", "text", code=1).stderr.endswith("cannot run text: Permission denied\n")
    crewd.ctl("run", "--join", "true")


def test_run_beside_a_pool_called_run(crewd):
    crewd.start('pool "run" { command = {"sleep", "1000"} }')
    manager = crewd.manager()
    assert crewd.ctl("run", "true").stdout == "run.1\n"
    assert crewd.ctl("run", "true").stdout == "run.2\n"
    assert crewd.manager() == manager


def test_options_of_crewctl_behind_the_verb(crewd):
    crewd.start(POOLS)
    crewd.wait_state("once-1", "exited")
    assert json.loads(crewd.ctl("status", "once", "--json", code=3).stdout)["workers"][0]["exitcode"] == 3
    assert json.loads(crewd.ctl("is-alive", "--json", "once", code=3).stdout) == {"alive": False}
    assert json.loads(crewd.ctl("run", "--json", "--name", "r", "sh", "-c", "exit 0", "--json").stdout)["name"] == "r"
    for args in (["is-alive", "-s", crewd.socket, "once"], ["is-alive", "once", f"--socket={crewd.socket}"]):
        p = subprocess.run([CREWCTL, *args], capture_output=True, text=True, check=False)
        assert (p.returncode, p.stdout) == (3, "dead\n"), p


def test_status_of_several_shows_those_that_are_there(crewd):
    crewd.start(POOLS)
    shown = crewd.ctl("status", "nobody", "web-1", "no-*", "idle", code=4)
    assert [line.split()[0] for line in shown.stdout.splitlines()[1:]] == ["web-1", "idle-1"]
    assert shown.stderr == "crewctl: no such worker: nobody\ncrewctl: no such worker: no-*\n"
    document = json.loads(crewd.ctl("--json", "status", "web-1", "nobody", code=4).stdout)
    assert [w["name"] for w in document["workers"]] == ["web-1"]
    assert crewd.ctl("--json", "status", "nobody", "nobody", code=4).stdout == ""
    assert len(crewd.ctl("status", "idle", "idle-1", code=None).stdout.splitlines()) == 2  # each once


def test_json_is_one_document(crewd):
    crewd.start(POOLS + """pool "none" { command = {"true"} workers = 0 }
        pool "jobs" { command = {"sleep"} tasks = "exec" }""")
    crewd.wait_state("once-1", "exited")
    crewd.ctl("terminate", "idle")
    ends = json.loads(crewd.ctl("--json", "join", "once", "idle", "none").stdout)["workers"]
    assert [(w["name"], w["exitcode"]) for w in ends] == [("once-1", 3), ("idle-1", None)]
    assert json.loads(crewd.ctl("--json", "join", "once").stdout)["exitcode"] == 3
    assert json.loads(crewd.ctl("--json", "join", "none", "none").stdout)["workers"] == []
    ends = json.loads(crewd.ctl("--json", "join", "--timeout", "0", "once", "web", code=124).stdout)["workers"]
    assert [w["name"] for w in ends] == ["once-1"]
    assert json.loads(crewd.ctl("--json", "run", "--name", "r", "true").stdout)["name"] == "r"
    crewd.ctl("join", "r")
    for args in (["start", "idle"], ["signal", "CONT", "idle"], ["restart", "idle", "web-1"], ["terminate", "idle"],
                 ["kill", "web-2"], ["scale", "idle", "2"], ["forget", "r"], ["close", "jobs"],
                 ["queue", "create", "q"], ["queue", "put", "q", "1"], ["queue", "task-done", "q"],
                 ["queue", "join", "q"], ["queue", "delete", "q"]):
        assert json.loads(crewd.ctl("--json", *args).stdout) == {}, args
    assert json.loads(crewd.ctl("--json", "join", "jobs").stdout)["workers"] == []
    crewd.ctl("start", "jobs")
    assert crewd.ctl("--json", "join", "jobs", code=1).stdout == ""
    task = crewd.ctl("apply-async", "jobs", "1000").stdout.strip()
    assert json.loads(crewd.ctl("--json", "cancel", task).stdout) == {}
    for args in (["status", "nobody"], ["join", "nobody", "nobody"], ["start", "nobody"], ["logs", "nobody"]):
        assert crewd.ctl("--json", *args, code=4).stdout == ""
    assert json.loads(crewd.ctl("--json", "shutdown").stdout) == {}


def test_join_of_a_glob_of_pools_with_tasks(crewd):
    crewd.start(POOLS + """pool "jobs" { command = {"cat"} tasks = "lines" }
        pool "joy" { command = {"cat"} tasks = "lines" }""")
    crewd.ctl("close", "jobs")
    assert crewd.ctl("join", "jo*", "idle", code=1).stderr == "crewctl: joy is open: close or terminate it first\n"
    crewd.ctl("join", "--timeout", "0", "joy-*", code=124)  # workers
    crewd.ctl("close", "joy")
    assert sorted(line.split()[0] for line in crewd.ctl("join", "jo*").stdout.splitlines()) == ["jobs-1", "joy-1"]


def test_json_of_a_stream_is_an_object_a_line(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "echo one; echo two; exec sleep 1000"} }')
    until(lambda: "two" in crewd.ctl("logs", "p").stdout)
    follow = crewd.popen("--json", "logs", "-f", "p")
    assert json.loads(follow.stdout.readline()) == {"lines": ["one", "two"]}
    crewd.ctl("restart", "p")
    assert json.loads(follow.stdout.readline())["lines"][0] == "one"
    follow.terminate()
    follow.wait()


def test_status_of_a_pool_without_workers(crewd):
    crewd.start(POOLS)
    crewd.ctl("scale", "idle", "0")
    until(lambda: "idle-1" not in crewd.workers())
    assert json.loads(crewd.ctl("--json", "status", "idle", code=3).stdout) == {"workers": []}
    assert crewd.ctl("is-alive", "idle", code=3).stdout == "dead\n"


def test_usage_errors(crewd):
    crewd.start("")
    for args in ([], ["nonsense"], ["start"], ["is-alive", "a", "b"], ["status", "--nonsense"], ["--nonsense"],
                 ["join", "--timeout", "soon", "x"], ["run", "--env", "x", "true"], ["reload", "extra"]):
        p = crewd.ctl(*args, code=2)
        assert p.stdout == "" and p.stderr.startswith("crewctl: ") and p.stderr.count("\n") == 1, p
    for args in (["--help"], ["help"], ["help", "run"], ["run", "--help"], ["--version"]):
        assert crewd.ctl(*args).stdout


def test_refusals_are_said_in_words(crewd):
    crewd.start(POOLS + """pool "stays" {
        command = {"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"} stop-timeout = "60s" }""")
    crewd.wait_state("web-1", "running")
    for args, said in ((["forget", "web-1"], "name must be a worker that `run` has started"),
                       (["run", "--name", "a b", "true"], "name must be 1 to 64 of A-Z"),
                       (["run", "--restart", "twice", "true"], "restart must be \"always\"")):
        p = crewd.ctl(*args, code=2)
        assert p.stderr.startswith(f"crewctl: {said}") and "{" not in p.stderr and not p.stdout
    until(lambda: "ready" in crewd.ctl("logs", "stays").stdout)
    ending = crewd.popen("shutdown")
    until(lambda: "shutting down" in crewd.said())
    assert crewd.ctl("start", "web", code=1).stderr == "crewctl: crewd is shutting down\n"
    crewd.ctl("kill", "stays")
    assert ending.wait(30) == 0


def test_no_daemon(crewd):
    crewd.leftovers_ok = True
    p = subprocess.run([CREWCTL, "-s", crewd.dir / "none", "status"], capture_output=True, text=True, check=False)
    assert p.returncode == 69 and p.stderr.startswith("crewctl: no daemon answers at")


def test_full_output(crewd):
    crewd.start(POOLS)
    with open("/dev/full", "w", encoding="utf-8") as full:
        p = subprocess.run([CREWCTL, "-s", crewd.socket, "status"], stdout=full, stderr=subprocess.PIPE,
                           text=True, check=False)
    assert p.returncode == 1 and "cannot write" in p.stderr


def test_shutdown(crewd):
    crewd.start(POOLS)
    crewd.ctl("shutdown")
    assert crewd.process.wait(30) == 0


def test_shutdown_join(crewd):
    crewd.start('pool "w" { command = {"sh", "-c", "while [ ! -e go ]; do sleep 0.05; done"} }')
    os.chdir(crewd.dir)
    crewd.ctl("terminate", "w")
    crewd.ctl("run", "--name", "r", "--dir", str(crewd.dir), "sh", "-c", "while [ ! -e go ]; do sleep 0.05; done")
    ending = crewd.popen("shutdown", "--join")
    until(lambda: "shutting down when" in crewd.said())
    assert crewd.state("r") == "running"
    (crewd.dir / "go").touch()
    assert ending.wait(30) == 0 and crewd.process.wait(30) == 0
    os.chdir("/")
