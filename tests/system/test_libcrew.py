"""libcrew as its users have it: installed, found by pkg-config, and driven through a program that calls it."""

import json
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import DEADLINE, ROOT, until
from test_queues import Q
# pylint: disable-next=unused-import
from test_queue_redis import SERVER, crews, directory, queue, redis, up  # noqa: F401

BUILD = pathlib.Path(os.environ.get("CREW_BUILDDIR", ROOT / "build"))
EXAMPLES = ROOT / "conf/examples"
(FULL, EMPTY, TIMEOUT, LOST, NO_DAEMON, DENIED, REFUSED, NO_SUCH, WRONG_KIND, BUSY, TOO_BIG, INVALID, PROTOCOL,
 TOO_MANY_DONE, END, FAILED, FORKED, SYSTEM) = range(-1, -19, -1)
MiB = 1 << 20


def made(name):
    """A variable of the Makefile that libcrew was built by."""
    found = re.search(rf"^{name} = (.*)$", (BUILD / "Makefile").read_text(), re.M)
    return found.group(1) if found else ""


SHARED, STATIC = (made(f"enable_{kind}") != "no" for kind in ("shared", "static"))


class Installed:
    def __init__(self, directory):
        self.dir = directory
        self.dest = directory / "dest"
        subprocess.run(["make", "-s", "-C", BUILD, "install", f"DESTDIR={self.dest}"], check=True,
                       stdout=subprocess.DEVNULL, env={k: v for k, v in os.environ.items() if k != "MAKEFLAGS"})
        self.pc = next(self.dest.rglob("libcrew.pc"))
        self.lib = self.pc.parent.parent
        self.header = next(self.dest.rglob("crew.h"))

    def flags(self, *options):
        env = {**os.environ, "PKG_CONFIG_PATH": str(self.pc.parent), "PKG_CONFIG_SYSROOT_DIR": str(self.dest)}
        return subprocess.run(["pkg-config", *options, "libcrew"], env=env, check=True, capture_output=True,
                              text=True).stdout.split()

    def cc(self, source, static=False):
        """As a user would build it, as strictly as crewd itself is."""
        program = self.dir / (source.stem + ("-static" if static else ""))
        libs = self.flags("--static", "--libs") if static else self.flags("--libs")
        libs = ["-l:libcrew.a" if static and flag == "-lcrew" else flag for flag in libs]
        if not static:
            libs.append(f"-Wl,-rpath,{self.lib}")
        subprocess.run([*made("CC").split(), "-g", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes",
                        "-Werror", *self.flags("--cflags"), "-o", program, source, *libs,
                        *made("CREW_LDFLAGS").split()], check=True)
        return program


@pytest.fixture(scope="module", name="installed")
def install():
    directory = pathlib.Path(tempfile.mkdtemp(prefix="crewd-libcrew-"))
    directory.chmod(0o755)  # other users have to reach it
    yield Installed(directory)
    shutil.rmtree(directory)


@pytest.fixture(scope="module", name="program")
def build_program(installed):
    return installed.cc(ROOT / "tests/workers/libcrew.c", static=not SHARED)


