"""crewctl's verbs about single tasks, against a daemon whose answers the test writes."""

import base64
import json
import os
import pathlib
import signal
import subprocess

import pytest

from conftest import CREWCTL, DEADLINE, until
from fake_daemon import failed, task

WAITING = ["apply", "result"]  # both hand over a task that has ended


def answers(fake, document):
    def script(connection, _):
        connection.reply({"task": document})
    fake.on("Pool.Apply", script).on("Pool.Result", script)


def refuses(fake, error, **parameters):
    def script(connection, _):
        connection.error("io.crewd.Pool." + error, **parameters)
    for method in ("Apply", "ApplyAsync", "Result", "Tasks", "Cancel", "Close", "Join"):
        fake.on("Pool." + method, script)


@pytest.mark.parametrize("verb", WAITING)
@pytest.mark.parametrize("document,printed", [
    (task("foo\n", exitcode=0), b"foo\n"),           # exec: the bytes as they are
    (task("foo", exitcode=0), b"foo"),
    (task("", exitcode=0), b""),
    (task("a\0b", exitcode=0), b"a\0b"),
    (task({"base64": base64.b64encode(b"\xff\0\xfe").decode()}, exitcode=0), b"\xff\0\xfe"),
    (task("a line"), b"a line\n"),                   # lines
    (task(""), b"\n"),
    (task({"base64": base64.b64encode(b"\xff\xfe").decode()}), b"\xff\xfe\n"),
    (task({"a": [1, None, "ä"]}), '{"a":[1,null,"ä"]}\n'.encode()),
    (task(17), b"17\n"),
    (task(None), b"null\n"),
])
def test_result_is_printed_as_it_is(fake, verb, document, printed):
    answers(fake, document)
    assert fake.ctl(verb, "p", stdin=b"").stdout == printed


def test_base64_of_a_jsonrpc_pool_is_a_value(fake):
    value = {"base64": base64.b64encode(b"\xff\xfe").decode()}
    answers(fake, task(value))
    fake.pools[0]["tasks"] = "jsonrpc"
    assert json.loads(fake.ctl("apply", "p").stdout) == value
    assert len(fake.calls_of("Pool.List")) == 1
    answers(fake, task({"base64": "no such digits: *"}))
    fake.pools[0]["tasks"] = "lines"
    assert json.loads(fake.ctl("apply", "p").stdout) == {"base64": "no such digits: *"}


def test_the_pools_are_asked_for_only_in_doubt(fake):
    answers(fake, task("text"))
    fake.ctl("apply", "p")
    assert fake.calls_of("Pool.List") == []


@pytest.mark.parametrize("verb", WAITING)
def test_json_prints_the_task(fake, verb):
    document = task("x", exitcode=0)
    answers(fake, document)
    assert json.loads(fake.ctl("--json", verb, "p").stdout) == document


@pytest.mark.parametrize("verb", WAITING)
@pytest.mark.parametrize("document,code,said", [
    (failed("exited 3", exitcode=3, result="so far"), 3, "exited 3"),
    (failed("", exitcode=7), 7, "exited 7"),
    (failed("killed by SIGKILL", error={"signal": 9}), 137, "killed by SIGKILL"),
    (failed("exited 6", name="io.crewd.Pool.WorkerDied", error={"exitcode": 6}), 6, "exited 6"),
    (failed("over", name="io.crewd.Pool.TimedOut", error={"signal": 9}), 124, "over"),
    (failed("more than 1 MiB", name="io.crewd.Pool.TooBig"), 1, "more than 1 MiB"),
    (failed("no\nsuch\tmethod", error={"code": -32601}), 1, "no such method (code -32601)"),
    ({**failed(""), "state": "cancelled", "error": None}, 1, "cancelled"),
])
def test_failed_task(fake, verb, document, code, said):
    answers(fake, document)
    p = fake.ctl(verb, "p", code=code)
    assert p.stdout == (document.get("result") or "")
    assert p.stderr.startswith("crewctl: ") and p.stderr.count("\n") == 1 and said in p.stderr


