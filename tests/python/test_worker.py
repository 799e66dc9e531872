"""The worker's side: serve() between two pipes, and what it says to NOTIFY_SOCKET."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap

import pytest
from fake_server import DEADLINE, ROOT, watchdog  # noqa: F401 pylint: disable=unused-import

import crew


class Worker:
    def __init__(self, program, kind="jsonrpc", **env):
        environment = dict(os.environ)
        for name in ("CREW_TASKS", "PYTHONUNBUFFERED", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
            environment.pop(name, None)
        environment.update(env, PYTHONPATH=str(ROOT / "python"), PYTHONDONTWRITEBYTECODE="1")
        if kind:
            environment["CREW_TASKS"] = kind
        # pylint: disable-next=consider-using-with
        self.p = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, bufsize=0)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.p.kill()
        self.p.communicate()

    def say(self, line):
        self.p.stdin.write(line if isinstance(line, bytes) else line.encode())
        self.p.stdin.flush()

    def line(self):
        assert select.select([self.p.stdout], [], [], DEADLINE)[0], "no answer"
        return self.p.stdout.readline()

    def ask(self, method, params=(), ident=1):
        self.say(json.dumps({"jsonrpc": "2.0", "id": ident, "method": method, "params": params}) + "\n")
        reply = json.loads(self.line())
        assert reply.pop("jsonrpc") == "2.0" and reply.pop("id") == ident
        return reply

    def end(self):
        """Ends its input: (exit status, rest of its standard output, its standard error)"""
        out, err = self.p.communicate(timeout=DEADLINE)
        return self.p.returncode, out, err.decode()


PROGRAM = """
    import os, subprocess, sys
    import crew
    print("printed as it is imported", end=" and not flushed")
    def add(a, b):
        return a + b
    def chatty(text):
        print("chatty:", text)
        sys.stdout.write("written\\n")
        os.write(1, b"descriptor one\\n")
        subprocess.run(["echo", "of a child"])
        return [sys.stdin.read(), os.read(0, 10).decode(), subprocess.run(["cat"], stdout=subprocess.PIPE).stdout.decode()]
    def fails(text):
        raise ValueError(text)
    def own():
        raise crew.TaskError("told", code=42, data={"why": ["because"]})
    def any_value(what):
        return {"set": {1}, "bytes": b"x", "nan": float("nan"), "half": "\\ud800", "big": "x" * 2**20, "none": None,
                "large": 2 ** 70, "text": "\\n ä \\0", "fits": "x" * (2**20 - 100)}[what]
    def leaves(status):
        sys.exit(status)