class Tool:
    """The program: each call is a function of libcrew's, and returns (code, text)."""

    def __init__(self, program, **env):
        environment = {k: v for k, v in {**os.environ, **env}.items() if k not in ("NOTIFY_SOCKET", "CREW_TASKS")}
        environment.update(env)
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)

    def begin(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def end(self):
        line = self.process.stdout.readline()
        assert line, f"the program ended: {self.process.wait(DEADLINE)}"
        code, _, text = line.rstrip("\n").partition(" ")
        return int(code), text

    def __call__(self, *words):
        self.begin(*words)
        return self.end()

    def code(self, *words):
        return self(*words)[0]

    def waits(self):
        """Nothing has come of what was begun."""
        return not select.select([self.process.stdout], [], [], 0.2)[0]

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(DEADLINE) == 0
        self.process.stdout.close()


@pytest.fixture(name="tool")
def one_tool(program):
    t = Tool(program)
    yield t
    t.close()


@pytest.fixture(name="tools")
def any_number_of_tools(program):
    made_here = []

    def make(**env):
        made_here.append(Tool(program, **env))
        return made_here[-1]
    yield make
    for t in made_here:
        if t.process.poll() is None:
            t.close()


# ---- what is installed ------------------------------------------------------------------------------


def declared(installed):
    code = re.sub(r"/\*.*?\*/", "", installed.header.read_text(), flags=re.S)
    return set(re.findall(r"\b(crew_\w+)\s*\(", code))


def listed():
    return set(re.findall(r"^\t(\w+);", (ROOT / "libcrew/libcrew.map").read_text(), re.M))


def names(file, *options):
    out = subprocess.run(["nm", "--defined-only", *options, file], check=True, capture_output=True, text=True).stdout
    found = {line.split()[2].split("@")[0] for line in out.splitlines() if re.match(r"[0-9a-f]+ [A-Z] ", line)}
    return {n for n in found if not n.startswith(("LIBCREW_", "__odr_asan"))}


def test_exports_what_is_declared_and_no_more(installed):
    assert len(listed()) > 40
    assert listed() == declared(installed) - {"crew_preload", "crew_run"}  # a module defines these
    if SHARED:
        assert names(installed.lib / "libcrew.so", "-D") == listed()
        assert os.readlink(installed.lib / "libcrew.so") == "libcrew.so.0"
        dynamic = subprocess.run(["readelf", "-d", installed.lib / "libcrew.so"], check=True, capture_output=True,
                                 text=True).stdout
        assert re.search(r"SONAME.*\[libcrew\.so\.0\]", dynamic)
        needs = set(re.findall(r"NEEDED.*\[(\w+)", dynamic))
        assert not needs & {"libsystemd", "libevent", "libconfuse", "libhiredis"}
    if STATIC and "sanitize" not in made("CREW_LDFLAGS"):
        assert names(installed.lib / "libcrew.a", "-g") == listed()


def test_every_function_has_a_manual(installed):
    manuals = {p.name: p.read_text() for p in (ROOT / "libcrew").glob("*.3")}
    assert set(manuals) == {"libcrew.3", "crew_client.3", "crew_worker.3", "crew_queue.3", "crew_template.3"}
    for function in declared(installed):
        assert any(re.search(rf"^\.Fo {function}$|^\.Fn {function}\b|^\.Ft .*\n\.F[on] {function}\b", text, re.M)
                   for name, text in manuals.items()), function
    codes = set(re.findall(r"\b(CREW_[A-Z_]+) = -", installed.header.read_text()))
    assert len(codes) == 18
    assert codes == set(re.findall(r"^\.It Dv (CREW_[A-Z_]+)$", manuals["libcrew.3"], re.M))


def test_header_is_c99_and_cxx(installed, tmp_path):
    source = tmp_path / "x.c"
    source.write_text("#include <crew.h>\nint main(void) { return crew_ready(); }\n")
    flags = ["-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *installed.flags("--cflags")]
    subprocess.run([*made("CC").split(), "-std=c99", *flags, source], check=True)
    if shutil.which("g++"):
        subprocess.run(["g++", "-std=c++11", *flags, "-x", "c++", source], check=True)
    assert "jansson" not in installed.header.read_text()


def test_static(installed, crewd):
    if not STATIC:
        pytest.skip("there is no static library")
    program = installed.cc(ROOT / "tests/workers/libcrew.c", static=True)
    assert "libcrew" not in subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    crewd.start('queue "q" {}')
    t = Tool(program)
    assert t("open", crewd.socket, "q", 5) == (0, "manager")
    assert t.code("put", 1, '{"a":1}') == 0 and t("get", 1) == (0, '{"a":1}')
    t.close()


# ---- client -----------------------------------------------------------------------------------------


def test_calls(crewd, tool):
    crewd.start('pool "p" { command = {"sleep", "1000"} } queue "q" {}')
    assert tool.code("connect", crewd.socket, 5) == 0
    code, text = tool("call", 5, "io.crewd.Worker.IsAlive", '{"name": "p-1"}')
    assert code == 0 and json.loads(text) == {"alive": True}
    assert tool("call", 5, "io.crewd.Worker.Forget", '{"name":"x"}') == (
        REFUSED, 'io.crewd.Worker.NoSuchWorker {"name":"x"}')
    # numbers come as they were written
    assert tool.code("call", 5, Q + "Put", '{"name":"q","item":0.10000000000000000001}') == 0
    assert tool("call", 5, Q + "Get", '{"name":"q"}') == (0, '{"item":0.10000000000000000001}')
    assert tool("call", 5, Q + "Put", '{"name":"q","item":1}') == (0, "{}")
    for bad in ("{", "[]", '"x"', '{"a":1}}', '{"a":1} {"b":2}'):
        assert tool.code("call", 5, Q + "List", bad) == INVALID, bad
    assert tool.code("call", 5, "no-method") == INVALID
    assert tool.code("call", "nan", Q + "List") == INVALID
    assert tool.code("big", MiB + 100) == TOO_BIG
    assert tool.code("big", MiB - 100) == REFUSED  # whole it arrives
    assert tool.code("call", 0.2, "io.crewd.Worker.Join", '{"name":"p-1"}') == TIMEOUT
    assert tool("call", 5, Q + "Qsize", '{"name":"q"}') == (0, '{"qsize":1}')  # not the other one's reply


def test_socket_is_where_crewctls_is(crewd, tools):
    if os.geteuid() == 0:
        assert tools().code("connect", "-", 5) in (0, NO_DAEMON)  # /run/crewd/control, whoever is there
        return
    crewd.socket = crewd.dir / "crewd" / "control"
    crewd.socket.parent.mkdir()
    crewd.start("")
    assert tools(XDG_RUNTIME_DIR=str(crewd.dir)).code("connect", "-", 5) == 0


def test_nobody_there(tool, tmp_path):
    assert tool.code("connect", tmp_path / "s", 5) == NO_DAEMON
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        assert tool.code("connect", tmp_path / "s", 5) == NO_DAEMON
        s.listen(0)
        others = []
        for _ in range(2):  # the backlog is full
            others.append(socket.socket(socket.AF_UNIX))
            others[-1].setblocking(False)
            try:
                others[-1].connect(str(tmp_path / "s"))
            except BlockingIOError:
                pass
        assert tool.code("connect", tmp_path / "s", 0.1) == TIMEOUT
        for o in others:
            o.close()
    assert tool.code("connect", "x" * 200, 5) == INVALID
    assert tool.code("open", tmp_path / "s", "q", 5) == NO_DAEMON


def test_stream(crewd, tool):
    crewd.start('queue "q" {}')
    tool("connect", crewd.socket, 5)
    assert tool.code("next", 1) == INVALID
    assert tool.code("stream", Q + "Get", '{"name":"q"}') == 0
    assert tool.code("next", 0) == TIMEOUT and tool.code("fd", 0) == 0
    for i in range(3):
        crewd.call(Q + "Put", name="q", item=i)
    assert tool.code("fd", 5000) == 1
    assert [tool("next", 5) for _ in range(3)] == [(0, f'{{"item":{i}}}') for i in range(3)]
    assert tool.code("next", 0.05) == TIMEOUT
    assert tool.code("call", 5, Q + "List") == INVALID  # the stream goes on
    crewd.call(Q + "Delete", name="q")
    assert tool("next", 5) == (REFUSED, 'io.crewd.Queue.NoSuchQueue {"name":"q"}')
    assert tool.code("next", 5) == INVALID
    assert tool.code("call", 5, Q + "List") == 0
    # a last reply, then the word that it was the last one
    assert tool.code("stream", Q + "List") == 0
    assert tool("next", 5) == (0, '{"queues":[]}')
    assert tool.code("next", 5) == END and tool.code("next", 5) == INVALID
    # left early
    crewd.call(Q + "Create", name="r")
    assert tool.code("stream", Q + "Get", '{"name":"r"}') == 0
    until(lambda: crewd.call(Q + "List")["queues"][0]["waitingGet"] == 1, "it waits")
    assert tool.code("end") == 0 and tool.code("fd", 0) == INVALID
    until(lambda: crewd.call(Q + "List")["queues"][0]["waitingGet"] == 0, "it has left")
    assert tool.code("call", 5, Q + "List") == 0


def test_manager_is_killed_in_a_call(crewd, tool):
    crewd.start('pool "p" { command = {"sleep", "1000"} }')
    tool("connect", crewd.socket, 5)
    tool.begin("call", -1, "io.crewd.Worker.Join", '{"name":"p-1"}')
    assert tool.waits()
    crewd.kill_manager()
    assert tool.end() == (LOST, "")
    assert tool("call", 5, "io.crewd.Worker.IsAlive", '{"name":"p-1"}') == (0, '{"alive":true}')
    crewd.kill_manager()  # between calls nobody notices
    assert tool("call", 5, "io.crewd.Worker.IsAlive", '{"name":"p-1"}') == (0, '{"alive":true}')


@pytest.mark.parametrize("text, code", [(b'{"parameters":{"n', LOST), (b"nonsense\0", PROTOCOL), (b"", LOST)])
def test_half_a_reply_or_none(fake, tool, text, code):
    def script(connection, _):
        connection.raw(text)
        connection.sock.shutdown(socket.SHUT_RDWR)
    fake.on("X.Y", script)
    tool("connect", fake.path, 5)
    assert tool.code("call", 5, "io.crewd.X.Y") == code


def test_late_reply_is_nobodys(fake, tool):
    late = threading.Event()

    def slow(connection, _):
        connection.raw(b'{"parameters":{"late')
        late.wait(DEADLINE)
        connection.raw(b'":1}}\0')
    fake.on("X.Slow", slow).on("X.Quick", lambda c, _: c.reply({"quick": 1}))
    tool("connect", fake.path, 5)
    assert tool.code("call", 0.1, "io.crewd.X.Slow") == TIMEOUT
    late.set()
    assert tool("call", 5, "io.crewd.X.Quick") == (0, '{"quick": 1}'.replace(" ", ""))


def test_nobody_reads(tool, tmp_path):
    """A daemon that is stopped: a call that does not fit into the socket ends with its time."""
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
        s.listen(5)
        assert tool.code("connect", tmp_path / "s", 5) == 0
        assert tool.code("big", MiB - 100) == TIMEOUT


def test_daemon_is_gone(fake, tool):
    fake.on("X.Y", lambda c, _: c.reply())
    tool("connect", fake.path, 5)
    assert tool.code("call", 5, "io.crewd.X.Y") == 0
    fake.die()
    assert tool.code("call", 5, "io.crewd.X.Y") == NO_DAEMON


def test_json(tool):
    assert tool("json", "get", "b", '{"a":[1,2],"b":{"c":0.10}}') == (0, '{"c":0.10}')
    assert tool("json", "get", "x", '{"a":1}') == (0, "") == tool("json", "get", "a", "[1]")
    assert tool("json", "at", 1, '[1, "two", 3]') == (0, '"two"')
    assert tool("json", "at", 3, "[1,2,3]") == (0, "") == tool("json", "at", 0, "{}")
    assert tool("json", "quote", "-", 'a "b" \\ é') == (0, '"a \\"b\\" \\\\ é"')
    assert tool("json", "string", "-", '"a \\"b\\" \\u00e9"') == (0, 'a "b" é')
    assert tool("json", "string", "-", "17") == (0, "")


# ---- notify -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tools, tmp_path, abstract):
    name = f"@crewd-test-{os.getpid()}-{tmp_path.name}" if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.settimeout(DEADLINE)
        s.bind(name.replace("@", "\0") if abstract else name)
        t = tools(NOTIFY_SOCKET=name)
        for what in ("ready", "watchdog", "stopping"):
            assert t.code("notify", what) == 1
            assert s.recv(9999) == what.upper().encode() + b"=1"
        assert t.code("notify", "status", "half\tway é") == 1
        assert s.recv(9999) == "STATUS=half way é".encode()
        assert t.code("notify", "status", "x" * 5000) == 1
        assert s.recv(9999) == b"STATUS=" + b"x" * 1000


def test_nobody_to_notify(tools, tmp_path):
    t = tools()
    assert [t.code("notify", w) for w in ("ready", "stopping", "watchdog", "status x")] == [0] * 4
    for name, code in (("relative", INVALID), ("/" + "x" * 200, INVALID), ("@", INVALID),
                       (tmp_path / "missing", NO_DAEMON), (f"@crewd-nobody-{os.getpid()}", NO_DAEMON)):
        t("setenv", "NOTIFY_SOCKET", name)
        assert t.code("notify", "ready") == code, name


def test_nobody_reads_notifications(tools, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp_path / "n"))
        t = tools(NOTIFY_SOCKET=str(tmp_path / "n"))
        codes = []
        while not codes or codes[-1] == 1:
            codes.append(t.code("notify", "ready"))
        assert codes[-1] == TIMEOUT


def test_watchdog_enabled(tools):
    t = tools()
    t("setenv", "WATCHDOG_USEC")
    t("setenv", "WATCHDOG_PID")
    assert t("notify", "enabled") == (0, "0")
    for text, result in (("1500000", (1, "1.5")), ("", (0, "0")), ("0", (INVALID, "0")), ("1s", (INVALID, "0"))):
        t("setenv", "WATCHDOG_USEC", text)
        assert t("notify", "enabled") == result
    t("setenv", "WATCHDOG_USEC", 1000000)
    t("setenv", "WATCHDOG_PID", t.process.pid + 1)
    assert t("notify", "enabled") == (0, "0")
    t("setenv", "WATCHDOG_PID", t.process.pid)
    assert t("notify", "enabled") == (1, "1")


# ---- tasks ------------------------------------------------------------------------------------------


def pool(program, kind, more=""):
    return f'pool "p" {{ command = {{"{program}"}} tasks = "{kind}" restart-delay = "10ms" {more} }}\n'


def rpc(crewd, method, params=None):
    given = {} if params is None else {"params": params}
    with crewd.varlink() as v:
        v.send("io.crewd.Pool.Apply", {"pool": "p", "method": method, **given})
        return v.receive()["parameters"]["task"]


def line(crewd, text):
    return crewd.call("io.crewd.Pool.Apply", pool="p", args=[text])["task"]


def mapped(crewd, tasks):
    """What became of each, in their order."""
    with crewd.varlink() as v:
        v.send("io.crewd.Pool.Map", {"pool": "p", "tasks": tasks}, more=True)
        found = {}
        while len(found) < len(tasks):
            reply = v.receive()
            assert "error" not in reply, reply
            found[reply["parameters"]["index"]] = reply["parameters"]["task"]
    return [found[i] for i in range(len(tasks))]


def test_serves_lines(crewd, program):
    crewd.start(pool(program, "lines", "prefetch = 64"))
    assert line(crewd, "hello")["result"] == "hello 1"
    assert line(crewd, "")["result"] == " 1"
    assert line(crewd, 'a "b" é')["result"] == 'a "b" é 1'
    assert [t["result"] for t in mapped(crewd, [f"t{i}" for i in range(5000)])] == [f"t{i} 1" for i in range(5000)]
    assert line(crewd, "print")["result"] == "printed"  # and nothing of what it printed
    assert "not an answer\nneither\n" in crewd.ctl("logs", "p-1").stdout
    assert line(crewd, "long")["result"] == f"{TOO_BIG} {INVALID}"
    assert line(crewd, "twice")["result"] == "first"
    assert json.loads(line(crewd, "echo")["result"]) == ["echo"]
    assert crewd.worker("p-1")["restarts"] == 0


@pytest.mark.parametrize("what, said", [("fail", "a task failed: as it was told"), ("none", "no answer"),
                                        ("newline", "no answer")])
def test_lines_fail_by_the_end_of_their_worker(crewd, program, what, said):
    crewd.start(pool(program, "lines", "prefetch = 64"))
    tasks = mapped(crewd, ["before", what, "after"])
    assert [t["state"] for t in tasks] == ["succeeded", "failed", "succeeded"]
    error = tasks[1]["error"]
    assert (error["name"], error["exitcode"]) == ("io.crewd.Pool.WorkerDied", 1)
    assert said in crewd.ctl("logs", "p-1").stdout


def test_serves_jsonrpc(crewd, program):
    crewd.start(pool(program, "jsonrpc", "prefetch = 64"))
    assert rpc(crewd, "hello")["result"] == "hello 0"
    assert rpc(crewd, "many", [1, [2, 3], {"a": 4}])["result"] == "many 3"
    assert rpc(crewd, "named", {"a": 4})["result"] == "named 0"
    assert rpc(crewd, "e\"é\n", [])["result"] == "e\"é\n 0"
    assert rpc(crewd, "echo", [1, "a\n", {"b": [None, True, -0.5]}])["result"] == [1, "a\n", {"b": [None, True, -0.5]}]
    assert rpc(crewd, "base64")["result"] == {"base64": "/wA="}
    assert rpc(crewd, "newline")["result"] == "a\nb"
    assert rpc(crewd, "print")["result"] == "printed"
    error = rpc(crewd, "fail")["error"]
    assert (error["code"], error["message"]) == (42, "as it was told")
    assert rpc(crewd, "none")["error"]["code"] == -32603
    assert rpc(crewd, "long")["result"] == f"{TOO_BIG} {INVALID}"
    tasks = [{"method": "echo", "params": [i, str(i) * (i % 100)]} for i in range(3000)]
    assert [t["result"] for t in mapped(crewd, tasks)] == [t["params"] for t in tasks]
    assert crewd.worker("p-1")["restarts"] == 0


@pytest.mark.parametrize("kind", ["lines", "jsonrpc"])
@pytest.mark.parametrize("what", ["crash", "abort", "exit"])
def test_who_dies_takes_no_other_answer_along(crewd, program, kind, what):
    """Answers that are held are written before: the pool knows who is guilty, and nothing is done twice."""
    if what == "crash" and "sanitize" in made("CREW_LDFLAGS"):
        pytest.skip("the sanitizer has it crash in a way of its own")
    crewd.start(pool(program, kind, "prefetch = 64"))
    words = [f"t{i}" for i in range(200)]
    words[30] = words[150] = what
    tasks = mapped(crewd, [{"method": w} if kind == "jsonrpc" else w for w in words])
    assert [i for i, t in enumerate(tasks) if t["state"] == "failed"] == [30, 150]
    assert all(t["attempts"] == 1 for t in tasks)
    assert tasks[30]["error"]["name"] == "io.crewd.Pool.WorkerDied"
    if what == "exit":
        assert tasks[30]["error"]["exitcode"] == 7
    else:
        assert tasks[30]["error"]["signal"] == {"crash": signal.SIGSEGV, "abort": signal.SIGABRT}[what]


def test_answer_is_not_held_for_long(crewd, program):
    """A quick task's answer comes although the worker has gone on to a slow one."""
    crewd.start(pool(program, "lines", "prefetch = 3"))
    doors = [crewd.dir / "a", crewd.dir / "b"]
    ids = [crewd.call("io.crewd.Pool.ApplyAsync", pool="p", args=[a])["id"]
           for a in (f"wait {doors[0]}", "quick", f"wait {doors[1]}")]
    doors[0].touch()
    result = crewd.call("io.crewd.Pool.Result", id=ids[1], timeout=DEADLINE)["task"]
    assert result["result"] == "quick 1"
    assert crewd.call("io.crewd.Pool.Tasks", pool="p")["tasks"][-1]["state"] != "succeeded"
    doors[1].touch()
    assert crewd.call("io.crewd.Pool.Result", id=ids[2], timeout=DEADLINE)["task"]["result"] == "waited"


def test_ready_and_watchdog(crewd, program):
    crewd.start(pool(program, "lines", 'ready = "notify" watchdog = "300ms"'))
    pid = crewd.wait_state("p-1", "running")["pid"]
    assert line(crewd, "x")["result"] == "x 1"
    time.sleep(1)  # a worker that has nothing to do says that it is well
    assert crewd.worker("p-1")["pid"] == pid


def test_environment_names_the_kind(crewd):
    show = '"sh", "-c", "while read x; do echo ${CREW_TASKS-unset}; done"'
    crewd.start(f'pool "p" {{ command = {{{show}}} tasks = "lines" environment = {{"CREW_TASKS=x"}} }}\n'
                'pool "q" { command = {"sh", "-c", "echo ${CREW_TASKS-unset}"} tasks = "exec" }',
                env={"CREW_TASKS": "jsonrpc"})
    assert line(crewd, "x")["result"] == "lines"
    assert crewd.call("io.crewd.Pool.Apply", pool="q", args=[])["task"]["result"] == "unset\n"


class Worker:
    """A worker without crewd: what it reads and writes is the test's."""

    def __init__(self, program, kind, out):
        env = {**os.environ, "CREW_TASKS": kind}
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE, env=env)

    def run(self, data):
        """(exit code, what it wrote, what it said)"""
        out, err = self.process.communicate(data, timeout=DEADLINE)
        return self.process.returncode, out, err.decode()