@pytest.mark.parametrize("verb", WAITING)
def test_worker_that_died(fake, verb):
    gone = {"id": "t", "pool": "p", "worker": "p-1", "why": "killed by SIGSEGV",
            "task": failed("killed by SIGSEGV", result="half")}
    refuses(fake, "WorkerDied", signal=11, **gone)
    p = fake.ctl(verb, "p", code=139)
    assert p.stdout == "half" and "killed by SIGSEGV" in p.stderr and p.stderr.count("\n") == 1
    refuses(fake, "WorkerDied", exitcode=6, **gone)
    fake.ctl(verb, "p", code=6)
    for number in (0, 256, -1):  # none that says that it failed
        refuses(fake, "WorkerDied", exitcode=number, **gone)
        fake.ctl(verb, "p", code=1)


@pytest.mark.parametrize("error,parameters,code,said", [
    ("TimedOut", {"id": "t"}, 124, "the time given is over"),
    ("NoSuchTask", {"id": "t"}, 4, "no such task: t"),
    ("NoSuchPool", {"name": "p", "why": "it has no tasks"}, 4, "no such pool: p: it has no tasks"),
    ("Lost", {"id": "t"}, 1, "nobody knows"),
    ("TooBig", {"id": "t", "why": "larger", "task": {"id": "t", "error": {}}}, 1, "crewctl: task t: larger\n"),
    ("BadAnswer", {"id": "t", "why": "not JSON", "task": {"id": "t"}}, 1, "crewctl: task t: not JSON\n"),
    ("Full", {"pool": "p", "why": "backlog"}, 75, "backlog"),
    ("Closed", {"pool": "p", "why": "closed"}, 1, "closed"),
    ("StillRunning", {"pool": "p"}, 1, "p is open: close or terminate it first"),
])
def test_errors(fake, error, parameters, code, said):
    refuses(fake, error, **parameters)
    for verb in ("apply", "apply-async", "result", "tasks", "cancel", "close", "join"):
        p = fake.ctl(verb, "p", code=code)
        assert said in p.stderr and p.stderr.startswith("crewctl: ") and p.stderr.count("\n") == 1


def test_no_daemon_and_one_that_leaves(fake):
    fake.on("Pool.Apply", lambda connection, _: connection.sock.shutdown(2))
    assert "closed the connection" in fake.ctl("apply", "p", code=69).stderr
    assert len(fake.calls_of("Pool.Apply")) == 1  # a task is not given twice
    fake.die()
    for verb in ("apply", "apply-async", "result", "tasks", "cancel", "close", "join", "map"):
        assert "no daemon answers" in fake.ctl(verb, "p", code=69).stderr


@pytest.mark.parametrize("answer", [b"\0", b"{}\0", b"{}}\0", b'{"parameters":{"task":7}}\0', b"[" * 200 + b"\0",
                                    b'{"parameters":[]}\0'])
def test_nonsense_is_told(fake, answer):
    fake.on("Pool.Apply", lambda connection, _: connection.raw(answer))
    p = fake.ctl("apply", "p", code=1)
    assert "no right answer" in p.stderr and p.stdout == ""


