"""One fixture: a crewd of its own, on private paths, that is looked at when it is dead."""

import atexit
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CREWD = os.environ.get("CREWD", str(ROOT / "build" / "crewd"))
CREWCTL = os.environ.get("CREWCTL", str(ROOT / "build" / "crewctl"))
WORKERS = pathlib.Path(tempfile.mkdtemp(prefix="crewd-workers-"))  # a copy that every user can reach
# Started in the background, or by nohup, this ignores signals, and so would all that is started here.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
DEADLINE = 30  # seconds; only ever a limit for what has gone wrong

WORKERS.chmod(0o755)
shutil.copytree(ROOT / "tests" / "workers", WORKERS, dirs_exist_ok=True)
for entry in WORKERS.iterdir():
    entry.chmod(0o755)
atexit.register(shutil.rmtree, WORKERS, ignore_errors=True)


def until(condition, what="condition", deadline=DEADLINE):
    """Waits until condition() is true and returns its value."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {deadline} s: {what}"
        time.sleep(0.01)


def exists(pid):
    """There is such a process, and it is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def cmdline(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


class VarlinkError(Exception):
    def __init__(self, name, parameters):
        super().__init__(f"{name} {parameters}")
        self.name = name
        self.parameters = parameters


class Varlink:
    """A client of the protocol that shares nothing with crewctl's."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(path))
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.sock.close()

    def send(self, method, parameters=None, **flags):
        call = {"method": method, **flags}
        if parameters is not None:
            call["parameters"] = parameters
        self.sock.sendall(json.dumps(call).encode() + b"\0")

    def receive(self):
        """The next reply as it is, or None when the daemon has closed the connection."""
        while b"\0" not in self.buffer:
            try:
                part = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not part:
                return None
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.send(method, parameters)
        reply = self.receive()
        assert reply is not None, "the daemon closed the connection"
        if "error" in reply:
            raise VarlinkError(reply["error"], reply.get("parameters"))
        return reply.get("parameters", {})

    def silent(self, seconds=0.2):
        """Nothing arrives: the call is parked."""
        return b"\0" not in self.buffer and not select.select([self.sock], [], [], seconds)[0]


class Crewd:
    def __init__(self, directory):
        self.dir = pathlib.Path(directory)
        self.socket = self.dir / "s"
        self.config = self.dir / "crewd.conf"
        self.log = self.dir / "log"
        self.mark = "CREW_TEST_MARK=" + uuid.uuid4().hex
        self.process = None
        self.exitcode = 0  # what it has to end with
        self.leftovers_ok = False

    def write(self, text):
        head = 'run-user = "games"\nmanager-user = "nobody"\n' if os.geteuid() == 0 else ""
        # as an editor does it: never half a file, whenever it is read
        new = self.config.with_suffix(".new")
        new.write_text(f'{head}state-dir = "{self.dir}/state"\n{text}')
        new.replace(self.config)
        return head.count("\n") + 1  # lines before `text`

    def start(self, text=None, wait=True, env=None, args=(), prefix=(), preexec_fn=None):
        if text is not None:
            self.write(text)
        environment = {**os.environ, **(env or {})}
        environment.pop("NOTIFY_SOCKET", None)
        name, value = self.mark.split("=")
        environment[name] = value
        with open(self.log, "ab") as log:
            # pylint: disable-next=consider-using-with
            self.process = subprocess.Popen(
                [*prefix, CREWD, "-c", self.config, "-s", self.socket, *args],
                stderr=log, stdout=log, stdin=subprocess.DEVNULL, env=environment, preexec_fn=preexec_fn)
        if wait:
            until(self.answers, "crewd answers:\n" + self.said())
        return self

    def said(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def answers(self):
        assert self.process.poll() is None, f"crewd ended:\n{self.said()}"
        try:
            with Varlink(self.socket) as v:
                return bool(v.call("io.crewd.Manager.GetStatus"))
        except (OSError, AssertionError):
            return False

    def varlink(self):
        return Varlink(self.socket)

    def call(self, method, **parameters):
        with self.varlink() as v:
            return v.call(method, **parameters)

    def ctl(self, *args, code=0, stdin="", env=None):
        """Runs crewctl; its exit code has to be `code` (None: any)."""
        p = subprocess.run([CREWCTL, "-s", self.socket, *args], input=stdin, text=True, check=False,
                           capture_output=True, timeout=DEADLINE, env={**os.environ, **(env or {})})
        assert code is None or p.returncode == code, f"{args}: {p}\n{self.said()}"
        return p

    def popen(self, *args, **more):
        return subprocess.Popen([CREWCTL, "-s", self.socket, *args], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def workers(self, *names):
        parameters = {"names": list(names)} if names else {}
        return {w["name"]: w for w in self.call("io.crewd.Worker.List", **parameters)["workers"]}

    def worker(self, name):
        return self.workers(name)[name]

    def state(self, name):
        return self.worker(name)["state"]

    def wait_state(self, name, *states):
        until(lambda: self.state(name) in states, f"{name} is {states}")
        return self.worker(name)

    def pids(self):
        return {n: w["pid"] for n, w in self.workers().items() if w["alive"]}

    def children(self):
        """PIDs of the keeper's children."""
        keeper = self.process.pid
        return set(map(int, pathlib.Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()))

    def manager(self):
        """The manager there is now; None while there is none."""
        for child in self.children():
            if cmdline(child).startswith(b"crewd: manager") and exists(child):
                return child
        return None

    def kill_manager(self):
        pid = until(self.manager, "there is a manager")
        os.kill(pid, signal.SIGKILL)
        until(lambda: self.manager() not in (None, pid), "there is another manager")
        until(self.answers, "it answers")

    def marked(self):
        """Processes that carry this crewd's mark: itself, its workers, and theirs."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or not exists(entry):
                continue
            try:
                environment = pathlib.Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if self.mark.encode() in environment:
                found.append(int(entry))
        return found

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                for pid in self.marked():
                    os.kill(pid, signal.SIGKILL)
                raise

    def autopsy(self):
        """No process, no socket, no lock, no sanitizer's report may be left."""
        if not self.process:
            return
        try:
            self.stop()
            until(lambda: not self.marked(), "all its processes have ended", 10)
        finally:
            for pid in self.marked():
                print("left:", pid, cmdline(pid))
                os.kill(pid, signal.SIGKILL)
        said = self.said()
        assert "Sanitizer" not in said and "runtime error" not in said, said
        assert self.process.returncode == self.exitcode, f"exit {self.process.returncode}:\n{said}"
        if not self.leftovers_ok:
            assert not self.socket.exists()
            assert not self.socket.with_name("s.lock").exists()


@pytest.fixture(autouse=True)
def watchdog():
    """No test hangs: SIGALRM ends it with a traceback."""
    def over(*unused):
        raise TimeoutError("the test took too long")
    signal.signal(signal.SIGALRM, over)
    signal.alarm(180)
    yield
    signal.alarm(0)


@pytest.fixture
def crewd():
    directory = tempfile.mkdtemp(prefix="crewd-test-")
    os.chmod(directory, 0o755)
    c = Crewd(directory)
    yield c
    try:
        c.autopsy()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def fake():
    """A daemon whose answers the test writes: crewctl against what no real one would do."""
    # pylint: disable-next=import-outside-toplevel
    from fake_daemon import FakeDaemon
    directory = tempfile.mkdtemp(prefix="crewd-fake-")
    f = FakeDaemon(directory)
    yield f
    try:
        f.close()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