def test_lines_are_bounded(program):
    code, out, said = Worker(program, "lines", subprocess.PIPE).run(b"a\n" + b"x" * MiB + b"\nb\n")
    assert code == 0 and out.splitlines()[0] == b"a 1" and len(out.splitlines()) == 3
    for text in (b"x" * (MiB + 1) + b"\nb\n", b"x" * (4 * MiB)):
        try:
            code, out, said = Worker(program, "lines", subprocess.PIPE).run(b"a\n" + text)
        except BrokenPipeError:
            continue  # it left without reading the rest
        assert (code, out) == (1, b"a 1\n") and "longer than 1 MiB" in said


def test_requests_are_bounded(program):
    long = b'{"id":2,"method":"' + b"x" * (3 * MiB) + b'"}\n'
    code, out, _ = Worker(program, "jsonrpc", subprocess.PIPE).run(
        b'{"id":1,"method":"a"}\n' + long + b'{"id":3,"method":"c"}\n')
    answers = [json.loads(text) for text in out.splitlines()]
    assert code == 0 and [a["id"] for a in answers] == [1, None, 3]
    assert "longer than 1 MiB" in answers[1]["error"]["message"]


def test_what_is_no_request(program):
    text = b'[]\n{"id":1}\n{"id":2,"method":5}\nx\n{"id":3,"method":"m","params":1}\n{"method":"silent"}\n\n'
    code, out, _ = Worker(program, "jsonrpc", subprocess.PIPE).run(text)
    answers = [json.loads(text) for text in out.splitlines()]
    assert code == 0
    assert [(a["id"], a["error"]["code"]) for a in answers] == [
        (None, -32600), (1, -32600), (2, -32600), (None, -32700), (3, -32600), (None, -32700)]


