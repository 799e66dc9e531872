"""A daemon that does what a test tells it: a socket, a thread a connection, and what no real daemon would say."""

import json
import os
import pathlib
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "python"))
DEADLINE = 30  # seconds; only ever a limit for what has gone wrong


def until(condition, what="condition"):
    end = time.monotonic() + DEADLINE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {DEADLINE} s: {what}"
        time.sleep(0.005)


class Peer:
    """One connection, as its script has it."""

    def __init__(self, server, sock, number):
        self.server, self.sock, self.number = server, sock, number
        self.buffer = b""
        self.ended = False

    def call(self):
        """The next call; None: the client has left."""
        while b"\0" not in self.buffer:
            part = self.sock.recv(1 << 18)
            if not part:
                self.ended = True
                return None
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        call = json.loads(text)
        self.server.calls.append(call)
        return call

    def raw(self, data):
        self.sock.sendall(data)

    def reply(self, continues=False, **parameters):
        message = {"parameters": parameters}
        if continues:
            message["continues"] = True
        self.raw(json.dumps(message).encode() + b"\0")

    def error(self, name, /, **parameters):
        self.raw(json.dumps({"error": name, "parameters": parameters}).encode() + b"\0")

    def close_unread(self):
        """Closes when there is something to read, without reading it."""
        assert select.select([self.sock], [], [], DEADLINE)[0]
        self.sock.close()

    def wait_for_end(self):
        while self.call() is not None:
            pass


class Server:
    """Runs script(peer) for each connection."""

    def __init__(self, script):
        self.dir = tempfile.mkdtemp(prefix="crew-fake-")
        self.path = os.path.join(self.dir, "s")
        self.script = script
        self.calls, self.peers, self.errors = [], [], []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(64)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(self, sock, len(self.peers))
            self.peers.append(peer)
            threading.Thread(target=self.serve, args=(peer,), daemon=True).start()

    def serve(self, peer):
        try:
            self.script(peer)
        except (BrokenPipeError, ConnectionResetError):
            peer.ended = True
        except Exception as e:  # pylint: disable=broad-except
            self.errors.append(e)
        finally:
            peer.sock.close()

    def methods(self):
        return [c["method"].split(".", 2)[2] for c in self.calls]

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        shutil.rmtree(self.dir, ignore_errors=True)
        assert not self.errors, self.errors


@pytest.fixture
def serve():
    """serve(script) -> Server"""
    servers = []

    def begin(script):
        servers.append(Server(script))
        return servers[-1]
    yield begin
    for server in servers:
        server.close()


@pytest.fixture(autouse=True)
def watchdog():
    """No test hangs: SIGALRM ends it with a traceback."""
    def over(*unused):
        raise AssertionError("the test took too long")
    signal.signal(signal.SIGALRM, over)
    signal.alarm(120)
    yield
    signal.alarm(0)