def test_what_becomes_of_arguments(fake):
    answers(fake, task("", exitcode=0))
    fake.on("Pool.ApplyAsync", lambda connection, _: connection.reply({"id": "t-17"}))
    cases = [
        (["p"], {}),
        (["p", "a", "b c", ""], {"args": ["a", "b c", ""]}),
        (["p", "-resize", "--timeout", "5"], {"args": ["-resize", "--timeout", "5"]}),
        (["p", "--", "--method", "m"], {"args": ["--method", "m"]}),
        (["p", "--method", "m", "--", "--", "x"], {"args": ["--", "x"], "method": "m"}),
        (["p", "--method=m", "x"], {"args": ["x"], "method": "m"}),
        (["--json-args", "--method", "m", "p", "1", '"x"', '{"a":[]}'], {"method": "m", "args": [1, "x", {"a": []}]}),
        (["--method", "m", "--params", '{"a": 1}', "p"], {"method": "m", "params": {"a": 1}}),
        (["--input", "text", "p", "x"], {"input": "text", "args": ["x"]}),
        (["--input-file", "-", "p"], {"input": "from\nstandard input ä"}),
    ]
    for verb in ("apply", "apply-async"):
        for arguments, expected in cases:
            fake.ctl(verb, *arguments, stdin="from\nstandard input ä")
            method, parameters, _ = fake.calls[-1]
            assert method == {"apply": "io.crewd.Pool.Apply", "apply-async": "io.crewd.Pool.ApplyAsync"}[verb]
            assert parameters == {"pool": "p", **expected}
    fake.ctl("apply", "--timeout", "2.5", "p", "x")
    assert 0 < fake.calls[-1][1].pop("timeout") <= 2.5
    fake.ctl("apply", "p", "--timeout", "500ms", "x")
    assert fake.calls[-1][1].pop("timeout") <= 0.5 and fake.calls[-1][1]["args"] == ["x"]
    assert fake.ctl("apply-async", "p").stdout == "t-17\n"
    assert json.loads(fake.ctl("--json", "apply-async", "p").stdout) == {"id": "t-17"}


def test_standard_input_is_left_alone(fake):
    answers(fake, task("", exitcode=0))
    p = subprocess.run(["sh", "-c", '"$@"; cat', "sh", *fake.command("apply", "p")], input="for cat", text=True,
                       capture_output=True, timeout=DEADLINE, check=True)
    assert p.stdout == "for cat"


@pytest.mark.parametrize("arguments,said", [
    (["--json-args", "p", "{"], "not JSON"),
    (["--json-args", "p", '{"a":1,"a":2}'], "not JSON"),
    (["--json-args", "p", "[" * 61 + "]" * 61], "nested too deeply"),
    (["--params", "7", "p"], "neither an array nor an object"),
    (["--params", "{}", "p", "x"], "do not go together"),
    (["--input", "a", "--input-file", "b", "p"], "do not go together"),
    (["--input-file", "/nonexistent", "p"], "/nonexistent"),
    (["--input-file", "/dev/zero", "p"], "too long"),
    (["p", b"\xff"], "argument 1 is not UTF-8"),
    (["--unordered", "p"], "not for this verb"),
    (["--nonsense", "p"], "not known"),
    ([], "missing"),
])
def test_wrong_arguments(fake, arguments, said):
    p = fake.ctl("apply", *arguments, code=2)
    assert said in p.stderr and p.stderr.count("\n") == 1 and fake.calls == []


def test_a_task_too_long_for_a_call(fake, tmp_path):
    (tmp_path / "big").write_text("x" * (1024 * 1024 - 10))
    assert "too long" in fake.ctl("apply", "--input-file", tmp_path / "big", "p", code=1).stderr


def test_a_signal_ends_the_waiting(fake):
    left = []
    fake.on("Pool.Apply", lambda connection, _: left.append(connection.wait_for_its_end()))
    p = subprocess.Popen(fake.command("apply", "p"))
    until(lambda: fake.calls_of("Pool.Apply"), "the task is given")
    p.send_signal(signal.SIGINT)
    assert p.wait(DEADLINE) == -signal.SIGINT
    until(lambda: left, "the daemon sees it leave")