@pytest.mark.parametrize("kind", ["lines", "jsonrpc"])
def test_half_a_task_is_none(program, kind):
    code, out, said = Worker(program, kind, subprocess.PIPE).run(b'{"id":1,"method":"a"}\n{"id":2,"me')
    assert code == 1 and out.count(b"\n") == 1 and "within a line" in said


def test_answers_are_written_together(program):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, there:
        w = Worker(program, "lines", there)
        w.process.stdin.write(b"".join(b"%d\n" % i for i in range(1000)))
        w.process.stdin.close()
        there.close()
        writes = []
        while sum(text.count(b"\n") for text in writes) < 1000:
            writes.append(here.recv(1 << 20))
            assert writes[-1]
        w.process.wait(DEADLINE)
        w.process.stderr.close()
    assert b"".join(writes) == b"".join(b"%d 1\n" % i for i in range(1000))
    assert len(writes) < 500


def test_not_started_by_a_pool(program):
    for kind in ("", "exec", "module"):
        code, out, said = Worker(program, kind, subprocess.PIPE).run(b"a\n")
        assert (code, out) == (1, b"") and "CREW_TASKS is neither lines nor jsonrpc" in said


# ---- queues -----------------------------------------------------------------------------------------

KINDS = ["manager", "shared"]
either = pytest.mark.parametrize("kind", KINDS)


