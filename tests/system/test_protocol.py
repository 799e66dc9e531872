"""The protocol, by a client that shares nothing with crewctl's: every method, the errors, the bounds."""

import json
import os
import pathlib
import random
import re
import socket
import subprocess
import sys

import pytest

from conftest import ROOT, Varlink, VarlinkError, exists, until

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
W, M, P, S = "io.crewd.Worker.", "io.crewd.Manager.", "io.crewd.Pool.", "org.varlink.service."
POOLS = """
pool "web" { command = {"sleep", "1000"} workers = 2 }
pool "bad" { command = {"/nonexistent"} restart = "never" autostart = false }
"""


def error(v, method, **parameters):
    with pytest.raises(VarlinkError) as caught:
        v.call(method, **parameters)
    return caught.value


def test_service(crewd):
    crewd.start("")
    with crewd.varlink() as v:
        info = v.call(S + "GetInfo")
        assert info["product"] == "crewd" and set(info) == {"vendor", "product", "version", "url", "interfaces"}
        assert {"org.varlink.service", "io.crewd.Manager", "io.crewd.Worker", "io.crewd.Pool"} <= set(info["interfaces"])
        for name in info["interfaces"]:
            text = v.call(S + "GetInterfaceDescription", interface=name)["description"]
            assert f"interface {name}\n" in text
            assert text == (ROOT / "lib" / f"{name}.varlink").read_text()
        e = error(v, S + "GetInterfaceDescription", interface="io.example")
        assert (e.name, e.parameters["interface"]) == (S + "InterfaceNotFound", "io.example")
        e = error(v, "io.crewd.Worker.Nonsense")
        assert (e.name, e.parameters["method"]) == (S + "MethodNotFound", "io.crewd.Worker.Nonsense")
        assert error(v, "io.example.X").name == S + "InterfaceNotFound"
        e = error(v, S + "GetInfo", extra=1)
        assert (e.name, e.parameters["parameter"]) == (S + "InvalidParameter", "extra")
        v.call("io.systemd.service.Ping")
        v.call("io.systemd.service.SetLogLevel", level=7)
        v.call("io.systemd.service.Reload")


def test_every_worker_method(crewd):
    crewd.start(POOLS)
    with crewd.varlink() as v:
        until(lambda: v.call(M + "GetStatus")["running"] == 2)
        rows = v.call(W + "List")["workers"]
        assert [r["name"] for r in rows] == ["web-1", "web-2", "bad-1"]
        assert {"name", "pool", "state", "alive", "pid", "exitcode", "signal", "restarts", "started", "uptime",
                "memory"} <= set(rows[0])
        assert [r["name"] for r in v.call(W + "List", names=["web-2"])["workers"]] == ["web-2"]
        assert v.call(W + "IsAlive", name="web-1") == {"alive": True}
        v.call(W + "Terminate", name="web-1")
        assert v.call(W + "IsAlive", name="web-1") == {"alive": False}
        joined = v.call(W + "Join", name="web-1")
        assert joined["signal"] == 15 and joined.get("exitcode") is None
        v.call(W + "Start", name="web-1")
        v.call(W + "Restart", name="web-1")
        v.call(W + "Kill", name="web-1")
        assert v.call(W + "Join", name="web-1", timeout=29.5)["signal"] == 9
        run = v.call(W + "Run", command=["sh", "-c", "echo out; trap 'exit 4' USR1; while :; do sleep 0.05; done"],
                     name="r", environment=["A=1"], directory="/", restart="never")
        assert run["name"] == "r" and exists(run["pid"])
        until(lambda: v.call(W + "Logs", name="r")["lines"] == ["out"])
        v.call(W + "Signal", name="r", signal="USR1")
        assert v.call(W + "Join", name="r")["exitcode"] in (4, None)
        v.call(W + "Forget", name="r")
        assert error(v, W + "Join", name="r").name == W + "NoSuchWorker"


def test_every_manager_and_pool_method(crewd):
    crewd.start(POOLS)
    with crewd.varlink() as v:
        status = v.call(M + "GetStatus")
        assert status["pid"] == crewd.process.pid and status["manager"] == crewd.manager()
        assert [p["name"] for p in status["pools"]] == ["web", "bad"] and status["version"]
        assert v.call(M + "Reload", dryRun=True) == {"added": [], "changed": [], "removed": [],
                                                     "unchanged": ["web", "bad"]}
        assert [p["name"] for p in v.call(P + "List")["pools"]] == ["web", "bad"]
        v.call(P + "Scale", name="web", workers=1)
        assert error(v, P + "Scale", name="x", workers=1).name == P + "NoSuchPool"
        e = error(v, P + "Scale", name="web", workers=-1)
        assert (e.name, e.parameters["parameter"]) == (S + "InvalidParameter", "workers")
        assert error(v, M + "Subscribe").name == S + "ExpectedMore"
        crewd.config.write_text("pool")
        assert "crewd.conf:1" in error(v, M + "Reload").parameters["errors"]
        v.call(M + "Shutdown")
    assert crewd.process.wait(30) == 0