"""
FUNCTIONS = "crew.serve([add, chatty, fails, own, any_value, leaves])"


def test_jsonrpc():
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        assert w.ask("add", [1, 2]) == {"result": 3}
        assert w.ask("add", {"a": "x", "b": "y"}, "an id") == {"result": "xy"}
        assert w.end()[:2] == (0, b"")


def test_prints_do_not_disturb():
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        assert w.ask("chatty", ["hello"]) == {"result": ["", "", ""]}
        assert w.ask("add", [1, 2]) == {"result": 3}
        status, out, err = w.end()
        assert (status, out) == (0, b"")
        for text in ("printed as it is imported and not flushed", "chatty: hello", "written", "descriptor one",
                     "of a child"):
            assert text in err


def test_output_is_as_before_afterwards():
    with Worker(PROGRAM + "    " + FUNCTIONS + "\n    print('after', sys.stdin.read())") as w:
        w.ask("add", [1, 2])
        assert w.end()[:2] == (0, b"after \n")


def test_exceptions_are_errors():
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        error = w.ask("fails", ["mine"])["error"]
        assert error["code"] == -32000 and error["message"] == "ValueError: mine"
        assert error["data"]["type"] == "ValueError"
        assert "in fails" in error["data"]["traceback"] and "worker.py" not in error["data"]["traceback"]
        assert w.ask("own")["error"] == {"code": 42, "message": "told", "data": {"why": ["because"]}}
        assert w.ask("nothing")["error"]["code"] == -32601
        for params in ([1], [1, 2, 3], {"a": 1}, {"a": 1, "b": 2, "c": 3}):
            assert w.ask("add", params)["error"]["code"] == -32602
        assert w.ask("add", [1, "x"])["error"]["data"]["type"] == "TypeError"
        assert w.ask("add", [1, 2]) == {"result": 3}


def test_results_that_are_no_json():
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        for what in ("set", "bytes", "nan", "half", "big"):
            error = w.ask("any_value", [what])["error"]
            assert error["code"] == -32603 and "any_value" in error["message"], what
        assert w.ask("any_value", ["none"]) == {"result": None}
        assert w.ask("any_value", ["large"]) == {"result": 2 ** 70}
        assert w.ask("any_value", ["text"]) == {"result": "\n ä \0"}
        assert len(w.ask("any_value", ["fits"])["result"]) == 2 ** 20 - 100


def test_what_is_no_request():
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        for line, code in ((b"nonsense\n", -32700), (b"[]\n", -32600), (b"\xff\n", -32700), (b"[" * 100000 + b"\n", -32700),
                           (b"\n", -32700)):
            w.say(line)
            reply = json.loads(w.line())
            assert reply["id"] is None and reply["error"]["code"] == code
        w.say(b'{"id":1,"method":3}\n{"id":2,"method":"add","params":7}\n')
        assert [json.loads(w.line())["error"]["code"] for _ in range(2)] == [-32600, -32600]
        w.say(b'{"method":"add","params":[1,2]}\n')  # a notification has no answer
        w.say(b'{"id":3,"method":"add",')
        w.say(b'"params":[1,2]}\n{"id":4,"method":"add","params":[3,4]}\n{"id":5')
        assert [json.loads(w.line())["result"] for _ in range(2)] == [3, 7]
        assert w.end()[:2] == (0, b"")


def test_leaving():
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        w.say(b'{"id":1,"method":"leaves","params":[7]}\n')
        assert w.end()[:2] == (7, b"")


def test_nobody_reads_any_more():
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        w.ask("add", [1, 2])
        w.p.stdout.close()
        w.say(b'{"id":1,"method":"add","params":[1,2]}\n')
        assert w.p.wait(DEADLINE) == 0
        w.p.stdout = None


@pytest.mark.parametrize("handler", [
    '{"plus": add}', "add", "(add,)", 'type("C", (), {"add": staticmethod(add), "_hidden": add, "x": 3})()'])
def test_handlers(handler):
    with Worker(PROGRAM + f"    crew.serve({handler})") as w:
        name = "plus" if "plus" in handler else "add"
        assert w.ask(name, [1, 2]) == {"result": 3}
        for hidden in ("_hidden", "x", "__init__"):
            assert w.ask(hidden)["error"]["code"] == -32601


def test_a_module_is_no_handler():
    with pytest.raises(TypeError, match="name the methods"):
        from crew import worker  # pylint: disable=import-outside-toplevel
        worker.methods_of(os)


LINES = """
    import sys
    import crew
    def handler(line):
        print("printed")
        if line == "fail":
            raise KeyError("mine")
        return {"none": None, "number": 3.5, "bytes": b"\\xff\\xfe", "two": "a\\nb"}.get(line, line.upper())
    crew.serve(handler)
"""


def test_lines():
    with Worker(LINES, "lines") as w:
        w.say(b"hello\n\nnone\nnumber\nbytes\n\xe4\xff\n" + "ä\n".encode())
        assert [w.line() for _ in range(7)] == [b"HELLO\n", b"\n", b"\n", b"3.5\n", b"\xff\xfe\n", b"\xe4\xff\n",
                                                "Ä\n".encode()]
        w.say(b"in ")
        w.say(b"pieces\nno whole line")
        assert w.line() == b"IN PIECES\n"
        status, out, err = w.end()
        assert (status, out) == (0, b"") and "printed" in err


@pytest.mark.parametrize("line, error", [("fail", "KeyError: 'mine'"), ("two", "ValueError")])
def test_lines_have_no_errors(line, error):
    """So the worker ends, and its task fails with WorkerDied."""
    with Worker(LINES, "lines") as w:
        w.say(line + "\n")
        status, out, err = w.end()
        assert (status, out) == (1, b"") and error in err


@pytest.mark.parametrize("kind", ["exec", "module", None])
def test_kind(kind):
    with Worker("import crew; crew.serve(print)", kind) as w:
        status, out, err = w.end()
        assert (status, out) == (1, b"") and "ValueError: serve() does" in err


def test_kind_may_be_told():
    with Worker("import crew; crew.serve(str.upper, kind='lines')", None) as w:
        w.say("x\n")
        assert w.line() == b"X\n"


# ---- notify ------------------------------------------------------------------------------------


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "n"))
        s.settimeout(DEADLINE)
        yield s


def test_ready_and_watchdog(listener):
    """READY=1 first; then WATCHDOG=1 while it is idle, and none while a handler hangs."""
    program = """
        import crew, time
        def hang():
            print("hangs")
            time.sleep(1000)
        crew.serve(hang)
    """
    with Worker(program, NOTIFY_SOCKET=listener.getsockname(), WATCHDOG_USEC="100000") as w:
        assert listener.recv(100) == b"READY=1"
        for _ in range(5):
            assert listener.recv(100) == b"WATCHDOG=1"
        w.say(b'{"id":1,"method":"hang"}\n')
        assert w.p.stderr.readline() == b"hangs\n"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                listener.recv(100)  # those that were sent before
        listener.settimeout(0.3)
        with pytest.raises(socket.timeout):
            listener.recv(100)


def test_notify(listener, monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not crew.ready() and not crew.status("x") and not crew.watchdog() and not crew.stopping()
    monkeypatch.setenv("NOTIFY_SOCKET", listener.getsockname())
    assert crew.ready() and crew.status("two\nlines") and crew.watchdog() and crew.stopping()
    assert [listener.recv(100) for _ in range(4)] == [b"READY=1", b"STATUS=two lines", b"WATCHDOG=1", b"STOPPING=1"]


def test_notify_in_the_abstract(monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(f"\0crew-test-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@crew-test-{os.getpid()}")
        assert crew.ready()
        assert s.recv(100) == b"READY=1"


def test_watchdog_interval(monkeypatch):
    for text, seconds in (("2500000", 2.5), ("0", None), ("", None), ("x", None)):
        monkeypatch.setenv("WATCHDOG_USEC", text)
        assert crew.watchdog_interval() == seconds


# ---- python -m crew run ------------------------------------------------------------------------


MODULE = """
import sys
import crew
class W(crew.Process):
    def run(self):
        print("run", self._args, self._kwargs)