def start_queue(crewd, kind, more="maxsize = 2"):
    crewd.start(f'queue "q" {{ kind = "{kind}" {more} }}')


@either
def test_queue_has_pythons_rules(crewd, tool, kind):
    start_queue(crewd, kind)
    assert tool("open", crewd.socket, "q", 5) == (0, kind)
    assert tool.code("attach", crewd.socket, "q", 5) == (0 if kind == "shared" else WRONG_KIND)
    assert tool("open", crewd.socket, "q", 5) == (0, kind)
    assert tool.code("ask", "empty") == 1 and tool.code("ask", "full") == 0
    assert tool.code("get", 0) == EMPTY and tool.code("get", 0.05) == EMPTY
    assert tool.code("put", 0, '{ "a": [1, 0.10] }') == 0
    assert tool.code("put-text", 0, 'x "y" é') == 0
    assert tool.code("put", 0, "3") == FULL and tool.code("put", 0.05, "3") == FULL
    assert [tool.code("ask", w) for w in ("qsize", "empty", "full")] == [2, 0, 1]
    assert json.loads(tool("get", 0)[1]) == {"a": [1, 0.10]}
    assert tool("get-text", -1) == (0, 'x "y" é')
    assert tool.code("join", 0.05) == TIMEOUT
    assert [tool.code("ask", "done") for _ in range(3)] == [0, 0, TOO_MANY_DONE]
    assert tool.code("join", -1) == 0
    assert tool.code("put", "nan", "3") == INVALID == tool.code("get", "nan")
    tool("put", 1, "17")
    assert tool("get-text", 1) == (0, "17")  # no string, so as it is
    assert tool.code("put", 0, '"' + "x" * 2 * MiB + '"') == (TOO_BIG if kind == "manager" else 0)


