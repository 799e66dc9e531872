"""A daemon that does what a test tells it: a real socket, one thread a connection, scripted answers.

A script is a function (connection, parameters) for a method's name. What crewctl does is checked against it where
the real daemon could not be made to be slow, dead, hostile or out of order at will.
"""

import json
import os
import socket
import subprocess
import threading

from conftest import CREWCTL, DEADLINE


def task(text, ident="t", state="succeeded", **more):
    return {"id": ident, "pool": "p", "state": state, "result": text, "worker": "p-1", "attempts": 1,
            "queued": 1700000000.0, "started": 1700000000.25, "finished": 1700000001.75, **more}


def failed(message, **more):
    error = {"name": more.pop("name", None), "message": message, **more.pop("error", {})}
    return {"id": "t", "pool": "p", "state": "failed", "error": error, "worker": "p-1", "attempts": 1,
            "queued": 1700000000.0, "started": 1700000000.25, "finished": 1700000001.75, **more}


class Connection:
    """What a script has in hand."""

    def __init__(self, daemon, sock):
        self.daemon = daemon
        self.sock = sock
        self.buffer = b""

    def reply(self, parameters=None, continues=False):
        message = {"parameters": parameters or {}}
        if continues:
            message["continues"] = True
        self.raw(json.dumps(message).encode() + b"\0")

    def error(self, error, **parameters):
        self.raw(json.dumps({"error": error, "parameters": parameters}).encode() + b"\0")

    def raw(self, data):
        self.sock.sendall(data)

    def answer(self, index, document, last):
        self.reply({"index": index, "task": document}, continues=not last)

    def receive(self):
        while b"\0" not in self.buffer:
            part = self.sock.recv(1 << 18)
            if not part:
                return None
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def wait_for_its_end(self):
        """The client closes: True. It goes on talking: False."""
        return self.sock.recv(1) == b""


class FakeDaemon:
    def __init__(self, directory, tasks="lines"):
        self.path = os.path.join(directory, "fake")
        self.scripts = {"io.crewd.Pool.List": self.list}
        self.pools = [{"name": "p", "workers": 1, "running": 1, "state": "running", "tasks": tasks},
                      {"name": "plain", "workers": 1, "running": 1, "state": "running"}]
        self.calls = []  # (method, parameters, flags)
        self.lock = threading.Lock()
        self.open = self.most_open = 0
        self.outstanding = self.most_outstanding = 0
        self.errors = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(512)
        self.threads = []
        self.connections = []
        self.stopping = False
        threading.Thread(target=self.accept, daemon=True).start()

    def on(self, method, script):
        self.scripts["io.crewd." + method] = script
        return self

    def list(self, connection, _):
        connection.reply({"pools": self.pools})

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(DEADLINE * 2)
            with self.lock:
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                self.connections.append(sock)
            thread = threading.Thread(target=self.serve, args=(sock,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def serve(self, sock):
        connection = Connection(self, sock)
        try:
            while True:
                call = connection.receive()
                if call is None:
                    break
                with self.lock:
                    self.calls.append((call["method"], call.get("parameters"), call))
                script = self.scripts.get(call["method"])
                assert script, f"unexpected call: {call['method']}"
                script(connection, call.get("parameters", {}))
        except (BrokenPipeError, ConnectionResetError):
            pass
        except OSError as e:
            if not self.stopping:
                self.errors.append(e)
        except Exception as e:  # pylint: disable=broad-except
            self.errors.append(e)
        finally:
            sock.close()
            with self.lock:
                self.open -= 1

    def count(self, change):
        """Tasks that this daemon has and has not answered."""
        with self.lock:
            self.outstanding += change
            self.most_outstanding = max(self.most_outstanding, self.outstanding)

    def calls_of(self, method):
        with self.lock:
            return [p for m, p, _ in self.calls if m == "io.crewd." + method]

    def die(self):
        """As a killed process: nothing listens, and every connection is closed."""
        self.stopping = True
        os.unlink(self.path)
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self.listener.close()
        with self.lock:
            for sock in self.connections:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        if not self.stopping:
            self.die()
        for thread in self.threads:
            thread.join(DEADLINE)
        assert not self.errors, self.errors

    def command(self, *args):
        return [CREWCTL, "-s", self.path, *args]

    def ctl(self, *args, code=0, stdin="", **more):
        """Runs crewctl; its exit code has to be `code`. Text, or bytes where `stdin` is."""
        text = isinstance(stdin, str)
        p = subprocess.run(self.command(*args), input=stdin, text=text, check=False, capture_output=True,
                           timeout=DEADLINE * 4, **more)
        assert code is None or p.returncode == code, f"{args}: {p}"
        return p