def test_worker_errors(crewd):
    crewd.start(POOLS)
    with crewd.varlink() as v:
        for method in ("Start", "Terminate", "Kill", "Restart", "Join", "IsAlive", "Forget", "Logs"):
            e = error(v, W + method, name="nobody")
            assert (e.name, e.parameters["name"]) == (W + "NoSuchWorker", "nobody")
            assert error(v, W + method).parameters["parameter"] == "name"
            assert error(v, W + method, name=7).parameters["parameter"] == "name"
        assert error(v, W + "Signal", name="web-1", signal="NO").parameters["parameter"] == "signal"
        e = error(v, W + "Start", name="bad-1")
        assert e.name == W + "StartFailed" and "/nonexistent" in e.parameters["why"]
        assert error(v, W + "Join", name="web-1", timeout=0.05).name == W + "TimedOut"
        assert error(v, W + "Join", name="web-1", timeout=-1).parameters["parameter"] == "timeout"
        assert error(v, W + "Run", command=[]).parameters["parameter"] == "command"
        assert error(v, W + "Run", command=["true"], restart="x").parameters["parameter"] == "restart"
        assert error(v, W + "Run", command=["true"], environment=["x"]).parameters["parameter"] == "environment"


def test_worker_errors_by_state(crewd):
    crewd.start(POOLS + """pool "deaf" { command = {"sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"}
                            stop-timeout = "1h" }""")
    with crewd.varlink() as v:
        until(lambda: v.call(W + "Logs", name="deaf-1")["lines"] == ["up"])
        until(lambda: v.call(W + "IsAlive", name="web-1")["alive"])
        v.call(W + "Run", name="r", command=["sleep", "1000"])
        for expect, method, parameters in (("NotAlive", "Signal", {"name": "bad-1", "signal": "HUP"}),
                                           ("StillAlive", "Forget", {"name": "r"}),
                                           ("Exists", "Run", {"name": "r", "command": ["true"]})):
            e = error(v, W + method, **parameters)
            assert (e.name, e.parameters["name"]) == (W + expect, parameters["name"])
        crewd.config.write_text("pool")
        assert error(v, M + "Reload").name == M + "BadConfig"
        v.send(M + "Shutdown")  # waits for deaf-1
        with crewd.varlink() as other:
            until(lambda: "shutting down" in crewd.said())
            assert error(other, W + "Run", command=["true"]).name == M + "ShuttingDown"
            assert error(other, W + "Start", name="bad-1").name == M + "ShuttingDown"
            assert error(other, M + "Reload").name == M + "ShuttingDown"
            other.call(W + "Kill", name="deaf")
    assert crewd.process.wait(30) == 0


@ROOT_ONLY
def test_run_wants_a_user(crewd):
    crewd.config.write_text(f'state-dir = "{crewd.dir}/state"\nmanager-user = "nobody"\n')
    crewd.start()
    with crewd.varlink() as v:
        assert error(v, W + "Run", command=["true"]).name == W + "NoRunUser"


def test_every_described_method_is_there(crewd):
    """As a client finds them: each refuses a parameter that its description does not have, and names it."""
    crewd.start(POOLS)
    with crewd.varlink() as v:
        descriptions = {}
        for interface in v.call(S + "GetInfo")["interfaces"]:
            text = v.call(S + "GetInterfaceDescription", interface=interface)["description"]
            descriptions |= {f"{interface}.{m[1]}": m[0] for m in re.finditer(r"^method (\w+)\(.*?->", text, re.M | re.S)}
        assert {W + "IsAlive", M + "Subscribe", P + "Scale", S + "GetInfo"} <= set(descriptions)
        for method in descriptions:
            v.send(method, {"surelyUnknown": 1}, more=method in (M + "Subscribe", P + "Map"))
            reply = v.receive()
            assert reply["error"] == S + "InvalidParameter", (method, reply)
            named = reply["parameters"]["parameter"]  # one that must be there is missed first
            assert named == "surelyUnknown" or f"{named}: " in descriptions[method], (method, reply)


