"""The client against daemons that are slow, dead, hostile, or say half of it."""

import gc
import json
import os
import pickle
import queue
import re
import signal
import threading
import time

import pytest
from fake_server import DEADLINE, ROOT, serve, until, watchdog  # noqa: F401 pylint: disable=unused-import

import crew
from crew import client as clients
from crew import connection as connections
from crew import errors, frame

# pylint: disable=redefined-outer-name


def answering(**parameters):
    def script(peer):
        while peer.call():
            peer.reply(**parameters)
    return script


def test_whole_and_in_pieces(serve):
    def script(peer):
        while peer.call():
            for byte in json.dumps({"parameters": {"item": ["ä", 0.1, None]}}).encode() + b"\0":
                peer.raw(bytes([byte]))
    q = crew.Queue("q", socket=serve(script).path)
    assert q.get() == ["ä", 0.1, None]
    assert q.get() == ["ä", 0.1, None]


def test_one_connection_is_kept(serve):
    s = serve(answering(qsize=3))
    q = crew.Queue("q", socket=s.path)
    assert [q.qsize() for _ in range(5)] == [3] * 5
    assert len(s.peers) == 1 and len(s.calls) == 5


def test_half_a_message_and_the_end(serve):
    """It was accepted: it is not sent again."""
    def script(peer):
        if peer.call():
            peer.raw(b'{"parameters":{"item":')
    s = serve(script)
    with pytest.raises(crew.Disconnected) as e:
        crew.Queue("q", socket=s.path).get()
    assert isinstance(e.value, ConnectionError)
    assert s.methods() == ["Queue.Get"]


@pytest.mark.parametrize("call", [lambda q: q.put(1), lambda q: q.get(), lambda q: q.get_many(5),
                                  lambda q: q.put_many([1]), lambda q: q.task_done()])
def test_accepted_and_the_end(serve, call):
    s = serve(lambda peer: peer.call())
    with pytest.raises(crew.Disconnected):
        call(crew.Queue("q", socket=s.path))
    assert len(s.calls) == 1


def test_what_does_no_harm_twice_is_sent_again(serve):
    def script(peer):
        while peer.call():
            if peer.number < 2:
                return
            peer.reply(qsize=7)
    s = serve(script)
    assert crew.Queue("q", socket=s.path).qsize() == 7
    assert len(s.calls) == 3


def test_but_not_for_ever(serve):
    s = serve(lambda peer: peer.call())
    with pytest.raises(crew.Disconnected):
        crew.Queue("q", socket=s.path).qsize()
    assert len(s.calls) == clients.QUICK_ENDS + 1


def test_what_was_not_read_is_sent_again(serve):
    """The kernel says that the daemon has closed without having read it."""
    def script(peer):
        if peer.number < 2:
            peer.close_unread()
            return
        while peer.call():
            peer.reply()
    s = serve(script)
    crew.Queue("q", socket=s.path).put("once")
    assert [c["parameters"]["item"] for c in s.calls] == ["once"]


def test_kept_connection_that_ended_meanwhile(serve):
    def script(peer):
        if peer.call():
            peer.reply()
    s = serve(script)
    q = crew.Queue("q", socket=s.path)
    for n in range(3):
        q.put(n)
        until(lambda: s.peers[-1].sock.fileno() < 0, "the server has closed")
    assert [c["parameters"]["item"] for c in s.calls] == [0, 1, 2] and len(s.peers) == 3


def test_unasked_words_are_not_taken_for_an_answer(serve):
    said = threading.Event()

    def script(peer):
        while peer.call():
            peer.reply(item="asked")
            if peer.number == 0:
                peer.reply(item="unasked")
                said.set()
    q = crew.Queue("q", socket=serve(script).path)
    assert q.get() == "asked"
    assert said.wait(DEADLINE)
    assert q.get() == "asked"