@either
def test_queue_waits(crewd, tools, kind):
    start_queue(crewd, kind)
    getter, putter = tools(), tools()
    for t in (getter, putter):
        t("open", crewd.socket, "q", 5)
    getter.begin("get-text", -1)
    assert getter.waits()
    putter("put-text", 0, "one")
    assert getter.end() == (0, "one")
    putter("put-text", 0, "two")
    putter("put-text", 0, "three")
    putter.begin("put-text", DEADLINE, "four")
    assert putter.waits()
    assert [getter("get-text", DEADLINE) for _ in range(3)] == [(0, "two"), (0, "three"), (0, "four")]
    assert putter.end()[0] == 0
    putter.begin("join", -1)
    assert putter.waits()
    for _ in range(4):
        getter("ask", "done")
    assert putter.end()[0] == 0


@either
def test_threads_share_a_queue(crewd, tool, kind):
    start_queue(crewd, kind)
    tool("open", crewd.socket, "q", 5)
    assert tool.code("threads") == 0


@either
def test_child_has_to_open_its_own(crewd, tool, kind):
    start_queue(crewd, kind)
    tool("connect", crewd.socket, 5)
    tool("open", crewd.socket, "q", 5)
    tool("put-text", 0, "x")
    assert tool.code("fork") == 0
    assert tool("get-text", 0) == (0, "x")  # nothing of the parent's is gone
    assert tool.code("call", 5, Q + "List") == 0