def test_the_unknown_parameter_is_the_one_that_is_named(crewd):
    crewd.start(POOLS)
    with crewd.varlink() as v:
        for parameters in ({"nmae": "x", "name": "web"}, {"name": "web", "nmae": "x"}):
            e = error(v, W + "IsAlive", **parameters)
            assert (e.name, e.parameters["parameter"]) == (S + "InvalidParameter", "nmae")
        e = error(v, W + "Run", name="r", dir="/", command=["true"], environment=[], restart="never")
        assert (e.name, e.parameters["parameter"]) == (S + "InvalidParameter", "dir")


def test_names_cost_no_more_than_they_say(crewd):
    """What names tell is bounded by the workers there are, not by how often a client names them."""
    crewd.start(POOLS)
    with crewd.varlink() as v:
        for names in (["web", "web-2", "web-1", "w*"], ["web-1", "web-2"] * 2000, ["web"] * 4096):
            rows = v.call(W + "List", names=names)["workers"]
            assert sorted(w["name"] for w in rows) == ["web-1", "web-2"]
        assert len(v.call(W + "List", names=["w*"] * 64)["workers"]) == 2
        e = error(v, W + "List", names=["*"] * 65)
        assert (e.name, e.parameters["parameter"]) == (S + "InvalidParameter", "names")
        for method, key, name in ((W + "List", "names", ["*" * 1000]), (W + "IsAlive", "name", "[" + "w" * 1000 + "]*")):
            assert error(v, method, **{key: name}).name == W + "NoSuchWorker"
        assert v.call(W + "IsAlive", name="[" + "w" * 200 + "]*")["alive"]


def test_pipelining_and_flags(crewd):
    crewd.start(POOLS)
    with crewd.varlink() as v:
        until(lambda: v.call(M + "GetStatus")["running"] == 2)
        for _ in range(500):
            v.send(W + "IsAlive", {"name": "web-1"})
        v.send(W + "IsAlive", {"name": "web-2"}, oneway=True)  # no reply
        v.send(W + "IsAlive", {"name": "bad-1"})
        assert [v.receive()["parameters"]["alive"] for _ in range(501)] == [True] * 500 + [False]
        v.send(W + "Join", {"name": "web-1"})
        v.send(W + "IsAlive", {"name": "web-1"})  # waits behind the first
        assert v.silent()
        crewd.call(W + "Terminate", name="web-1")
        assert v.receive()["parameters"]["signal"] == 15
        assert v.receive()["parameters"] == {"alive": False}
        v.send(W + "List", {}, more=True)
        reply = v.receive()
        while reply.get("continues"):
            reply = v.receive()
        assert set(reply) <= {"parameters", "continues"}
        for same in (None, {}, "absent"):
            call = {"method": S + "GetInfo", "parameters": same}
            if same == "absent":
                del call["parameters"]
            v.sock.sendall(json.dumps(call).encode() + b"\0")
            assert v.receive()["parameters"]["product"] == "crewd"


def test_half_closed_client_gets_its_replies(crewd):
    crewd.start(POOLS)
    with crewd.varlink() as v:
        v.send(W + "Join", {"name": "web-1", "timeout": 0.3})
        v.sock.shutdown(socket.SHUT_WR)
        assert v.receive()["error"] == W + "TimedOut"
        assert v.receive() is None


NESTED = '{"method":"org.varlink.service.GetInfo","parameters":{"x":' + "[" * 70 + "]" * 70 + "}}"


@pytest.mark.parametrize("text", [
    "nonsense", "[]", "{}", '{"method":7}', '{"method":"x"}', '{"method":"a.B","unknown":1}',
    '{"method":"a.B","more":true,"oneway":true}', '{"method":"a.B","parameters":[]}',
    '{"method":"a.B","method":"a.B"}', NESTED, "", "\x01", '{"method":"a.B"', "7",
    '{"method":"a.B","more":1}'])
def test_malformed_calls_close_the_connection(crewd, text):
    crewd.start("")
    with crewd.varlink() as v:
        v.sock.sendall(text.encode() + b"\0")
        assert v.receive() is None
    assert crewd.answers()


def test_size_of_a_call(crewd):
    crewd.start("")
    frame = json.dumps({"method": W + "IsAlive", "parameters": {"name": "?"}}).encode()
    with crewd.varlink() as v:  # the largest there may be
        v.sock.sendall(frame.replace(b"?", b"x" * (1024 * 1024 - len(frame) + 1)) + b"\0")
        assert v.receive()["error"] == W + "NoSuchWorker"
    with crewd.varlink() as v:
        try:
            v.sock.sendall(frame.replace(b"?", b"x" * (1024 * 1024 - len(frame) + 2)) + b"\0")
            assert v.receive() is None
        except OSError:
            pass
    assert crewd.answers()


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_256_mib_message(crewd):
    crewd.start("")
    sent = 0
    with crewd.varlink() as v:
        try:
            for _ in range(256):
                v.sock.sendall(b"x" * (1 << 20))
                sent += 1
        except OSError:
            pass
    assert sent < 16 and resident(crewd.manager()) < (400 << 20) and crewd.answers()


