"""crewctl map against a daemon that is slow, dead, hostile, full, or out of order, as the test says."""

import base64
import json
import os
import pathlib
import pty
import random
import re
import select
import signal
import subprocess
import threading
import time

import pytest

from conftest import CREWCTL, DEADLINE, until
from fake_daemon import failed, task

WINDOW = 16384  # lines that may be outstanding
WINDOW_BYTES = 8 * 1024 * 1024
CHUNK = 2000
SANITIZED = b"__asan_init" in pathlib.Path(CREWCTL).read_bytes()


def fast(connection, tasks, order=None, result=lambda t: t):
    """Answers a whole call at once, in any order."""
    order = list(order or range(len(tasks)))
    frames = []
    for n, index in enumerate(order):
        more = ',"continues":true' if n + 1 < len(order) else ""
        frames.append('{"parameters":{"index":%d,"task":{"id":"t","pool":"p","state":"succeeded","result":%s,'
                      '"attempts":1,"queued":1.0}}%s}\0' % (index, json.dumps(result(tasks[index])), more))
    connection.raw("".join(frames).encode())


def echo(fake):
    """Every task comes back as it was, each call from its last task to the first."""
    def script(connection, parameters):
        tasks = parameters["tasks"]
        fake.count(len(tasks))
        fake.count(-len(tasks))
        fast(connection, tasks, range(len(tasks) - 1, -1, -1))
    fake.on("Pool.Map", script)


def each(fake, document):
    """Every task comes to what document(task) makes of it."""
    def script(connection, parameters):
        tasks = parameters["tasks"]
        for index, what in enumerate(tasks):
            connection.answer(index, document(what), index + 1 == len(tasks))
    fake.on("Pool.Map", script)