def f(*args, **kwds):
    print("f", args, kwds)
    if "exit" in kwds:
        sys.exit(kwds["exit"])
    if "fail" in kwds:
        raise ValueError(kwds["fail"])
if __name__ == "__main__":
    p = crew.Process(target=f)
    p.start()
"""


def run(tmp_path, *args):
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'python'}:{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", "crew", *args], env=env, text=True, capture_output=True, check=False)


def test_run(tmp_path):
    (tmp_path / "mod.py").write_text(MODULE)
    for source in ("mod", str(tmp_path / "mod.py")):
        p = run(tmp_path, "run", source, "f", '[[1,"a"],{"x":null}]')
        assert (p.returncode, p.stdout, p.stderr) == (0, "f (1, 'a') {'x': None}\n", "")
        assert run(tmp_path, "run", source, "W", '[[1],{}]').stdout == "run (1,) {}\n"
        for value, status, said in ((3, 3, ""), (None, 0, ""), ("text", 1, "text\n"), (0, 0, "")):
            p = run(tmp_path, "run", source, "f", json.dumps([[], {"exit": value}]))
            assert (p.returncode, p.stderr) == (status, said)
        p = run(tmp_path, "run", source, "f", '[[],{"fail":"mine"}]')
        assert p.returncode == 1 and p.stderr.endswith("ValueError: mine\n")
        assert run(tmp_path, "run", source, "g", "[[],{}]").returncode == 1
    assert run(tmp_path, "run", "no.such", "f", "[[],{}]").returncode == 1
    assert run(tmp_path).returncode == 2


def test_what_cannot_be_found_again():
    from crew import target  # pylint: disable=import-outside-toplevel

    def local():
        pass
    for what in (local, lambda: None):
        with pytest.raises(ValueError, match="at the top of a module"):
            target.command_of(what, (), {})
    with pytest.raises(TypeError):
        target.command_of(os.getpid, (b"bytes",), {})
    with pytest.raises(ValueError, match="queue"):
        target.command_of(json.dumps, ("x" * 70000,), {})
    assert target.command_of(json.dumps, (1,), {})[1:] == ["-m", "crew", "run", "json", "dumps", "[[1],{}]"]


def test_program_without_a_guard(tmp_path):
    """It would start itself for ever."""
    (tmp_path / "mod.py").write_text(MODULE.replace('if __name__ == "__main__":', "if True:"))
    p = run(tmp_path, "run", "mod", "f", "[[],{}]")
    assert p.returncode == 1 and '__main__' in p.stderr and "RuntimeError" in p.stderr


def test_signals_are_signals():
    """A worker that is told to end ends of it."""
    with Worker(PROGRAM + "    " + FUNCTIONS) as w:
        w.ask("add", [1, 2])
        w.p.send_signal(signal.SIGTERM)
        assert w.p.wait(DEADLINE) == -signal.SIGTERM