def test_random_bytes(crewd):
    crewd.start("")
    rng = random.Random(1)
    for _ in range(50):
        with crewd.varlink() as v:
            try:
                v.sock.sendall(rng.randbytes(rng.randrange(1, 5000)) + b"\0")
                v.receive()
            except (OSError, ValueError):
                pass
    assert crewd.answers()


def test_half_a_message_and_silence(crewd):
    crewd.start(POOLS)
    with crewd.varlink() as half:
        half.sock.sendall(b'{"method":"io.crewd')
        assert crewd.ctl("is-alive", "web").stdout == "alive\n"
        half.sock.sendall(b'.Manager.GetStatus"}\0')
        assert half.receive()["parameters"]["pid"] == crewd.process.pid


def test_client_that_never_reads(crewd):
    crewd.start('pool "w" { command = {"sleep", "1000"} workers = 50 }')
    before = resident(crewd.manager())
    with crewd.varlink() as v:
        v.sock.settimeout(0.5)
        try:
            for _ in range(20000):
                v.send(W + "List")
        except (OSError, TimeoutError):
            pass
        assert crewd.ctl("is-alive", "w").stdout == "alive\n"
        assert resident(crewd.manager()) - before < (64 << 20)


def test_idle_clients_and_the_bound(crewd):
    crewd.start("")
    clients = []
    try:
        for _ in range(1100):
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].connect(str(crewd.socket))
        for c in clients[1024:]:  # told, or closed at once
            c.settimeout(30)
            assert b"Busy" in c.recv(4096) or c.recv(1) == b""
        first = Varlink.__new__(Varlink)
        first.sock, first.buffer = clients[0], b""
        assert first.call(M + "GetStatus")["connections"] == 1024
    finally:
        for c in clients:
            c.close()
    until(lambda: crewd.call(M + "GetStatus")["connections"] < 10)


AS_OTHER = """
import json, os, socket, sys
os.setgroups([int(g) for g in sys.argv[3].split(",") if g]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
for method in ("io.crewd.Worker.IsAlive", "io.crewd.Worker.Terminate"):
    s.sendall(json.dumps({"method": method, "parameters": {"name": "web-1"}}).encode() + b"\\0")
    print(json.loads(s.recv(65536).rstrip(b"\\0")).get("error"))
"""


@ROOT_ONLY
def test_who_may(crewd):
    crewd.start('socket-mode = 0666\nsocket-group = "games"\n' + POOLS)

    def other(uid, groups):
        p = subprocess.run([sys.executable, "-c", AS_OTHER, crewd.socket, str(uid), groups],
                           capture_output=True, text=True, check=True)
        return p.stdout.split()

    assert other(1, "") == ["None", S + "PermissionDenied"]
    assert crewd.state("web-1") == "running"
    assert other(1, "60") == ["None", "None"]  # a member of socket-group (60: games)
    assert crewd.state("web-1") == "stopped"


def test_parked_calls_vanish_with_their_client(crewd):
    crewd.start(POOLS)
    clients = [Varlink(crewd.socket) for _ in range(50)]
    for c in clients:
        c.send(W + "Join", {"name": "web-1"})
    until(lambda: crewd.call(M + "GetStatus")["connections"] == 51)
    for c in clients:
        c.sock.close()
    until(lambda: crewd.call(M + "GetStatus")["connections"] == 1)
    crewd.call(W + "Terminate", name="web-1")


def test_streams(crewd):
    crewd.start('pool "p" { command = {"sh", "-c", "echo a; sleep 1000"} }')
    until(lambda: crewd.call(W + "Logs", name="p-1")["lines"] == ["a"])
    with crewd.varlink() as v, crewd.varlink() as events:
        events.send(M + "Subscribe", {}, more=True)
        assert events.receive()["parameters"]["event"] == "subscribed"
        v.send(W + "Logs", {"name": "p-1"}, more=True)
        first = v.receive()
        assert first["continues"] and first["parameters"]["lines"] == ["a"]
        crewd.call(W + "Restart", name="p-1")
        assert v.receive()["parameters"]["lines"] == ["a"]
        states = []
        while states[-1:] != ["running"]:
            e = events.receive()
            assert e["continues"]
            states.append(e["parameters"]["state"])
        assert states == ["stopping", "stopped", "starting", "running"]