@either
def test_no_such_queue(crewd, tool, kind):
    start_queue(crewd, kind)
    assert tool.code("open", crewd.socket, "r", 5) == NO_SUCH
    assert tool.code("open", crewd.socket, "a/b", 5) == INVALID
    tool("open", crewd.socket, "q", 5)
    tool.begin("get", -1)
    assert tool.waits()
    crewd.call(Q + "Delete", name="q")
    assert tool.end() == (NO_SUCH, "")
    assert tool.code("put-text", 0, "x") == NO_SUCH


@either
def test_manager_is_killed_while_a_get_waits(crewd, tools, kind):
    start_queue(crewd, kind)
    getter, putter = tools(), tools()
    getter("open", crewd.socket, "q", 5)
    putter("open", crewd.socket, "q", 5)
    getter.begin("get-text", -1)
    assert getter.waits()
    crewd.kill_manager()
    assert getter.waits()
    assert putter.code("put-text", 5, "after") == 0
    assert getter.end() == (0, "after")
    assert putter.code("ask", "qsize") == 0


def test_manager_is_killed_while_a_put_waits(crewd, tool):
    """Nobody knows whether it was put: it is the caller who has to know what that means."""
    start_queue(crewd, "manager", "maxsize = 1")
    tool("open", crewd.socket, "q", 5)
    tool("put", 0, "1")
    tool.begin("put", -1, "2")
    assert tool.waits()
    crewd.kill_manager()
    assert tool.end() == (LOST, "")
    assert tool.code("put", 5, "3") == 0


def test_daemon_does_not_answer(crewd, tool):
    start_queue(crewd, "manager")
    tool("open", crewd.socket, "q", 5)
    manager = crewd.manager()
    os.kill(manager, signal.SIGSTOP)
    try:
        begin = time.monotonic()
        assert tool.code("get", 0.1) == TIMEOUT
        assert time.monotonic() - begin > 5
    finally:
        os.kill(manager, signal.SIGCONT)
    until(lambda: crewd.call(Q + "List")["queues"][0]["waitingGet"] == 0, "it has seen that the getter has left")
    assert tool.code("put", 5, "1") == 0 and tool("get", 5) == (0, "1")


def test_daemon_is_gone_for_good(crewd, tools):
    """What is in shared memory can still be got; who waits there hears of it."""
    start_queue(crewd, "shared")
    getter, other = tools(), tools()
    getter("open", crewd.socket, "q", 5)
    other("open", crewd.socket, "q", 5)
    getter("put-text", 0, "x")
    crewd.stop()
    assert other.code("put-text", 0, "y") in (0, NO_SUCH)
    while getter.code("get", 0) == 0:
        pass
    assert getter.code("get", -1) in (NO_DAEMON, NO_SUCH)


def test_shared_queue_that_was_made_anew(crewd, tool):
    crewd.start("")
    crewd.call(Q + "Create", name="q", kind="shared")
    tool("open", crewd.socket, "q", 5)
    tool("put-text", 0, "old")
    crewd.call(Q + "Delete", name="q")
    crewd.call(Q + "Create", name="q", kind="shared")
    until(lambda: tool.code("put-text", 0, "x") == NO_SUCH, "it hears of it")
    assert crewd.call(Q + "Qsize", name="q")["qsize"] == 0


def test_participant_is_killed(crewd, tools):
    """At most what it had in its hands is gone, and nothing is locked."""
    start_queue(crewd, "shared", "maxsize = 100")
    mine = tools()
    mine("open", crewd.socket, "q", 5)
    items = 40
    for i in range(items):
        assert mine.code("put", 0, i) == 0
    killed = 0
    for round_ in range(5):
        storms = [tools() for _ in range(2)]
        for s in storms:
            s("open", crewd.socket, "q", 5)
            s("storm")
        time.sleep(0.01 * (round_ + 1))
        for s in storms:
            s.process.kill()
            s.process.wait(DEADLINE)
            killed += 1
        assert items - killed <= mine.code("ask", "qsize") <= items
        assert mine.code("put", 5, "1000") == 0 and mine.code("get", 5) == 0
    left = []
    while (got := mine("get", 0))[0] == 0:
        left.append(got[1])
    assert len(left) == len(set(left) - {"1000"}) + left.count("1000")  # none came twice


def test_eventfd(crewd, tools):
    start_queue(crewd, "shared")
    t, other = tools(), tools()
    t("open", crewd.socket, "q", 5)
    other("open", crewd.socket, "q", 5)
    t("poll", "items", 0)
    assert t.code("get", 0) == EMPTY
    assert t.code("poll", "items", 0) == 0
    other("put-text", 0, "x")
    assert t.code("poll", "items", DEADLINE * 1000) == 1
    assert t("get-text", 0) == (0, "x")
    t("poll", "room", 0)
    for _ in range(2):
        t("put-text", 0, "y")
    assert t.code("put-text", 0, "z") == FULL
    assert t.code("poll", "room", 0) == 0
    other("get", 0)
    assert t.code("poll", "room", DEADLINE * 1000) == 1


def test_eventfd_of_other_kinds(crewd, tool):
    start_queue(crewd, "manager")
    tool("open", crewd.socket, "q", 5)
    assert tool.code("poll", "items", 0) == WRONG_KIND == tool.code("poll", "room", 0)
    for bad in ("", "{", "1 2", "nonsense", '"a'):
        assert tool.code("put", 0, bad) == INVALID
    assert tool.code("ask", "qsize") == 0