def test_tasks(fake):
    def tasks(connection, _):
        for n in range(3):
            more = {"state": "running", "worker": f"p-{n}"} if n < 2 else {"state": "queued", "worker": None,
                                                                          "started": None, "attempts": 0}
            connection.reply({"tasks": [{**task(None, ident=f"t-{n}"), **more}]}, continues=n < 2)
    fake.on("Pool.Tasks", tasks)
    head, *rows = [line.split() for line in fake.ctl("tasks", "p").stdout.splitlines()]
    assert head == ["ID", "STATE", "WORKER", "ATTEMPTS", "WAITED", "RAN", "AGE"]
    assert [r[:4] for r in rows] == [["t-0", "running", "p-0", "1"], ["t-1", "running", "p-1", "1"],
                                     ["t-2", "queued", "-", "0"]]
    assert fake.calls[-1][2]["more"] is True
    document = json.loads(fake.ctl("--json", "tasks", "p").stdout)
    assert [t["id"] for t in document["tasks"]] == ["t-0", "t-1", "t-2"]
    fake.pools.append({"name": "paint", "tasks": "exec"})
    for arguments, pools in ([], ["p", "paint"]), (["pa*", "p"], ["paint", "p"]):
        before = len(fake.calls_of("Pool.Tasks"))
        assert len(fake.ctl("tasks", *arguments).stdout.splitlines()) == 7
        assert [c["pool"] for c in fake.calls_of("Pool.Tasks")[before:]] == pools
    fake.pools.clear()
    assert "no such pool" in fake.ctl("tasks", code=4).stderr


def test_cancel_and_close(fake):
    def cancel(connection, parameters):
        if parameters["id"] == "b":
            connection.error("io.crewd.Pool.NoSuchTask", id="b")
        else:
            connection.reply()
    fake.on("Pool.Cancel", cancel).on("Pool.Close", lambda connection, _: connection.reply())
    p = fake.ctl("cancel", "a", "b", "c", code=4)
    assert [c["id"] for c in fake.calls_of("Pool.Cancel")] == ["a", "b", "c"] and p.stderr.count("\n") == 1
    fake.pools.append({"name": "paint", "tasks": "exec"})
    fake.ctl("close", "p*", "other")
    assert [c["name"] for c in fake.calls_of("Pool.Close")] == ["p", "paint", "other"]
    assert "no such pool" in fake.ctl("close", "pla*", code=4).stderr  # it has no tasks


def test_join_of_a_pool_with_tasks(fake):
    end = {"name": "plain-1", "state": "exited", "exitcode": 0}
    fake.on("Pool.Join", lambda connection, _: connection.reply())
    fake.on("Worker.Join", lambda connection, _: connection.reply({"workers": [end]}))
    p = fake.ctl("join", "--timeout", "5", "p", "plain", "p-1")
    assert p.stdout == "plain-1 exited 0\n" * 2
    assert [c["name"] for c in fake.calls_of("Pool.Join")] == ["p"]
    assert [c["name"] for c in fake.calls_of("Worker.Join")] == ["plain", "p-1"]
    assert 0 < fake.calls_of("Pool.Join")[0]["timeout"] <= 5


def test_bash_completes_pools_and_tasks(fake):
    fake.on("Pool.Tasks", lambda connection, _: connection.reply({"tasks": [task(None, ident="p.17")]}))
    fake.on("Worker.List", lambda connection, _: connection.reply({"workers": [
        {"name": "p-1", "state": "running", "alive": True}, {"name": "alone", "state": "running", "alive": True}]}))
    script = """
        source "$1"; socket=$2; shift 2
        for verb; do
            COMP_WORDS=(crewctl -s "$socket" "$verb" "") COMP_CWORD=4
            _crewctl
            printf '%s\\n' "${COMPREPLY[*]}"
        done
    """
    completion = pathlib.Path(__file__).resolve().parents[2] / "ctl/completions/crewctl.bash"
    env = dict(os.environ, PATH=f"{pathlib.Path(CREWCTL).parent}:{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script, "bash", completion, fake.path, "cancel", "close", "result", "join"],
                          env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["p.17", "p", "--timeout p.17", "--timeout alone p p-1"]