@pytest.mark.parametrize("garbage", [b"", b"hello", b"[]", b"3", b'{"parameters":3}', b'{"error":{}}',
                                     b'{"parameters":{},"continues":1}', b"\xff\xfe", b"{" * 10, b"[" * 200000,
                                     b'{"parameters":{"qsize":"x"}}', b'{"parameters":{"qsize":true}}', b"{}"])
def test_garbage(serve, garbage):
    def script(peer):
        while peer.call():
            if peer.number == 0:
                peer.raw(garbage + b"\0")
            else:
                peer.reply(qsize=1)
            if garbage == b"[" * 200000:
                peer.wait_for_end()
    s = serve(script)
    q = crew.Queue("q", socket=s.path)
    with pytest.raises(crew.ProtocolError):
        q.qsize()
    assert len(s.calls) == 1


@pytest.mark.parametrize("size", [frame.REPLY_MAX + 100000])
def test_oversize_reply(serve, size):
    def script(peer):
        while peer.call():
            if peer.number == 0:
                peer.raw(b'{"parameters":{"item":"')
                for _ in range(size // 10000):
                    peer.raw(b"x" * 10000)
                peer.wait_for_end()
            else:
                peer.reply(item="small")
    q = crew.Queue("q", socket=serve(script).path)
    with pytest.raises(crew.ProtocolError, match="more than"):
        q.get()
    assert q.get() == "small"


def test_large_reply(serve):
    item = "x" * (frame.REPLY_MAX - 100)
    q = crew.Queue("q", socket=serve(answering(item=item)).path)
    assert q.get() == item


def test_silence_ends_and_a_late_answer_is_nobodys(serve, monkeypatch):
    monkeypatch.setattr(clients, "GRACE", 0.1)
    over = threading.Event()

    def script(peer):
        while peer.call():
            if peer.number == 0:
                over.wait(DEADLINE)
                peer.reply(item="late")
            else:
                peer.reply(item="in time")
    q = crew.Queue("q", socket=serve(script).path)
    with pytest.raises(crew.NoAnswer) as e:
        q.get(timeout=0.05)
    assert isinstance(e.value, TimeoutError) and not isinstance(e.value, queue.Empty)
    over.set()
    assert q.get(timeout=0.05) == "in time"


def test_query_has_a_limit(serve, monkeypatch):
    monkeypatch.setattr(clients, "ANSWER", 0.1)
    q = crew.Queue("q", socket=serve(lambda peer: peer.wait_for_end()).path)
    with pytest.raises(crew.NoAnswer):
        q.qsize()


def test_daemon_that_does_not_read(serve, monkeypatch):
    """A call that does not fit into the socket."""
    monkeypatch.setattr(clients, "ANSWER", 0.2)
    over = threading.Event()
    try:
        q = crew.Queue("q", socket=serve(lambda peer: over.wait(DEADLINE)).path)
        with pytest.raises(crew.NoAnswer):
            q.put("x" * 900_000, block=False)
    finally:
        over.set()


def test_daemon_is_told_how_long(serve):
    def script(peer):
        while peer.call():
            peer.error("io.crewd.Queue.Empty", name="q")
    s = serve(script)
    q = crew.Queue("q", socket=s.path)
    for wait in ({"timeout": 1.5}, {"block": False}, {"timeout": -3}):
        with pytest.raises(queue.Empty):
            q.get(**wait)
    asked = [c["parameters"] for c in s.calls]
    assert 1.0 < asked[0].pop("timeout") <= 1.5
    assert asked == [{"name": "q"}, {"name": "q", "block": False}, {"name": "q", "timeout": 0.0}]


def test_signal_in_the_middle(serve):
    """The connection is out of step, and not used again."""
    def script(peer):
        while peer.call():
            if peer.number == 0:
                os.kill(os.getpid(), signal.SIGUSR1)
                peer.wait_for_end()
            peer.reply(item=peer.number)

    def interrupt(*unused):
        raise KeyboardInterrupt
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        q = crew.Queue("q", socket=serve(script).path)
        with pytest.raises(KeyboardInterrupt):
            q.get()
        assert q.get() == 1
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_signal_handler_that_calls(serve):
    """A call inside of a call has a connection of its own."""
    inside = threading.Event()

    def script(peer):
        while True:
            call = peer.call()
            if not call:
                return
            if call["method"].endswith("Get"):
                os.kill(os.getpid(), signal.SIGUSR1)
                assert inside.wait(DEADLINE)
                peer.reply(item="outer")
            else:
                peer.reply(qsize=5)
    s = serve(script)
    q = crew.Queue("q", socket=s.path)
    sizes = []

    def handler(*unused):
        sizes.append(q.qsize())
        inside.set()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert q.get() == "outer"
        assert sizes == [5]
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_threads_have_connections_of_their_own(serve):
    together = threading.Barrier(3)

    def script(peer):
        while peer.call():
            together.wait(DEADLINE)
            peer.reply(item=peer.number)
    s = serve(script)
    q = crew.Queue("q", socket=s.path)
    got = []
    threads = [threading.Thread(target=lambda: got.append(q.get())) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(DEADLINE)
    assert sorted(got) == [0, 1, 2]
    gc.collect()
    until(lambda: all(p.ended for p in s.peers), "the connections of threads that ended are closed")


def test_fork(serve):
    """The child has a connection of its own, the parent's goes on."""
    s = serve(lambda peer: [peer.reply(item=peer.number) for _ in iter(peer.call, None)])
    q = crew.Queue("q", socket=s.path)
    assert q.get() == 0
    child = os.fork()
    if child == 0:
        os._exit(0 if q.get() == 1 and q.get() == 1 else 1)
    assert q.get() == 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert q.get() == 0


def test_lease_ends_though_a_child_lives(serve):
    """What a child has inherited does not keep the loan."""
    def script(peer):
        while peer.call():
            peer.reply(item=1, lease="l", deliveries=1)
    s = serve(script)
    lease = crew.Queue("q", socket=s.path).lease()
    go, say = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(say)
        os.read(go, 1)
        os._exit(0)
    os.close(go)
    lease.give_back()
    try:
        until(lambda: s.peers[0].ended, "the connection has ended")
    finally:
        os.close(say)
        os.waitpid(child, 0)


def test_no_daemon(tmp_path):
    with pytest.raises(crew.NoDaemon, match="nowhere") as e:
        crew.Queue("q", socket=tmp_path / "nowhere").qsize()
    assert isinstance(e.value, ConnectionError)
    with pytest.raises(crew.NoDaemon):
        crew.Queue("q", socket="/" + "x" * 200).qsize()


def test_not_permitted(serve, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may connect anywhere")
    s = serve(answering(qsize=1))
    os.chmod(s.path, 0)
    with pytest.raises(crew.NotPermitted) as e:
        crew.Queue("q", socket=s.path).qsize()
    assert isinstance(e.value, PermissionError)


def test_what_cannot_be_said_is_not(serve):
    s = serve(answering())
    q = crew.Queue("q", socket=s.path)
    for item, error in ((b"bytes", TypeError), (float("nan"), ValueError), ({1, 2}, TypeError), ("\ud800", ValueError),
                        ("x" * frame.CALL_MAX, crew.TooLarge), ("ä" * (frame.CALL_MAX // 2), crew.TooLarge)):
        with pytest.raises(error):
            q.put(item)
        with pytest.raises(error):
            q.put_many([item])
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError):
        q.put(loop)
    assert s.calls == []


def test_exact_bound(serve):
    s = serve(answering())
    around = len(frame.encode("io.crewd.Queue.Put", frame.to_json({"item": "", "name": "q"}))) - 1
    crew.Queue("q", socket=s.path).put("x" * (frame.CALL_MAX - around))
    with pytest.raises(crew.TooLarge):
        crew.Queue("q", socket=s.path).put("x" * (frame.CALL_MAX - around + 1))
    assert len(s.calls) == 1


def test_why_a_call_was_not_taken(serve):
    """The daemon closes the connection; the exception says what is wrong, or that it went away."""
    s = serve(lambda peer: peer.call())
    q = crew.Queue("q", socket=s.path)
    deep = []
    for _ in range(frame.NESTING_MAX - 2):
        deep = [deep]
    with pytest.raises(crew.TooLarge, match="nested"):
        q.put(deep)
    with pytest.raises(crew.TooLarge, match="twice"):
        q.put({1: "a", "1": "b"})
    with pytest.raises(crew.Disconnected):
        q.put(deep[0])


def test_put_many_in_parts(serve):
    def script(peer):
        while True:
            call = peer.call()
            if not call:
                return
            items = call["parameters"]["items"]
            if "last" in items:
                peer.error("io.crewd.Queue.Full", name="q", put=1)
            else:
                peer.reply(put=len(items))
    s = serve(script)
    q = crew.Queue("q", socket=s.path)
    assert q.put_many(range(25000)) == 25000
    assert [len(c["parameters"]["items"]) for c in s.calls] == [10000, 10000, 5000]
    with pytest.raises(queue.Full) as e:
        q.put_many([*range(10000), "a", "last"], block=False)
    assert e.value.put == 10001
    del s.calls[:]
    assert q.put_many(["x" * 400_000] * 5) == 5
    assert [len(c["parameters"]["items"]) for c in s.calls] == [2, 2, 1]
    assert q.put_many([]) == 0


def test_every_error_of_the_protocol_is_known():
    names = re.findall(r'"((?:io\.crewd|org\.varlink)\.[\w.]+)"', (ROOT / "lib/errors.h").read_text())
    assert len(names) > 30
    plain = {"InterfaceNotFound", "MethodNotFound", "MethodNotImplemented", "ExpectedMore", "BadConfig"}
    for name in names:
        e = errors.from_reply(name, {"name": "N", "pool": "P", "why": "W", "id": "I"})
        assert (type(e) is crew.CrewError) == (name.rsplit(".", 1)[1] in plain), name
        assert e.error == name and str(e)
        again = pickle.loads(pickle.dumps(e))
        assert (type(again), str(again), again.error, again.parameters) == (type(e), str(e), name, e.parameters)
    e = errors.from_reply("io.crewd.Future.Strange", {"x": 1})
    assert type(e) is crew.CrewError and e.parameters == {"x": 1} and "Strange" in str(e)


def test_default_socket(monkeypatch, tmp_path):
    """As crewctl has it (lib/client.c)."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert connections.default_socket() == "/run/crewd/control"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    own = tmp_path / "crewd/control"
    monkeypatch.setattr(connections, "SYSTEM_SOCKET", str(tmp_path / "no"))
    assert connections.default_socket() == str(own)
    monkeypatch.setattr(connections, "SYSTEM_SOCKET", str(tmp_path))
    assert connections.default_socket() == str(tmp_path)
    own.parent.mkdir()
    own.touch()
    assert connections.default_socket() == str(own)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert connections.default_socket() == str(tmp_path)
    monkeypatch.setattr(connections, "SYSTEM_SOCKET", str(tmp_path / "no"))
    with pytest.raises(crew.NoDaemon):
        connections.default_socket()


def test_set_default_socket(serve):
    s = serve(answering(qsize=9))
    crew.set_default_socket(s.path)
    try:
        assert crew.Queue("q").qsize() == 9
    finally:
        crew.set_default_socket(None)


def test_waiting_for_a_daemon_that_comes_back(serve, tmp_path):
    """What may be said again is said to the next daemon."""
    path = tmp_path / "s"
    first = serve(lambda peer: (peer.call(), os.unlink(path)))
    os.symlink(first.path, path)
    second = serve(answering(qsize=2))

    def come_back():
        until(lambda: not os.path.lexists(path), "the first has gone")
        time.sleep(0.05)
        os.symlink(second.path, path)
    thread = threading.Thread(target=come_back)
    thread.start()
    assert crew.Queue("q", socket=path).qsize() == 2
    thread.join()
    assert len(first.calls) == len(second.calls) == 1