def test_not_permitted(crewd, program):
    """Who may only look may not put."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    crewd.start('socket-mode = 0666\nqueue "q" { }\nqueue "s" { kind = "shared" }')
    script = "".join(f"open {crewd.socket} {q} 5\nput 0 1\nask qsize\nget 0\n" for q in ("q", "s"))
    script += f"attach {crewd.socket} s 5\nopen {crewd.socket} x 5\n"
    done = subprocess.run([program], input=script, text=True, capture_output=True, check=True, user="games",
                          group="games", extra_groups=[], timeout=DEADLINE)
    codes = [int(text.split()[0]) for text in done.stdout.splitlines()]
    assert codes == [0, DENIED, 0, DENIED] * 2 + [DENIED, NO_SUCH]


@pytest.mark.skipif(not SERVER, reason="redis-server is not installed (Debian: redis-server)")
def test_redis_kind(redis, crews, tool):
    redis.start()
    crewd = crews(queue(redis, "maxsize = 2"))
    up(crewd)
    assert tool("open", crewd.socket, "q", 5) == (0, "redis")
    assert tool.code("get", 0) == EMPTY
    assert tool.code("put-text", 5, "one") == 0 == tool.code("put", 5, "0.10")
    assert tool.code("put", 0.05, "3") == FULL and tool.code("ask", "full") == 1
    assert tool("get-text", 5) == (0, "one") and tool("get", 5) == (0, "0.10")
    assert tool.code("threads") == 0
    redis.stop()
    assert tool.code("put", 0.5, "1") in (BUSY, FULL)


# ---- the examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_example_of_queues(crewd, installed, kind):
    program = installed.cc(EXAMPLES / "queues.c", static=not SHARED)
    crewd.start((EXAMPLES / "queues.conf").read_text().replace("socket = ", "#").replace("state-dir = ", "#"))
    crewd.call(Q + "Create", name="small", kind=kind, maxsize=2)
    for queue, items in (("small", 500), ({"manager": "jobs", "shared": "quick"}[kind], 10)):
        done = subprocess.run([program, crewd.socket, queue, str(items)], capture_output=True, text=True,
                              timeout=DEADLINE * 3, check=True)
        got = [text.split(": ")[1] for text in done.stdout.splitlines()]
        assert sorted(got) == sorted(f"{who} {i}" for who in ("red", "blue") for i in range(1, items + 1))
        assert done.stderr == ""
    assert {q["unfinished"] for q in crewd.call(Q + "List")["queues"]} == {0}


TEMPLATE = """
#include <crew.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char loaded[32];

static void answer(struct crew_task *task, void *arg)
{
	const char *word = crew_task_arg(task, 0, NULL);
	char text[128];
	int n = snprintf(text, sizeof(text), "%s %s %s %d", word, getenv("CREW_WORKER"), (char *)arg, (int)getpid());

	crew_return(task, text, (size_t)n);
}

int main(void)
{
	int r;

	snprintf(loaded, sizeof(loaded), "%d", (int)getpid());
	r = crew_template_loop();
	if (r < 0)
		printf("%d\\n", r);
	return r == 1 ? crew_serve(answer, loaded) < 0 : r != 0;
}
"""


def test_template_loop(crewd, installed):
    source = installed.dir / "warm.c"
    source.write_text(TEMPLATE)
    program = installed.cc(source, static=not SHARED)
    env = {k: v for k, v in os.environ.items() if k not in ("NOTIFY_SOCKET", "CREW_TEMPLATE_FD")}
    alone = subprocess.run([program], check=False, capture_output=True, text=True, env=env)
    assert (alone.returncode, alone.stdout) == (1, f"{INVALID}\n")
    crewd.start(f'template "warm" {{ command = {{"{program}"}} }}\n'
                'pool "l" { template = "warm" tasks = "lines" workers = 1 }\n'
                'pool "j" { template = "warm" tasks = "jsonrpc" workers = 1 ready = "notify" }\n')
    warm, one, other = (crewd.wait_state(name, "running")["pid"] for name in ("warm-1", "l-1", "j-1"))
    assert crewd.ctl("apply", "l", "hello").stdout == f"hello l-1 {warm} {one}\n"
    assert crewd.ctl("apply", "--method", "m", "j", "hello").stdout == f"hello j-1 {warm} {other}\n"


def test_example_of_a_worker(crewd, installed):
    source = EXAMPLES / "shout.c"
    assert len([text for text in source.read_text().splitlines() if text.strip()]) <= 20
    program = installed.cc(source, static=not SHARED)
    crewd.start((EXAMPLES / "libcrew.conf").read_text().replace("/tmp/shout", str(program)))
    assert crewd.ctl("apply", "lines", "hello").stdout == "HELLO\n"
    assert crewd.ctl("map", "lines", stdin="one\ntwo\n").stdout == "ONE\nTWO\n"
    crewd.wait_state("rpc-1", "running")
    assert crewd.ctl("apply", "--method", "any", "--json-args", "rpc", '"hello"').stdout == "HELLO\n"
    assert "a word is missing" in crewd.ctl("apply", "--method", "any", "rpc", code=1).stderr
    readme = (ROOT / "README.md").read_text()
    assert " ".join(source.read_text().split()) in " ".join(readme.split())