def peak(pid):
    """KiB of memory the process has had at most; unlike ru_maxrss not that of who has started it."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", text).group(1))


def start(fake, *args, **more):
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.Popen(fake.command("map", *args), **streams)


def feed(pipe, data):
    """Writes in a thread of its own, and leaves the pipe open."""
    def run():
        try:
            pipe.write(data)
            pipe.flush()
        except BrokenPipeError:
            pass
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def blocked(thread, pid):
    """The thread still writes and the process sleeps: it does not read."""
    state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return thread.is_alive() and state == "S"


# ---- results and their order ---------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "one\n", "one", "one\n\n\nthree\nfour", "ä\n\u20ac\n\U0001f600\n", "\n" * 5000])
def test_a_line_is_a_task_and_a_result_a_line(fake, text):
    echo(fake)
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    assert fake.ctl("map", "p", stdin=text).stdout == "".join(line + "\n" for line in lines)
    given = [t for c in fake.calls_of("Pool.Map") for t in c["tasks"]]
    assert sorted(given) == sorted(lines)  # calls on different connections may overtake one another
    assert all(call["more"] for method, _, call in fake.calls if method.endswith("Map"))


def test_order_under_random_completion(fake):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    dice = random.Random(seed)
    gate = threading.Lock()

    def script(connection, parameters):
        tasks = parameters["tasks"]
        order = list(range(len(tasks)))
        with gate:
            dice.shuffle(order)
        while order:  # in parts, so that calls overtake one another
            with gate:
                count = dice.randrange(1, 200)
            part, order = order[:count], order[count:]
            for n, index in enumerate(part):
                connection.answer(index, task(tasks[index]), not order and n + 1 == len(part))
    fake.on("Pool.Map", script)
    text = "".join(f"{n}\n" for n in range(30000))
    assert fake.ctl("map", "p", stdin=text).stdout == text
    out = fake.ctl("map", "--unordered", "p", stdin=text).stdout
    assert sorted(out.splitlines()) == sorted(text.splitlines()) and out != text


def test_unordered_prints_as_it_comes(fake):
    go = threading.Event()

    def script(connection, parameters):
        tasks = parameters["tasks"]
        if "slow" in tasks:
            assert go.wait(DEADLINE)
        fast(connection, tasks)
    fake.on("Pool.Map", script)
    p = start(fake, "--unordered", "p")
    p.stdin.write(b"slow\n")
    p.stdin.flush()
    until(lambda: fake.calls_of("Pool.Map"), "the first line is given")
    p.stdin.write(b"quick\n")
    p.stdin.flush()
    assert p.stdout.readline() == b"quick\n"
    go.set()
    assert p.communicate(timeout=DEADLINE) == (b"slow\n", b"") and p.returncode == 0


def test_a_line_is_not_held_back(fake):
    """As with `tail -f | crewctl map`: nothing waits for a chunk to be full."""
    echo(fake)
    p = start(fake, "p")
    for n in range(20):
        p.stdin.write(b"%d\n" % n)
        p.stdin.flush()
        assert p.stdout.readline() == b"%d\n" % n
    assert fake.most_open <= 2  # a connection is used again
    p.communicate(timeout=DEADLINE)
    assert p.returncode == 0


def test_a_connection_that_is_not_in_use_may_end(fake):
    """As when one manager takes over from another between two lines."""
    ended = []

    def script(connection, parameters):
        fast(connection, parameters["tasks"])
        connection.sock.shutdown(2)
        ended.append(1)
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    for n in range(5):
        p.stdin.write(b"%d\n" % n)
        p.stdin.flush()
        assert p.stdout.readline() == b"%d\n" % n
        until(lambda n=n: len(ended) > n and connections(p.pid) == 0, "it has hung up")
    assert p.communicate(timeout=DEADLINE) == (b"", b"") and p.returncode == 0


def connections(pid):
    links = [os.readlink(f.path) for f in os.scandir(f"/proc/{pid}/fd") if int(f.name) > 2]
    return sum(link.startswith("socket:") for link in links)


@pytest.mark.parametrize("tasks,result,printed", [
    ("exec", "two\nlines\n", "two\nlines\n"), ("exec", "bare", "bare\n"), ("exec", "", "\n"),
    ("lines", {"base64": base64.b64encode(b"caf\xc3\xa9\n").decode()}, "café\n"),
    ("jsonrpc", {"base64": "AAAA"}, '{"base64":"AAAA"}\n'), ("jsonrpc", [1, {"a": None}], '[1,{"a":null}]\n'),
    ("jsonrpc", "text", "text\n"),
])
def test_what_a_result_becomes(fake, tasks, result, printed):
    fake.pools[0]["tasks"] = tasks
    each(fake, lambda _: task(result))
    method = ["--method", "m"] if tasks == "jsonrpc" else []
    assert fake.ctl("map", *method, "p", stdin="x\n").stdout == printed


def test_json(fake):
    each(fake, lambda t: failed("bad", exitcode=2) if t == "b" else task(t))
    p = fake.ctl("--json", "map", "p", stdin="a\nb\nc\n", code=1)
    documents = [json.loads(line) for line in p.stdout.splitlines()]
    assert [d["index"] for d in documents] == [0, 1, 2]
    assert [d["task"]["state"] for d in documents] == ["succeeded", "failed", "succeeded"]


# ---- what lines become ---------------------------------------------------------------------------


def test_lines_that_can_be_no_task(fake):
    echo(fake)
    long = b"x" * (1024 * 1024 + 5)
    escaped = b"\x01" * 200000  # six bytes each in JSON
    text = b"\n".join([b"1", b"\xff\xfe", b"3", b"a\0b", b"5", long, b"7", escaped, b"9", b"x" * 500000, b"11"])
    p = fake.ctl("map", "p", stdin=text, code=4)
    assert p.stdout.split(b"\n") == [b"1", b"", b"3", b"", b"5", b"", b"7", b"", b"9", b"x" * 500000, b"11", b""]
    assert sorted(p.stderr.decode().splitlines()) == [
        "crewctl: line 2: is not UTF-8", "crewctl: line 4: has a NUL byte",
        "crewctl: line 6: is too long for a call", "crewctl: line 8: is too long for a call"]
    assert fake.ctl("map", "p", stdin=b"x" * 5000000, code=1).stdout == b"\n"


def test_jsonrpc_lines(fake):
    fake.pools[0]["tasks"] = "jsonrpc"
    each(fake, lambda t: task("ok"))
    fake.ctl("map", "--method", "m", "p", stdin='a"b\n\n')
    assert fake.calls_of("Pool.Map")[-1]["tasks"] == [{"method": "m", "args": ['a"b']}, {"method": "m", "args": [""]}]
    text = '[1, {"x": [2]}]\n{"params": {"a": 1}}\n {"method":"own","args":[]} \n{ }\n'
    fake.ctl("map", "--method", "m", "--json-lines", "p", stdin=text)
    assert [t for c in fake.calls_of("Pool.Map")[1:] for t in c["tasks"]] == [  # one write, one call
        {"method": "m", "args": [1, {"x": [2]}]}, {"method": "m", "params": {"a": 1}},
        {"method": "own", "args": []}, {"method": "m"}]
    p = fake.ctl("map", "--json-lines", "p", stdin='7\n{"a":\n{"method":"x"}\n\n{"a":1,"a":2}\n', code=4)
    assert p.stdout == "\n\nok\n\n\n"
    assert sorted(line.split(":")[1] for line in p.stderr.splitlines()) == [" line 1", " line 2", " line 4", " line 5"]
    assert "--method M is missing" in fake.ctl("map", "p", stdin="x\n", code=2).stderr
    fake.pools[0]["tasks"] = "lines"
    assert "--method is for jsonrpc" in fake.ctl("map", "--method", "m", "p", stdin="x\n", code=2).stderr
    each(fake, lambda t: task("ok"))
    fake.ctl("map", "--json-lines", "p", stdin='["-x"]\n{"args":["y"],"input":"z"}\n')
    assert [t for c in fake.calls_of("Pool.Map")[-2:] for t in c["tasks"]][-2:] == [["-x"], {"args": ["y"], "input": "z"}]


def test_wrong_pools(fake):
    for pool in ("nobody", "plain"):
        assert "no such pool with tasks: " + pool in fake.ctl("map", pool, stdin="x\n", code=4).stderr
    assert "do not go together" in fake.ctl("map", "--progress", "--no-progress", "p", code=2).stderr
    assert fake.calls_of("Pool.Map") == []


# ---- failures ------------------------------------------------------------------------------------


def test_failed_tasks_are_counted(fake):
    each(fake, lambda t: task(t) if t.startswith("ok") else failed(f"no\n{t}"))
    p = fake.ctl("map", "p", stdin="ok1\nbad\nok2\nworse", code=2)
    assert p.stdout == "ok1\n\nok2\n\n"
    assert sorted(p.stderr.splitlines()) == ["crewctl: line 2: no bad", "crewctl: line 4: no worse"]
    assert fake.ctl("map", "p", stdin="bad\n" * 100, code=100).stdout == "\n" * 100
    fake.ctl("map", "p", stdin="bad\n" * 101, code=101)
    fake.ctl("map", "p", stdin="bad\n" * 5000, code=101)


@pytest.mark.parametrize("unordered", [[], ["--unordered"]])
def test_the_daemon_goes_away_in_the_middle(fake, unordered):
    def script(connection, parameters):
        tasks = parameters["tasks"]
        for index in (0, 1, 3):
            connection.answer(index, task(tasks[index]), False)
        until(lambda: b"\nb\n" in printed, "two are printed")
        fake.die()
    fake.on("Pool.Map", script)
    p = start(fake, *unordered, "p")
    printed = b""
    p.stdin.write(b"a\nb\nc\nd\ne\n")
    p.stdin.flush()
    while True:
        part = os.read(p.stdout.fileno(), 100)
        if not part:
            break
        printed += part
    assert printed == (b"a\nb\nd\n" if unordered else b"a\nb\n")
    assert p.wait(DEADLINE) == 69
    said = p.stderr.read().decode()
    assert "closed the connection; 2 tasks were not answered" in said and said.count("\n") == 1
    assert unordered or "the output ends with line 2" in said


def test_the_pool_is_closed_in_the_middle(fake):
    calls = []

    def script(connection, parameters):
        calls.append(parameters)
        if len(calls) == 1:
            until(lambda: len(calls) == 2, "the second line is given")
            fast(connection, parameters["tasks"])
        else:
            connection.error("io.crewd.Pool.Closed", pool="p", why="it was closed")
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    p.stdin.write(b"1\n")
    p.stdin.flush()
    until(lambda: calls, "the first line is given")
    p.stdin.write(b"2\n")
    p.stdin.flush()
    out, said = p.communicate(timeout=DEADLINE)
    assert (out, p.returncode) == (b"1\n", 1)  # what was accepted is waited for
    assert said.decode().splitlines() == ["crewctl: p takes no tasks: it was closed",
                                          "crewctl: 1 task was not answered; the output ends with line 1"]


GOOD = {"index": 0, "task": task("x")}


@pytest.mark.parametrize("answer", [
    b"\0", b"nonsense\0", b"{}\0", b"[]\0", b'{"parameters":7}\0',
    *(json.dumps({"parameters": {**GOOD, **wrong}, **more}).encode() + b"\0" for wrong, more in [
        ({"index": -1}, {}), ({"index": 1}, {}), ({"index": 2**63 - 1}, {}), ({"index": "0"}, {}),
        ({"index": None}, {}), ({"task": None}, {}), ({"task": []}, {}), ({}, {"continues": True})]),
    json.dumps({"parameters": GOOD}).encode() + b"\0" + json.dumps({"parameters": GOOD}).encode() + b"\0",
    b'{"parameters":' + b"[" * 100 + b"\0",
    b"x" * (5 * 1024 * 1024),  # a frame without an end
    b'{"error":7}\0',
], ids=lambda answer: answer[:60].decode().replace("\0", "."))
def test_hostile_answers(fake, answer):
    def script(connection, _):
        connection.raw(answer)
        connection.wait_for_its_end()
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    p.stdin.write(b"one\n")
    p.stdin.flush()
    until(lambda: p.poll() is not None, "it ends, though there is input")
    said = p.stderr.read().decode()
    assert p.returncode == 1 and "no right answer" in said and said.count("\n") == 1
    assert p.stdout.read() == (b"x\n" if answer.count(b"\0") == 2 else b"")  # a right one, and one too many
    p.stdin.close()


def test_an_answer_twice(fake):
    def script(connection, _):
        connection.answer(0, task("x"), False)
        connection.answer(0, task("y"), False)
        connection.wait_for_its_end()
    fake.on("Pool.Map", script)
    p = fake.ctl("map", "p", stdin="one\ntwo\n", code=1)
    assert p.stdout == "x\n" and "no right answer" in p.stderr


def test_half_answers_and_single_bytes(fake):
    def script(connection, parameters):
        for index, text in enumerate(parameters["tasks"]):
            last = index + 1 == len(parameters["tasks"])
            frame = json.dumps({"parameters": {"index": index, "task": task(text)}, "continues": not last}).encode()
            for byte in frame + b"\0":
                connection.raw(bytes([byte]))
    fake.on("Pool.Map", script)
    assert fake.ctl("map", "p", stdin="a\nb\nc\n").stdout == "a\nb\nc\n"

    def half(connection, parameters):
        connection.answer(0, task(parameters["tasks"][0]), False)
        connection.raw(b'{"parameters":{"ind')
        connection.sock.shutdown(2)
    fake.on("Pool.Map", half)
    p = fake.ctl("map", "p", stdin="a\nb\n", code=69)
    assert p.stdout == "a\n" and "1 task was not answered" in p.stderr


# ---- bounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("unordered", [[], ["--unordered"]])
def test_lines_outstanding_are_bounded(fake, unordered):
    go = threading.Event()

    def script(connection, parameters):
        fake.count(len(parameters["tasks"]))
        assert go.wait(DEADLINE)
        fake.count(-len(parameters["tasks"]))
        fast(connection, parameters["tasks"])
    fake.on("Pool.Map", script)
    p = start(fake, *unordered, "p")
    text = b"".join(b"%d\n" % n for n in range(100000))
    writer = feed(p.stdin, text)
    until(lambda: fake.outstanding > WINDOW - CHUNK and blocked(writer, p.pid), "it reads no more")
    assert fake.most_outstanding <= WINDOW
    go.set()
    out = b""
    while len(out) < len(text):
        out += os.read(p.stdout.fileno(), 1 << 20)
    p.communicate(timeout=DEADLINE)
    assert (out == text if not unordered else sorted(out.split()) == sorted(text.split())) and p.returncode == 0
    assert fake.most_outstanding <= WINDOW and fake.most_open <= 64


def test_bytes_outstanding_are_bounded(fake):
    go = threading.Event()

    def script(connection, parameters):
        fake.count(sum(map(len, parameters["tasks"])))
        assert go.wait(DEADLINE)
        fake.count(-sum(map(len, parameters["tasks"])))
        fast(connection, parameters["tasks"], result=lambda t: t[:5])
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    lines = [b"%05d" % n + b"x" * 100000 for n in range(300)]
    writer = feed(p.stdin, b"\n".join(lines) + b"\n")
    until(lambda: fake.outstanding > WINDOW_BYTES * 3 / 4 and blocked(writer, p.pid), "it reads no more")
    go.set()
    for n in range(300):
        assert p.stdout.readline() == b"%05d\n" % n
    assert SANITIZED or peak(p.pid) < 40000
    p.communicate(timeout=DEADLINE)
    assert p.returncode == 0 and fake.most_outstanding <= WINDOW_BYTES + 2 * 100005


def test_memory_with_a_million_lines(fake):
    """`yes | head -1000000`"""
    echo(fake)
    p = start(fake, "p")
    feed(p.stdin, b"y\n" * 1000000)
    size, seen = 0, set()
    while size < 2000000:
        part = os.read(p.stdout.fileno(), 1 << 20)
        assert part
        size += len(part)
        seen |= set(part)
    assert (size, seen) == (2000000, set(b"y\n"))
    assert SANITIZED or peak(p.pid) < 40000
    p.communicate(timeout=DEADLINE)
    assert p.returncode == 0 and fake.most_outstanding <= WINDOW


def test_a_slow_first_line_costs_no_memory(fake):
    """100 MB of results that all come before the first one."""
    big = "y" * 100000

    def script(connection, parameters):
        tasks = parameters["tasks"]
        for n, index in enumerate([*range(1, len(tasks)), 0]):
            connection.answer(index, task(tasks[index] + big), n + 1 == len(tasks))
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    p.stdin.write(b"".join(b"%d\n" % n for n in range(1000)))
    p.stdin.flush()
    for n in range(1000):
        assert p.stdout.readline() == b"%d" % n + big.encode() + b"\n"
    assert SANITIZED or peak(p.pid) < 64000
    p.communicate(timeout=DEADLINE)
    assert p.returncode == 0


def test_long_answers_on_many_connections(fake):
    """24 replies of 3.5 MB that all come at once: parts of replies are bounded too."""
    go, big = threading.Event(), "z" * 3500000

    def script(connection, parameters):
        assert go.wait(DEADLINE)
        connection.answer(0, task(parameters["tasks"][0] + big), True)
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    for n in range(24):
        p.stdin.write(b"%02d\n" % n)
        p.stdin.flush()
        until(lambda n=n: len(fake.calls_of("Pool.Map")) == n + 1, f"line {n} is given")
    go.set()
    for n in range(24):
        assert p.stdout.readline() == b"%02d" % n + big.encode() + b"\n"
    assert SANITIZED or peak(p.pid) < 64000
    p.communicate(timeout=DEADLINE)
    assert p.returncode == 0


def test_no_room_for_results_that_come_early(fake, tmp_path):
    big = "y" * 1000000

    def script(connection, parameters):
        tasks = parameters["tasks"]
        for n, index in enumerate([*range(1, len(tasks)), 0]):
            connection.answer(index, task(big), n + 1 == len(tasks))
    fake.on("Pool.Map", script)
    p = fake.ctl("map", "p", stdin="x\n" * 30, code=1, env={**os.environ, "TMPDIR": str(tmp_path / "nowhere")})
    assert "cannot keep results: No such file" in p.stderr and p.stdout == ""


def test_a_reader_that_does_not_read(fake):
    """Replies are left to the daemon, and come when somebody reads again."""
    big, sent = "z" * 50000, []

    def script(connection, parameters):
        tasks = parameters["tasks"]
        for index in range(len(tasks)):
            connection.answer(index, task(big), index + 1 == len(tasks))
            sent.append(1)
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    p.stdin.write(b"x\n" * 2000)  # 100 MB of results
    p.stdin.flush()
    until(lambda: sent and blocked_server(sent), "the daemon cannot go on")
    assert len(sent) < 200
    for _ in range(2000):
        assert p.stdout.readline() == big.encode() + b"\n"
    assert SANITIZED or peak(p.pid) < 40000
    p.communicate(timeout=DEADLINE)
    assert p.returncode == 0


def blocked_server(sent):
    before = len(sent)
    time.sleep(0.2)
    return len(sent) == before


def test_a_daemon_that_does_not_read(fake):
    stuck = threading.Event()

    def accept_and_stop(connection, _):
        stuck.set()
        time.sleep(0)
        until(lambda: p.poll() is not None, "crewctl has ended")
        connection.sock.shutdown(2)
    fake.on("Pool.Map", accept_and_stop)
    p = start(fake, "p")
    writer = feed(p.stdin, b"".join(b"%d" % n + b"x" * 1000 + b"\n" for n in range(100000)))
    until(lambda: stuck.is_set() and blocked(writer, p.pid), "it reads no more")
    assert SANITIZED or peak(p.pid) < 40000
    p.terminate()
    assert p.wait(DEADLINE) == -signal.SIGTERM
    p.stdout.close(), p.stderr.close()


def test_connections_are_bounded(fake):
    go = threading.Event()

    def script(connection, parameters):
        assert go.wait(DEADLINE)
        fast(connection, parameters["tasks"])
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    for n in range(64):
        p.stdin.write(b"%d\n" % n)
        p.stdin.flush()
        until(lambda n=n: len(fake.calls_of("Pool.Map")) == n + 1, f"line {n} is given")
    p.stdin.write(b"".join(b"%d\n" % n for n in range(64, 1000)))
    p.stdin.close()
    go.set()
    assert p.stdout.read() == b"".join(b"%d\n" % n for n in range(1000))
    assert p.wait(DEADLINE) == 0 and fake.most_open == 64
    p.stderr.close()


# ---- how it ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_closes_connections(fake, number):
    left = []

    def script(connection, parameters):
        if parameters["tasks"] == ["first"]:
            fast(connection, ["first"])
        else:
            left.append(connection.wait_for_its_end())
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    p.stdin.write(b"first\n")
    p.stdin.flush()
    assert p.stdout.readline() == b"first\n"
    for n in range(3):
        p.stdin.write(b"%d\n" % n)
        p.stdin.flush()
        until(lambda n=n: len(fake.calls_of("Pool.Map")) == n + 2, "it is given")
    p.send_signal(number)
    out, said = p.communicate(timeout=DEADLINE)
    assert (p.returncode, out, said) == (-number, b"", b"")
    until(lambda: left == [True] * 3, "every connection is closed")


@pytest.mark.parametrize("ignored", [False, True])
def test_nobody_reads_the_results(fake, ignored):
    echo(fake)
    p = start(fake, "p", preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN) if ignored else None,
              restore_signals=not ignored)
    feed(p.stdin, b"y\n" * 1000000)
    assert p.stdout.read(2) == b"y\n"
    p.stdout.close()
    assert p.wait(DEADLINE) == (141 if ignored else -signal.SIGPIPE)
    assert p.stderr.read() == b""
    p.stderr.close()


def test_the_reader_leaves_while_nothing_is_printed(fake):
    fake.on("Pool.Map", lambda connection, _: connection.wait_for_its_end())
    p = start(fake, "p")
    p.stdin.write(b"x\n")
    p.stdin.flush()
    until(lambda: fake.calls_of("Pool.Map"), "the task is given")
    p.stdout.close()
    assert p.wait(DEADLINE) == -signal.SIGPIPE and p.stderr.read() == b""
    p.stdin.close(), p.stderr.close()


def test_output_that_cannot_be_written(fake):
    echo(fake)
    with open("/dev/full", "wb") as full:
        p = start(fake, "p", stdout=full)
    said = p.communicate(b"x\ny\n", timeout=DEADLINE)[1]
    assert p.returncode == 1 and said.decode().count("\n") == 1 and "No space left" in said.decode()


def test_output_to_a_file(fake, tmp_path):
    echo(fake)
    text = b"".join(b"%d\n" % n for n in range(50000))
    with open(tmp_path / "out", "wb") as out:
        p = start(fake, "p", stdout=out)
    p.communicate(text, timeout=DEADLINE)
    assert p.returncode == 0 and (tmp_path / "out").read_bytes() == text


def test_closed_streams(fake):
    echo(fake)
    for close in ("<&-", ">&-"):
        p = subprocess.run(["sh", "-c", f'"$@" {close}', "sh", *fake.command("map", "p")], input=b"x\n",
                           capture_output=True, timeout=DEADLINE, check=False)
        assert p.returncode == 1 and b"standard" in p.stderr and p.stderr.count(b"\n") == 1


# ---- the log -------------------------------------------------------------------------------------


def test_joblog(fake, tmp_path):
    documents = {"a": task("ok"), "b": failed("exited 3", exitcode=3), "c": failed("killed", error={"signal": 11}),
                 "d e\tf": failed("over", name="io.crewd.Pool.TimedOut"), "g": failed("no"),
                 "h": {**failed(""), "state": "cancelled", "worker": None, "started": None}}
    each(fake, documents.get)
    log = tmp_path / "log"
    fake.ctl("map", "--joblog", log, "p", stdin=("\n".join(documents) + "\n").encode() + b"\xff\n", code=6)
    head, *rows = log.read_bytes().decode(errors="replace").splitlines()
    assert head.split("\t") == ["Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal",
                                "Command"]
    rows = {row.split("\t")[0]: row.split("\t", 8)[1:] for row in rows}
    assert rows["1"] == ["p-1", "1700000000.250", "     1.500", "1", "2", "0", "0", "a"]
    assert [rows[str(n)][5:] for n in range(2, 7)] == [
        ["3", "0", "b"], ["0", "11", "c"], ["-1", "0", "d e\tf"], ["1", "0", "g"], ["1", "0", "h"]]
    assert rows["6"][:2] == [":", "1700000000.000"] and rows["7"][5:7] == ["1", "0"]


def test_joblog_is_there_when_a_signal_comes(fake, tmp_path):
    def script(connection, parameters):
        connection.answer(0, task("x"), False)
        connection.wait_for_its_end()
    fake.on("Pool.Map", script)
    p = start(fake, "--joblog", tmp_path / "log", "p")
    p.stdin.write(b"a\nb\n")
    p.stdin.flush()
    assert p.stdout.readline() == b"x\n"
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=DEADLINE)
    assert (tmp_path / "log").read_text().count("\n") == 2


def test_joblog_that_cannot_be_written(fake):
    echo(fake)
    assert "/nonexistent/log" in fake.ctl("map", "--joblog", "/nonexistent/log", "p", stdin="x\n", code=1).stderr
    assert "cannot write the joblog" in fake.ctl("map", "--joblog", "/dev/full", "p", stdin="x\n", code=1).stderr


# ---- the bar -------------------------------------------------------------------------------------

CLEAR = b"\r\033[K"


class Terminal:
    """crewctl with its standard error on a terminal; tasks are answered one at a time, when the test says."""

    def __init__(self, fake, *args, **more):
        self.master, slave = pty.openpty()
        self.permits = threading.Semaphore(0)
        self.text = b""

        def script(connection, parameters):
            tasks = parameters["tasks"]
            for index, what in enumerate(tasks):
                assert self.permits.acquire(timeout=DEADLINE)
                document = failed("no") if what == "bad" else task(what)
                connection.answer(index, document, index + 1 == len(tasks))
        fake.on("Pool.Map", script)
        self.begun = time.monotonic()
        self.process = start(fake, *args, "p", stderr=slave, **more)
        os.close(slave)

    def read(self):
        if select.select([self.master], [], [], 0.05)[0]:
            try:
                self.text += os.read(self.master, 65536)
            except OSError:
                pass
        return self.text

    def wait(self):
        until(lambda: (self.read(), self.process.poll())[1] is not None, "it ends")
        seconds = time.monotonic() - self.begun
        while select.select([self.master], [], [], 0)[0]:
            before = len(self.text)
            if len(self.read()) == before:
                break
        os.close(self.master)
        return seconds


def test_bar_with_a_known_total(fake, tmp_path):
    (tmp_path / "in").write_text("ok1\nbad\nok2\nok3\n")
    with open(tmp_path / "in", "rb") as lines:
        t = Terminal(fake, stdin=lines)
    until(lambda: b"0 done" in t.read(), "the bar is there")
    t.permits.release(2)
    until(lambda: b"2 done, 1 failed" in t.read() and b"ETA" in t.text, "it moves")
    bar = re.search(rb" 50% \[(#+)( +)\] 2 done, 1 failed, \d+/s, ETA \d+:\d\d", t.text)
    assert bar and abs(len(bar.group(1)) - len(bar.group(2))) <= 1
    t.permits.release(2)
    seconds = t.wait()
    assert t.process.stdout.read() == b"ok1\n\nok2\nok3\n" and t.process.returncode == 1
    assert t.text.endswith(CLEAR) and b"\n" in t.text  # the error is a line of its own
    assert re.search(rb"\r\x1b\[Kcrewctl: line 2: no\r\n", t.text)
    assert t.text.count(b" done") <= seconds * 10 + 1
    assert all(len(line) < 80 for line in t.text.replace(b"\n", b"").split(CLEAR))
    t.process.stdout.close()


def test_bar_of_a_pipe_counts(fake):
    t = Terminal(fake)
    t.process.stdin.write(b"1\n2\n")
    t.process.stdin.flush()
    t.permits.release(1)
    until(lambda: b"1 done" in t.read(), "the bar is there")
    assert b"%" not in t.text and b"ETA" not in t.text
    t.process.send_signal(signal.SIGINT)
    t.wait()
    assert t.process.returncode == -signal.SIGINT and t.text.endswith(CLEAR)
    t.permits.release(1)
    t.process.stdin.close(), t.process.stdout.close()


@pytest.mark.parametrize("terminal,option,bar", [(True, "--no-progress", False), (False, None, False),
                                                 (False, "--progress", True)])
def test_bar_or_none(fake, terminal, option, bar):
    go = threading.Event()

    def script(connection, parameters):
        assert go.wait(DEADLINE)
        fast(connection, parameters["tasks"])
    fake.on("Pool.Map", script)
    args = [option] if option else []
    if terminal:
        t = Terminal(fake, *args)
        t.permits.release(100)
        t.process.stdin.write(b"x\n")
        t.process.stdin.close()
        t.wait()
        assert t.text == b""
        t.process.stdout.close()
        return
    p = start(fake, *args, "p")
    p.stdin.write(b"x\n")
    p.stdin.flush()
    said = b""
    if bar:
        while b"0 done" not in said:
            said += os.read(p.stderr.fileno(), 1000)
    else:
        until(lambda: fake.calls_of("Pool.Map"), "it is given")
        time.sleep(0.3)  # time enough for a bar, were there one
    go.set()
    out, rest = p.communicate(timeout=DEADLINE)
    assert out == b"x\n" and p.returncode == 0
    assert (said + rest).endswith(CLEAR) if bar else rest == b""


def test_usage_of_time_does_not_grow_while_waiting(fake):
    """A loop that spins would burn the time it waits."""
    go = threading.Event()

    def script(connection, parameters):
        assert go.wait(DEADLINE)
        fast(connection, parameters["tasks"])
    fake.on("Pool.Map", script)
    p = start(fake, "p")
    p.stdin.write(b"x\n")
    p.stdin.close()
    until(lambda: fake.calls_of("Pool.Map"), "it is given")
    time.sleep(0.5)
    ticks = pathlib.Path(f"/proc/{p.pid}/stat").read_text().rsplit(")", 1)[1].split()
    assert (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK") < 0.3
    go.set()
    assert p.stdout.read() == b"x\n" and p.wait(DEADLINE) == 0
    p.stdout.close(), p.stderr.close()
